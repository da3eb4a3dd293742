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
