//! The allocator, and the flush clock that its frames are stamped with.

use std::vec::Vec;

use super::{DOMAIN, mfn};
use crate::*;

#[test]
fn the_allocator_splits_merges_and_keeps_low_memory() {
    let infos: Vec<FrameInfo> = (0..4096).map(|_| FrameInfo::new()).collect();
    let table = FrameTable::new(&infos);
    let mut allocator = Allocator::new(&table);
    allocator.add(mfn(0), 4096, OldContent::Kept);
    assert_eq!(allocator.free_frames(), 4096);
    assert_eq!(allocator.free_frames_below(20), 256);
    let mut taken = Vec::new();
    // Everything above 256 goes before anything below.
    for _ in 0..(4096 - 256) {
        let chunk = allocator.allocate_frame().unwrap();
        assert!(chunk.first().raw() >= 256);
        taken.push(chunk);
    }
    let low = allocator.allocate(3, 20).unwrap();
    assert!(low.first().raw() < 256 && low.first().raw().is_multiple_of(8));
    assert!(allocator.allocate(MAX_ORDER + 1, 64).is_none());
    assert!(allocator.allocate(0, 11).is_none());
    assert!(allocator.allocate(10, 64).is_none());
    allocator.give_back(low);
    for chunk in taken {
        allocator.give_back(chunk);
    }
    assert_eq!(allocator.free_frames(), 4096);
    let mut cleared = Vec::new();
    let mut flushed = 0;
    let chunk = allocator.allocate(11, 64).unwrap();
    assert_eq!(chunk.first(), mfn(2048), "merged back");
    let first = chunk
        .prepare(
            OldContent::Cleared,
            |_| flushed += 1,
            |frame| cleared.push(frame),
        )
        .assign(DOMAIN);
    assert_eq!((first, cleared.len(), flushed), (mfn(2048), 2048, 1));
    // One goes back through limbo, dirty.
    assert!(table.release(mfn(3000), DOMAIN));
    for frame in table.take_limbo() {
        assert_eq!(frame.stamp(), table.clock().now());
        allocator.free(LimboRun::new(frame));
    }
    assert_eq!(allocator.free_frames(), 2049);
    // Many, in either order, become the blocks that they fit in.
    for order in [[3001, 3002, 3003, 3004], [3008, 3007, 3006, 3005]] {
        assert!(order.iter().all(|frame| table.release(mfn(*frame), DOMAIN)));
        let mut frames = table.take_limbo();
        let mut run = LimboRun::new(frames.next().unwrap());
        frames.for_each(|frame| run.add(frame).unwrap());
        allocator.free(run);
    }
    assert_eq!(allocator.free_frames(), 2049 + 8);
    for (order, first) in [(3, 3000), (0, 3008)] {
        let chunk = allocator.allocate(order, 64).unwrap();
        assert_eq!(chunk.first(), mfn(first));
        chunk
            .prepare(OldContent::Kept, |_| {}, |_| {})
            .assign(DOMAIN);
    }
    // What is not next to the others is not taken; what is dropped goes back.
    assert!(table.release(mfn(3000), DOMAIN) && table.release(mfn(3002), DOMAIN));
    let mut frames = table.take_limbo();
    let mut run = LimboRun::new(frames.next().unwrap());
    let stranger = run.add(frames.next().unwrap()).unwrap_err();
    drop(run);
    assert_eq!(table.take_limbo().count(), 1);
    allocator.free(LimboRun::new(stranger));
    assert_eq!(allocator.free_frames(), 2049);
    let own = allocator.allocate(1, 64).unwrap();
    let own = own.prepare(OldContent::Kept, |_| {}, |_| {}).assign_own();
    assert!(!allocator.free_own(mfn(2049), 0), "a domain's");
    assert!(allocator.free_own(own, 1));
    assert_eq!(allocator.free_frames(), 2049);
}

#[test]
fn frame_zero_is_only_itself() {
    let infos: Vec<FrameInfo> = (0..64).map(|_| FrameInfo::new()).collect();
    let table = FrameTable::new(&infos);
    let mut allocator = Allocator::new(&table);
    allocator.add(mfn(0), 1000, OldContent::Cleared);
    assert_eq!(allocator.free_frames(), 64);
    let chunk = allocator.allocate(0, 12).unwrap();
    assert_eq!(chunk.first(), mfn(0));
    assert!(allocator.allocate(0, 12).is_none());
    allocator.give_back(chunk);
    for (order, first) in [(5, 32), (4, 16), (3, 8), (2, 4), (1, 2)] {
        let chunk = allocator.allocate(order, 64).unwrap();
        assert_eq!(chunk.first(), mfn(first));
        let _ready = chunk.prepare(OldContent::Kept, |_| {}, |_| {});
    }
}

#[test]
fn a_flush_after_the_stamp_settles_it() {
    let clock = FlushClock::new();
    let never = Epoch::START;
    let stamp = clock.now();
    assert!(clock.is_stale(never, stamp));
    let flushed = clock.tick();
    assert!(!clock.is_stale(flushed, stamp));
    assert!(clock.is_stale(flushed, clock.now()), "used after the flush");
    assert_eq!(clock.later(stamp, clock.now()), clock.now());
}

#[test]
fn wrapping_stamps_err_on_the_side_of_a_flush() {
    let clock = FlushClock::new();
    clock.set(0x1_0000_0005);
    let stamp = clock.now();
    let last = clock.tick();
    assert!(!clock.is_stale(last, stamp));
    // 0xffff_fff0 was before the low half wrapped.
    assert!(!clock.is_stale(Epoch(0x1_0000_0000), Stamp(0xffff_fff0)));
    assert!(clock.is_stale(Epoch(0xffff_ff00), Stamp(0xffff_fff0)));
}
