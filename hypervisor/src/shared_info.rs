//! The page that a domain shares with the hypervisor, and each vCPU's part of it.
//!
//! Guest memory is never a reference: every access is a single load, store or atomic operation at a checked
//! offset of a page that the domain owns (public/xen.h `struct shared_info`, `struct vcpu_info`).

use core::mem::offset_of;

use frames::PageRef;
use xen_abi::shared_info::VcpuInfo;

use crate::mm::WritablePage;

/// Bytes of `struct vcpu_info`.
const VCPU_INFO_SIZE: usize = size_of::<VcpuInfo>();

/// A vCPU's `struct vcpu_info`, wherever the guest has put it.
pub struct VcpuInfoArea {
    page: PageRef<'static>,
    offset: usize,
    /// Keeps a page of the guest's own from becoming a page table.
    writable: Option<WritablePage>,
}

impl VcpuInfoArea {
    /// Names the area at `offset` of `page`; `None` if it would not lie within the page.
    pub fn new(page: PageRef<'static>, offset: usize) -> Option<Self> {
        let end = offset.checked_add(VCPU_INFO_SIZE)?;
        (offset.is_multiple_of(8) && end <= addr::PAGE_SIZE as usize).then_some(Self {
            page,
            offset,
            writable: None,
        })
    }

    /// Names the area at `offset` of a page of the guest's own; `None` if it would not lie within the page.
    pub fn in_guest_page(page: WritablePage, offset: usize) -> Option<Self> {
        let mut area = Self::new(page.try_clone()?, offset)?;
        area.writable = Some(page);
        Some(area)
    }

    /// Whether an upcall is pending.
    #[inline]
    pub fn upcall_pending(&self) -> bool {
        platform_memory::map(&self.page)
            .load_u8(self.offset + offset_of!(VcpuInfo, evtchn_upcall_pending))
            != 0
    }

    /// Whether the guest masks upcalls.
    #[inline]
    pub fn upcall_mask(&self) -> bool {
        platform_memory::map(&self.page)
            .load_u8(self.offset + offset_of!(VcpuInfo, evtchn_upcall_mask))
            != 0
    }

    /// Masks or unmasks upcalls.
    #[inline]
    pub fn set_upcall_mask(&self, masked: bool) {
        platform_memory::map(&self.page).store_u8(
            self.offset + offset_of!(VcpuInfo, evtchn_upcall_mask),
            u8::from(masked),
        );
    }

    /// Makes an upcall pending; returns whether one was before.
    #[inline]
    pub fn set_upcall_pending(&self) -> bool {
        platform_memory::map(&self.page)
            .swap_u8(self.offset + offset_of!(VcpuInfo, evtchn_upcall_pending), 1)
            != 0
    }

    /// Whether the guest's event callback should be entered.
    #[inline]
    pub fn upcall_due(&self) -> bool {
        self.upcall_pending() && !self.upcall_mask()
    }

    /// The address that the guest reads as CR2.
    pub fn fault_address(&self) -> u64 {
        platform_memory::map(&self.page).load_u64(self.offset + offset_of!(VcpuInfo, arch))
    }

    /// Sets the address that the guest reads as CR2.
    #[inline]
    pub fn set_fault_address(&self, address: u64) {
        platform_memory::map(&self.page)
            .store_u64(self.offset + offset_of!(VcpuInfo, arch), address);
    }

    /// Makes every event look pending: the guest checks them all.
    pub fn mark_all_pending(&self) {
        platform_memory::map(&self.page).fetch_or_u64(
            self.offset + offset_of!(VcpuInfo, evtchn_pending_sel),
            u64::MAX,
        );
        self.set_upcall_pending();
    }

    /// Copies all of `other`.
    pub fn copy_from(&self, other: &Self) {
        let (from, to) = (
            platform_memory::map(&other.page),
            platform_memory::map(&self.page),
        );
        for word in (0..VCPU_INFO_SIZE).step_by(8) {
            to.store_u64(self.offset + word, from.load_u64(other.offset + word));
        }
    }

    /// The page of the guest's own that it is in, if it is in one.
    pub fn kept_page(&self) -> Option<&WritablePage> {
        self.writable.as_ref()
    }

    /// Page and offset, for the parts that know the rest of the layout.
    pub fn place(&self) -> (&PageRef<'static>, usize) {
        (&self.page, self.offset)
    }
}
