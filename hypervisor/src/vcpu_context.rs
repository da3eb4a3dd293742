//! The state that a vCPU starts with: empty, or as a `struct vcpu_guest_context` says (`VCPUOP_initialise`).

use alloc::boxed::Box;
use alloc::vec::Vec;

use addr::{Mfn, Vaddr};
use arrayvec::ArrayVec;
use cpu_policy::msr::VcpuMsrs;
use frames::RootRef;
use platform_cpu::xsave::{self, XsaveArea};
use platform_cpu::{GuestRegs, segments::Segments};
use x86_defs::control::{Cr0, DR6_DEFAULT, DR7_DEFAULT, RFlags};
use xen_abi::cpu_user_regs::CpuUserRegs;
use xen_abi::errno::Errno;
use xen_abi::trap::TrapInfo;
use xen_abi::vcpu_context::{
    VGCF_FAILSAFE_DISABLES_EVENTS, VGCF_I387_VALID, VGCF_IN_KERNEL, VGCF_ONLINE,
    VGCF_SYSCALL_DISABLES_EVENTS, VcpuGuestContext,
};
use zerocopy::FromZeros;

use crate::bounce::{Callback, sanitize_flags};
use crate::crossings::Roots;
use crate::domain::Domain;
use crate::history::History;
use crate::mm;
use crate::vcpu::{Callbacks, Vcpu, VcpuState};

/// State of a vCPU before it is initialised.
///
/// # Errors
/// `ENOMEM`.
pub fn empty() -> Result<VcpuState, Errno> {
    let traps = Vec::new();
    Ok(VcpuState {
        regs: GuestRegs::default(),
        segments: Segments::default(),
        xsave: XsaveArea::new().ok_or(Errno::ENOMEM)?,
        in_kernel: true,
        kernel_ss: 0,
        kernel_sp: 0,
        traps: empty_traps(traps)?,
        callbacks: Callbacks::default(),
        roots: Roots::default(),
        pending: frames::Pending::default(),
        gdt_frames: ArrayVec::new(),
        gdt_entries: 0,
        ldt_base: 0,
        ldt_entries: 0,
        cr0: (Cr0::PE | Cr0::ET | Cr0::NE | Cr0::PG | Cr0::WP | Cr0::MP).bits(),
        cr4: 0,
        xcr0: xsave::XCR0_BASE,
        msrs: VcpuMsrs::default(),
        debug_registers: [0, 0, 0, 0, 0, 0, DR6_DEFAULT, DR7_DEFAULT],
        iopl: 0,
        io_bitmap: 0,
        io_bitmap_ports: 0,
        nmi_masked: false,
        history: History::default(),
    })
}

fn empty_traps(mut traps: Vec<TrapInfo>) -> Result<Box<[TrapInfo; 256]>, Errno> {
    traps.try_reserve_exact(256).map_err(|_| Errno::ENOMEM)?;
    traps.resize(256, TrapInfo::new_zeroed());
    traps
        .into_boxed_slice()
        .try_into()
        .map_err(|_| Errno::ENOMEM)
}

/// Where the I/O privilege level is among the flags.
const IOPL_SHIFT: u32 = 12;

/// Gives `target`, which is down, the context that the guest described.
///
/// # Errors
/// `EINVAL` for addresses that are not canonical, descriptor frames or a page table that cannot be used; `EBUSY`
/// while the vCPU runs; nothing has changed then.
pub fn initialise(domain: &Domain, target: &Vcpu, wanted: &VcpuGuestContext) -> Result<(), Errno> {
    check_addresses(wanted)?;
    let mut state = target.state.try_lock().ok_or(Errno::EBUSY)?;
    // Asked again under the lock: another vCPU may have been faster.
    if target.is_initialised() {
        return Err(Errno::EEXIST);
    }
    begin(domain, target, &mut state, wanted)
}

/// Gives `target`, which is paused, the context that its domain's controller described, and brings it up or down.
///
/// # Errors
/// As [`initialise`]; `EOPNOTSUPP` for other page tables or descriptor tables than the vCPU has, if it has any.
pub fn replace(domain: &Domain, target: &Vcpu, wanted: &VcpuGuestContext) -> Result<(), Errno> {
    check_addresses(wanted)?;
    let mut state = target.state.try_lock().ok_or(Errno::EBUSY)?;
    if target.is_initialised() {
        let mut has = VcpuGuestContext::new_zeroed();
        describe(target, &state, &mut has);
        if has.gdt_frames != wanted.gdt_frames
            || has.gdt_ents != wanted.gdt_ents
            || has.ldt_base != wanted.ldt_base
            || has.ldt_ents != wanted.ldt_ents
            || has.ctrlreg[1] != wanted.ctrlreg[1]
            || has.ctrlreg[3] != wanted.ctrlreg[3]
        {
            return Err(Errno::EOPNOTSUPP);
        }
        fill(&mut state, wanted);
    } else {
        begin(domain, target, &mut state, wanted)?;
        if target.id() == 0 {
            domain.set_assists(wanted.vm_assist);
        }
    }
    for (register, value) in [0, 1, 2, 3, 6, 7].map(|index| (index, wanted.debugreg[index])) {
        if let Some(place) = state.debug_registers.get_mut(register)
            && let Some(value) = acceptable_debug_register(register, value)
        {
            *place = value;
        }
    }
    drop(state);
    target.set_up(wanted.flags & VGCF_ONLINE != 0);
    Ok(())
}

/// What a debug register holds if a controller sets it: breakpoints in the hypervisor's part are none.
fn acceptable_debug_register(register: usize, value: u64) -> Option<u64> {
    match register {
        0..=3 => platform_cpu::guest::is_guest_range(Vaddr::new(value), 1).then_some(value),
        6 => Some(DR6_DEFAULT | (value & 0xf)),
        // Breakpoints are set by the guest itself, which has the checks for that.
        _ => Some(DR7_DEFAULT),
    }
}

fn check_addresses(wanted: &VcpuGuestContext) -> Result<(), Errno> {
    let addresses = [
        wanted.event_callback_eip,
        wanted.failsafe_callback_eip,
        wanted.syscall_callback_eip,
        wanted.fs_base,
        wanted.gs_base_kernel,
        wanted.gs_base_user,
        wanted.kernel_sp,
        wanted.ldt_base,
        wanted.user_regs.rip,
    ];
    let canonical = |address: u64| Vaddr::new(address).is_canonical();
    if addresses.into_iter().all(canonical)
        && wanted.trap_ctxt.iter().all(|trap| canonical(trap.address))
    {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// Gives a vCPU its first context.
fn begin(
    domain: &Domain,
    target: &Vcpu,
    state: &mut VcpuState,
    wanted: &VcpuGuestContext,
) -> Result<(), Errno> {
    if domain.is_dying() {
        return Err(Errno::EINVAL);
    }
    let kernel_root = mm::guest_root(domain, frame_of_cr3(wanted.ctrlreg[3]))?;
    let user_root = match user_root(domain, wanted) {
        Ok(root) => root,
        Err(error) => {
            mm::release_root(kernel_root);
            return Err(error);
        }
    };
    let set = mm::set_descriptor_frames(domain, target, state, &wanted.gdt_frames, wanted.gdt_ents);
    if let Err(error) = set {
        mm::release_root(kernel_root);
        user_root.into_iter().for_each(mm::release_root);
        return Err(error);
    }
    // Nothing can fail any more: a refused context leaves no trace in tables that are in use.
    if let Some(user_root) = &user_root {
        platform_memory::set_m2p_visible(user_root, user_root.frame() == kernel_root.frame());
    }
    platform_memory::set_m2p_visible(&kernel_root, true);

    // It had none.
    state.roots.replace_kernel(Some(kernel_root));
    state.roots.replace_user(user_root);
    state.ldt_base = wanted.ldt_base;
    state.ldt_entries = u32::try_from(wanted.ldt_ents).unwrap_or(0).min(8192);
    fill(state, wanted);
    target.set_initialised();
    Ok(())
}

/// Takes over what refers to no memory of the guest's.
fn fill(state: &mut VcpuState, wanted: &VcpuGuestContext) {
    state.in_kernel = wanted.flags & VGCF_IN_KERNEL != 0;
    state.regs = registers(wanted);
    // The I/O privilege level is virtual: it is kept here, and not among the flags that the CPU sees.
    state.iopl = (wanted.user_regs.rflags >> IOPL_SHIFT & 3) as u8;
    let (gs_base, shadow_gs_base) = if state.in_kernel {
        (wanted.gs_base_kernel, wanted.gs_base_user)
    } else {
        (wanted.gs_base_user, wanted.gs_base_kernel)
    };
    state.segments = Segments {
        ds: wanted.user_regs.ds,
        es: wanted.user_regs.es,
        fs: wanted.user_regs.fs,
        gs: wanted.user_regs.gs,
        fs_base: wanted.fs_base,
        gs_base,
        shadow_gs_base,
    };
    if wanted.flags & VGCF_I387_VALID != 0 {
        state.xsave.reset();
        let legacy = state.xsave.bytes_mut().iter_mut();
        for (to, from) in legacy.zip(wanted.fpu_ctxt.x) {
            *to = from;
        }
    }
    for (slot, trap) in state.traps.iter_mut().zip(&wanted.trap_ctxt) {
        *slot = *trap;
    }
    state.kernel_ss = (wanted.kernel_ss as u16) | 3;
    state.kernel_sp = wanted.kernel_sp;
    state.callbacks.event = Callback {
        address: wanted.event_callback_eip,
        masks_events: true,
    };
    state.callbacks.failsafe = Callback {
        address: wanted.failsafe_callback_eip,
        masks_events: wanted.flags & VGCF_FAILSAFE_DISABLES_EVENTS != 0,
    };
    state.callbacks.syscall = Callback {
        address: wanted.syscall_callback_eip,
        masks_events: wanted.flags & VGCF_SYSCALL_DISABLES_EVENTS != 0,
    };
}

/// Describes a vCPU that does not run; `into` is all zeroes before.
pub fn describe(vcpu: &Vcpu, state: &VcpuState, into: &mut VcpuGuestContext) {
    let mut flags = VGCF_I387_VALID;
    for (flag, is_set) in [
        (VGCF_IN_KERNEL, state.in_kernel),
        (
            VGCF_FAILSAFE_DISABLES_EVENTS,
            state.callbacks.failsafe.masks_events,
        ),
        (
            VGCF_SYSCALL_DISABLES_EVENTS,
            state.callbacks.syscall.masks_events,
        ),
        (VGCF_ONLINE, vcpu.is_up()),
    ] {
        if is_set {
            flags |= flag;
        }
    }
    into.flags = flags;
    for (to, from) in into.fpu_ctxt.x.iter_mut().zip(state.xsave.bytes()) {
        *to = *from;
    }
    let (regs, segments) = (&state.regs, &state.segments);
    into.user_regs = CpuUserRegs {
        r15: regs.r15,
        r14: regs.r14,
        r13: regs.r13,
        r12: regs.r12,
        rbp: regs.rbp,
        rbx: regs.rbx,
        r11: regs.r11,
        r10: regs.r10,
        r9: regs.r9,
        r8: regs.r8,
        rax: regs.rax,
        rcx: regs.rcx,
        rdx: regs.rdx,
        rsi: regs.rsi,
        rdi: regs.rdi,
        rip: regs.rip,
        cs: regs.cs,
        rflags: regs.rflags | u64::from(state.iopl) << IOPL_SHIFT,
        rsp: regs.rsp,
        ss: regs.ss,
        ds: segments.ds,
        es: segments.es,
        fs: segments.fs,
        gs: segments.gs,
        saved_upcall_mask: u8::from(vcpu.info().upcall_mask()),
        ..CpuUserRegs::default()
    };
    into.trap_ctxt = *state.traps;
    into.ldt_base = state.ldt_base;
    into.ldt_ents = state.ldt_entries.into();
    for (to, from) in into.gdt_frames.iter_mut().zip(&state.gdt_frames) {
        *to = from.frame().raw();
    }
    into.gdt_ents = state.gdt_entries.into();
    into.kernel_ss = state.kernel_ss.into();
    into.kernel_sp = state.kernel_sp;
    into.ctrlreg[0] = state.cr0;
    into.ctrlreg[1] = state.roots.user().map_or(0, cr3_of);
    into.ctrlreg[2] = vcpu.info().fault_address();
    into.ctrlreg[3] = state.roots.kernel().map_or(0, cr3_of);
    into.ctrlreg[4] = state.cr4;
    into.debugreg = state.debug_registers;
    into.debugreg[5] = 0;
    into.event_callback_eip = state.callbacks.event.address;
    into.failsafe_callback_eip = state.callbacks.failsafe.address;
    into.syscall_callback_eip = state.callbacks.syscall.address;
    into.fs_base = segments.fs_base;
    (into.gs_base_kernel, into.gs_base_user) = if state.in_kernel {
        (segments.gs_base, segments.shadow_gs_base)
    } else {
        (segments.shadow_gs_base, segments.gs_base)
    };
}

/// The page tables that programs are to run on, if they are named.
fn user_root(
    domain: &Domain,
    wanted: &VcpuGuestContext,
) -> Result<Option<RootRef<'static>>, Errno> {
    match wanted.ctrlreg[1] {
        // A program runs on its own page table: without one the CPU would have no descriptors either.
        0 if wanted.flags & VGCF_IN_KERNEL == 0 => Err(Errno::EINVAL),
        0 => Ok(None),
        cr3 => mm::guest_root(domain, frame_of_cr3(cr3)).map(Some),
    }
}

fn registers(wanted: &VcpuGuestContext) -> GuestRegs {
    let from = &wanted.user_regs;
    GuestRegs {
        r15: from.r15,
        r14: from.r14,
        r13: from.r13,
        r12: from.r12,
        rbp: from.rbp,
        rbx: from.rbx,
        r11: from.r11,
        r10: from.r10,
        r9: from.r9,
        r8: from.r8,
        rax: from.rax,
        rcx: from.rcx,
        rdx: from.rdx,
        rsi: from.rsi,
        rdi: from.rdi,
        rip: from.rip,
        // Guests know of rings 0 to 3; all of them are ring 3 here.
        cs: from.cs | 3,
        rflags: sanitize_flags(from.rflags & !RFlags::RF.bits()),
        rsp: from.rsp,
        ss: from.ss | 3,
        ..GuestRegs::default()
    }
}

/// Frame that a guest's CR3 value names (`xen_cr3_to_pfn`).
fn frame_of_cr3(cr3: u64) -> Mfn {
    Mfn::new(cr3 >> addr::PAGE_SHIFT)
}

/// The same for a root.
fn cr3_of(root: &RootRef<'_>) -> u64 {
    root.frame().raw() << addr::PAGE_SHIFT
}
