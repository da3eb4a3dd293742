//! Tables of version 2: status words, parts of pages, what is passed on, and changes of the version.

use std::vec::Vec;

use proptest::prelude::*;
use shared_page::{MemoryPage, SharedPage};
use xen_abi::errno::Errno;
use xen_abi::grant_table::{
    GTF_ACCEPT_TRANSFER, GTF_PERMIT_ACCESS, GTF_READING, GTF_READONLY, GTF_SUB_PAGE,
    GTF_TRANSFER_COMMITTED, GTF_TRANSFER_COMPLETED, GTF_TRANSITIVE, GTF_WRITING,
};

use super::{Frame, HOST, HOST_RO, OWN, USER, access, of_frame, pin};
use crate::{Access, GrantTable, Part, Pin, Pinned, Purpose, Status, Via};

type Table = GrantTable<MemoryPage, Frame>;

/// A domain that grants something to [`OWN`].
const OTHER: u16 = 3;
const READ: Access = Access::copy(true);
const WRITE: Access = Access::copy(false);

pub(super) fn set_version(table: &mut Table, version: u32) -> Result<(), Errno> {
    let page = || Ok(MemoryPage::default());
    table.set_version(version, page, |_| false).map(|_| ())
}

fn table(domid: u16) -> (Table, MemoryPage) {
    let mut table = GrantTable::new(domid, 16, 2);
    table.grow(1, || Ok(MemoryPage::default())).unwrap();
    set_version(&mut table, 2).unwrap();
    let page = table.frames()[0].clone();
    (table, page)
}

/// The guest writes an entry: its words 1, 2 and 3 are `second` and `rest`.
pub(super) fn write(
    page: &MemoryPage,
    reference: u32,
    flags: u16,
    domid: u16,
    second: u32,
    rest: u64,
) {
    let at = reference as usize * 16;
    page.store64(at + 8, rest);
    page.store32(at + 4, second);
    page.store32(at, u32::from(domid) << 16 | u32::from(flags));
}

pub(super) fn flags(page: &MemoryPage, reference: u32) -> u16 {
    page.load32(reference as usize * 16) as u16
}

/// An entry's status word.
pub(super) fn status(table: &Table, reference: u32) -> u16 {
    let page = &table.status_frames()[reference as usize / 2048];
    let at = reference as usize % 2048 * 2;
    (page.load32(at & !3) >> (at % 4 * 8)) as u16
}

fn copy(
    table: &mut Table,
    reference: u32,
    user: u16,
    access: Access,
    purpose: Purpose,
) -> Result<Pinned<'_, Frame>, Status> {
    table.pin(reference, user, access, purpose, |frame, _| Ok(frame))
}

#[test]
fn sizes() {
    let (mut table, _) = table(OWN);
    assert_eq!((table.entries(), table.status_frames().len()), (256, 1));
    assert_eq!((table.max_frames(), table.max_status_frames()), (16, 2));
    let page = || Ok(MemoryPage::default());
    table.grow(8, page).unwrap();
    assert_eq!((table.entries(), table.status_frames().len()), (2048, 1));
    // The ninth frame's entries need a second one.
    let mut left = 1;
    let two = || {
        left -= 1;
        if left < 0 { Err(Errno::ENOMEM) } else { page() }
    };
    assert_eq!(table.grow(9, two), Err(Errno::ENOMEM));
    assert_eq!((table.entries(), table.status_frames().len()), (2048, 2));
    table.grow(9, page).unwrap();
    assert_eq!(table.entries(), 2304);
    // Named by their own number, they bring the entries along.
    assert_eq!(table.grow_to_status_frames(2, || panic!("there")), Ok(()));
    assert_eq!(table.grow_to_status_frames(3, page), Err(Errno::EINVAL));
    assert_eq!(
        table.grow_to_status_frames(u32::MAX, page),
        Err(Errno::EINVAL)
    );
    let last = table.frames()[8].clone();
    write(&last, 255, GTF_PERMIT_ACCESS, USER, 0, 77);
    let pinned = pin(&mut table, 2303, USER, HOST).unwrap();
    assert_eq!(status(&table, 2303), GTF_READING | GTF_WRITING);
    assert_eq!(status(&table, 2302), 0);
    assert_eq!(table.unpin(pinned), Some(77));
    assert_eq!(pin(&mut table, 2304, USER, HOST), Err(Status::BAD_GNTREF));
}

#[test]
fn a_status_word_follows_the_pins_and_the_flags_are_the_guests() {
    let (mut table, page) = table(OWN);
    let frame = 0x12_3456_789a;
    for reference in [4, 5] {
        write(&page, reference, GTF_PERMIT_ACCESS, USER, 0, frame);
    }
    let reader = pin(&mut table, 5, USER, HOST_RO).unwrap();
    assert_eq!(status(&table, 5), GTF_READING);
    let writer = pin(&mut table, 5, USER, HOST).unwrap();
    assert_eq!(status(&table, 5), GTF_READING | GTF_WRITING);
    assert_eq!(status(&table, 4), 0, "the other half of the same word");
    assert_eq!(flags(&page, 5), GTF_PERMIT_ACCESS);
    // Made read-only meanwhile: who writes goes on, nobody else begins to.
    write(&page, 5, GTF_PERMIT_ACCESS | GTF_READONLY, USER, 0, 1);
    assert_eq!(table.unpin(writer), None);
    assert_eq!(status(&table, 5), GTF_READING);
    assert_eq!(pin(&mut table, 5, USER, HOST), Err(Status::GENERAL_ERROR));
    assert_eq!(status(&table, 5), GTF_READING, "nothing is left behind");
    assert_eq!(table.unpin(reader), Some(frame));
    assert_eq!(status(&table, 5), 0);
}

#[test]
fn what_is_not_granted_is_refused() {
    let (mut table, page) = table(OWN);
    for (flags, domid) in [
        (0, USER),
        (GTF_PERMIT_ACCESS, USER + 1),
        (GTF_ACCEPT_TRANSFER, USER),
        (GTF_TRANSITIVE, USER),
        (GTF_PERMIT_ACCESS | GTF_SUB_PAGE, USER),
        (GTF_PERMIT_ACCESS | GTF_READONLY, USER),
    ] {
        write(&page, 0, flags, domid, 0, 5);
        assert_eq!(pin(&mut table, 0, USER, HOST), Err(Status::GENERAL_ERROR));
        assert_eq!(status(&table, 0), 0, "{flags:#x}");
    }
    let refused = table.pin(0, USER, READ, Purpose::Copy, |_, _| Err(Status::BAD_PAGE));
    assert_eq!(refused.map(|_| ()).err(), Some(Status::BAD_PAGE));
    assert_eq!(status(&table, 0), 0);
}

#[test]
fn the_guest_takes_a_grant_back_while_it_is_pinned() {
    /// A page of entries whose first word changes as soon as it has been read.
    struct Changing(MemoryPage, u32);
    impl SharedPage for Changing {
        fn load32(&self, offset: usize) -> u32 {
            let now = self.0.load32(offset);
            if offset == 0 && self.1 != 0 {
                self.0.store32(0, self.1);
            }
            now
        }
        fn store32(&self, offset: usize, value: u32) {
            self.0.store32(offset, value);
        }
        fn compare_exchange32(&self, _: usize, _: u32, _: u32) -> Result<u32, u32> {
            panic!("the flags are the guest's")
        }
        fn fetch_or32(&self, offset: usize, bits: u32) -> u32 {
            self.0.fetch_or32(offset, bits)
        }
        fn fetch_and32(&self, offset: usize, bits: u32) -> u32 {
            self.0.fetch_and32(offset, bits)
        }
        fn load64(&self, offset: usize) -> u64 {
            self.0.load64(offset)
        }
        fn fetch_or64(&self, offset: usize, bits: u64) -> u64 {
            self.0.fetch_or64(offset, bits)
        }
        fn fetch_and64(&self, offset: usize, bits: u64) -> u64 {
            self.0.fetch_and64(offset, bits)
        }
    }
    let granted = u32::from(USER) << 16 | u32::from(GTF_PERMIT_ACCESS);
    for then in [
        u32::from(USER) << 16,
        u32::from(USER + 1) << 16 | u32::from(GTF_PERMIT_ACCESS),
        granted | u32::from(GTF_READONLY),
    ] {
        let mut table = GrantTable::<Changing, Frame>::new(OWN, 1, 2);
        table
            .grow(1, || Ok(Changing(MemoryPage::default(), then)))
            .unwrap();
        let page = || Ok(Changing(MemoryPage::default(), 0));
        table.set_version(2, page, |_| false).unwrap();
        // The pin looks at the entry's type before all else.
        let entry = table.frames()[0].0.clone();
        entry.store32(0, granted);
        let never = |_, _| panic!("no frame is looked at");
        let pinned = table.pin(0, USER, access(HOST), Purpose::Map, never);
        assert_eq!(pinned.map(|_| ()).err(), Some(Status::GENERAL_ERROR));
        assert_eq!(table.status_frames()[0].0.load32(0), 0);
        assert_eq!(table.pinned(), 0);
    }
}

#[test]
fn parts_of_pages_are_copied_and_never_mapped() {
    let (mut table, page) = table(OWN);
    write(
        &page,
        1,
        GTF_PERMIT_ACCESS | GTF_SUB_PAGE,
        USER,
        100 | 50 << 16,
        9,
    );
    let Ok(Pinned::Frame(first, 9, part)) = copy(&mut table, 1, USER, WRITE, Purpose::Copy) else {
        panic!("a part of frame 9");
    };
    assert_eq!(part, Part::some(100, 50));
    for (offset, length, inside) in [
        (100, 50, true),
        (149, 1, true),
        (100, 0, true),
        (150, 0, true),
        (99, 1, false),
        (149, 2, false),
        (0, 4096, false),
        (u16::MAX, u16::MAX, false),
    ] {
        assert_eq!(part.contains(offset, length), inside, "{offset}+{length}");
    }
    assert!(Part::WHOLE.contains(0, 4096) && !Part::WHOLE.contains(1, 4096));
    // Also not by way of the pin, once the guest says that it is a whole page.
    write(&page, 1, GTF_PERMIT_ACCESS, USER, 0, 9);
    assert_eq!(
        pin(&mut table, 1, USER, HOST_RO),
        Err(Status::GENERAL_ERROR)
    );
    let Ok(Pinned::Frame(second, 9, again)) = copy(&mut table, 1, USER, READ, Purpose::Copy) else {
        panic!("still pinned");
    };
    assert_eq!(again, part, "what was granted first");
    assert_eq!(table.unpin(first), None);
    assert_eq!(table.unpin(second), Some(9));
    let whole = pin(&mut table, 1, USER, HOST_RO).unwrap();
    assert_eq!(table.unpin(whole), Some(9));
}

const PASSED: Via = Via {
    domid: OTHER,
    reference: 20,
};

/// [`OWN`] passes on to [`USER`] what [`OTHER`] granted to it.
fn passing(flags: u16) -> (Table, MemoryPage) {
    let (table, page) = table(OWN);
    let second = u32::from(OTHER);
    write(
        &page,
        2,
        GTF_TRANSITIVE | flags,
        USER,
        second,
        PASSED.reference.into(),
    );
    (table, page)
}

#[test]
fn a_grant_is_passed_on_once() {
    let (mut table, page) = passing(0);
    for (user, purpose) in [
        (USER + 1, Purpose::Copy),
        (USER, Purpose::CopyForOther),
        (USER, Purpose::Map),
    ] {
        let refused = copy(&mut table, 2, user, READ, purpose).map(|_| ());
        assert_eq!(refused, Err(Status::GENERAL_ERROR));
    }
    let Ok(Pinned::Via(PASSED)) = copy(&mut table, 2, USER, WRITE, Purpose::Copy) else {
        panic!("it is passed on");
    };
    assert_eq!((table.pinned(), status(&table, 2)), (0, 0));
    // An entry of its own.
    write(&page, 2, GTF_TRANSITIVE, USER, OWN.into(), 20);
    let refused = copy(&mut table, 2, USER, READ, Purpose::Copy).map(|_| ());
    assert_eq!(refused, Err(Status::GENERAL_ERROR));
    let (mut table, _) = passing(GTF_READONLY);
    let refused = copy(&mut table, 2, USER, WRITE, Purpose::Copy).map(|_| ());
    assert_eq!(refused, Err(Status::GENERAL_ERROR));
    assert!(copy(&mut table, 2, USER, READ, Purpose::Copy).is_ok());
}

#[test]
fn what_changed_while_the_other_was_pinned_is_looked_at_again() {
    let (mut table, page) = passing(0);
    let other = Via {
        reference: 21,
        ..PASSED
    };
    assert_eq!(table.pin_via(2, USER, READ, other), Ok(None));
    assert_eq!(status(&table, 2), 0, "nothing is left behind");
    let refused = table.pin_via(2, USER + 1, READ, PASSED);
    assert_eq!(refused, Err(Status::GENERAL_ERROR));
    let first = table.pin_via(2, USER, READ, PASSED).unwrap().unwrap();
    assert_eq!((table.pinned(), status(&table, 2)), (1, GTF_READING));
    assert_eq!(table.pinned_frame(2), None, "the frame is the other's");
    // Pinned, it stays what it is.
    write(&page, 2, GTF_PERMIT_ACCESS, USER, 0, 5);
    assert_eq!(
        pin(&mut table, 2, USER, HOST_RO),
        Err(Status::GENERAL_ERROR)
    );
    let Ok(Pinned::Via(PASSED)) = copy(&mut table, 2, USER, READ, Purpose::Copy) else {
        panic!("it is passed on");
    };
    assert_eq!(table.pin_via(2, USER, READ, other), Ok(None));
    let second = table.pin_via(2, USER, WRITE, PASSED).unwrap().unwrap();
    assert_eq!(status(&table, 2), GTF_READING | GTF_WRITING);
    assert_eq!(table.unpin(second), None);
    assert_eq!(status(&table, 2), GTF_READING);
    assert_eq!(table.unpin(first), None);
    assert_eq!((table.pinned(), status(&table, 2)), (0, 0));
    // Another kind of entry by now, or another version.
    assert_eq!(table.pin_via(2, USER, READ, PASSED), Ok(None));
    set_version(&mut table, 1).unwrap();
    assert_eq!(table.pin_via(2, USER, READ, PASSED), Ok(None));
    table.set_dying();
    let refused = table.pin_via(2, USER, READ, PASSED);
    assert_eq!(refused, Err(Status::GENERAL_ERROR));
}

#[test]
fn versions_change_while_nothing_is_in_use() {
    let (mut table, page) = table(OWN);
    write(&page, 1, GTF_PERMIT_ACCESS | GTF_READONLY, USER, 0, 5);
    write(&page, 2, GTF_ACCEPT_TRANSFER, USER, 0, 6);
    write(&page, 8, GTF_PERMIT_ACCESS, USER, 0, 7);
    let reserved = pin(&mut table, 1, USER, HOST_RO).unwrap();
    let busy = pin(&mut table, 8, USER, HOST_RO).unwrap();
    assert_eq!(set_version(&mut table, 1), Err(Errno::EBUSY));
    assert_eq!(set_version(&mut table, 2), Ok(()), "no change");
    table.unpin(busy);
    // A status frame is mapped: all stays as it is.
    let none = || panic!("version 1 needs no more frames");
    let refused = table.set_version(1, none, |_| true).map(|_| ());
    assert_eq!(refused, Err(Errno::EBUSY));
    assert_eq!((table.version(), status(&table, 1)), (2, GTF_READING));
    assert_eq!(flags(&page, 8), GTF_PERMIT_ACCESS);
    let unused = table.set_version(1, none, |_| false).unwrap();
    assert_eq!((unused.len(), table.status_frames().len()), (1, 0));
    let kept = GTF_PERMIT_ACCESS | GTF_READONLY | GTF_READING;
    assert_eq!(page.load32(8), u32::from(USER) << 16 | u32::from(kept));
    assert_eq!(page.load32(12), 5);
    for word in (16..4096).step_by(4) {
        assert_eq!(page.load32(word), 0, "{word}");
    }
    // And back. Without memory for status words all stays as it is, too.
    let refused = table.set_version(2, || Err(Errno::ENOMEM), |_| false);
    assert_eq!(refused.map(|_| ()), Err(Errno::ENOMEM));
    assert_eq!((table.version(), table.entries()), (1, 512));
    assert_eq!(page.load32(12), 5);
    set_version(&mut table, 2).unwrap();
    assert_eq!(flags(&page, 1), GTF_PERMIT_ACCESS | GTF_READONLY);
    assert_eq!((page.load64(24), status(&table, 1)), (5, GTF_READING));
    assert_eq!(table.unpin(reserved), Some(5));
    assert_eq!(status(&table, 1), 0);
}

#[test]
fn what_version_1_cannot_express_keeps_version_2() {
    let (mut table, page) = table(OWN);
    write(&page, 7, GTF_TRANSITIVE, USER, OTHER.into(), 1);
    assert_eq!(set_version(&mut table, 1), Err(Errno::ERANGE));
    write(&page, 7, GTF_PERMIT_ACCESS, USER, 0, 1 << 32);
    assert_eq!(set_version(&mut table, 1), Err(Errno::ERANGE));
    assert_eq!((table.version(), flags(&page, 7)), (2, GTF_PERMIT_ACCESS));
    // An entry that goes anyway does not matter.
    write(&page, 7, 0, 0, 0, 0);
    write(&page, 8, GTF_TRANSITIVE, USER, OTHER.into(), 1);
    assert_eq!(set_version(&mut table, 1), Ok(()));
}

#[test]
fn entries_swap_with_their_status() {
    let (mut table, page) = table(OWN);
    write(&page, 1, GTF_PERMIT_ACCESS, USER, 3, 5);
    write(&page, 200, GTF_TRANSITIVE, USER + 1, 4, 6);
    // The guest's own doing.
    table.status_frames()[0].store32(0, 0xabcd_0000);
    let pinned = pin(&mut table, 1, USER, HOST_RO).unwrap();
    assert_eq!(table.swap(1, 200), Err(Status::EAGAIN));
    table.unpin(pinned);
    let left = status(&table, 1);
    assert_eq!(table.swap(1, 256), Err(Status::BAD_GNTREF));
    assert_eq!(table.swap(1, 200), Ok(()));
    assert_eq!((flags(&page, 1), page.load64(24)), (GTF_TRANSITIVE, 6));
    assert_eq!((page.load32(20), page.load32(200 * 16 + 4)), (4, 3));
    assert_eq!((status(&table, 1), status(&table, 200)), (0, left));
}

#[test]
fn a_page_is_taken_as_it_was_offered() {
    let done = GTF_ACCEPT_TRANSFER | GTF_TRANSFER_COMMITTED | GTF_TRANSFER_COMPLETED;
    let (mut table, page) = table(OWN);
    let frame = 0x12_3456_789a;
    for (flags, domid) in [
        (0, USER),
        (GTF_PERMIT_ACCESS, USER),
        (GTF_ACCEPT_TRANSFER, USER + 1),
        (GTF_ACCEPT_TRANSFER | GTF_TRANSFER_COMMITTED, USER),
        (done, USER),
    ] {
        write(&page, 1, flags, domid, 0, 5);
        let refused = table.accept_transfer(1, USER);
        assert_eq!(refused, Err(Status::GENERAL_ERROR));
        assert_eq!(self::flags(&page, 1), flags);
    }
    let refused = table.accept_transfer(256, USER);
    assert_eq!(refused, Err(Status::GENERAL_ERROR));
    write(&page, 1, GTF_ACCEPT_TRANSFER, USER, 0, 5);
    assert_eq!(table.accept_transfer(1, USER), Ok(()));
    assert_eq!(table.complete_transfer(1, frame), Some(5));
    assert_eq!((flags(&page, 1), page.load64(24)), (done, frame));
    assert_eq!(table.complete_transfer(256, frame), None);
    // The same in version 1.
    set_version(&mut table, 1).unwrap();
    super::write(&page, 9, GTF_ACCEPT_TRANSFER, USER, 6);
    assert_eq!(table.accept_transfer(9, USER), Ok(()));
    assert_eq!(table.complete_transfer(9, 77), Some(6));
    assert_eq!((super::flags(&page, 9), page.load32(9 * 8 + 4)), (done, 77));
}

/// A step of copies by way of an entry that is passed on.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A copy begins, up to the pin of the other's entry, or ends with that.
    Begin { write: bool },
    /// The oldest copy that has begun pins this table's entry, or gives up.
    GoOn,
    /// A copy that has pinned both ends; the newest or the oldest one.
    End { newest: bool },
    /// The guest writes its entry: what it passes on, if anything.
    Pass(Option<u32>),
    /// It changes the version of its table.
    SetVersion(u32),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<bool>().prop_map(|write| Step::Begin { write }),
        3 => Just(Step::GoOn),
        2 => any::<bool>().prop_map(|newest| Step::End { newest }),
        2 => prop_oneof![Just(None), Just(Some(20)), Just(Some(21))].prop_map(Step::Pass),
        1 => (1_u32..=2).prop_map(Step::SetVersion),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// However copies and changes of the entry interleave: an entry that is passed on is pinned at least as often as the one
    /// that passes it on, each copy is of the frame that both named, and nothing is left at the end.
    #[test]
    fn copies_by_way_of_another_domain(sequence in proptest::collection::vec(steps(), 1..80)) {
        let (mut table, page) = passing(0);
        let (mut other, granted) = self::table(OTHER);
        for reference in [20, 21] {
            write(&granted, reference, GTF_PERMIT_ACCESS, OWN, 0, reference.into());
        }
        let mut begun: Vec<(Access, Via, Pin, Frame)> = Vec::new();
        let mut copies: Vec<(Pin, Pin, Via)> = Vec::new();
        for step in sequence {
            match step {
                Step::Begin { write } => {
                    let access = Access::copy(!write);
                    if let Ok(Pinned::Via(via)) = copy(&mut table, 2, USER, access, Purpose::Copy) {
                        let found = copy(&mut other, via.reference, OWN, access, Purpose::CopyForOther);
                        if let Ok(found) = found {
                            let (pin, frame) = of_frame(found);
                            begun.push((access, via, pin, frame));
                        }
                    }
                }
                Step::GoOn if !begun.is_empty() => {
                    let (access, via, inner, frame) = begun.remove(0);
                    match table.pin_via(2, USER, access, via) {
                        Ok(Some(outer)) => {
                            prop_assert_eq!(frame, u64::from(via.reference));
                            copies.push((outer, inner, via));
                        }
                        _ => {
                            other.unpin(inner);
                        }
                    }
                }
                Step::End { newest } if !copies.is_empty() => {
                    let at = if newest { copies.len() - 1 } else { 0 };
                    let (outer, inner, _) = copies.remove(at);
                    prop_assert_eq!(table.unpin(outer), None);
                    other.unpin(inner);
                }
                Step::Pass(reference) if table.version() == 2 => {
                    let flags = reference.map_or(0, |_| GTF_TRANSITIVE);
                    let reference = reference.unwrap_or(0);
                    write(&page, 2, flags, USER, OTHER.into(), reference.into());
                }
                Step::SetVersion(version) => {
                    // A reserved entry that is passed on has no form in version 1, and is gone after version 1.
                    let passes = table.version() == 2 && flags(&page, 2) == GTF_TRANSITIVE;
                    let result = set_version(&mut table, version);
                    prop_assert_eq!(result.is_err(), passes && version == 1);
                }
                _ => {}
            }
            let all_the_same = copies.windows(2).all(|two| two[0].2 == two[1].2);
            prop_assert!(all_the_same, "one entry, one target");
            prop_assert_eq!(table.pinned(), u32::from(!copies.is_empty()));
            if table.version() == 2 {
                let used = status(&table, 2) & GTF_READING != 0;
                prop_assert_eq!(used, !copies.is_empty());
            }
        }
        for (outer, inner, _) in copies {
            table.unpin(outer);
            other.unpin(inner);
        }
        for (_, _, inner, _) in begun {
            other.unpin(inner);
        }
        prop_assert_eq!((table.pinned(), other.pinned()), (0, 0));
        prop_assert_eq!((status(&other, 20), status(&other, 21)), (0, 0));
    }
}
