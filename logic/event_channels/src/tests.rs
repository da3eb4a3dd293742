//! Tests, and the guest that they run against.

mod exhaustive;
mod fifo;
mod limits;
mod loom_fifo;
mod model;
mod two_level;

use core::mem::offset_of;
use std::vec::Vec;

use shared_page::{MemoryPage, SharedPage};
use xen_abi::shared_info::{SharedInfo, VcpuInfo};

use crate::{DomainMemory, EventChannels};

/// The guest's side of the shared pages.
#[derive(Debug)]
struct Guest {
    info: MemoryPage,
    vcpus: u32,
}

impl Clone for Guest {
    fn clone(&self) -> Self {
        Self {
            info: self.info.duplicate(),
            vcpus: self.vcpus,
        }
    }
}

const PENDING: usize = offset_of!(SharedInfo, evtchn_pending);
const MASK: usize = offset_of!(SharedInfo, evtchn_mask);
const SELECTOR: usize = offset_of!(VcpuInfo, evtchn_pending_sel);

impl DomainMemory for Guest {
    type Page<'a> = &'a MemoryPage;

    fn shared_info(&self) -> &MemoryPage {
        &self.info
    }

    fn vcpu_info(&self, vcpu: u32) -> Option<(&MemoryPage, usize)> {
        (vcpu < self.vcpus).then(|| (&self.info, Self::vcpu(vcpu)))
    }
}

impl Guest {
    fn new(vcpus: u32) -> Self {
        Self {
            info: MemoryPage::default(),
            vcpus,
        }
    }

    fn vcpu(vcpu: u32) -> usize {
        vcpu as usize * size_of::<VcpuInfo>()
    }

    fn bit(port: u32) -> (usize, u64) {
        (port as usize / 64 * 8, 1 << (port % 64))
    }

    fn is_pending(&self, port: u32) -> bool {
        let (word, bit) = Self::bit(port);
        self.info.load64(PENDING + word) & bit != 0
    }

    fn set_masked(&self, port: u32, masked: bool) {
        let (word, bit) = Self::bit(port);
        if masked {
            self.info.fetch_or64(MASK + word, bit);
        } else {
            self.info.fetch_and64(MASK + word, !bit);
        }
    }

    fn selector(&self, vcpu: u32) -> u64 {
        self.info.load64(Self::vcpu(vcpu) + SELECTOR)
    }

    fn upcall(&self, vcpu: u32) -> bool {
        self.info.load32(Self::vcpu(vcpu)) & 0xff != 0
    }

    fn clear_upcall(&self, vcpu: u32) {
        self.info.fetch_and32(Self::vcpu(vcpu), !0xff);
    }

    /// What a guest's upcall handler does in the 2-level ABI: takes all unmasked events that the selector shows.
    fn take_events(&self, vcpu: u32) -> Vec<u32> {
        self.clear_upcall(vcpu);
        let selected = self.info.fetch_and64(Self::vcpu(vcpu) + SELECTOR, 0);
        let mut events = Vec::new();
        for word in (0..64).filter(|word| selected >> word & 1 != 0) {
            let offset = word as usize * 8;
            let ready = self.info.load64(PENDING + offset) & !self.info.load64(MASK + offset);
            self.info.fetch_and64(PENDING + offset, !ready);
            events.extend(
                (0..64)
                    .filter(|bit| ready >> bit & 1 != 0)
                    .map(|bit| word * 64 + bit),
            );
        }
        events
    }
}

/// A domain with some vCPUs and its guest.
fn domain(domid: u16, vcpus: u32, max_port: u32) -> (EventChannels<MemoryPage>, Guest) {
    let mut channels = EventChannels::new(domid, max_port).unwrap();
    channels.set_vcpus(vcpus).unwrap();
    (channels, Guest::new(vcpus))
}
