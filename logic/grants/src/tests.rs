//! Grant tables by hand, and against a naive model.

mod model;
mod version_2;

use std::vec::Vec;

use shared_page::{MemoryPage, SharedPage};
use xen_abi::errno::Errno;
use xen_abi::grant_table::{
    GNTMAP_DEVICE_MAP, GNTMAP_HOST_MAP, GNTMAP_READONLY, GTF_ACCEPT_TRANSFER, GTF_PERMIT_ACCESS,
    GTF_READING, GTF_READONLY, GTF_SUB_PAGE, GTF_WRITING,
};

use crate::{Access, GrantTable, Maptrack, Pin, Pinned, Purpose, Status};

/// A reference to a frame: its number.
type Frame = u64;

const USER: u16 = 7;
/// The domain that grants.
const OWN: u16 = 1;

fn table(frames: u32) -> (GrantTable<MemoryPage, Frame>, Vec<MemoryPage>) {
    let mut table = GrantTable::new(OWN, 4, 2);
    table.grow(frames, || Ok(MemoryPage::default())).unwrap();
    let pages = table.frames().to_vec();
    (table, pages)
}

fn write(page: &MemoryPage, reference: usize, flags: u16, domid: u16, frame: u32) {
    page.store32(reference * 8 + 4, frame);
    page.store32(reference * 8, u32::from(domid) << 16 | u32::from(flags));
}

fn flags(page: &MemoryPage, reference: usize) -> u16 {
    page.load32(reference * 8) as u16
}

fn access(flags: u32) -> Access {
    Access::from_map_flags(flags)
}

const HOST: u32 = GNTMAP_HOST_MAP;
const HOST_RO: u32 = GNTMAP_HOST_MAP | GNTMAP_READONLY;
const DEVICE: u32 = GNTMAP_DEVICE_MAP;

/// Pins for a mapping, of a frame that is good.
fn pin(
    table: &mut GrantTable<MemoryPage, Frame>,
    reference: u32,
    user: u16,
    map_flags: u32,
) -> Result<Pin, Status> {
    let pinned = table.pin(
        reference,
        user,
        access(map_flags),
        Purpose::Map,
        |frame, _| Ok(frame),
    );
    pinned.map(of_frame).map(|(pin, _)| pin)
}

/// What was pinned, which is a frame.
fn of_frame(pinned: Pinned<'_, Frame>) -> (Pin, Frame) {
    match pinned {
        Pinned::Frame(pin, frame, _) => (pin, *frame),
        Pinned::Via(via) => panic!("{via:?}"),
    }
}

#[test]
fn sizes_and_versions() {
    let mut table = GrantTable::<MemoryPage, Frame>::new(OWN, 2, 1);
    assert_eq!((table.entries(), table.max_frames()), (0, 2));
    let page = || Ok(MemoryPage::default());
    assert_eq!(table.grow(3, page), Err(Errno::EINVAL));
    assert_eq!(table.grow(1, page), Ok(()));
    assert_eq!(table.entries(), 512);
    // What there is stays when the rest cannot be had.
    assert_eq!(table.grow(2, || Err(Errno::ENOMEM)), Err(Errno::ENOMEM));
    assert_eq!(table.entries(), 512);
    assert_eq!(table.grow(2, page), Ok(()));
    assert_eq!(table.grow(1, || panic!("large enough")), Ok(()));
    assert_eq!(table.frames().len(), 2);
    assert_eq!(table.version(), 1);
    // Only the first version, for this one.
    let mut change = |version| table.set_version(version, page, |_| false).map(|_| ());
    assert_eq!(change(1), Ok(()));
    assert_eq!(change(2), Err(Errno::ENOSYS));
    assert_eq!(change(0), Err(Errno::EINVAL));
    assert_eq!(change(3), Err(Errno::EINVAL));
    assert_eq!(table.max_status_frames(), 1);
    assert_eq!(
        table.grow_to_status_frames(1, || panic!("none in version 1")),
        Err(Errno::EINVAL)
    );
}

#[test]
fn flags_follow_the_pins() {
    let (mut table, pages) = table(1);
    write(&pages[0], 3, GTF_PERMIT_ACCESS, USER, 99);
    let reader = pin(&mut table, 3, USER, HOST_RO).unwrap();
    assert_eq!(flags(&pages[0], 3), GTF_PERMIT_ACCESS | GTF_READING);
    let writer = pin(&mut table, 3, USER, HOST).unwrap();
    let device = pin(&mut table, 3, USER, DEVICE).unwrap();
    let both = GTF_PERMIT_ACCESS | GTF_READING | GTF_WRITING;
    assert_eq!(flags(&pages[0], 3), both);
    assert_eq!(table.unpin(writer), None);
    assert_eq!(flags(&pages[0], 3), both, "the device may write still");
    assert_eq!(table.unpin(device), None);
    assert_eq!(flags(&pages[0], 3), GTF_PERMIT_ACCESS | GTF_READING);
    assert_eq!(table.in_use().collect::<Vec<_>>(), [(3, USER, &99)]);
    assert_eq!(
        table.unpin(reader),
        Some(99),
        "the last one gives the frame back"
    );
    assert_eq!(flags(&pages[0], 3), GTF_PERMIT_ACCESS);
    assert_eq!(table.in_use().count(), 0);
}

#[test]
fn what_is_not_granted_is_refused() {
    let (mut table, pages) = table(1);
    let page = &pages[0];
    assert_eq!(pin(&mut table, 512, USER, HOST), Err(Status::BAD_GNTREF));
    assert_eq!(
        pin(&mut table, u32::MAX, USER, HOST),
        Err(Status::BAD_GNTREF)
    );
    assert_eq!(pin(&mut table, 0, USER, 0), Err(Status::BAD_GNTREF));
    for (granted, domid) in [
        (0, USER),
        (GTF_PERMIT_ACCESS, USER + 1),
        (GTF_ACCEPT_TRANSFER, USER),
        // Transitive: version 2 only.
        (3, USER),
        (GTF_PERMIT_ACCESS | GTF_SUB_PAGE, USER),
        (GTF_PERMIT_ACCESS | GTF_READONLY, USER),
    ] {
        write(page, 0, granted, domid, 5);
        assert_eq!(pin(&mut table, 0, USER, HOST), Err(Status::GENERAL_ERROR));
        assert_eq!(flags(page, 0), granted, "nothing is left behind");
    }
    // Read-only is enough for reading; a part of a page can be copied.
    let reader = pin(&mut table, 0, USER, HOST_RO).unwrap();
    assert_eq!(pin(&mut table, 0, USER, HOST), Err(Status::GENERAL_ERROR));
    assert_eq!(table.unpin(reader), Some(5));
    write(page, 1, GTF_PERMIT_ACCESS | GTF_SUB_PAGE, USER, 6);
    let copy = Access::copy(false);
    let (copying, frame) = table
        .pin(1, USER, copy, Purpose::Copy, |frame, write| {
            assert!(write);
            Ok(frame)
        })
        .map(of_frame)
        .unwrap();
    assert_eq!(frame, 6);
    assert_eq!(table.unpin(copying), Some(6));
}

#[test]
fn a_frame_that_cannot_be_had_leaves_nothing_behind() {
    let (mut table, pages) = table(1);
    write(&pages[0], 0, GTF_PERMIT_ACCESS, USER, 5);
    let refused = table.pin(0, USER, access(HOST), Purpose::Map, |_, _| {
        Err(Status::BAD_PAGE)
    });
    assert_eq!(refused.map(|_| ()), Err(Status::BAD_PAGE));
    assert_eq!(flags(&pages[0], 0), GTF_PERMIT_ACCESS);
    assert_eq!(table.in_use().count(), 0);
}

#[test]
fn what_the_guest_writes_while_pinned_changes_nothing() {
    let (mut table, pages) = table(1);
    write(&pages[0], 0, GTF_PERMIT_ACCESS, USER, 5);
    let first = pin(&mut table, 0, USER, HOST_RO).unwrap();
    // Another frame, another domain, no grant at all (XSA-500).
    write(&pages[0], 0, 0, USER + 1, 6);
    let unresolved = |_, _| panic!("the frame is known");
    let (second, frame) = table
        .pin(0, USER, access(HOST_RO), Purpose::Map, unresolved)
        .map(of_frame)
        .unwrap();
    assert_eq!(frame, 5);
    assert_eq!(
        pin(&mut table, 0, USER + 1, HOST_RO),
        Err(Status::GENERAL_ERROR)
    );
    assert_eq!(table.unpin(first), None);
    assert_eq!(table.unpin(second), Some(5));
    assert_eq!(
        pin(&mut table, 0, USER, HOST_RO),
        Err(Status::GENERAL_ERROR)
    );
}

#[test]
fn pins_cannot_overflow() {
    let (mut table, pages) = table(1);
    write(&pages[0], 0, GTF_PERMIT_ACCESS, USER, 5);
    let pins: Vec<_> = (0..128)
        .map(|_| pin(&mut table, 0, USER, HOST_RO).unwrap())
        .collect();
    assert_eq!(
        pin(&mut table, 0, USER, HOST_RO),
        Err(Status::GENERAL_ERROR)
    );
    // Other kinds have counts of their own; one that is at its limit refuses the whole request.
    assert_eq!(
        pin(&mut table, 0, USER, HOST_RO | DEVICE),
        Err(Status::GENERAL_ERROR)
    );
    let device = pin(&mut table, 0, USER, DEVICE | GNTMAP_READONLY).unwrap();
    for pin in pins {
        assert_eq!(table.unpin(pin), None);
    }
    assert_eq!(table.unpin(device), Some(5));
}

#[test]
fn entries_swap_only_while_unused() {
    let (mut table, pages) = table(1);
    write(&pages[0], 0, GTF_PERMIT_ACCESS, USER, 5);
    write(&pages[0], 9, GTF_PERMIT_ACCESS | GTF_READONLY, USER, 6);
    assert_eq!(table.swap(0, 512), Err(Status::BAD_GNTREF));
    assert_eq!(table.swap(512, 512), Err(Status::BAD_GNTREF));
    let pinned = pin(&mut table, 9, USER, HOST_RO).unwrap();
    assert_eq!(table.swap(0, 9), Err(Status::EAGAIN));
    assert_eq!(table.swap(9, 0), Err(Status::EAGAIN));
    assert_eq!(table.swap(9, 9), Ok(()));
    table.unpin(pinned);
    assert_eq!(table.swap(0, 9), Ok(()));
    assert_eq!(flags(&pages[0], 9), GTF_PERMIT_ACCESS);
    assert_eq!(pages[0].load32(9 * 8 + 4), 5);
    assert_eq!(pages[0].load32(4), 6);
}

#[test]
fn a_dying_domain_grants_nothing_new() {
    let (mut table, pages) = table(1);
    write(&pages[0], 0, GTF_PERMIT_ACCESS, USER, 5);
    let pinned = pin(&mut table, 0, USER, HOST).unwrap();
    table.set_dying();
    assert_eq!(pin(&mut table, 0, USER, HOST), Err(Status::GENERAL_ERROR));
    assert_eq!(table.unpin(pinned), Some(5));
}

#[test]
fn a_guest_that_keeps_changing_the_entry_does_not_hold_the_cpu() {
    /// A page on which every exchange fails.
    struct Restless;
    impl SharedPage for Restless {
        fn load32(&self, _: usize) -> u32 {
            u32::from(USER) << 16 | u32::from(GTF_PERMIT_ACCESS)
        }
        fn compare_exchange32(&self, _: usize, current: u32, _: u32) -> Result<u32, u32> {
            Err(current)
        }
        fn store32(&self, _: usize, _: u32) {}
        fn fetch_or32(&self, _: usize, _: u32) -> u32 {
            0
        }
        fn fetch_and32(&self, _: usize, _: u32) -> u32 {
            panic!("nothing was set, so nothing is cleared")
        }
        fn load64(&self, _: usize) -> u64 {
            0
        }
        fn fetch_or64(&self, _: usize, _: u64) -> u64 {
            0
        }
        fn fetch_and64(&self, _: usize, _: u64) -> u64 {
            0
        }
    }
    let mut table = GrantTable::<Restless, Frame>::new(OWN, 1, 1);
    table.grow(1, || Ok(Restless)).unwrap();
    let pinned = table.pin(0, USER, access(HOST), Purpose::Map, |frame, _| Ok(frame));
    assert_eq!(pinned.map(|_| ()), Err(Status::GENERAL_ERROR));
}

#[test]
fn handles_are_bounded_and_used_again() {
    let (mut table, pages) = table(1);
    write(&pages[0], 0, GTF_PERMIT_ACCESS, USER, 5);
    let mut maptrack = Maptrack::<()>::new(2);
    let first = maptrack.reserve().unwrap();
    let second = maptrack.reserve().unwrap();
    assert_eq!(maptrack.reserve(), Err(Status::NO_SPACE));
    let handle = second.handle();
    assert_eq!(
        maptrack.get(handle),
        Err(Status::BAD_HANDLE),
        "not a mapping yet"
    );
    maptrack.release(second);
    let pinned = pin(&mut table, 0, USER, HOST | DEVICE).unwrap();
    let mapped = maptrack.commit(first, 1, HOST | DEVICE, (pinned, 5), Some(()));
    assert_eq!(maptrack.used(), 1);
    assert!(maptrack.get(mapped).unwrap().access.device);

    for bad in [handle, 2, u32::MAX] {
        assert_eq!(maptrack.take(bad, true, true), Err(Status::BAD_HANDLE));
    }
    // Nothing asked for, nothing done.
    let nothing = maptrack.take(mapped, false, false).unwrap();
    assert_eq!(nothing.pin, None);
    assert_eq!(maptrack.finish(nothing), None);
    // A part that could not be unmapped is there again, its guard too.
    let part = maptrack.take(mapped, false, true).unwrap();
    assert_eq!(part.frame, 5);
    assert!(!maptrack.get(mapped).unwrap().access.device);
    maptrack.put_back(part);
    let device = maptrack.take(mapped, false, true).unwrap();
    let (pin, guard) = maptrack.finish(device).unwrap();
    assert_eq!(guard, Some(()));
    assert_eq!(table.unpin(pin), None);
    // Two at once: the second finds nothing.
    let host = maptrack.take(mapped, true, false).unwrap();
    assert_eq!(maptrack.take(mapped, true, true), Err(Status::BAD_HANDLE));
    assert_eq!(maptrack.used(), 1, "not free while it is being unmapped");
    let (pin, guard) = maptrack.finish(host).unwrap();
    assert_eq!(guard, None);
    assert_eq!(table.unpin(pin), Some(5));
    assert_eq!(maptrack.used(), 0);
    assert_eq!(maptrack.take(mapped, true, true), Err(Status::BAD_HANDLE));
    assert!(maptrack.take_next(0).is_none());
}
