//! Hypercalls, raw and as functions.

use core::arch::asm;

use xen_abi::hypercall as number;

/// Makes hypercall `nr` by `syscall` in line.
///
/// # Safety
/// Pointers among the arguments are what the call wants.
#[inline(always)]
pub unsafe fn hypercall(nr: u32, args: [u64; 5]) -> i64 {
    let result: i64;
    let [a0, a1, a2, a3, a4] = args;
    // SAFETY: as the caller promises; the call clobbers rcx and r11 like any `syscall`.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") u64::from(nr) => result,
            inlateout("rdi") a0 => _,
            inlateout("rsi") a1 => _,
            inlateout("rdx") a2 => _,
            inlateout("r10") a3 => _,
            inlateout("r8") a4 => _,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes a hypercall through the hypercall page, as kernels before 2025 do.
///
/// # Safety
/// As for [`hypercall`].
pub unsafe fn hypercall_by_page(nr: u32, args: [u64; 5]) -> i64 {
    unsafe extern "C" {
        static hypercall_page: u8;
    }
    let result: i64;
    let [a0, a1, a2, a3, a4] = args;
    // SAFETY: the hypervisor filled the page with stubs of 32 bytes for each call.
    unsafe {
        let stub = (&raw const hypercall_page).add(32 * nr as usize);
        asm!(
            "call {stub}",
            stub = in(reg) stub,
            lateout("rax") result,
            inlateout("rdi") a0 => _,
            inlateout("rsi") a1 => _,
            inlateout("rdx") a2 => _,
            inlateout("r10") a3 => _,
            inlateout("r8") a4 => _,
            clobber_abi("sysv64"),
        );
    }
    result
}

/// `CONSOLEIO_write`.
pub fn console_write(bytes: &[u8]) {
    // SAFETY: the buffer is `bytes`.
    unsafe {
        hypercall(
            number::CONSOLE_IO,
            [
                u64::from(xen_abi::console_io::WRITE),
                bytes.len() as u64,
                bytes.as_ptr() as u64,
                0,
                0,
            ],
        );
    }
}

/// `SCHEDOP_shutdown` with a `SHUTDOWN_*` reason.
pub fn shutdown(reason: u32) -> ! {
    loop {
        // SAFETY: the argument is a `struct sched_shutdown`.
        unsafe {
            hypercall(
                number::SCHED_OP,
                [
                    u64::from(xen_abi::sched::SHUTDOWN),
                    (&raw const reason) as u64,
                    0,
                    0,
                    0,
                ],
            );
        }
    }
}

/// `SCHEDOP_yield`.
pub fn yield_now() {
    call(number::SCHED_OP, &[u64::from(xen_abi::sched::YIELD), 0]);
}

/// `PHYSDEVOP_set_iopl`.
pub fn set_iopl(level: u32) -> i64 {
    // SAFETY: the argument is a `struct physdev_set_iopl`.
    unsafe {
        hypercall(
            number::PHYSDEV_OP,
            [
                u64::from(xen_abi::physdev::SET_IOPL),
                (&raw const level) as u64,
                0,
                0,
                0,
            ],
        )
    }
}

/// A hypercall whose arguments are numbers, or a pointer that the caller vouches for by having made it from a
/// reference or by meaning it to be bad: nothing but this guest can come to harm.
pub fn call(nr: u32, args: &[u64]) -> i64 {
    let mut all = [0; 5];
    for (to, from) in all.iter_mut().zip(args) {
        *to = *from;
    }
    // SAFETY: a call writes nothing but what its arguments name; guests name their own statics and locals.
    let result = unsafe { hypercall(nr, all) };
    // The call may have changed what the arguments point to.
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
    result
}

/// A call with a sub-operation and a pointer to its argument, which the hypervisor may change.
pub fn call_with<T>(nr: u32, operation: u32, argument: &mut T) -> i64 {
    call(
        nr,
        &[
            u64::from(operation),
            (&raw mut *argument).expose_provenance() as u64,
        ],
    )
}
