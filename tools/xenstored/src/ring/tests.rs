//! Both ends of a ring in one process, with a domain that behaves, and one that does not.

use proptest::prelude::*;
use rustix::fs::MemfdFlags;

use super::*;

fn pages() -> (SharedPages, SharedPages) {
    let file = rustix::fs::memfd_create("ring", MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&file, 4096).unwrap();
    let map = || SharedPages::map_file(&file, 0, 1, true).unwrap();
    (map(), map())
}

#[test]
fn a_reset_ring_is_empty_and_connected() {
    let (daemon, domain) = pages();
    let (mut ring, domain) = (Ring::from_page(daemon), DomainEnd::new(domain));
    domain.ask_reconnection();
    assert!(ring.wants_reconnection());
    assert_eq!(domain.put_requests(&[1; 1025]), 1024);
    ring.reset(3);
    assert_eq!(domain.state(), (3, 0, 0));
    assert_eq!(ring.take_requests(&mut [0; 2000]), Ok(0));
    assert_eq!(ring.response_space(), Ok(1024));
}

#[test]
fn indices_may_wrap_the_word() {
    let (daemon, domain) = pages();
    for offset in [
        REQUEST_CONSUMER,
        REQUEST_PRODUCER,
        RESPONSE_CONSUMER,
        RESPONSE_PRODUCER,
    ] {
        daemon.store_u32(offset, u32::MAX - 5);
    }
    let (mut ring, domain) = (Ring::from_page(daemon), DomainEnd::new(domain));
    let data: Vec<u8> = (0..100).collect();
    assert_eq!(domain.put_requests(&data), 100);
    let mut taken = [0; 100];
    assert_eq!(ring.take_requests(&mut taken), Ok(100));
    assert_eq!(taken, *data);
    let space = ring.response_space().unwrap();
    assert_eq!(ring.put_responses(&data, space), 100);
    assert!(
        domain.take_responses().is_empty(),
        "not before it is published"
    );
    assert!(ring.publish());
    assert_eq!(domain.take_responses(), data);
    assert!(!ring.publish());
    assert_eq!(ring.indices(), (94, 94));
}

proptest! {
    /// What one end puts comes out at the other, once and in order, in whatever pieces.
    #[test]
    fn bytes_pass_in_order(steps in prop::collection::vec((0..1500_usize, 0..1500_usize), 1..60)) {
        let (daemon, domain) = pages();
        let (mut ring, domain) = (Ring::from_page(daemon), DomainEnd::new(domain));
        ring.reset(0);
        let (mut put, mut taken) = (0_u32, 0_u32);
        let (mut answered, mut received) = (0_u32, 0_u32);
        for (give, take) in steps {
            let bytes: Vec<u8> = (0..give as u32).map(|index| put.wrapping_add(index) as u8).collect();
            put += domain.put_requests(&bytes) as u32;
            let mut buffer = vec![0; take];
            let count = ring.take_requests(&mut buffer).unwrap();
            for byte in &buffer[..count] {
                prop_assert_eq!(*byte, taken as u8);
                taken += 1;
            }
            let space = ring.response_space().unwrap();
            let bytes: Vec<u8> = (0..take as u32).map(|index| answered.wrapping_add(index) as u8).collect();
            answered += ring.put_responses(&bytes, space) as u32;
            ring.publish();
            for byte in domain.take_responses() {
                prop_assert_eq!(byte, received as u8);
                received += 1;
            }
            prop_assert_eq!(received, answered);
        }
        prop_assert!(put - taken <= RING_SIZE);
    }

    /// Whatever a domain writes into its page, the daemon takes at most a ring's bytes at once, or sees the fault.
    #[test]
    fn a_hostile_page_does_no_harm(
        writes in prop::collection::vec((0..1024_usize, any::<u32>()), 0..40),
        indices in prop::array::uniform4(prop_oneof![any::<u32>(), 0..2100_u32]),
    ) {
        let (daemon, domain) = pages();
        let mut ring = Ring::from_page(daemon);
        ring.reset(0);
        for (word, value) in writes {
            domain.store_u32(word * 4, value);
        }
        for (word, value) in indices.into_iter().enumerate() {
            domain.store_u32(REQUEST_CONSUMER + word * 4, value);
        }
        let mut buffer = [0; 4096];
        match ring.take_requests(&mut buffer) {
            Ok(count) => prop_assert!(count <= 1024 && indices[1] as usize == count),
            Err(fault) => prop_assert!(fault.theirs > 1024),
        }
        match ring.response_space() {
            Ok(space) => {
                prop_assert!(space <= 1024);
                prop_assert_eq!(ring.put_responses(&[0; 3000], space), space);
            }
            Err(fault) => prop_assert!(fault.theirs != 0),
        }
        ring.publish();
        prop_assert_eq!(domain.load_u32(RESPONSE_PRODUCER), ring.indices().1);
    }
}
