//! Two domains with three ports and two vCPUs each: every sequence of operations up to a depth, and random long ones,
//! against the naive [`World`].

use std::collections::HashSet;
use std::vec::Vec;

use proptest::prelude::*;
use shared_page::MemoryPage;
use xen_abi::errno::Errno;

use super::model::{Answer, DOMIDS, Op, PORTS, Port, Side, State, VCPUS, World, ops};
use super::{Guest, domain};
use crate::{Closed, Closer, Delivery, EventChannels, Received, Sent, bind_interdomain};

/// How long the sequences are.
const DEPTH: usize = 5;

/// The implementation, with its guests.
#[derive(Clone)]
struct Real([(EventChannels<MemoryPage>, Guest); 2]);

impl Real {
    fn new() -> Self {
        Self(DOMIDS.map(|domid| domain(domid, VCPUS as u32, PORTS as u32 - 1)))
    }

    /// A domain, its guest, and the other domain.
    #[allow(clippy::type_complexity)]
    fn split(
        &mut self,
        index: usize,
    ) -> (
        &mut EventChannels<MemoryPage>,
        &Guest,
        &mut EventChannels<MemoryPage>,
        &Guest,
    ) {
        let [(a, guest_a), (b, guest_b)] = &mut self.0;
        if index == 0 {
            (a, guest_a, b, guest_b)
        } else {
            (b, guest_b, a, guest_a)
        }
    }

    fn apply(&mut self, index: usize, op: Op) -> Answer {
        let (channels, guest, other, other_guest) = self.split(index);
        let kick = |delivery: Delivery| {
            assert_eq!(delivery.polled, None);
            delivery.kick.map(|vcpu| (index, vcpu))
        };
        let zero = |result: Result<(), Errno>| result.map(|()| 0);
        match op {
            Op::AllocUnbound { remote } => (channels.alloc_unbound(DOMIDS[index], remote), None),
            Op::BindIpi { vcpu } => (channels.bind_ipi(vcpu), None),
            Op::BindVirq { virq, vcpu } => (channels.bind_virq(virq, vcpu), None),
            Op::BindInterdomain { remote, port } => {
                let remote = (remote != index).then_some(other);
                match bind_interdomain(channels, remote, port, guest) {
                    Ok((port, delivery)) => (Ok(port), kick(delivery)),
                    Err(errno) => (Err(errno), None),
                }
            }
            Op::Close { port } => {
                let closed = match channels.peer_domain(port) {
                    Some(_) => channels.close(port, Closer::Guest, Some(other), guest),
                    None => channels.close(port, Closer::Guest, None, guest),
                };
                let closed = closed.map(|closed| assert_eq!(closed, Closed::Done));
                (zero(closed), None)
            }
            Op::Send { port } => match channels.send(port, guest) {
                Ok(Sent::Done(delivery)) => (Ok(0), kick(delivery)),
                Ok(Sent::Peer(peer)) => {
                    let Received::Done(delivery) = other.receive(&peer, other_guest) else {
                        panic!("no port is the hypervisor's")
                    };
                    (Ok(0), delivery.kick.map(|vcpu| (1 - index, vcpu)))
                }
                Ok(Sent::Consumer(..)) => panic!("no port is the hypervisor's"),
                Err(errno) => (Err(errno), None),
            },
            Op::BindVcpu { port, vcpu } => (zero(channels.bind_vcpu(port, vcpu).map(|_| ())), None),
            Op::Unmask { port } => match channels.unmask(port, guest) {
                Ok(delivery) => (Ok(0), kick(delivery)),
                Err(errno) => (Err(errno), None),
            },
            Op::RaiseVirq { virq, vcpu } => (Ok(0), kick(channels.raise_virq(vcpu, virq, guest))),
            Op::Mask { port } => {
                guest.set_masked(port, true);
                (Ok(0), None)
            }
            Op::TakeEvents { vcpu } => {
                let _ = guest.take_events(vcpu);
                (Ok(0), None)
            }
        }
    }

    /// What can be seen of it, as the model shows it.
    fn observe(&self) -> World {
        World(self.0.each_ref().map(|(channels, guest)| Side {
            ports: std::array::from_fn(|port| {
                let port = port as u32;
                let status = channels.status(port).unwrap();
                Port {
                    state: State::from(status.state),
                    vcpu: status.vcpu,
                    pending: guest.is_pending(port),
                    masked: {
                        let masked = super::MASK + port as usize / 64 * 8;
                        use shared_page::SharedPage;
                        guest.info.load64(masked) >> (port % 64) & 1 != 0
                    },
                }
            }),
            selected: std::array::from_fn(|vcpu| guest.selector(vcpu as u32) != 0),
            upcall: std::array::from_fn(|vcpu| guest.upcall(vcpu as u32)),
        }))
    }

    /// The counts that the implementation keeps agree with its ports.
    fn check(&self) {
        for (channels, _) in &self.0 {
            assert_eq!(channels.active_ports() as usize, channels.iter().count());
        }
    }
}

#[test]
fn every_short_sequence_agrees_with_the_model() {
    let mut level = Vec::from([(Real::new(), World::new())]);
    let mut seen = HashSet::from([World::new()]);
    let mut compared = 0u64;
    for depth in 0..DEPTH {
        let mut next = Vec::new();
        for (real, world) in &level {
            for index in [0, 1] {
                for op in ops() {
                    let (mut real, mut world) = (real.clone(), world.clone());
                    let (got, wanted) = (real.apply(index, op), world.apply(index, op));
                    compared += 1;
                    assert!(
                        got == wanted && real.observe() == world,
                        "domain {index}, {op:?}: {got:?}, wanted {wanted:?}; {:?}, wanted {world:?}",
                        real.observe()
                    );
                    real.check();
                    // States that the model does not tell apart behave the same from here on; that the
                    // implementation does not tell them apart either is what the random sequences are for.
                    if depth + 1 < DEPTH && seen.insert(world.clone()) {
                        next.push((real, world));
                    }
                }
            }
        }
        level = next;
    }
    assert!(compared > 1_900_000, "only {compared} operations compared");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn long_sequences_agree_with_the_model(
        steps in proptest::collection::vec((0..2usize, any::<prop::sample::Index>()), 1..200)
    ) {
        let ops: Vec<_> = ops().collect();
        let (mut real, mut world) = (Real::new(), World::new());
        for (index, op) in steps {
            let op = *op.get(&ops);
            prop_assert_eq!(real.apply(index, op), world.apply(index, op), "domain {}, {:?}", index, op);
            prop_assert_eq!(real.observe(), world.clone(), "after domain {}, {:?}", index, op);
            real.check();
        }
    }
}
