//! What the hypervisor does in the ring's stead: functions that it registers once at boot.

use core::sync::atomic::{AtomicUsize, Ordering};

use addr::Vaddr;

use crate::HostFrame;

/// A registered function; 0 while there is none.
struct Hook(AtomicUsize);

impl Hook {
    const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    fn set(&self, function: usize) {
        // Pairs with the Acquire in `get`: what the function relies on was set up before.
        self.0.store(function, Ordering::Release);
    }

    #[inline]
    fn get(&self) -> Option<usize> {
        // Pairs with the Release in `set`.
        match self.0.load(Ordering::Acquire) {
            0 => None,
            function => Some(function),
        }
    }
}

static FATAL: Hook = Hook::new();
static NMI: Hook = Hook::new();
static MACHINE_CHECK: Hook = Hook::new();
static SPIN_POLL: Hook = Hook::new();
static WAIT: Hook = Hook::new();
static WAKE: Hook = Hook::new();
static PAGE_FAULT: Hook = Hook::new();
static PANIC: Hook = Hook::new();

/// Called for an exception of the hypervisor's own that nothing expected. Runs on the faulting stack, or on the
/// double fault's. It prints and stops.
pub fn set_fatal(function: fn(&HostFrame) -> !) {
    FATAL.set(function as usize);
}

/// Called for an NMI that hit the hypervisor itself, on the NMI's stack. It takes no lock and touches no guest
/// memory. NMIs that hit a guest come out of [`crate::enter_guest`].
pub fn set_nmi(function: fn(&HostFrame)) {
    NMI.set(function as usize);
}

/// Called for a machine check that hit the hypervisor itself, on its own stack.
pub fn set_machine_check(function: fn(&HostFrame)) {
    MACHINE_CHECK.set(function as usize);
}

/// Called by every turn of a CPU that waits for a lock: serves flush requests of other CPUs. Takes no lock.
pub fn set_spin_poll(function: fn()) {
    SPIN_POLL.set(function as usize);
}

/// Called by a CPU that has waited for another for long, in the midst of something and with locks held: halts until
/// the next interrupt (perhaps one that is there already), and ends that. It takes no lock and uses no guest's address
/// space.
pub fn set_wait_for_interrupt(function: fn()) {
    WAIT.set(function as usize);
}

/// Ends another CPU's wait by an interrupt. It takes no lock.
pub fn set_wake_cpu(function: fn(usize)) {
    WAKE.set(function as usize);
}

/// Called for a page fault of the hypervisor that is not in a guest copy's fixup yet: true if the access
/// should be tried again (a page of a guest's LDT was mapped).
pub fn set_page_fault(function: fn(Vaddr, u32) -> bool) {
    PAGE_FAULT.set(function as usize);
}

/// Called by the image's panic handler. It prints and stops.
pub fn set_panic(function: fn(&core::panic::PanicInfo<'_>) -> !) {
    PANIC.set(function as usize);
}

pub(crate) fn fatal(frame: &HostFrame) -> ! {
    if let Some(function) = FATAL.get() {
        // SAFETY: only `set_fatal` stores here, and only functions of this type.
        let function = unsafe { core::mem::transmute::<usize, fn(&HostFrame) -> !>(function) };
        function(frame)
    }
    crate::halt_forever()
}

pub(crate) fn nmi(frame: &HostFrame) {
    if let Some(function) = NMI.get() {
        // SAFETY: only `set_nmi` stores here, and only functions of this type.
        let function = unsafe { core::mem::transmute::<usize, fn(&HostFrame)>(function) };
        function(frame);
    }
}

pub(crate) fn machine_check(frame: &HostFrame) {
    match MACHINE_CHECK.get() {
        Some(function) => {
            // SAFETY: only `set_machine_check` stores here, and only functions of this type.
            let function = unsafe { core::mem::transmute::<usize, fn(&HostFrame)>(function) };
            function(frame);
        }
        None => fatal(frame),
    }
}

/// Runs the poll hook: for loops of the hypervisor's own that wait for another CPU.
#[inline]
pub fn spin_poll() {
    if let Some(function) = SPIN_POLL.get() {
        // SAFETY: only `set_spin_poll` stores here, and only functions of this type.
        let function = unsafe { core::mem::transmute::<usize, fn()>(function) };
        function();
    }
}

pub(crate) fn wait_for_interrupt() {
    if let Some(function) = WAIT.get() {
        // SAFETY: only `set_wait_for_interrupt` stores here, and only functions of this type.
        let function = unsafe { core::mem::transmute::<usize, fn()>(function) };
        function();
    }
}

pub(crate) fn wake_cpu(cpu: usize) {
    if let Some(function) = WAKE.get() {
        // SAFETY: only `set_wake_cpu` stores here, and only functions of this type.
        let function = unsafe { core::mem::transmute::<usize, fn(usize)>(function) };
        function(cpu);
    }
}

pub(crate) fn page_fault(address: Vaddr, error_code: u32) -> bool {
    PAGE_FAULT.get().is_some_and(|function| {
        // SAFETY: only `set_page_fault` stores here, and only functions of this type.
        let function = unsafe { core::mem::transmute::<usize, fn(Vaddr, u32) -> bool>(function) };
        function(address, error_code)
    })
}

/// Hands a panic to the hypervisor's crash code; returns if none is registered yet.
pub fn panic(info: &core::panic::PanicInfo<'_>) {
    if let Some(function) = PANIC.get() {
        // SAFETY: only `set_panic` stores here, and only functions of this type.
        let function = unsafe {
            core::mem::transmute::<usize, fn(&core::panic::PanicInfo<'_>) -> !>(function)
        };
        function(info)
    }
}
