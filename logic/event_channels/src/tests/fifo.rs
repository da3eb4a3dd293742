//! The FIFO ABI against a guest that consumes its queues as Linux does.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use shared_page::{MemoryPage, SharedPage};
use xen_abi::errno::Errno;

use super::{Guest, domain};
use crate::{Closed, Closer, Delivery, EventChannels, Sent};

const P: u32 = 1 << 31;
const M: u32 = 1 << 30;
const L: u32 = 1 << 29;
const BUSY: u32 = 1 << 28;
const LINK: u32 = (1 << 17) - 1;

/// The guest's control blocks and event array, and where it is in each queue.
pub(super) struct FifoGuest {
    pub(super) info: Guest,
    controls: Vec<MemoryPage>,
    array: Vec<MemoryPage>,
    heads: Vec<[u32; 16]>,
}

impl FifoGuest {
    fn new(vcpus: u32) -> Self {
        Self {
            info: Guest::new(vcpus),
            controls: (0..vcpus).map(|_| MemoryPage::default()).collect(),
            array: Vec::new(),
            heads: vec![[0; 16]; vcpus as usize],
        }
    }

    fn word(&self, port: u32) -> (&MemoryPage, usize) {
        (&self.array[port as usize / 1024], port as usize % 1024 * 4)
    }

    fn load(&self, port: u32) -> u32 {
        let (page, offset) = self.word(port);
        page.load32(offset)
    }

    fn mask(&self, port: u32) {
        let (page, offset) = self.word(port);
        page.fetch_or32(offset, M);
    }

    /// Consumes everything that is ready on a vCPU; the events handled, in order.
    fn consume(&mut self, vcpu: usize) -> Vec<u32> {
        self.info.clear_upcall(vcpu as u32);
        let mut events = Vec::new();
        let control = self.controls[vcpu].clone();
        let mut ready = control.fetch_and32(CONTROL, 0);
        while ready != 0 {
            let queue = ready.trailing_zeros() as usize;
            let mut port = self.heads[vcpu][queue];
            if port == 0 {
                port = control.load32(CONTROL + 8 + queue * 4);
            }
            let (page, offset) = self.word(port);
            let old = page.fetch_and32(offset, !(L | LINK));
            assert!(old & L != 0, "port {port} is on a queue and not linked");
            let next = old & LINK;
            if next == 0 {
                ready &= !(1 << queue);
            }
            if old & P != 0 && old & M == 0 {
                page.fetch_and32(offset, !P);
                events.push(port);
            }
            self.heads[vcpu][queue] = next;
            ready |= control.fetch_and32(CONTROL, 0);
        }
        events
    }
}

/// Where in their pages the control blocks are.
const CONTROL: usize = 64;

/// A domain in the FIFO ABI, with one page of event words.
fn fifo_domain(vcpus: u32) -> (EventChannels<MemoryPage>, FifoGuest) {
    let (mut channels, _) = domain(1, vcpus, u32::MAX);
    let mut guest = FifoGuest::new(vcpus);
    for vcpu in 0..vcpus {
        let page = guest.controls[vcpu as usize].clone();
        let bits = channels.init_control(vcpu, CONTROL as u32, &guest.info, || Ok(page));
        assert_eq!(bits, Ok(17));
    }
    expand(&mut channels, &mut guest);
    (channels, guest)
}

fn expand(channels: &mut EventChannels<MemoryPage>, guest: &mut FifoGuest) -> Vec<Delivery> {
    let page = MemoryPage::default();
    guest.array.push(page.clone());
    let mut deliveries = Vec::new();
    channels
        .expand_array(
            &guest.info,
            || Ok(page),
            |_, delivery| deliveries.push(delivery),
        )
        .unwrap();
    deliveries
}

fn send(channels: &mut EventChannels<MemoryPage>, guest: &FifoGuest, port: u32) -> Delivery {
    match channels.send(port, &guest.info) {
        Ok(Sent::Done(delivery)) => delivery,
        other => panic!("{other:?}"),
    }
}

#[test]
fn control_blocks_and_pages_are_checked() {
    let (mut channels, guest) = domain(1, 2, 100);
    let no_map = || panic!("nothing to map");
    let array = |channels: &mut EventChannels<MemoryPage>, result| {
        channels.expand_array(&guest, || result, |_, _| ())
    };
    assert_eq!(
        array(&mut channels, Ok(MemoryPage::default())),
        Err(Errno::EOPNOTSUPP)
    );
    for offset in [4096 - 72 + 8, 4, 7, 4095, u32::MAX] {
        assert_eq!(
            channels.init_control(0, offset, &guest, no_map),
            Err(Errno::EINVAL)
        );
    }
    // A page that cannot be mapped leaves the domain in the 2-level ABI (XSA-342).
    assert_eq!(
        channels.init_control(0, 0, &guest, || Err(Errno::EINVAL)),
        Err(Errno::EINVAL)
    );
    assert!(!channels.uses_fifo());
    assert_eq!(
        channels.init_control(0, 4096 - 72, &guest, || Ok(MemoryPage::default())),
        Ok(17)
    );
    assert_eq!(
        channels.init_control(0, 0, &guest, no_map),
        Err(Errno::EINVAL)
    );
    assert_eq!(array(&mut channels, Err(Errno::EINVAL)), Err(Errno::EINVAL));
    for _ in 0..128 {
        assert_eq!(array(&mut channels, Ok(MemoryPage::default())), Ok(()));
    }
    let array =
        |channels: &mut EventChannels<MemoryPage>| channels.expand_array(&guest, no_map, |_, _| ());
    assert_eq!(array(&mut channels), Err(Errno::ENOSPC));
}

#[test]
fn events_come_in_order_and_by_priority() {
    let (mut channels, mut guest) = fifo_domain(1);
    let ports: Vec<_> = (0..4).map(|_| channels.bind_ipi(0).unwrap()).collect();
    channels.set_priority(ports[3], 0).unwrap();
    assert_eq!(send(&mut channels, &guest, ports[1]).kick, Some(0));
    assert!(guest.info.upcall(0));
    for port in [ports[0], ports[2], ports[3], ports[1]] {
        assert_eq!(send(&mut channels, &guest, port).kick, None);
    }
    assert_eq!(guest.consume(0), [ports[3], ports[1], ports[0], ports[2]]);
    assert_eq!(guest.consume(0), []);
    assert_eq!(send(&mut channels, &guest, ports[1]).kick, Some(0));
    assert_eq!(guest.consume(0), [ports[1]]);
}

#[test]
fn priorities_are_checked() {
    let (mut channels, guest) = domain(1, 1, 100);
    let port = channels.bind_ipi(0).unwrap();
    assert_eq!(channels.set_priority(64, 16), Err(Errno::EINVAL));
    assert_eq!(channels.set_priority(port, 16), Err(Errno::ENOSYS));
    channels
        .init_control(0, 0, &guest, || Ok(MemoryPage::default()))
        .unwrap();
    assert_eq!(channels.set_priority(port + 1, 16), Err(Errno::EACCES));
    assert_eq!(channels.set_priority(port, 16), Err(Errno::EINVAL));
    assert_eq!(channels.set_priority(port, 15), Ok(()));
}

#[test]
fn a_masked_port_is_not_linked() {
    let (mut channels, mut guest) = fifo_domain(1);
    let port = channels.bind_ipi(0).unwrap();
    guest.mask(port);
    assert_eq!(send(&mut channels, &guest, port), Delivery::default());
    assert_eq!(guest.load(port), P | M);
    assert_eq!(channels.unmask(port, &guest.info).unwrap().kick, Some(0));
    assert_eq!(guest.consume(0), [port]);
}

#[test]
fn events_from_before_the_array_are_kept() {
    let (mut channels, _) = domain(1, 2, u32::MAX);
    let mut guest = FifoGuest::new(2);
    let early = channels.bind_ipi(0).unwrap();
    let later = channels.bind_ipi(1).unwrap();
    // Pending in the 2-level ABI still.
    assert_eq!(send(&mut channels, &guest, early).kick, Some(0));
    guest.info.clear_upcall(0);
    for vcpu in 0..2 {
        let page = guest.controls[vcpu].clone();
        channels
            .init_control(vcpu as u32, CONTROL as u32, &guest.info, || Ok(page))
            .unwrap();
    }
    // No event words yet.
    assert_eq!(send(&mut channels, &guest, later), Delivery::default());
    let kicks: Vec<_> = expand(&mut channels, &mut guest)
        .iter()
        .map(|delivery| delivery.kick)
        .collect();
    assert_eq!(kicks, [Some(0), Some(1)]);
    assert_eq!(guest.consume(0), [early]);
    assert_eq!(guest.consume(1), [later]);
    assert!(expand(&mut channels, &mut guest).is_empty());
}

#[test]
fn a_linked_port_is_not_used_again() {
    let (mut channels, mut guest) = fifo_domain(1);
    let port = channels.bind_ipi(0).unwrap();
    let _ = send(&mut channels, &guest, port);
    assert_eq!(
        channels.close(port, Closer::Guest, None, &guest.info),
        Ok(Closed::Done)
    );
    assert_eq!(guest.load(port), L, "closed ports are not pending");
    // Free, and still on the queue: another number comes.
    assert_eq!(channels.bind_ipi(0), Ok(port + 1));
    assert_eq!(guest.consume(0), []);
    assert_eq!(channels.bind_ipi(0), Ok(port));
}

#[test]
fn a_port_moves_to_another_queue_without_corrupting_the_old_one() {
    let (mut channels, mut guest) = fifo_domain(2);
    let a = channels.alloc_unbound(1, 1).unwrap();
    let (b, _) = crate::bind_interdomain(&mut channels, None, a, &guest.info).unwrap();
    let _ = guest.consume(0);
    let other = channels.bind_ipi(0).unwrap();
    // `a` is the tail of vCPU 0's queue, is consumed, and moves to vCPU 1.
    let _ = send(&mut channels, &guest, b);
    assert_eq!(guest.consume(0), [a]);
    channels.bind_vcpu(a, 1).unwrap();
    let _ = send(&mut channels, &guest, b);
    // The next event of vCPU 0's queue must not be linked behind `a`.
    assert_eq!(send(&mut channels, &guest, other).kick, Some(0));
    assert_eq!(guest.consume(0), [other]);
    assert_eq!(guest.consume(1), [a]);
}

#[test]
fn a_vcpu_without_a_control_block_loses_its_events_only() {
    let (mut channels, _) = domain(1, 2, 100);
    let mut guest = FifoGuest::new(2);
    let page = guest.controls[0].clone();
    channels
        .init_control(0, CONTROL as u32, &guest.info, || Ok(page))
        .unwrap();
    expand(&mut channels, &mut guest);
    let mine = channels.bind_ipi(0).unwrap();
    let lost = channels.bind_ipi(1).unwrap();
    assert_eq!(send(&mut channels, &guest, lost), Delivery::default());
    assert_eq!(guest.load(lost), P);
    assert_eq!(send(&mut channels, &guest, mine).kick, Some(0));
    assert_eq!(guest.consume(0), [mine]);
}

#[test]
fn garbage_in_the_guests_pages_hurts_the_guest_only() {
    let (mut channels, guest) = fifo_domain(2);
    let ports: Vec<_> = (0..3).map(|n| channels.bind_ipi(n % 2).unwrap()).collect();
    for word in [u32::MAX, LINK, L | LINK, P | L | BUSY | LINK, BUSY, 0] {
        for port in &ports {
            for offset in (0..4096).step_by(4) {
                guest.array[0].store32(offset, word);
                guest.controls[0].store32(offset, word);
            }
            let _ = send(&mut channels, &guest, *port);
            let _ = channels.unmask(*port, &guest.info);
            let _ = channels.set_priority(*port, word % 16);
        }
    }
    channels.reset_begin(false).unwrap();
    while let Some(port) = channels.reset_next() {
        let _ = channels.close(port, Closer::Guest, None, &guest.info);
    }
    assert!(channels.reset_end().unwrap().is_some());
    assert!(!channels.uses_fifo());
    assert_eq!(
        channels.bind_ipi(0),
        Ok(1),
        "in the 2-level ABI nothing is linked"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Mask(usize),
    Unmask(usize),
    SetPriority(usize, u32),
    BindVcpu(usize, u32),
    Consume(usize),
}

const PORTS: usize = 5;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let port = 0..PORTS;
    let step = prop_oneof![
        8 => port.clone().prop_map(Step::Send),
        2 => port.clone().prop_map(Step::Mask),
        2 => port.clone().prop_map(Step::Unmask),
        2 => (port.clone(), 0..3u32).prop_map(|(port, priority)| Step::SetPriority(port, priority)),
        2 => (port, 0..2u32).prop_map(|(port, vcpu)| Step::BindVcpu(port, vcpu)),
        2 => (0..2usize).prop_map(Step::Consume),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    /// However ports are sent to, masked and moved: no event is lost, none is handled that was not sent, and
    /// no queue is corrupted (`FifoGuest::consume` asserts).
    #[test]
    fn no_event_is_lost(steps in steps()) {
        let (mut channels, mut guest) = fifo_domain(2);
        // Connected in pairs, so that both vCPUs can be bound to; `ends[n]` sends to `ports[n]`.
        let mut ports = Vec::new();
        let mut ends = Vec::new();
        for _ in 0..PORTS {
            let port = channels.alloc_unbound(1, 1).unwrap();
            let (end, _) = crate::bind_interdomain(&mut channels, None, port, &guest.info).unwrap();
            ports.push(port);
            ends.push(end);
        }
        let _ = guest.consume(0);
        let mut sent = [false; PORTS];
        for step in &steps {
            match step {
                Step::Send(n) => {
                    let _ = send(&mut channels, &guest, ends[*n]);
                    sent[*n] = true;
                }
                Step::Mask(n) => guest.mask(ports[*n]),
                Step::Unmask(n) => { let _ = channels.unmask(ports[*n], &guest.info).unwrap(); }
                Step::SetPriority(n, priority) => channels.set_priority(ports[*n], *priority).unwrap(),
                Step::BindVcpu(n, vcpu) => { channels.bind_vcpu(ports[*n], *vcpu).unwrap(); }
                Step::Consume(vcpu) => for port in guest.consume(*vcpu) {
                    let n = ports.iter().position(|other| *other == port).unwrap();
                    prop_assert!(sent[n], "port {} was not sent to", port);
                    sent[n] = false;
                },
            }
        }
        for port in &ports {
            let _ = channels.unmask(*port, &guest.info).unwrap();
        }
        for vcpu in [0, 1] {
            for port in guest.consume(vcpu) {
                let n = ports.iter().position(|other| *other == port).unwrap();
                prop_assert!(sent[n], "port {} was not sent to", port);
                sent[n] = false;
            }
        }
        prop_assert_eq!(sent, [false; PORTS], "events were lost");
    }
}
