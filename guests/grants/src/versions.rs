//! Versions of the table, and what a change of them keeps.

use guest_runtime::event_channels::poll;
use guest_runtime::grants::setup_table;
use guest_runtime::memory::Page;
use guest_runtime::xen_abi::domid::DOMID_SELF;
use guest_runtime::xen_abi::errno::Errno;
use guest_runtime::xen_abi::grant_table::{
    GNTMAP_READONLY, GNTST_BAD_DOMAIN, GNTST_GENERAL_ERROR, GTF_ACCEPT_TRANSFER, GTF_PERMIT_ACCESS,
    GTF_READING, GTF_READONLY, GTF_TRANSITIVE, GTF_WRITING,
};
use guest_runtime::{expect_eq, println, shared};

use crate::table::{
    Entries, OWN, Statuses, map_grant, set_version, status_frames, unmap_grant, version,
};

/// A domain that there is not.
const NOBODY: u16 = 0x7000;
/// A reserved entry, and the first that is none.
const RESERVED: u32 = 1;
const FREE: u32 = 8;

fn error(errno: Errno) -> i64 {
    -i64::from(errno.0)
}

fn numbers() {
    expect_eq!(version(DOMID_SELF), (0, 1));
    expect_eq!(version(OWN), (0, 1));
    expect_eq!(version(NOBODY), (error(Errno::ESRCH), 77));
    expect_eq!(set_version(0), (error(Errno::EINVAL), 1));
    expect_eq!(set_version(3), (error(Errno::EINVAL), 1));
    expect_eq!(set_version(1), (0, 1));
    expect_eq!(set_version(2), (0, 2));
    expect_eq!(set_version(2), (0, 2));
    expect_eq!(set_version(u32::MAX), (error(Errno::EINVAL), 2));
    expect_eq!(version(DOMID_SELF), (0, 2));
    expect_eq!(set_version(1), (0, 1));
}

/// Frames of status words: one for eight of entries, and none in version 1.
fn sizes() {
    expect_eq!(status_frames(DOMID_SELF, 0).0, 0);
    expect_eq!(status_frames(DOMID_SELF, 1).0, GNTST_GENERAL_ERROR);
    expect_eq!(status_frames(NOBODY, 0).0, GNTST_BAD_DOMAIN);
    expect_eq!(setup_table(DOMID_SELF, 8).0, 0);
    expect_eq!(set_version(2), (0, 2));
    let (status, frames) = status_frames(DOMID_SELF, 1);
    expect_eq!((status, frames[0] != 0, frames[1]), (0, true, 0));
    expect_eq!(status_frames(DOMID_SELF, 2).0, GNTST_GENERAL_ERROR);
    expect_eq!(status_frames(DOMID_SELF, u32::MAX).0, GNTST_GENERAL_ERROR);
    expect_eq!(setup_table(DOMID_SELF, 1).0, 0);
    expect_eq!(status_frames(DOMID_SELF, 2).0, GNTST_GENERAL_ERROR);
    expect_eq!(set_version(1), (0, 1));
    expect_eq!(status_frames(DOMID_SELF, 1).0, GNTST_GENERAL_ERROR);
}

/// Entries that tools make outlast a change, in both directions; others are invalid then.
fn reserved_entries() {
    let entries = Entries::map();
    let read_only = GTF_PERMIT_ACCESS | GTF_READONLY;
    entries.set_v1(0, read_only, 0x1234, 0x8765_4321);
    entries.set_v1(7, GTF_PERMIT_ACCESS, OWN, 5);
    entries.set_v1(FREE, GTF_PERMIT_ACCESS, OWN, 6);
    expect_eq!(set_version(2), (0, 2));
    let header = 0x1234 << 16 | u64::from(read_only);
    expect_eq!(entries.v2(0), [header, 0x8765_4321]);
    expect_eq!(entries.v2(7), [GTF_PERMIT_ACCESS.into(), 5]);
    expect_eq!(entries.v2(FREE), [0, 0]);
    // What was word 8 of version 1.
    expect_eq!(entries.v2(4), [0, 0]);
    entries.set_v2(2, GTF_ACCEPT_TRANSFER, 0, 7);
    entries.set_v2(FREE, GTF_PERMIT_ACCESS, 0, 6);
    expect_eq!(set_version(1), (0, 1));
    expect_eq!(entries.v1(0), (read_only, 0x1234, 0x8765_4321));
    expect_eq!(entries.v1(7), (GTF_PERMIT_ACCESS, OWN, 5));
    for reference in [2, FREE, 16, 511] {
        expect_eq!(entries.v1(reference), (0, 0, 0), "entry {reference}");
    }
    entries.clear();
}

/// Entries in use keep the version, unless they are reserved.
fn in_use() {
    let entries = Entries::map();
    let (page, window) = (Page::take(), Page::take());
    expect_eq!(window.unmap(), 0);
    page.set(9, 0x77);
    for reference in [RESERVED, FREE] {
        entries.set_v1(reference, GTF_PERMIT_ACCESS, OWN, page.mfn());
    }
    let (status, handle) = map_grant(FREE, window, GNTMAP_READONLY);
    expect_eq!(status, 0);
    expect_eq!(set_version(2), (error(Errno::EBUSY), 1));
    expect_eq!(set_version(1), (0, 1));
    expect_eq!(set_version(3), (error(Errno::EINVAL), 1));
    unmap_grant(handle, window);

    let (status, handle) = map_grant(RESERVED, window, GNTMAP_READONLY);
    expect_eq!(status, 0);
    let used = GTF_PERMIT_ACCESS | GTF_READING;
    expect_eq!(entries.v1(RESERVED).0, used);
    expect_eq!(set_version(2), (0, 2));
    let statuses = Statuses::map();
    expect_eq!(entries.v2(RESERVED)[0], u64::from(GTF_PERMIT_ACCESS));
    expect_eq!(statuses.get(RESERVED), GTF_READING);
    expect_eq!(window.get(9), 0x77);
    // And so do frames of status words that are mapped.
    expect_eq!(set_version(1), (error(Errno::EBUSY), 2));
    expect_eq!(statuses.get(RESERVED), GTF_READING);
    let again = map_grant(RESERVED, Page::take(), 0);
    expect_eq!(again.0, 0);
    expect_eq!(statuses.get(RESERVED), GTF_READING | GTF_WRITING);
    statuses.unmap();
    expect_eq!(set_version(1), (0, 1));
    expect_eq!(entries.v1(RESERVED).0, used | GTF_WRITING);
    unmap_grant(handle, window);
    expect_eq!(entries.v1(RESERVED).0, used | GTF_WRITING);
    entries.clear();
}

/// What version 1 cannot say.
fn not_representable() {
    expect_eq!(set_version(2), (0, 2));
    let entries = Entries::map();
    for (flags, frame) in [(GTF_TRANSITIVE, 0), (GTF_PERMIT_ACCESS, 1 << 32)] {
        entries.set_v2(3, flags, 0, frame);
        expect_eq!(set_version(1), (error(Errno::ERANGE), 2), "{flags:#x}");
        expect_eq!(entries.v2(3), [flags.into(), frame]);
        entries.set_v2(3, 0, 0, 0);
        entries.set_v2(FREE, flags, 0, frame);
    }
    expect_eq!(set_version(1), (0, 1));
}

pub(crate) fn check_all() {
    numbers();
    sizes();
    reserved_entries();
    not_representable();
    in_use();
    println!("versions change");
}

/// A domain that may have version 1 only.
pub(crate) fn check_limited() {
    expect_eq!(set_version(2), (error(Errno::ENOSYS), 1));
    expect_eq!(set_version(3), (error(Errno::EINVAL), 1));
    expect_eq!(set_version(1), (0, 1));
    println!("version 1 only");
    // A domain that is gone at once leaves nothing on its console.
    poll(&mut [], shared::now() + 3_000_000_000);
}
