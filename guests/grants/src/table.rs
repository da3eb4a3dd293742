//! This domain's grant table and its status words, and the calls about them.

use guest_runtime::check_eq;
use guest_runtime::grants::{grant_table, setup_table};
use guest_runtime::memory::{PAGE, Page, address_of, pte, update_va_mapping};
use guest_runtime::xen_abi::domid::DOMID_SELF;
use guest_runtime::xen_abi::{DomId, GuestHandle, grant_table as op};

/// Whom all is granted to: this domain.
pub(crate) const OWN: u16 = 0;

/// The first frame of entries, mapped.
pub(crate) struct Entries(Page);

impl Entries {
    pub(crate) fn map() -> Self {
        let (status, frames) = setup_table(DOMID_SELF, 1);
        check_eq!(status, 0);
        Self(map_frame(frames[0]))
    }

    /// The words of an entry of version 1.
    pub(crate) fn set_v1(&self, reference: u32, flags: u16, domid: DomId, frame: u64) {
        let header = u64::from(domid) << 16 | u64::from(flags);
        self.0.set(reference.into(), frame << 32 | header);
    }

    /// An entry of version 1: flags, domain, frame.
    pub(crate) fn v1(&self, reference: u32) -> (u16, DomId, u32) {
        let word = self.0.get(reference.into());
        (word as u16, (word >> 16) as u16, (word >> 32) as u32)
    }

    /// The words of an entry of version 2: the second half of the first one, and the other.
    pub(crate) fn set_v2(&self, reference: u32, flags: u16, second: u32, other: u64) {
        let header = u64::from(OWN) << 16 | u64::from(flags);
        self.set_words(reference, [u64::from(second) << 32 | header, other]);
    }

    /// The words of an entry of version 2.
    pub(crate) fn set_words(&self, reference: u32, [first, other]: [u64; 2]) {
        let at = u64::from(reference) * 2;
        self.0.set(at + 1, other);
        self.0.set(at, first);
    }

    pub(crate) fn v2(&self, reference: u32) -> [u64; 2] {
        let at = u64::from(reference) * 2;
        [self.0.get(at), self.0.get(at + 1)]
    }

    /// The table is empty afterwards.
    pub(crate) fn clear(&self) {
        self.0.clear();
    }
}

/// The first frame of status words, mapped.
pub(crate) struct Statuses(Page);

impl Statuses {
    pub(crate) fn map() -> Self {
        let (status, frames) = status_frames(DOMID_SELF, 1);
        check_eq!(status, 0);
        Self(map_frame(frames[0]))
    }

    pub(crate) fn get(&self, reference: u32) -> u16 {
        let word = self.0.get(u64::from(reference) / 4);
        (word >> (reference % 4 * 16)) as u16
    }

    pub(crate) fn unmap(self) {
        check_eq!(self.0.unmap(), 0);
    }
}

/// Maps a frame.
pub(crate) fn map_frame(frame: u64) -> Page {
    let page = Page::take();
    check_eq!(
        update_va_mapping(page.address, frame * PAGE | pte::PAGE_RW),
        0
    );
    page
}

/// `GNTTABOP_get_status_frames`: its status, and the frames.
pub(crate) fn status_frames(dom: DomId, frames: u32) -> (i16, [u64; 8]) {
    let mut list = [0; 8];
    let mut request = op::GetStatusFrames {
        nr_frames: frames,
        dom,
        status: 1,
        frame_list: GuestHandle::new(address_of(&mut list)),
    };
    check_eq!(grant_table(op::GET_STATUS_FRAMES, &mut request), 0);
    (request.status, list)
}

/// `GNTTABOP_set_version`: its answer, and the version that it tells.
pub(crate) fn set_version(version: u32) -> (i64, u32) {
    let mut request = op::SetVersion { version };
    let answer = grant_table(op::SET_VERSION, &mut request);
    (answer, request.version)
}

/// `GNTTABOP_get_version`: its answer, and the version that it tells.
pub(crate) fn version(dom: DomId) -> (i64, u32) {
    let mut request = op::GetVersion {
        dom,
        pad: 0,
        version: 77,
    };
    let answer = grant_table(op::GET_VERSION, &mut request);
    (answer, request.version)
}

/// Maps a grant of this domain's: the status, and the handle.
pub(crate) fn map_grant(reference: u32, window: Page, flags: u32) -> (i16, u32) {
    let mut request = op::MapGrantRef {
        host_addr: window.address,
        flags: op::GNTMAP_HOST_MAP | flags,
        reference,
        dom: OWN,
        status: 1,
        handle: 0,
        dev_bus_addr: 0,
    };
    check_eq!(grant_table(op::MAP_GRANT_REF, &mut request), 0);
    (request.status, request.handle)
}

/// Unmaps it.
pub(crate) fn unmap_grant(handle: u32, window: Page) {
    let mut request = op::UnmapGrantRef {
        host_addr: window.address,
        dev_bus_addr: 0,
        handle,
        status: 1,
        _hole0: [0; 2],
    };
    check_eq!(grant_table(op::UNMAP_GRANT_REF, &mut request), 0);
    check_eq!(request.status, 0);
}

/// A side of a copy, from an offset on.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// A grant of this domain's.
    Grant(u32, u16),
    /// A page of its own.
    Own(Page, u16),
}

impl End {
    fn pointer(self) -> op::CopyPtr {
        let (word, domid, offset) = match self {
            Self::Grant(reference, offset) => (reference.into(), OWN, offset),
            Self::Own(page, offset) => (page.mfn(), DOMID_SELF, offset),
        };
        op::CopyPtr {
            u: op::CopyPtrUnion { words: [word] },
            domid,
            offset,
            _hole0: [0; 4],
        }
    }

    fn is_grant(self) -> bool {
        matches!(self, Self::Grant(..))
    }
}

/// Copies; the status.
pub(crate) fn copy(from: End, to: End, len: u16) -> i16 {
    let mut flags = 0;
    if from.is_grant() {
        flags |= op::GNTCOPY_SOURCE_GREF as u16;
    }
    if to.is_grant() {
        flags |= op::GNTCOPY_DEST_GREF as u16;
    }
    let mut request = op::Copy {
        source: from.pointer(),
        dest: to.pointer(),
        len,
        flags,
        status: 1,
        _hole0: [0; 2],
    };
    check_eq!(grant_table(op::COPY, &mut request), 0);
    request.status
}
