//! Bounce frames: how a trap, an event or a program's system call reaches the guest's kernel, and `iret`, the
//! way back.
//!
//! The frame that a 64-bit guest finds on its kernel stack, from the lowest address: `rcx`, `r11`, the
//! exception's error code if it has one, `rip`, `cs`, `rflags`, `rsp`, `ss`. The word of `cs` holds the upcall mask in
//! bits 32–39; its low two bits are 0 if the guest's kernel was interrupted and 3 if a program was, since both
//! run in ring 3 and the guest must tell them apart. `rflags.IF` shows the inverted upcall mask
//! (public/arch-x86/xen-x86_64.h, and Linux's `xen_pv_trap` entries).

use addr::Vaddr;
use platform_cpu::GuestRegs;
use x86_defs::control::RFlags;
use xen_abi::arch_x86::{FLAT_RING3_CS64, FLAT_RING3_SS64};
use xen_abi::vm_assist::TYPE_ARCHITECTURAL_IOPL;

use crate::context::Context;
use ::hypercall::CrashReason;

/// A handler of the guest's kernel, and whether entering it masks events.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Where the handler starts; 0 is "none registered".
    pub address: u64,
    /// Whether the upcall mask is set on entry.
    pub masks_events: bool,
}

/// What is pushed between `r11` and `rip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    None,
    /// An exception's error code.
    ErrorCode(u32),
    /// The data segment selectors, for the failsafe callback: `ds`, `es`, `fs`, `gs`.
    Selectors([u16; 4]),
}

/// Flags that never reach a handler, as with a hardware interrupt gate.
const CLEARED_ON_ENTRY: RFlags = RFlags::AC
    .union(RFlags::VM)
    .union(RFlags::RF)
    .union(RFlags::NT)
    .union(RFlags::TF);

/// Position of the I/O privilege level.
const IOPL_SHIFT: u32 = RFlags::IOPL.bits().trailing_zeros();
/// The interrupt flag.
const IF: u64 = RFlags::IF.bits();

/// Flags that a guest cannot choose: I/O privilege is the hypervisor's to emulate, virtual-8086 mode does not
/// exist in long mode, and the hardware's interrupt flag stays on whatever the guest believes (XSA-202).
pub fn sanitize_flags(flags: u64) -> u64 {
    let flags = RFlags::from_bits_truncate(flags);
    let refused = RFlags::IOPL | RFlags::VM | RFlags::VIP | RFlags::VIF | RFlags::NT;
    ((flags - refused) | RFlags::IF | RFlags::FIXED).bits()
}

/// Redirects the guest to `handler` in its kernel, with a frame of what it was doing.
///
/// # Errors
/// The domain cannot go on: no kernel stack could be written.
#[inline]
pub fn bounce(
    context: &mut Context<'_>,
    handler: Callback,
    extra: Extra,
) -> Result<(), CrashReason> {
    match extra {
        Extra::None => bounce_with(context, handler, |[rcx, r11], rest| {
            let [rip, cs, flags, rsp, ss] = rest;
            [rcx, r11, rip, cs, flags, rsp, ss]
        }),
        Extra::ErrorCode(code) => bounce_with(context, handler, |[rcx, r11], rest| {
            let [rip, cs, flags, rsp, ss] = rest;
            [rcx, r11, u64::from(code), rip, cs, flags, rsp, ss]
        }),
        Extra::Selectors(selectors) => bounce_with(context, handler, |[rcx, r11], rest| {
            let [ds, es, fs, gs] = selectors.map(u64::from);
            let [rip, cs, flags, rsp, ss] = rest;
            [rcx, r11, ds, es, fs, gs, rip, cs, flags, rsp, ss]
        }),
    }
}

/// As above, with the frame of `WORDS` words that `frame` makes of its first two and its last five.
fn bounce_with<const WORDS: usize>(
    context: &mut Context<'_>,
    handler: Callback,
    frame: impl FnOnce([u64; 2], [u64; 5]) -> [u64; WORDS],
) -> Result<(), CrashReason> {
    let Context {
        domain,
        vcpu,
        state,
        regs,
        ..
    } = context;
    if handler.address == 0 {
        return Err(CrashReason::Other(
            "no handler is registered for a callback",
        ));
    }
    let regs: &mut GuestRegs = regs;
    let info = vcpu.info();
    let mask = info.upcall_mask();
    let was_kernel = state.in_kernel;
    let stack_top = if was_kernel {
        regs.rsp
    } else {
        state.kernel_sp
    };
    if !was_kernel {
        state.toggle_mode()?;
    }

    let mut flags = regs.rflags & !IF;
    if !mask {
        flags |= IF;
    }
    if domain.assists(TYPE_ARCHITECTURAL_IOPL) {
        flags = (flags & !RFlags::IOPL.bits()) | (u64::from(state.iopl & 3) << IOPL_SHIFT);
    }
    let selector = if was_kernel {
        regs.cs & !3
    } else {
        regs.cs | 3
    };

    let selector = u64::from(selector) | (u64::from(mask) << 32);
    let words = frame(
        [regs.rcx, regs.r11],
        [regs.rip, selector, flags, regs.rsp, u64::from(regs.ss)],
    );
    let base = Vaddr::new((stack_top & !15).wrapping_sub(WORDS as u64 * 8));
    platform_cpu::guest::write_words(base, &words).map_err(|_| CrashReason::UnwritableTrapFrame)?;

    regs.rsp = base.raw();
    regs.rip = handler.address;
    regs.cs = FLAT_RING3_CS64;
    regs.ss = FLAT_RING3_SS64;
    regs.rflags = sanitize_flags(regs.rflags & !CLEARED_ON_ENTRY.bits());
    // The handler takes these two from the frame: as SYSRET loads them, it can be what enters the handler.
    regs.rcx = regs.rip;
    regs.r11 = regs.rflags;
    if handler.masks_events {
        info.set_upcall_mask(true);
    }
    Ok(())
}

/// Words of `struct iret_context`: rax, r11, rcx, flags, rip, cs, rflags, rsp, ss.
const IRET_WORDS: usize = 9;

/// The `iret` hypercall: leaves the guest's kernel for what the frame on its stack names. Returns the value for
/// `rax`.
///
/// # Errors
/// The stack cannot be read, or there is no user page table to return to: the domain cannot go on.
#[inline]
pub fn iret(context: &mut Context<'_>) -> Result<u64, CrashReason> {
    let Context {
        domain,
        vcpu,
        state,
        regs,
        ..
    } = context;
    let regs: &mut GuestRegs = regs;
    let stack = Vaddr::new(regs.rsp);
    let words: [u64; IRET_WORDS] =
        platform_cpu::guest::read_words(stack).map_err(|_| CrashReason::UnreadableReturnFrame)?;
    let [rax, r11, rcx, flags, rip, cs, saved_flags, rsp, ss] = words;

    // Selectors are 16 bits of their words; the rest is the guest's own affair.
    let (cs, ss) = (cs as u16, ss as u16);
    if cs & 3 == 3 {
        state.toggle_mode()?;
    }
    let iopl = (saved_flags >> IOPL_SHIFT & 3) as u8;
    if domain.assists(TYPE_ARCHITECTURAL_IOPL) && state.iopl != iopl {
        state.iopl = iopl;
        state.roots.note_change();
    }
    regs.rip = rip;
    regs.cs = cs | 3;
    regs.rflags = sanitize_flags(saved_flags);
    regs.rsp = rsp;
    regs.ss = ss | 3;
    if flags & xen_abi::vcpu_context::VGCF_IN_SYSCALL == 0 {
        regs.r11 = r11;
        regs.rcx = rcx;
    } else {
        // Back by the rules of SYSRET: the two registers hold what that instruction takes from them.
        regs.cs = FLAT_RING3_CS64;
        regs.ss = FLAT_RING3_SS64;
        regs.r11 = regs.rflags;
        regs.rcx = rip;
    }
    if state.nmi_masked {
        state.nmi_masked = false;
        state.roots.note_change();
    }
    vcpu.info().set_upcall_mask(saved_flags & IF == 0);
    Ok(rax)
}
