//! Bindings and delivery in the 2-level ABI, by hand.

use std::vec;
use std::vec::Vec;

use shared_page::SharedPage;
use xen_abi::errno::Errno;
use xen_abi::event_channel as abi;
use xen_abi::virq;

use super::domain;
use crate::{
    Closed, Closer, Consumer, Delivery, Poll, PortState, Received, Sent, Status, bind_interdomain,
};

const NOTHING: Delivery = Delivery {
    kick: None,
    polled: None,
};

fn kick(vcpu: u32) -> Delivery {
    Delivery {
        kick: Some(vcpu),
        polled: None,
    }
}

#[test]
fn a_port_notifies_its_vcpu_once() {
    let (mut channels, guest) = domain(0, 2, 100);
    let port = channels.bind_ipi(1).unwrap();
    assert_eq!(port, 1);
    assert_eq!(channels.send(port, &guest), Ok(Sent::Done(kick(1))));
    assert!(guest.is_pending(port) && guest.upcall(1) && !guest.upcall(0));
    assert_eq!(guest.selector(1), 1);
    // Pending already: nothing more to do.
    assert_eq!(channels.send(port, &guest), Ok(Sent::Done(NOTHING)));
    assert_eq!(guest.take_events(1), vec![port]);
    assert_eq!(channels.send(port, &guest), Ok(Sent::Done(kick(1))));
}

#[test]
fn another_port_of_a_selected_word_needs_no_kick() {
    let (mut channels, guest) = domain(0, 1, 100);
    let a = channels.bind_ipi(0).unwrap();
    let b = channels.bind_ipi(0).unwrap();
    assert_eq!(channels.send(a, &guest), Ok(Sent::Done(kick(0))));
    assert_eq!(channels.send(b, &guest), Ok(Sent::Done(NOTHING)));
    assert_eq!(guest.take_events(0), vec![a, b]);
}

#[test]
fn the_upcall_mask_beside_the_flag_stays() {
    let (mut channels, guest) = domain(0, 1, 100);
    let port = channels.bind_ipi(0).unwrap();
    // evtchn_upcall_mask, and bytes that nobody uses.
    guest.info.store32(0, 0x5a5a_0100);
    assert_eq!(channels.send(port, &guest), Ok(Sent::Done(kick(0))));
    assert_eq!(guest.info.load32(0), 0x5a5a_0101);
}

#[test]
fn a_masked_port_waits_for_unmask() {
    let (mut channels, guest) = domain(0, 1, 100);
    let port = channels.bind_ipi(0).unwrap();
    guest.set_masked(port, true);
    assert_eq!(channels.send(port, &guest), Ok(Sent::Done(NOTHING)));
    assert!(guest.is_pending(port) && !guest.upcall(0));
    assert_eq!(channels.unmask(port, &guest), Ok(kick(0)));
    assert_eq!(guest.take_events(0), vec![port]);
    // Unmasking what is not masked, or not pending, does nothing.
    assert_eq!(channels.unmask(port, &guest), Ok(NOTHING));
    guest.set_masked(port, true);
    assert_eq!(channels.unmask(port, &guest), Ok(NOTHING));
    assert_eq!(channels.unmask(64, &guest), Err(Errno::EINVAL));
    assert_eq!(channels.unmask(63, &guest), Ok(NOTHING));
}

#[test]
fn a_vcpu_without_info_gets_only_the_pending_bit() {
    let (mut channels, mut guest) = domain(0, 2, 100);
    guest.vcpus = 1;
    let port = channels.bind_ipi(1).unwrap();
    assert_eq!(channels.send(port, &guest), Ok(Sent::Done(NOTHING)));
    assert!(guest.is_pending(port));
}

#[test]
fn virqs() {
    let (mut channels, guest) = domain(0, 2, 100);
    assert_eq!(channels.raise_virq(0, virq::TIMER, &guest), NOTHING);
    let timer = channels.bind_virq(virq::TIMER, 1).unwrap();
    let console = channels.bind_virq(virq::CONSOLE, 0).unwrap();
    // Errors in Xen's order: number, global on another vCPU, vCPU, bound already.
    assert_eq!(channels.bind_virq(24, 9), Err(Errno::EINVAL));
    assert_eq!(channels.bind_virq(u32::MAX, 0), Err(Errno::EINVAL));
    assert_eq!(channels.bind_virq(virq::CONSOLE, 1), Err(Errno::EINVAL));
    assert_eq!(channels.bind_virq(virq::CONSOLE, 9), Err(Errno::EINVAL));
    assert_eq!(channels.bind_virq(virq::TIMER, 2), Err(Errno::ENOENT));
    assert_eq!(channels.bind_virq(virq::TIMER, 1), Err(Errno::EEXIST));
    assert_eq!(channels.bind_virq(virq::ARCH_0, 1), Err(Errno::EINVAL));
    assert!(channels.bind_virq(virq::TIMER, 0).is_ok());

    assert_eq!(channels.raise_virq(1, virq::TIMER, &guest), kick(1));
    // A global one goes where it is bound, whoever it is raised for.
    assert_eq!(channels.bind_vcpu(console, 1), Ok(None));
    assert_eq!(guest.take_events(1), vec![timer]);
    assert_eq!(channels.raise_virq(0, virq::CONSOLE, &guest), kick(1));
    // A per-vCPU one cannot be moved.
    assert_eq!(channels.bind_vcpu(timer, 0), Err(Errno::EINVAL));

    // Closed and bound again, also the global one that was moved.
    for (port, number, vcpu) in [(timer, virq::TIMER, 1), (console, virq::CONSOLE, 0)] {
        assert_eq!(
            channels.close(port, Closer::Guest, None, &guest),
            Ok(Closed::Done)
        );
        assert_eq!(channels.raise_virq(vcpu, number, &guest), NOTHING);
        assert_eq!(channels.bind_virq(number, vcpu), Ok(port));
    }
    assert_eq!(channels.send(timer, &guest), Err(Errno::EINVAL));
}

#[test]
fn pirqs() {
    let (mut channels, guest) = domain(0, 2, 100);
    let unused = |_| panic!("nothing to connect");
    assert_eq!(
        channels.bind_pirq(16, 16, false, unused),
        Err(Errno::EINVAL)
    );
    assert_eq!(channels.bind_pirq(9, 16, false, unused), Err(Errno::EPERM));
    // What the interrupt's owner says goes, and leaves nothing behind.
    assert_eq!(
        channels.bind_pirq(9, 16, true, |_| Err(Errno::EBUSY)),
        Err(Errno::EBUSY)
    );
    assert_eq!(channels.active_ports(), 0);
    let port = channels.bind_pirq(9, 16, true, |_| Ok(())).unwrap();
    assert_eq!(port, 1);
    assert_eq!(channels.bind_pirq(9, 16, true, unused), Err(Errno::EEXIST));
    assert_eq!(channels.raise_pirq(8, &guest), NOTHING);
    assert_eq!(channels.raise_pirq(9, &guest), kick(0));
    assert_eq!(channels.bind_vcpu(port, 1), Ok(Some(9)));
    assert_eq!(channels.bind_vcpu(port, 1), Ok(None));
    assert_eq!(
        channels.close(port, Closer::Guest, None, &guest),
        Ok(Closed::Pirq(9))
    );
    assert_eq!(channels.raise_pirq(9, &guest), NOTHING);
    assert!(!guest.is_pending(port));
    assert_eq!(channels.bind_pirq(9, 16, true, |_| Ok(())), Ok(port));
    assert_eq!(
        channels.status(port),
        Ok(Status {
            state: PortState::Pirq { pirq: 9 },
            vcpu: 0
        })
    );
}

#[test]
fn two_domains() {
    let (mut a, guest_a) = domain(1, 1, 100);
    let (mut b, guest_b) = domain(2, 1, 100);
    let offered = b.alloc_unbound(2, 1).unwrap();
    // Nobody has bound yet: the event is lost, and made up for when somebody does.
    assert_eq!(b.send(offered, &guest_b), Ok(Sent::Done(NOTHING)));
    let private = b.alloc_unbound(2, 7).unwrap();
    for wrong in [private, 0, 63, 64, u32::MAX] {
        assert_eq!(
            bind_interdomain(&mut a, Some(&mut b), wrong, &guest_a),
            Err(Errno::EINVAL)
        );
    }
    assert_eq!(a.active_ports(), 0);
    let (port, delivery) = bind_interdomain(&mut a, Some(&mut b), offered, &guest_a).unwrap();
    assert_eq!(delivery, kick(0));
    assert_eq!(guest_a.take_events(0), vec![port]);

    let Ok(Sent::Peer(peer)) = a.send(port, &guest_a) else {
        panic!("goes to the other domain")
    };
    assert_eq!(b.receive(&peer, &guest_b), Received::Done(kick(0)));
    assert_eq!(guest_b.take_events(0), vec![offered]);

    // Closing needs the other domain.
    assert_eq!(a.peer_domain(port), Some(2));
    assert_eq!(
        a.close(port, Closer::Guest, None, &guest_a),
        Ok(Closed::NeedsPeer(2))
    );
    assert_eq!(
        a.close(port, Closer::Guest, Some(&mut b), &guest_a),
        Ok(Closed::Done)
    );
    assert_eq!(
        b.status(offered).unwrap().state,
        PortState::Unbound { remote: 1 }
    );
    // An event that was under way is dropped.
    assert_eq!(b.receive(&peer, &guest_b), Received::Done(NOTHING));
    assert!(!guest_b.is_pending(offered));
}

#[test]
fn loopback() {
    let (mut channels, guest) = domain(1, 2, 100);
    let offered = channels
        .alloc_unbound(1, xen_abi::domid::DOMID_SELF)
        .unwrap();
    channels.bind_vcpu(offered, 1).unwrap();
    let (port, delivery) = bind_interdomain(&mut channels, None, offered, &guest).unwrap();
    assert_eq!(delivery, kick(0));
    assert_eq!(guest.take_events(0), vec![port]);
    assert_eq!(channels.send(port, &guest), Ok(Sent::Done(kick(1))));
    assert_eq!(guest.take_events(1), vec![offered]);
    assert_eq!(channels.peer_domain(port), None);
    assert_eq!(
        channels.close(port, Closer::Guest, None, &guest),
        Ok(Closed::Done)
    );
    assert_eq!(
        channels.status(offered).unwrap().state,
        PortState::Unbound { remote: 1 }
    );
}

#[test]
fn ports_of_the_hypervisor_are_not_the_guests() {
    let (mut a, guest_a) = domain(1, 1, 100);
    let (mut b, guest_b) = domain(2, 1, 100);
    let consumer = Consumer::new(3).unwrap();
    assert_eq!(b.alloc_for_hypervisor(1, 1, consumer), Err(Errno::ENOENT));
    let owned = b.alloc_for_hypervisor(0, 1, consumer).unwrap();
    assert_eq!(b.status(owned), Err(Errno::EACCES));
    assert_eq!(b.send(owned, &guest_b), Err(Errno::EINVAL));
    assert_eq!(b.bind_vcpu(owned, 0), Err(Errno::EINVAL));
    assert_eq!(
        b.close(owned, Closer::Guest, None, &guest_b),
        Err(Errno::EINVAL)
    );
    let (port, _) = bind_interdomain(&mut a, Some(&mut b), owned, &guest_a).unwrap();
    let Ok(Sent::Peer(peer)) = a.send(port, &guest_a) else {
        panic!("goes to the other domain")
    };
    assert_eq!(
        b.receive(&peer, &guest_b),
        Received::Consumer(consumer, owned)
    );
    assert!(!guest_b.is_pending(owned));

    // A reset leaves them.
    b.bind_ipi(0).unwrap();
    b.reset_begin(false).unwrap();
    while let Some(port) = b.reset_next() {
        let _ = b.close(port, Closer::Guest, Some(&mut a), &guest_b);
    }
    assert!(b.reset_end().is_ok());
    assert_eq!(b.active_ports(), 1);
    assert_eq!(
        b.close(owned, Closer::Hypervisor, Some(&mut a), &guest_b),
        Ok(Closed::Done)
    );
    assert_eq!(b.active_ports(), 0);
}

#[test]
fn status_as_the_guest_reads_it() {
    let (mut channels, _) = domain(1, 2, 100);
    let mut answer = abi::Status {
        dom: 1,
        _hole0: [0; 2],
        port: 1,
        status: 99,
        vcpu: 99,
        u: abi::StatusUnion::ZERO,
    };
    channels.status(0).unwrap().fill(&mut answer);
    assert_eq!((answer.status, answer.vcpu), (abi::EVTCHNSTAT_CLOSED, 0));
    channels.alloc_unbound(1, 7).unwrap();
    channels.status(1).unwrap().fill(&mut answer);
    assert_eq!(answer.status, abi::EVTCHNSTAT_UNBOUND);
    assert_eq!(answer.u.unbound().dom, 7);
    let ipi = channels.bind_ipi(1).unwrap();
    channels.status(ipi).unwrap().fill(&mut answer);
    assert_eq!((answer.status, answer.vcpu), (abi::EVTCHNSTAT_IPI, 1));
    let virq = channels.bind_virq(virq::DEBUG, 1).unwrap();
    channels.status(virq).unwrap().fill(&mut answer);
    assert_eq!(answer.status, abi::EVTCHNSTAT_VIRQ);
    assert_eq!(answer.u.virq(), virq::DEBUG);
    assert_eq!(channels.status(64), Err(Errno::EINVAL));
    assert_eq!(
        channels.iter().map(|(port, _)| port).collect::<Vec<_>>(),
        vec![1, ipi, virq]
    );
}

#[test]
fn polling() {
    let (mut channels, guest) = domain(1, 3, 100);
    let a = channels.bind_ipi(0).unwrap();
    let b = channels.bind_ipi(0).unwrap();
    guest.set_masked(a, true);
    guest.set_masked(b, true);
    assert_eq!(channels.poll(1, &[a], &guest), Ok(Poll::Wait));
    assert_eq!(channels.poll(2, &[a, b], &guest), Ok(Poll::Wait));
    // Masked or not, an event ends a poll: of those that poll any port, and those that poll this one.
    let Ok(Sent::Done(delivery)) = channels.send(b, &guest) else {
        panic!("delivered here")
    };
    assert_eq!((delivery.kick, delivery.polled), (None, Some(b)));
    assert_eq!(channels.take_poller(b), Some(2));
    assert_eq!(channels.take_poller(b), None);
    assert_eq!(channels.pollers().collect::<Vec<_>>(), vec![1]);
    // The first port that does not exist or is pending decides.
    assert_eq!(channels.poll(2, &[a, b, 64], &guest), Ok(Poll::Ready));
    assert_eq!(channels.poll(2, &[a, 64, b], &guest), Err(Errno::EINVAL));
    assert_eq!(channels.pollers().collect::<Vec<_>>(), vec![1]);
    channels.end_poll(1);
    assert_eq!(channels.send(a, &guest), Ok(Sent::Done(NOTHING)));
}

#[test]
fn a_reset_in_pieces() {
    let (mut channels, guest) = domain(1, 1, 1000);
    for _ in 0..300 {
        channels.bind_ipi(0).unwrap();
    }
    assert_eq!(channels.reset_begin(true), Err(Errno::EBUSY));
    assert_eq!(channels.reset_begin(false), Ok(()));
    for _ in 0..100 {
        let port = channels.reset_next().unwrap();
        let _ = channels.close(port, Closer::Guest, None, &guest).unwrap();
    }
    assert_eq!(channels.reset_begin(false), Err(Errno::EBUSY));
    assert_eq!(channels.reset_begin(true), Ok(()));
    // Bound behind the reset's back: the reset fails rather than lose it (XSA-343).
    let late = channels.bind_ipi(0).unwrap();
    assert_eq!(late, 1);
    while let Some(port) = channels.reset_next() {
        let _ = channels.close(port, Closer::Guest, None, &guest);
    }
    assert_eq!(channels.reset_end().err(), Some(Errno::EAGAIN));
    assert_eq!(channels.active_ports(), 1);
    assert_eq!(channels.reset_begin(true), Err(Errno::EBUSY));
    assert_eq!(channels.reset_begin(false), Ok(()));
    while let Some(port) = channels.reset_next() {
        let _ = channels.close(port, Closer::Guest, None, &guest);
    }
    assert!(channels.reset_end().is_ok());
    assert_eq!(channels.active_ports(), 0);
}

#[test]
fn a_dying_domain_gets_no_ports() {
    let (mut channels, guest) = domain(1, 1, 100);
    let port = channels.bind_ipi(0).unwrap();
    channels.set_dying();
    assert_eq!(channels.bind_ipi(0), Err(Errno::EINVAL));
    assert_eq!(channels.alloc_unbound(1, 1), Err(Errno::EINVAL));
    assert_eq!(
        channels.close(port, Closer::Hypervisor, None, &guest),
        Ok(Closed::Done)
    );
}
