//! The heap. Small objects are in a two-level segregated fit (constant time); objects of a page or more are runs of
//! pages from the page allocator, once the hypervisor has registered it. Before, all comes from a pool in the image.
//!
//! Out of memory is a null pointer, which `try_`-style code turns into an error.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use addr::Mfn;
use frames::ReadyChunk;
use platform_cpu::lock::{Once, Rank, SpinLock};
use platform_cpu::{MAX_CPUS, cpu_id};
use rlsf::Tlsf;

use crate::layout::DIRECT_MAP;

/// Where runs of pages come from: the hypervisor's page allocator.
pub trait PageSource: Sync {
    /// Gives 2^`order` frames, if there are.
    fn allocate(&self, order: u32) -> Option<ReadyChunk<'static>>;
    /// Takes frames back that [`allocate`](Self::allocate) gave.
    fn free(&self, first: Mfn, order: u32);
}

/// How much is in use.
#[derive(Clone, Copy, Debug)]
pub struct HeapUse {
    /// Bytes asked for by live small objects.
    pub small: usize,
    /// Bytes given to small objects' pools.
    pub pools: usize,
    /// Bytes of page runs in use.
    pub runs: usize,
}

/// Bytes of the pool for boot.
const BOOT_POOL: usize = 512 << 10;
/// Objects of this size or more are runs of pages.
const RUN_SIZE: usize = 4096;
/// Order of the runs by which the pool for small objects grows: 64 KiB.
const GROWTH_ORDER: u32 = 4;

#[repr(C, align(4096))]
struct BootPool(UnsafeCell<MaybeUninit<[u8; BOOT_POOL]>>);

// SAFETY: only handed to the pool, once, under its lock.
unsafe impl Sync for BootPool {}

static POOL: BootPool = BootPool(UnsafeCell::new(MaybeUninit::uninit()));
static SOURCE: Once<&'static dyn PageSource> = Once::new();
static SMALL: AtomicUsize = AtomicUsize::new(0);
static POOLS: AtomicUsize = AtomicUsize::new(0);
static RUNS: AtomicUsize = AtomicUsize::new(0);

struct Heap {
    // Blocks up to 2^(4+18) bytes: 20 first levels from 2^5, 16 second levels.
    small: Tlsf<'static, u32, u16, 20, 16>,
    started: bool,
}

impl Heap {
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if !self.started {
            self.started = true;
            // SAFETY: the only access to the pool; the lock is held, and `started` makes it the first.
            unsafe { self.insert(NonNull::new(POOL.0.get().cast::<u8>())?, BOOT_POOL) };
        }
        self.small.allocate(layout)
    }

    /// # Safety
    /// The bytes are unused memory, given for good.
    unsafe fn insert(&mut self, start: NonNull<u8>, len: usize) {
        let block = NonNull::slice_from_raw_parts(start, len);
        // SAFETY: by the caller's promise.
        unsafe { self.small.insert_free_block_ptr(block) };
        POOLS.fetch_add(len, Ordering::Relaxed);
    }
}

// SAFETY: the structure's pointers are to the pools that it owns.
unsafe impl Send for Heap {}

/// The rank of the heap's lock: below the console's, above all others, which may be held where memory is taken.
static HEAP: SpinLock<Heap> = SpinLock::new(
    Rank::new(70, "heap"),
    Heap {
        small: Tlsf::new(),
        started: false,
    },
);

/// Registers the page allocator. It is called without the heap's lock; only the first call counts.
pub fn set_page_source(source: &'static dyn PageSource) {
    let _ = SOURCE.set(source);
}

/// How much memory is in use.
pub fn heap_use() -> HeapUse {
    HeapUse {
        small: SMALL.load(Ordering::Relaxed),
        pools: POOLS.load(Ordering::Relaxed),
        runs: RUNS.load(Ordering::Relaxed),
    }
}

struct GlobalHeap;

#[cfg(target_os = "none")]
#[global_allocator]
static GLOBAL: GlobalHeap = GlobalHeap;

fn is_in_boot_pool(pointer: *mut u8) -> bool {
    let start = POOL.0.get() as usize;
    (start..start + BOOT_POOL).contains(&(pointer as usize))
}

/// log2 of the pages for `layout`.
fn order_of(layout: Layout) -> u32 {
    let bytes = layout.size().max(layout.align());
    bytes.div_ceil(4096).next_power_of_two().trailing_zeros()
}

fn take_run(source: &dyn PageSource, order: u32) -> Option<NonNull<u8>> {
    let first = source.allocate(order)?.assign_own();
    NonNull::new((DIRECT_MAP + (first.raw() << 12)) as *mut u8)
}

/// Memory that a CPU has set aside for the allocation that it makes next, and the size of that.
struct Spare {
    memory: AtomicPtr<u8>,
    size: AtomicUsize,
}

static SPARES: [Spare; MAX_CPUS] = [const {
    Spare {
        memory: AtomicPtr::new(null_mut()),
        size: AtomicUsize::new(0),
    }
}; MAX_CPUS];

/// What this CPU has set aside for `layout`; null if that is nothing.
#[cold]
fn take_spare(layout: Layout) -> *mut u8 {
    match SPARES.get(cpu_id()) {
        Some(spare) if spare.size.load(Ordering::Relaxed) == layout.size() => {
            spare.memory.swap(null_mut(), Ordering::Relaxed)
        }
        _ => null_mut(),
    }
}

/// Boxes a value; `None` if there is no memory.
pub fn try_box<T>(value: T) -> Option<Box<T>> {
    let layout = Layout::new::<T>();
    if layout.size() == 0 {
        return Some(Box::new(value));
    }
    // SAFETY: the size is not zero.
    let place = NonNull::new(unsafe { alloc::alloc::alloc(layout) })?.cast::<T>();
    // SAFETY: fresh memory of the type's layout, from the allocator that the box gives it back to.
    unsafe {
        place.write(value);
        Some(Box::from_raw(place.as_ptr()))
    }
}

/// Puts a value under a reference count; `None` if there is no memory.
///
/// `Arc` itself cannot say that there is none, so its memory is set aside first.
pub fn try_arc<T>(value: T) -> Option<Arc<T>> {
    /// As large as what `Arc` allocates: two counts and the value, in this order.
    #[repr(C)]
    struct Counted<T>(usize, usize, T);
    let layout = Layout::new::<Counted<T>>();
    let spare = SPARES.get(cpu_id())?;
    // SAFETY: the size is not zero.
    let memory = NonNull::new(unsafe { alloc::alloc::alloc(layout) })?;
    // Interrupts are off: nothing else allocates on this CPU before `Arc::new` does.
    spare.size.store(layout.size(), Ordering::Relaxed);
    spare.memory.store(memory.as_ptr(), Ordering::Relaxed);
    let arc = Arc::new(value);
    let unused = spare.memory.swap(null_mut(), Ordering::Relaxed);
    if !unused.is_null() {
        // SAFETY: allocated above with this layout, and nobody took it.
        unsafe { alloc::alloc::dealloc(unused, layout) };
    }
    Some(arc)
}

// SAFETY: objects come from disjoint blocks of the pools or from page runs that belong to no one else, as large and
// aligned as the layout says, and go back to where they came from: by address for the boot pool, else by
// size.
unsafe impl GlobalAlloc for GlobalHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let source = SOURCE.get().copied();
        if layout.size() >= RUN_SIZE
            && let Some(source) = source
        {
            let order = order_of(layout);
            let Some(run) = take_run(source, order) else {
                return take_spare(layout);
            };
            RUNS.fetch_add(4096 << order, Ordering::Relaxed);
            return run.as_ptr();
        }
        loop {
            let found = HEAP.lock().allocate(layout);
            if let Some(found) = found {
                SMALL.fetch_add(layout.size(), Ordering::Relaxed);
                return found.as_ptr();
            }
            // A large alignment of a small object may need more than the growth; such do not exist here.
            let Some(run) = source.and_then(|source| take_run(source, GROWTH_ORDER)) else {
                return take_spare(layout);
            };
            // SAFETY: the run is ours, for good.
            unsafe { HEAP.lock().insert(run, 4096 << GROWTH_ORDER) };
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if layout.size() >= RUN_SIZE && !is_in_boot_pool(pointer) {
            let order = order_of(layout);
            RUNS.fetch_sub(4096 << order, Ordering::Relaxed);
            if let Some(source) = SOURCE.get() {
                source.free(Mfn::new((pointer as u64 - DIRECT_MAP) >> 12), order);
            }
            return;
        }
        if let Some(pointer) = NonNull::new(pointer) {
            SMALL.fetch_sub(layout.size(), Ordering::Relaxed);
            // SAFETY: allocated from this pool with this alignment, by the caller's promise.
            unsafe { HEAP.lock().small.deallocate(pointer, layout.align()) };
        }
    }
}
