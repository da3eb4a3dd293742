//! Several vCPUs: each with a stack of its own, by which it is known, and an upcall of its own.
//!
//! vCPU 0 runs on the boot stack; all others run on the stacks of this module, so the number of the vCPU that runs
//! follows from its stack pointer, in handlers too. All share the initial page tables unless they are told otherwise.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use xen_abi::cpu_user_regs::CpuUserRegs;
use xen_abi::hypercall as number;
use xen_abi::shared_info::VcpuInfo;
use xen_abi::vcpu;
use xen_abi::vcpu_context::{VGCF_IN_KERNEL, VcpuGuestContext, VcpuGuestContextFpuCtxt};

use crate::hypercalls::call;
use crate::memory::{self, PAGE, Page, address_of};
use crate::{event_channels, shared, traps};

/// Most vCPUs of a domain.
pub const MAX: usize = 128;
/// Size of each stack.
const STACK: usize = 32 << 10;
/// vCPUs whose info is in the shared info page.
const LEGACY: u32 = 32;

#[repr(C, align(4096))]
struct Stacks([[u8; STACK]; MAX]);

static mut STACKS: Stacks = Stacks([[0; STACK]; MAX]);
/// Where `STACKS` is, once a vCPU has one.
static STACKS_AT: AtomicU64 = AtomicU64::new(0);

/// Addresses of the infos that are not where they are by default.
static INFOS: [AtomicU64; MAX] = [const { AtomicU64::new(0) }; MAX];

global_asm!(
    ".pushsection .text, \"ax\"",
    "vcpu_entry:",
    "cld",
    "xor ebp, ebp",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "ud2",
    ".popsection",
);

mod labels {
    unsafe extern "C" {
        pub(super) fn vcpu_entry();
    }
}

/// What a vCPU runs.
pub type Main = extern "sysv64" fn(u64) -> !;

/// The number of the vCPU that asks.
pub fn id() -> u32 {
    let start = STACKS_AT.load(Ordering::Relaxed);
    if start == 0 {
        return 0;
    }
    let stack: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) stack, options(nomem, nostack, preserves_flags)) };
    let offset = stack.wrapping_sub(start);
    if offset < (STACK * MAX) as u64 {
        (offset / STACK as u64) as u32
    } else {
        0
    }
}

/// Where the `vcpu_info` of a vCPU is.
pub fn info(id: u32) -> u64 {
    match INFOS
        .get(id as usize)
        .map_or(0, |info| info.load(Ordering::Relaxed))
    {
        0 => shared::address() + u64::from(id) * size_of::<VcpuInfo>() as u64,
        moved => moved,
    }
}

/// `vcpu_op`.
pub fn vcpu_op<T>(operation: u32, id: u32, argument: &mut T) -> i64 {
    call(
        number::VCPU_OP,
        &[u64::from(operation), u64::from(id), address_of(argument)],
    )
}

/// How many vCPUs this domain can have.
pub fn count() -> u32 {
    (0..).find(|id| is_up(*id) < 0).unwrap_or(0).min(MAX as u32)
}

/// `VCPUOP_up`.
pub fn up(id: u32) -> i64 {
    vcpu_op(vcpu::UP, id, &mut 0_u64)
}

/// `VCPUOP_down`. Of the caller itself it returns once another has brought it up again.
pub fn down(id: u32) -> i64 {
    vcpu_op(vcpu::DOWN, id, &mut 0_u64)
}

/// `VCPUOP_is_up`.
pub fn is_up(id: u32) -> i64 {
    vcpu_op(vcpu::IS_UP, id, &mut 0_u64)
}

/// `VCPUOP_register_vcpu_info`: to this place of a page of the guest's.
pub fn register_info(id: u32, page: Page, offset: u64) -> i64 {
    let mut request = vcpu::RegisterVcpuInfo {
        mfn: page.mfn(),
        offset: offset as u32,
        rsvd: 0,
    };
    let result = vcpu_op(vcpu::REGISTER_VCPU_INFO, id, &mut request);
    if result == 0
        && let Some(info) = INFOS.get(id as usize)
    {
        info.store(page.address + offset, Ordering::Relaxed);
    }
    result
}

/// The context of a vCPU that runs `main(argument)` on its own stack, with upcalls masked, the caller's page tables
/// of the start, and the handlers of [`traps`].
pub fn context(id: u32, main: Main, argument: u64) -> VcpuGuestContext {
    let start = (&raw mut STACKS).expose_provenance() as u64;
    STACKS_AT.store(start, Ordering::Relaxed);
    let top = start + (u64::from(id) + 1) * STACK as u64;
    let selectors = [traps::CS64 as u16, traps::SS as u16];
    let mut trap_ctxt = [traps::END; 256];
    for (slot, entry) in trap_ctxt.iter_mut().zip(traps::table()) {
        *slot = entry;
    }
    let mut ctrlreg = [0; 8];
    ctrlreg[3] = memory::mfn_of(memory::root() / PAGE) * PAGE;
    VcpuGuestContext {
        fpu_ctxt: VcpuGuestContextFpuCtxt { x: [0; 512] },
        flags: VGCF_IN_KERNEL,
        user_regs: CpuUserRegs {
            rip: labels::vcpu_entry as *const () as u64,
            // As if called: the stack is aligned to 16 where the entry calls on.
            rsp: top,
            rdi: main as *const () as u64,
            rsi: argument,
            cs: selectors[0],
            ss: selectors[1],
            rflags: traps::IF,
            ..CpuUserRegs::default()
        },
        trap_ctxt,
        ldt_base: 0,
        ldt_ents: 0,
        gdt_frames: [0; 16],
        gdt_ents: 0,
        kernel_ss: traps::SS,
        kernel_sp: top,
        ctrlreg,
        debugreg: [0; 8],
        event_callback_eip: traps::entry(traps::EVENT),
        failsafe_callback_eip: traps::entry(traps::FAILSAFE),
        syscall_callback_eip: traps::entry(traps::SYSCALL),
        vm_assist: 0,
        fs_base: 0,
        gs_base_kernel: 0,
        gs_base_user: 0,
    }
}

/// Gives a vCPU that the shared page has no room for an info of its own, in a page for many of them.
///
/// Called for each vCPU at most once, one caller at a time.
pub fn place_info(id: u32) -> i64 {
    static INFO_PAGES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
    const PER_PAGE: u32 = (PAGE / size_of::<VcpuInfo>() as u64) as u32;
    if id < LEGACY {
        return 0;
    }
    let slot = &INFO_PAGES[(id / PER_PAGE) as usize];
    let page = match slot.load(Ordering::Relaxed) {
        0 => Page::take(),
        address => Page { address },
    };
    slot.store(page.address, Ordering::Relaxed);
    let offset = u64::from(id % PER_PAGE) * size_of::<VcpuInfo>() as u64;
    register_info(id, page, offset)
}

/// `VCPUOP_initialise` with [`context`], with upcalls masked.
pub fn initialise(id: u32, main: Main, argument: u64) -> i64 {
    shared::set_upcall_mask_of(id, true);
    vcpu_op(vcpu::INITIALISE, id, &mut context(id, main, argument))
}

/// Starts a vCPU for the first time.
pub fn start(id: u32, main: Main, argument: u64) -> i64 {
    let placed = place_info(id);
    if placed != 0 {
        return placed;
    }
    match initialise(id, main, argument) {
        0 => up(id),
        error => error,
    }
}

/// A lock that spins, and lets other vCPUs run meanwhile.
#[derive(Debug, Default)]
pub struct SpinLock<T> {
    is_held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by the holder of the lock alone.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// A free lock.
    pub const fn new(value: T) -> Self {
        Self {
            is_held: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Takes the lock.
    pub fn lock(&self) -> Held<'_, T> {
        let mut spins = 0_u32;
        // Acquire: pairs with the release of the holder before.
        while self.is_held.swap(true, Ordering::Acquire) {
            spin(&mut spins);
        }
        Held { lock: self }
    }
}

/// A held lock.
#[derive(Debug)]
pub struct Held<'l, T> {
    lock: &'l SpinLock<T>,
}

impl<T> Deref for Held<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        // Release: what the holder did is seen by the next.
        self.lock.is_held.store(false, Ordering::Release);
    }
}

/// Waits a little, and from time to time for other vCPUs that may have no CPU.
pub fn spin(spins: &mut u32) {
    *spins += 1;
    if spins.is_multiple_of(1000) {
        event_channels::yield_now();
    } else {
        core::hint::spin_loop();
    }
}

/// Waits until `condition` holds, for at most `seconds`; whether it came to hold.
pub fn wait_until(seconds: u64, condition: impl Fn() -> bool) -> bool {
    let mut spins = 0;
    let end = shared::now() + seconds * 1_000_000_000;
    while !condition() {
        spin(&mut spins);
        if spins.is_multiple_of(1000) && shared::now() > end {
            return condition();
        }
    }
    true
}

/// Where vCPUs wait for each other, again and again.
#[derive(Debug)]
pub struct Barrier {
    here: AtomicU32,
    round: AtomicU32,
}

impl Barrier {
    /// Nobody is there.
    pub const fn new() -> Self {
        Self {
            here: AtomicU32::new(0),
            round: AtomicU32::new(0),
        }
    }

    /// Waits until `count` vCPUs are there.
    pub fn wait(&self, count: u32) {
        let round = self.round.load(Ordering::Acquire);
        // Acquire and release: what each did before is seen by all after.
        if self.here.fetch_add(1, Ordering::AcqRel) + 1 == count {
            self.here.store(0, Ordering::Relaxed);
            self.round.fetch_add(1, Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.round.load(Ordering::Acquire) == round {
            spin(&mut spins);
        }
    }
}

impl Default for Barrier {
    fn default() -> Self {
        Self::new()
    }
}
