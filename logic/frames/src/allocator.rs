//! The page allocator: a binary buddy system over the frame table.
//!
//! Free blocks are kept by *zone*, the number of significant bits of their frame numbers, so that
//! devices with narrow DMA can be given low frames, and everyone else is given high ones while they last.
//! Blocks never straddle zones.
//!
//! A freed frame carries the stamp of its last use and whether it may hold someone's bytes, all the way
//! through splits and merges. [`Allocator::allocate`] gives a [`Chunk`] that is good for nothing until
//! [`Chunk::prepare`] has had the stale translations flushed and the old bytes cleared.

use core::ops::Range;

use crate::atomic::Ordering;
use addr::Mfn;

use crate::clock::Stamp;
use crate::info::{FrameInfo, count, kind};
use crate::table::{FrameList, FrameTable, HYPERVISOR_OWNER, LimboRun, owner_bits};
use crate::types::PageType;

/// The largest block is 2¹⁸ frames: 1 GiB.
pub const MAX_ORDER: u32 = 18;
const ORDERS: usize = MAX_ORDER as usize + 1;
/// Frame numbers have up to 32 significant bits.
const ZONES: usize = 33;
const PAGE_SHIFT: u32 = addr::PAGE_SHIFT;

/// The free frames of the machine. Held in a lock by the hypervisor.
#[derive(Debug)]
pub struct Allocator<'t> {
    table: &'t FrameTable<'t>,
    lists: [[FrameList; ORDERS]; ZONES],
    /// For each zone, the orders that have free blocks.
    orders: [u32; ZONES],
    free: u64,
}

/// A block of frames that nobody owns yet. Give it back with [`Allocator::give_back`].
#[derive(Debug)]
#[must_use = "frames that are neither prepared nor given back are lost"]
pub struct Chunk<'t> {
    table: &'t FrameTable<'t>,
    first: u32,
    order: u32,
}

/// A block of frames without old translations or old bytes, ready to be owned.
#[derive(Debug)]
#[must_use = "frames that are not assigned are lost"]
pub struct ReadyChunk<'t>(Chunk<'t>);

/// Whether a new owner may see what is in the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldContent {
    /// It is cleared where needed.
    Cleared,
    /// It stays: the owner overwrites all of it, or is trusted with what the firmware left.
    Kept,
}

impl<'t> Allocator<'t> {
    /// An allocator without any frames.
    pub const fn new(table: &'t FrameTable<'t>) -> Self {
        Self {
            table,
            lists: [const { [const { FrameList::new() }; ORDERS] }; ZONES],
            orders: [0; ZONES],
            free: 0,
        }
    }

    /// Names the table of the frames, in place of the one before. False, and nothing done, once there are frames.
    pub fn set_table(&mut self, table: &'t FrameTable<'t>) -> bool {
        let is_new = self.orders.iter().all(|orders| *orders == 0);
        if is_new {
            self.table = table;
        }
        is_new
    }

    /// The table that the frames are in.
    pub const fn table(&self) -> &'t FrameTable<'t> {
        self.table
    }

    /// Number of free frames.
    pub const fn free_frames(&self) -> u64 {
        self.free
    }

    /// Number of free frames below 2^`address_bits` bytes.
    pub fn free_frames_below(&self, address_bits: u32) -> u64 {
        let zones = top_zone(address_bits) + 1;
        let mut frames = 0;
        for lists in self.lists.iter().take(zones) {
            for (order, list) in lists.iter().enumerate() {
                frames += (list.len() as u64) << order;
            }
        }
        frames
    }

    /// Adds RAM that nobody has a reference to, from boot or from the hypervisor's own. Frames outside
    /// the table are left out. `content` says whether it may hold bytes worth hiding.
    pub fn add(&mut self, first: Mfn, frames: u64, content: OldContent) {
        let end = first
            .raw()
            .saturating_add(frames)
            .min(self.table.len() as u64);
        let dirty = match content {
            OldContent::Cleared => 0,
            OldContent::Kept => count::DIRTY,
        };
        let mut frame = first.raw();
        while frame < end {
            // The largest block that begins here, ends in time, and stays in its zone.
            let aligned = if frame == 0 {
                0
            } else {
                frame.trailing_zeros()
            };
            let mut order = aligned.min(MAX_ORDER);
            while frame + (1 << order) > end {
                order -= 1;
            }
            for number in frame..frame + (1 << order) {
                if let Some(info) = self.table.info(Mfn::new(number)) {
                    info.count
                        .store(count::RAM | count::FREE | dirty, Ordering::Relaxed);
                    info.kind.store(0, Ordering::Relaxed);
                    info.linear.store(0, Ordering::Relaxed);
                }
            }
            self.insert_merged(frame as u32, order);
            frame += 1 << order;
        }
    }

    /// Takes 2^`order` adjacent frames, aligned to their number, below 2^`address_bits` bytes
    /// (64: anywhere). The highest zones go first. `None` when there are none.
    pub fn allocate(&mut self, order: u32, address_bits: u32) -> Option<Chunk<'t>> {
        if order > MAX_ORDER || address_bits < PAGE_SHIFT {
            return None;
        }
        for zone in (0..=top_zone(address_bits)).rev() {
            let fitting = self.orders[zone] >> order;
            if fitting == 0 {
                continue;
            }
            let mut from = order + fitting.trailing_zeros();
            let mut first = self.pop(zone, from)?;
            // Give out the upper half, so that what is left is as low as possible.
            while from > order {
                from -= 1;
                self.insert(zone, first, from);
                first += 1 << from;
            }
            self.free -= 1 << order;
            return Some(Chunk {
                table: self.table,
                first,
                order,
            });
        }
        None
    }

    /// Takes one free frame, of whatever address, for a list of frames that need not be adjacent.
    pub fn allocate_frame(&mut self) -> Option<Chunk<'t>> {
        self.allocate(0, 64)
    }

    /// Frees frames that have left limbo. They have been taken off their owner's account and list.
    pub fn free(&mut self, frames: LimboRun<'t>) {
        let (first, frames) = frames.into_numbers();
        self.mark_free(first..first + frames);
        let end = first + frames;
        let mut frame = first;
        while frame < end {
            // The largest block that begins here and ends in time; none that begins above 0 leaves its zone.
            let fitting = (end - frame).ilog2();
            let order = frame.trailing_zeros().min(fitting).min(MAX_ORDER);
            let order = if frame == 0 { 0 } else { order };
            self.insert_merged(frame, order);
            frame += 1 << order;
        }
    }

    /// Takes back a block that was not assigned.
    pub fn give_back(&mut self, chunk: Chunk<'t>) {
        self.insert_merged(chunk.first, chunk.order);
    }

    /// Frees frames that the hypervisor owns itself and nobody else has a reference to. False, and
    /// nothing done, if that is not so.
    pub fn free_own(&mut self, first: Mfn, order: u32) -> bool {
        let Some(end) = first.checked_add(1 << order.min(MAX_ORDER)) else {
            return false;
        };
        let alone = |number: u64| {
            self.table.info(Mfn::new(number)).is_some_and(|info| {
                let word = info.count.load(Ordering::Acquire);
                count::owner(word) == HYPERVISOR_OWNER && word & count::REFERENCES == 1
            })
        };
        if order > MAX_ORDER
            || first.raw() & ((1 << order) - 1) != 0
            || !(first.raw()..end.raw()).all(alone)
        {
            return false;
        }
        let now = self.table.clock().now();
        for number in first.raw()..end.raw() {
            if let Some(info) = self.table.info(Mfn::new(number)) {
                info.stamp.store(now.0, Ordering::Relaxed);
            }
        }
        let first = first.raw() as u32;
        self.mark_free(first..first + (1 << order));
        self.insert_merged(first, order);
        true
    }

    fn mark_free(&self, numbers: Range<u32>) {
        for number in numbers {
            if let Some(info) = self.info(number) {
                debug_assert_eq!(info.linear.load(Ordering::Relaxed), 0);
                info.kind.store(0, Ordering::Relaxed);
                info.count
                    .store(count::RAM | count::FREE | count::DIRTY, Ordering::Relaxed);
            }
        }
    }

    fn info(&self, number: u32) -> Option<&'t FrameInfo> {
        self.table.info(Mfn::new(u64::from(number)))
    }

    /// Puts a block of free frames in, joined with its neighbours as far as they are free.
    fn insert_merged(&mut self, mut first: u32, mut order: u32) {
        self.free += 1 << order;
        while order < MAX_ORDER {
            let buddy = first ^ (1 << order);
            // Blocks stay in one zone: only the lowest blocks have a buddy in another.
            if zone_of(buddy) != zone_of(first) || !self.is_free_block(buddy, order) {
                break;
            }
            self.take_out(buddy, order);
            first &= !(1 << order);
            order += 1;
        }
        self.insert(zone_of(first), first, order);
    }

    fn is_free_block(&self, first: u32, order: u32) -> bool {
        let wanted = count::FREE | count::HEAD | (u64::from(order) << count::ORDER_SHIFT);
        self.info(first).is_some_and(|info| {
            let word = info.count.load(Ordering::Relaxed);
            word & (count::FREE | count::HEAD | count::ORDER) == wanted
        })
    }

    fn insert(&mut self, zone: usize, first: u32, order: u32) {
        if let Some(info) = self.info(first) {
            let word = info.count.load(Ordering::Relaxed) & !count::ORDER;
            let word = word | count::HEAD | (u64::from(order) << count::ORDER_SHIFT);
            info.count.store(word, Ordering::Relaxed);
            self.lists[zone][order as usize].push(self.table, Mfn::new(u64::from(first)));
            self.orders[zone] |= 1 << order;
        }
    }

    fn pop(&mut self, zone: usize, order: u32) -> Option<u32> {
        let first = self.lists[zone][order as usize].first()?.raw() as u32;
        self.take_out(first, order);
        Some(first)
    }

    fn take_out(&mut self, first: u32, order: u32) {
        let zone = zone_of(first);
        let list = &mut self.lists[zone][order as usize];
        list.remove(self.table, Mfn::new(u64::from(first)));
        if list.is_empty() {
            self.orders[zone] &= !(1 << order);
        }
        if let Some(info) = self.info(first) {
            let word = info.count.load(Ordering::Relaxed);
            info.count
                .store(word & !(count::HEAD | count::ORDER), Ordering::Relaxed);
        }
    }
}

const fn zone_of(frame: u32) -> usize {
    (u32::BITS - frame.leading_zeros()) as usize
}

/// The highest zone whose frames are all below 2^`address_bits` bytes.
const fn top_zone(address_bits: u32) -> usize {
    let bits = address_bits.saturating_sub(PAGE_SHIFT) as usize;
    if bits < ZONES { bits } else { ZONES - 1 }
}

impl<'t> Chunk<'t> {
    /// The first frame.
    pub fn first(&self) -> Mfn {
        Mfn::new(u64::from(self.first))
    }

    /// log2 of the number of frames.
    pub const fn order(&self) -> u32 {
        self.order
    }

    fn infos(&self) -> impl Iterator<Item = (Mfn, &'t FrameInfo)> + use<'t> {
        let table = self.table;
        let first = u64::from(self.first);
        (first..first + (1 << self.order))
            .filter_map(move |number| Some((Mfn::new(number), table.info(Mfn::new(number))?)))
    }

    /// Has stale translations flushed and old content cleared: `flush` is called with the stamp of the
    /// latest use, and returns when no CPU can hold a translation from then; `clear` with each frame to
    /// be zeroed.
    pub fn prepare(
        self,
        content: OldContent,
        flush: impl FnOnce(Stamp),
        mut clear: impl FnMut(Mfn),
    ) -> ReadyChunk<'t> {
        let clock = self.table.clock();
        let mut latest = None;
        for (_, info) in self.infos() {
            let stamp = Stamp(info.stamp.load(Ordering::Relaxed));
            latest = Some(latest.map_or(stamp, |latest| clock.later(latest, stamp)));
        }
        if let Some(latest) = latest {
            flush(latest);
        }
        if content == OldContent::Cleared {
            for (frame, info) in self.infos() {
                if info.count.load(Ordering::Relaxed) & count::DIRTY != 0 {
                    clear(frame);
                }
            }
        }
        ReadyChunk(self)
    }
}

impl<'t> ReadyChunk<'t> {
    /// The first frame.
    pub fn first(&self) -> Mfn {
        self.0.first()
    }

    /// log2 of the number of frames.
    pub const fn order(&self) -> u32 {
        self.0.order
    }

    /// Gives the frames to `owner`: each gets the reference that stands for its allocation. The caller
    /// charges the owner's account and puts the frames on its list.
    pub fn assign(self, owner: u16) -> Mfn {
        let word = count::RAM | count::ALLOCATED | owner_bits(owner) | 1;
        for (_, info) in self.0.infos() {
            info.kind.store(0, Ordering::Relaxed);
            // Release: whoever gets a reference sees the type word from before.
            info.count.store(word, Ordering::Release);
        }
        self.first()
    }

    /// Takes the frames for the hypervisor itself.
    pub fn assign_own(self) -> Mfn {
        let word =
            count::RAM | count::ALLOCATED | count::HYPERVISOR | owner_bits(HYPERVISOR_OWNER) | 1;
        for (_, info) in self.0.infos() {
            info.kind.store(0, Ordering::Relaxed);
            info.count.store(word, Ordering::Release);
        }
        self.first()
    }
}

/// How a domain may use a frame that the hypervisor lends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lent {
    /// It may map it for reading.
    ReadOnly,
    /// It may map it writable.
    Writable,
}

impl FrameTable<'_> {
    /// Lends one of the hypervisor's own frames to `borrower`: it becomes the frame's owner, but can
    /// never make a page table of it. [`release`](Self::release) ends the loan. False if the frame is not
    /// the hypervisor's, or someone refers to it.
    pub fn lend(&self, frame: Mfn, borrower: u16, how: Lent) -> bool {
        let Some(info) = self.info(frame) else {
            return false;
        };
        let own =
            count::RAM | count::ALLOCATED | count::HYPERVISOR | owner_bits(HYPERVISOR_OWNER) | 1;
        // A type reference of its own keeps any other type away.
        let page_type = match how {
            Lent::ReadOnly => PageType::None,
            Lent::Writable => PageType::Writable,
        };
        if info.count.load(Ordering::Acquire) != own {
            return false;
        }
        info.kind
            .store(page_type.bits() | kind::VALIDATED | 1, Ordering::Relaxed);
        let lent = count::RAM | count::ALLOCATED | count::HYPERVISOR | owner_bits(borrower) | 1;
        info.count
            .compare_exchange(own, lent, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Gives up the reference that stands for `owner`'s allocation of `frame`: the frame goes to limbo
    /// with its last reference. False if the frame is not `owner`'s or was given up before.
    pub fn release(&self, frame: Mfn, owner: u16) -> bool {
        let Some(info) = self.info(frame) else {
            return false;
        };
        let mut word = info.count.load(Ordering::Relaxed);
        loop {
            if count::owner(word) != owner
                || word & count::ALLOCATED == 0
                || word & count::REFERENCES == 0
            {
                return false;
            }
            match info.count.compare_exchange_weak(
                word,
                word & !count::ALLOCATED,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(found) => word = found,
            }
        }
        self.put_reference(frame.raw() as u32, info);
        true
    }

    /// Takes `frame` away from `owner` for the hypervisor's own use or another owner, if the allocation
    /// is the only reference: then nothing maps it, in no TLB either once `stamp` is flushed.
    pub fn steal(&self, frame: Mfn, owner: u16) -> Option<Stamp> {
        let info = self.info(frame)?;
        let alone = count::RAM | count::ALLOCATED | owner_bits(owner) | 1;
        let word = info.count.load(Ordering::Relaxed);
        if word & !count::DIRTY != alone {
            return None;
        }
        let own =
            count::RAM | count::ALLOCATED | count::HYPERVISOR | owner_bits(HYPERVISOR_OWNER) | 1;
        info.count
            .compare_exchange(word, own, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        // The type word keeps a former type without references; the new owner starts afresh (XSA-214).
        info.kind.store(0, Ordering::Relaxed);
        Some(self.clock().now())
    }

    /// Gives a frame that was stolen, and if need be cleared, to `owner`. It need not have been flushed.
    pub fn bestow(&self, frame: Mfn, owner: u16) -> bool {
        let Some(info) = self.info(frame) else {
            return false;
        };
        let own =
            count::RAM | count::ALLOCATED | count::HYPERVISOR | owner_bits(HYPERVISOR_OWNER) | 1;
        let theirs = count::RAM | count::ALLOCATED | owner_bits(owner) | 1;
        if info.count.load(Ordering::Acquire) != own {
            return false;
        }
        // Whoever had it may have mapped it writable and not flushed that yet: it must not become a table before
        // (XSA-401). A former writable page is flushed on its way to another type, one of no type is not.
        info.stamp.store(self.clock().now().0, Ordering::Relaxed);
        info.kind.store(
            PageType::Writable.bits() | kind::VALIDATED,
            Ordering::Relaxed,
        );
        info.count
            .compare_exchange(own, theirs, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}
