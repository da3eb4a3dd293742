//! How many ports there can be.

use shared_page::MemoryPage;
use std::vec::Vec;
use xen_abi::errno::Errno;

use super::domain;
use crate::{Closed, Closer};

#[test]
fn ports_are_bounded_by_the_domains_limit() {
    let (mut channels, guest) = domain(1, 1, 3);
    let ports: Vec<_> = (0..3).map(|_| channels.bind_ipi(0)).collect();
    assert_eq!(ports, [Ok(1), Ok(2), Ok(3)]);
    assert_eq!(channels.bind_ipi(0), Err(Errno::ENOSPC));
    // The lowest number that is free comes next.
    for port in [3, 1] {
        assert_eq!(
            channels.close(port, Closer::Guest, None, &guest),
            Ok(Closed::Done)
        );
    }
    assert_eq!(channels.bind_ipi(0), Ok(1));
    assert_eq!(channels.bind_ipi(0), Ok(3));
}

#[test]
fn ports_exist_in_steps_of_64() {
    let (mut channels, _) = domain(1, 1, u32::MAX);
    assert_eq!(channels.valid_ports(), 64);
    for _ in 1..64 {
        channels.bind_ipi(0).unwrap();
    }
    assert!(channels.status(63).is_ok());
    assert_eq!(channels.status(64), Err(Errno::EINVAL));
    assert_eq!(channels.bind_ipi(0), Ok(64));
    assert_eq!(channels.valid_ports(), 128);
    assert!(channels.status(127).is_ok());
}

#[test]
fn the_two_level_abi_has_4096_ports_and_fifo_131072() {
    let (mut channels, guest) = domain(1, 1, u32::MAX);
    for port in 1..4096 {
        assert_eq!(channels.bind_ipi(0), Ok(port));
    }
    assert_eq!(channels.bind_ipi(0), Err(Errno::ENOSPC));
    assert_eq!(channels.valid_ports(), 4096);
    // Switching to the wider ABI makes room; without an event array, too.
    channels
        .init_control(0, 0, &guest, || Ok(MemoryPage::default()))
        .unwrap();
    for port in 4096..131_072 {
        assert_eq!(channels.bind_ipi(0), Ok(port));
    }
    assert_eq!(channels.bind_ipi(0), Err(Errno::ENOSPC));
    assert_eq!(channels.valid_ports(), 131_072);
    assert_eq!(channels.status(131_072), Err(Errno::EINVAL));
    assert_eq!(channels.status(u32::MAX), Err(Errno::EINVAL));
}

#[test]
fn a_vcpu_that_does_not_exist() {
    let (mut channels, guest) = domain(1, 2, 100);
    let port = channels.alloc_unbound(1, 1).unwrap();
    for vcpu in [2, 65_535, 65_536, u32::MAX] {
        assert_eq!(channels.bind_ipi(vcpu), Err(Errno::ENOENT));
        assert_eq!(channels.bind_vcpu(port, vcpu), Err(Errno::ENOENT));
        // Before the port is looked at.
        assert_eq!(channels.bind_vcpu(9999, vcpu), Err(Errno::ENOENT));
        let init = channels.init_control(vcpu, 9999, &guest, || panic!("nothing to map"));
        assert_eq!(init, Err(Errno::ENOENT));
    }
    assert_eq!(channels.set_vcpus(1 << 17), Err(Errno::EINVAL));
}
