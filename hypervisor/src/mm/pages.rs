//! The machine's frames: the table, the allocator, and what each domain has.
//!
//! A domain's pages are on a list of its own and charged to its account. A frame that loses its last
//! reference waits in limbo, still on both, until someone who is about to allocate collects it. The account outlives
//! the domain until the last frame is back.
//!
//! A claim sets free frames aside for a domain that is being built: others' allocations leave them alone. The sum of
//! all claims changes under the allocator's lock only.

use alloc::sync::Arc;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::sync::atomic::{AtomicU64, Ordering};

use addr::Mfn;
use boot_info::MemoryMap;
use frames::{
    Allocator, FrameList, FrameTable, Lent, LimboRun, OldContent, PageRef, ReadyChunk, Stamp,
};
use platform_cpu::lock::{Once, SpinLock};
use platform_memory::{DirectMap, MemoryInit, m2p};
use xen_abi::errno::Errno;

use super::flush;
use crate::domain::{Domain, DomainMemory};
use crate::{domains, ranks};

static EMPTY: FrameTable<'static> = FrameTable::new(&[]);
static TABLE: Once<&'static FrameTable<'static>> = Once::new();
static ALLOCATOR: SpinLock<Allocator<'static>> =
    SpinLock::new(ranks::ALLOCATOR, Allocator::new(&EMPTY));
/// Free frames that are set aside for domains; written under the allocator's lock.
static CLAIMED: AtomicU64 = AtomicU64::new(0);
/// Frames of RAM.
static RAM_FRAMES: AtomicU64 = AtomicU64::new(0);

/// Any address.
const ANY_ADDRESS: u32 = 64;

/// The first MiB is device memory by tradition, RAM or not: domain 0 looks for tables of the firmware there.
const FIRST_RAM: u64 = (1 << 20) / addr::PAGE_SIZE;

/// Takes over memory from boot: the table and the free frames. Once.
pub(super) fn init(memory: &MemoryInit, map: &MemoryMap) {
    if TABLE.set(memory.frame_table).is_err() {
        return;
    }
    reserve_used(memory, map);
    RAM_FRAMES.store(map.total_ram_frames(), Ordering::Relaxed);
    ALLOCATOR.lock().set_table(memory.frame_table);
    for (first, count) in memory.free.iter() {
        add_frames(first, count);
    }
    platform_memory::set_page_source(&HeapPages);
}

/// Makes all RAM that is not free the hypervisor's: a frame that the table knows nothing of would pass for device
/// memory.
fn reserve_used(memory: &MemoryInit, map: &MemoryMap) {
    let table = memory.frame_table;
    let free = || {
        memory
            .free
            .iter()
            .map(|(first, count)| first.raw()..first.raw() + count)
    };
    for (first, count) in map.ram_frames() {
        let end = (first.raw() + count).min(table.len() as u64);
        let mut frame = first.raw().max(FIRST_RAM);
        while frame < end {
            if let Some(range) = free().find(|range| range.contains(&frame)) {
                frame = range.end;
                continue;
            }
            let next = free()
                .map(|range| range.start)
                .filter(|start| *start > frame)
                .min()
                .map_or(end, |start| start.min(end));
            for used in frame..next {
                table.reserve(Mfn::new(used));
            }
            frame = next;
        }
    }
}

/// The frame table.
#[inline]
pub fn frame_table() -> &'static FrameTable<'static> {
    match TABLE.get() {
        Some(table) => table,
        None => &EMPTY,
    }
}

/// Highest frame number of the table.
pub fn max_frame() -> u64 {
    (frame_table().len() as u64).saturating_sub(1)
}

/// Gives RAM that nobody refers to to the allocator.
pub fn add_frames(first: Mfn, count: u64) {
    ALLOCATOR.lock().add(first, count, OldContent::Kept);
}

/// Frames that are free, or soon will be.
pub fn free_frames() -> u64 {
    collect_limbo();
    ALLOCATOR.lock().free_frames()
}

/// Frames that are free below 2^`address_bits` bytes.
pub fn free_frames_below(address_bits: u32) -> u64 {
    ALLOCATOR.lock().free_frames_below(address_bits)
}

/// Frames of RAM that the machine has.
pub fn ram_frames() -> u64 {
    RAM_FRAMES.load(Ordering::Relaxed)
}

/// Free frames that are set aside for domains.
pub fn claimed_frames() -> u64 {
    CLAIMED.load(Ordering::Relaxed)
}

/// Brings frames without references from limbo to the allocator, off their owners' lists and accounts.
pub fn collect_limbo() {
    let table = frame_table();
    if !table.has_limbo() {
        return;
    }
    // As a rule one owner has given up many.
    let mut last: Option<(u16, Arc<DomainMemory>)> = None;
    // And these lie side by side, as they were given.
    let mut run: Option<LimboRun<'static>> = None;
    for frame in table.take_limbo() {
        let owner = frame.owner();
        if last.as_ref().is_none_or(|(domid, _)| *domid != owner) {
            last = domains::account(owner).map(|account| (owner, account));
        }
        // A domain that could not be made has no account.
        if let Some((_, account)) = &last {
            if frame.is_lent() {
                account.lent.fetch_sub(1, Ordering::Relaxed);
            } else {
                account.pages.lock().remove(table, frame.frame());
                account.uncharge(1);
            }
        }
        run = match run {
            None => Some(LimboRun::new(frame)),
            Some(mut adjacent) => match adjacent.add(frame) {
                Ok(()) => Some(adjacent),
                Err(frame) => {
                    ALLOCATOR.lock().free(adjacent);
                    Some(LimboRun::new(frame))
                }
            },
        };
    }
    if let Some(adjacent) = run {
        ALLOCATOR.lock().free(adjacent);
    }
}

impl DomainMemory {
    /// Charges pages; false if the domain may not have so many.
    fn charge(&self, pages: u64) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        self.total
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |total| {
                total.checked_add(pages).filter(|total| *total <= limit)
            })
            .is_ok()
    }

    fn uncharge(&self, pages: u64) {
        self.total.fetch_sub(pages, Ordering::Relaxed);
    }

    /// Sets free frames aside so that the domain can have `total` pages; 0 ends that.
    ///
    /// # Errors
    /// `EINVAL` for a total that the domain has already or may not have, or while there is a claim; `ENOMEM`.
    pub fn claim(&self, total: u64) -> Result<(), Errno> {
        collect_limbo();
        let allocator = ALLOCATOR.lock();
        let claimed = CLAIMED.load(Ordering::Relaxed);
        let own = self.claimed.load(Ordering::Relaxed);
        if total == 0 {
            CLAIMED.store(claimed - own, Ordering::Relaxed);
            self.claimed.store(0, Ordering::Relaxed);
            return Ok(());
        }
        let has = self.total.load(Ordering::Relaxed);
        if own != 0 || total <= has || total > self.limit.load(Ordering::Relaxed) {
            return Err(Errno::EINVAL);
        }
        let missing = total - has;
        if missing > allocator.free_frames().saturating_sub(claimed) {
            return Err(Errno::ENOMEM);
        }
        CLAIMED.store(claimed + missing, Ordering::Relaxed);
        self.claimed.store(missing, Ordering::Relaxed);
        Ok(())
    }
}

fn take(order: u32, address_bits: u32, content: OldContent) -> Option<ReadyChunk<'static>> {
    let chunk = ALLOCATOR.lock().allocate(order, address_bits)?;
    Some(prepare(chunk, content))
}

/// Takes frames for a domain: its own claim is used up first, others' are left alone.
fn take_for(
    account: &DomainMemory,
    order: u32,
    address_bits: u32,
    content: OldContent,
) -> Option<ReadyChunk<'static>> {
    let chunk = {
        let mut allocator = ALLOCATOR.lock();
        let claimed = CLAIMED.load(Ordering::Relaxed);
        let own = account.claimed.load(Ordering::Relaxed);
        let free = allocator.free_frames().saturating_sub(claimed - own);
        if 1 << order > free {
            return None;
        }
        let chunk = allocator.allocate(order, address_bits)?;
        let used = own.min(1 << order);
        if used != 0 {
            CLAIMED.store(claimed - used, Ordering::Relaxed);
            account.claimed.store(own - used, Ordering::Relaxed);
        }
        chunk
    };
    Some(prepare(chunk, content))
}

fn prepare(chunk: frames::Chunk<'static>, content: OldContent) -> ReadyChunk<'static> {
    chunk.prepare(content, flush::flush_stale, |frame| {
        DirectMap.zero_frame(frame);
    })
}

/// Gives `domain` 2^`order` adjacent frames below 2^`address_bits` bytes. `None` if its account or the machine
/// does not have them, or it is being destroyed.
pub fn assign_pages(
    domain: &Domain,
    order: u32,
    address_bits: u32,
    content: OldContent,
) -> Option<Mfn> {
    let count = 1u64.checked_shl(order)?;
    let account = &domain.memory;
    collect_limbo();
    if domain.is_dying() || !account.charge(count) {
        return None;
    }
    let given = take_for(account, order, address_bits, content)
        .and_then(|chunk| assign_charged(domain, chunk).map_err(give_back).ok());
    if given.is_none() {
        account.uncharge(count);
    }
    given
}

/// Gives `domain`, which is being built, 2^`order` adjacent frames, with what was in them.
pub fn allocate_for(domain: &Domain, order: u32) -> Option<Mfn> {
    assign_pages(domain, order, ANY_ADDRESS, OldContent::Kept)
}

/// Takes `frame` off `domain`, which has no use for it any more: it is freed once nothing refers to it. False if
/// it is not the domain's.
pub fn release_page(domain: &Domain, frame: Mfn) -> bool {
    let table = frame_table();
    // Keeps the frame in place while its number is taken away.
    let Some(page) = table.get(frame, domain.id()) else {
        return false;
    };
    m2p::clear(frame);
    let released = table.release(frame, domain.id());
    drop(page);
    // As they come: a guest could let so many gather that the next allocation takes long.
    collect_limbo();
    released
}

/// A page of the hypervisor's that a domain may map to read and write, and never as a page table. Given up, it is
/// free once nobody maps it any more.
#[derive(Debug)]
pub struct LentPage {
    page: PageRef<'static>,
    borrower: u16,
}

impl Deref for LentPage {
    type Target = PageRef<'static>;

    #[inline]
    fn deref(&self) -> &PageRef<'static> {
        &self.page
    }
}

impl LentPage {
    /// Whether someone else refers to it: the borrower, who may begin to or end at any time.
    pub fn is_in_use(&self) -> bool {
        /// The loan, and this.
        const OWN: u32 = 2;
        self.page.references() > OWN
    }
}

impl Drop for LentPage {
    fn drop(&mut self) {
        // The page's own reference keeps it until after this.
        frame_table().release(self.page.frame(), self.borrower);
    }
}

/// Lends a new zeroed page to `domain`, on whose account it is noted.
pub fn share_new_page(domain: u16, account: &DomainMemory) -> Option<LentPage> {
    let frame = take(0, ANY_ADDRESS, OldContent::Cleared)?.assign_own();
    if !frame_table().lend(frame, domain, Lent::Writable) {
        return None;
    }
    account.lent.fetch_add(1, Ordering::Relaxed);
    Some(LentPage {
        page: frame_table().get(frame, domain)?,
        borrower: domain,
    })
}

/// Takes `frame` away from `domain` if nothing refers to it. It is charged to the domain still. A translation from
/// before the stamp may be cached.
pub fn steal_page(domain: &Domain, frame: Mfn) -> Option<Stamp> {
    let table = frame_table();
    // The account's lock keeps the list's links.
    let mut pages = domain.memory.pages.lock();
    let stamp = table.steal(frame, domain.id())?;
    pages.remove(table, frame);
    Some(stamp)
}

/// A frame on its way from one domain to another, with what is in it; freed if it does not get there.
pub struct LoosePage(Mfn);

impl LoosePage {
    /// Takes `frame` from `domain`, if nothing refers to it.
    pub fn take(domain: &Domain, frame: Mfn) -> Option<Self> {
        let stamp = steal_page(domain, frame)?;
        m2p::clear(frame);
        domain.memory.uncharge(1);
        flush::flush_stale(stamp);
        Some(Self(frame))
    }

    /// Gives it to `domain`, if that has room for it, is not being destroyed, and `accepts` does.
    pub fn give(self, domain: &Domain, accepts: impl FnOnce() -> bool) -> Option<Mfn> {
        if domain.is_dying() || !domain.memory.charge(1) {
            return None;
        }
        if accepts() {
            let mut pages = domain.memory.pages.lock();
            if !domain.is_dying() && frame_table().bestow(self.0, domain.id()) {
                pages.push(frame_table(), self.0);
                drop(pages);
                return Some(ManuallyDrop::new(self).0);
            }
        }
        domain.memory.uncharge(1);
        None
    }
}

impl Drop for LoosePage {
    fn drop(&mut self) {
        free_stolen(self.0);
    }
}

/// What becomes of frames that were stolen from a domain.
pub enum Stolen {
    /// They go back to it.
    Returned,
    /// They are free, and others are charged in their place.
    Freed,
}

/// Ends the stealing of the frames on `list`.
pub fn end_stealing(domain: &Domain, list: &mut FrameList, what: &Stolen) {
    let table = frame_table();
    while let Some(frame) = list.pop(table) {
        match what {
            Stolen::Returned => {
                let mut pages = domain.memory.pages.lock();
                if !domain.is_dying() {
                    if table.bestow(frame, domain.id()) {
                        pages.push(table, frame);
                    }
                    continue;
                }
                drop(pages);
                domain.memory.uncharge(1);
                free_stolen(frame);
            }
            Stolen::Freed => free_stolen(frame),
        }
    }
}

fn free_stolen(frame: Mfn) {
    m2p::clear(frame);
    ALLOCATOR.lock().free_own(frame, 0);
}

/// Takes 2^`order` frames for `domain` in exchange for others that stay charged.
pub fn take_uncharged(order: u32, address_bits: u32) -> Option<ReadyChunk<'static>> {
    collect_limbo();
    take(order, address_bits, OldContent::Cleared)
}

/// Gives frames that are charged to `domain` already to it.
///
/// # Errors
/// The frames again, if the domain is being destroyed: whoever does that walks the list.
pub fn assign_charged(
    domain: &Domain,
    chunk: ReadyChunk<'static>,
) -> Result<Mfn, ReadyChunk<'static>> {
    let count = 1u64 << chunk.order();
    // Before the frames are the domain's: it could give one up on another CPU before it is on the list.
    let mut pages = domain.memory.pages.lock();
    if domain.is_dying() {
        return Err(chunk);
    }
    let first = chunk.assign(domain.id());
    for number in first.raw()..first.raw() + count {
        pages.push(frame_table(), Mfn::new(number));
    }
    Ok(first)
}

/// Frees frames from [`take_uncharged`] that `domain`, which is being destroyed, does not get any more.
pub fn give_back_charged(domain: &Domain, chunk: ReadyChunk<'static>) {
    domain.memory.uncharge(1 << chunk.order());
    give_back(chunk);
}

/// Frees frames from [`take_uncharged`] that are not needed.
pub fn give_back(chunk: ReadyChunk<'static>) {
    let order = chunk.order();
    let first = chunk.assign_own();
    ALLOCATOR.lock().free_own(first, order);
}

/// The page allocator as the heap sees it. Whoever needs heap memory may hold locks: limbo is not looked at.
pub struct HeapPages;

impl platform_memory::PageSource for HeapPages {
    fn allocate(&self, order: u32) -> Option<ReadyChunk<'static>> {
        take(order, ANY_ADDRESS, OldContent::Kept)
    }

    fn free(&self, first: Mfn, order: u32) {
        if !ALLOCATOR.lock().free_own(first, order) {
            log::error!("heap: pages at {first:x} are not the hypervisor's");
        }
    }
}
