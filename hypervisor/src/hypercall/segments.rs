//! Trap table, stack, callbacks, segment bases, debug registers, task-switched flag: calls that set how the CPU
//! treats the vCPU that makes them (public/xen.h, public/callback.h).

use ::hypercall::Outcome;
use addr::Vaddr;
use platform_cpu::{guest, segments};
use xen_abi::callback::{self, CallbackRegister, CallbackUnregister};
use xen_abi::errno::Errno;
use xen_abi::trap::TrapInfo;
use xen_abi::vm_assist as assist;
use zerocopy::FromZeros;

use crate::bounce::Callback;
use crate::context::Context;
use crate::cpu::{self, Work};
use crate::hypercall::{errno, ok};
use crate::vcpu::Notice;

/// `set_trap_table`: entries up to one with a null address replace handlers; a null table clears all.
#[inline(never)]
pub fn set_trap_table(context: &mut Context<'_>, table: u64) -> Outcome {
    context.state.roots.note_change();
    if table == 0 {
        context.state.traps.fill(TrapInfo::new_zeroed());
        return ok();
    }
    let mut at = Vaddr::new(table);
    // A table longer than the number of vectors only repeats itself: refuse to walk further.
    for _ in 0..=256 {
        let Ok(entry) = guest::read::<TrapInfo>(at) else {
            return errno(Errno::EFAULT);
        };
        if entry.address == 0 {
            return ok();
        }
        if !Vaddr::new(entry.address).is_canonical() {
            return errno(Errno::EINVAL);
        }
        if let Some(slot) = context.state.traps.get_mut(usize::from(entry.vector)) {
            *slot = TrapInfo {
                cs: fixed_code_selector(entry.cs),
                ..entry
            };
        }
        match at.checked_add(size_of::<TrapInfo>() as u64) {
            Some(next) => at = next,
            None => return errno(Errno::EFAULT),
        }
    }
    errno(Errno::EINVAL)
}

/// Handlers run in ring 3 whatever the guest's kernel calls its rings.
fn fixed_code_selector(selector: u16) -> u16 {
    selector | 3
}

/// `stack_switch`: where traps from programs find the kernel's stack.
pub fn stack_switch(context: &mut Context<'_>, ss: u64, sp: u64) -> Outcome {
    context.state.kernel_ss = (ss as u16) | 3;
    context.state.kernel_sp = sp;
    context.state.roots.note_process();
    ok()
}

/// `set_callbacks`: the older way to set event, failsafe and system call callbacks.
#[inline(never)]
pub fn set_callbacks(
    context: &mut Context<'_>,
    event: u64,
    failsafe: u64,
    syscall: u64,
) -> Outcome {
    if [event, failsafe, syscall]
        .iter()
        .any(|address| !Vaddr::new(*address).is_canonical())
    {
        return errno(Errno::EINVAL);
    }
    context.state.roots.note_change();
    let callbacks = &mut context.state.callbacks;
    callbacks.event = Callback {
        address: event,
        masks_events: true,
    };
    callbacks.failsafe = Callback {
        address: failsafe,
        masks_events: callbacks.failsafe.masks_events,
    };
    callbacks.syscall = Callback {
        address: syscall,
        masks_events: callbacks.syscall.masks_events,
    };
    ok()
}

/// `callback_op`.
#[inline(never)]
pub fn callback_op(context: &mut Context<'_>, command: u64, argument: u64) -> Outcome {
    match u32::try_from(command).unwrap_or(u32::MAX) {
        callback::REGISTER => {
            let Ok(request) = guest::read::<CallbackRegister>(Vaddr::new(argument)) else {
                return errno(Errno::EFAULT);
            };
            let masks = u32::from(request.flags) & callback::CALLBACKF_MASK_EVENTS != 0;
            if !Vaddr::new(request.address).is_canonical() {
                return errno(Errno::EINVAL);
            }
            let callback = Callback {
                address: request.address,
                masks_events: masks,
            };
            set_callback(context, request.kind, callback)
        }
        callback::UNREGISTER => {
            let Ok(request) = guest::read::<CallbackUnregister>(Vaddr::new(argument)) else {
                return errno(Errno::EFAULT);
            };
            match u32::from(request.kind) {
                callback::CALLBACKTYPE_EVENT
                | callback::CALLBACKTYPE_FAILSAFE
                | callback::CALLBACKTYPE_SYSCALL
                | callback::CALLBACKTYPE_SYSCALL32
                | callback::CALLBACKTYPE_SYSENTER => errno(Errno::EINVAL),
                callback::CALLBACKTYPE_NMI => {
                    context.state.callbacks.nmi = Callback::default();
                    ok()
                }
                _ => errno(Errno::ENOSYS),
            }
        }
        _ => errno(Errno::ENOSYS),
    }
}

fn set_callback(context: &mut Context<'_>, kind: u16, callback: Callback) -> Outcome {
    context.state.roots.note_change();
    let callbacks = &mut context.state.callbacks;
    match u32::from(kind) {
        callback::CALLBACKTYPE_EVENT => {
            callbacks.event = Callback {
                masks_events: true,
                ..callback
            };
        }
        callback::CALLBACKTYPE_FAILSAFE => callbacks.failsafe = callback,
        callback::CALLBACKTYPE_SYSCALL => callbacks.syscall = callback,
        callback::CALLBACKTYPE_SYSCALL32 => callbacks.syscall32 = callback,
        callback::CALLBACKTYPE_SYSENTER => callbacks.sysenter = callback,
        callback::CALLBACKTYPE_NMI => {
            callbacks.nmi = Callback {
                masks_events: true,
                ..callback
            };
        }
        _ => return errno(Errno::ENOSYS),
    }
    ok()
}

/// `nmi_op`: registers or removes the handler of non-maskable interrupts.
#[inline(never)]
pub fn nmi_op(context: &mut Context<'_>, command: u64, argument: u64) -> Outcome {
    match u32::try_from(command).unwrap_or(u32::MAX) {
        xen_abi::nmi::XENNMI_REGISTER_CALLBACK => {
            // struct xennmi_callback { handler_address, pad }
            let Ok(address) = guest::read::<u64>(Vaddr::new(argument)) else {
                return errno(Errno::EFAULT);
            };
            if context.vcpu.id() != 0 || !Vaddr::new(address).is_canonical() {
                return errno(Errno::EINVAL);
            }
            context.state.callbacks.nmi = Callback {
                address,
                masks_events: true,
            };
            ok()
        }
        xen_abi::nmi::XENNMI_UNREGISTER_CALLBACK => {
            context.state.callbacks.nmi = Callback::default();
            ok()
        }
        _ => errno(Errno::ENOSYS),
    }
}

/// `set_segment_base`.
#[inline(never)]
pub fn set_segment_base(which: u64, base: u64) -> Outcome {
    let done = match u32::try_from(which).unwrap_or(u32::MAX) {
        xen_abi::arch_x86::SEGBASE_FS => segments::set_fs_base(base),
        xen_abi::arch_x86::SEGBASE_GS_USER => segments::set_shadow_gs_base(base),
        xen_abi::arch_x86::SEGBASE_GS_KERNEL => segments::set_gs_base(base),
        xen_abi::arch_x86::SEGBASE_GS_USER_SEL => {
            // As on Xen, a selector that cannot be loaded is replaced by the null one.
            segments::load_user_gs_selector(base as u16)
                .or_else(|_| segments::load_user_gs_selector(0))
                .is_ok()
        }
        _ => false,
    };
    if done { ok() } else { errno(Errno::EINVAL) }
}

/// `fpu_taskswitch`: sets or clears the flag that makes the next FPU instruction trap.
pub fn fpu_taskswitch(context: &mut Context<'_>, set: u64) -> Outcome {
    let ts = x86_defs::control::Cr0::TS.bits();
    if set != 0 {
        context.state.cr0 |= ts;
    } else {
        context.state.cr0 &= !ts;
    }
    platform_cpu::control::set_task_switched(set != 0);
    ok()
}

/// The assists that there are, as bits.
pub const VALID_ASSISTS: u64 = 1 << assist::TYPE_WRITABLE_PAGETABLES
    | 1 << assist::TYPE_PAE_EXTENDED_CR3
    | 1 << assist::TYPE_ARCHITECTURAL_IOPL
    | 1 << assist::TYPE_RUNSTATE_UPDATE_FLAG
    | 1 << assist::TYPE_M2P_STRICT
    | 1 << assist::TYPE_4GB_SEGMENTS
    | 1 << assist::TYPE_4GB_SEGMENTS_NOTIFY;

/// `vm_assist`: switches a convenience on or off for the whole domain.
#[inline(never)]
pub fn vm_assist(context: &mut Context<'_>, command: u64, kind: u64) -> Outcome {
    match u32::try_from(kind) {
        Ok(kind) if kind < 64 && (VALID_ASSISTS >> kind) & 1u64 != 0 => {
            match u32::try_from(command).unwrap_or(u32::MAX) {
                assist::CMD_ENABLE => context.domain.set_assist(kind, true),
                assist::CMD_DISABLE => context.domain.set_assist(kind, false),
                _ => return errno(Errno::ENOSYS),
            }
            for other in context.domain.vcpus() {
                other.notify(Notice::Crossings);
                if let Some(cpu) = other.loaded_on() {
                    cpu::request(cpu, Work::Events);
                }
            }
            ok()
        }
        _ => errno(Errno::EINVAL),
    }
}

/// DR7: debug registers themselves are watched, which is the hypervisor's to do.
const DR7_GENERAL_DETECT: u64 = 1 << 13;
/// DR7: what a breakpoint of this kind watches is a port.
const DR7_PORT: u64 = 2;

/// The debug register that a number names: with CR4.DE, 4 and 5 name none; without, they are 6 and 7.
fn debug_register(context: &Context<'_>, register: u64) -> Result<usize, Errno> {
    let extensions = context.state.cr4 & x86_defs::control::Cr4::DE.bits() != 0;
    match register {
        0..=3 | 6 | 7 => Ok(register as usize),
        4 | 5 if extensions => Err(Errno::ENODEV),
        4 | 5 => Ok(register as usize + 2),
        _ => Err(Errno::EINVAL),
    }
}

/// `set_debugreg`. Breakpoints cannot be set on the hypervisor (XSA-444), and reserved bits are not taken.
#[inline(never)]
pub fn set_debugreg(context: &mut Context<'_>, register: u64, value: u64) -> Outcome {
    let register = match debug_register(context, register) {
        Ok(register) => register,
        Err(error) => return errno(error),
    };
    let mut value = value;
    let mut ports = None;
    match register {
        0..=3 => {
            if !guest::is_guest_range(Vaddr::new(value), 8) {
                return errno(Errno::EPERM);
            }
        }
        6 | 7 if value > u64::from(u32::MAX) => return errno(Errno::EINVAL),
        6 => value = (value & 0xffff_efff) | x86_defs::control::DR6_DEFAULT,
        _ => {
            if value & DR7_GENERAL_DETECT != 0 {
                return errno(Errno::EPERM);
            }
            value = (value & 0xffff_03ff) | x86_defs::control::DR7_DEFAULT;
            // A guest's port I/O is emulated: its breakpoints on ports are kept, and not loaded.
            let on_ports = (0..4).fold(0, |bits, number| {
                let kind = (value >> (16 + 4 * number)) & 3;
                let enabled = value & (3 << (2 * number));
                if kind == DR7_PORT {
                    bits | enabled
                } else {
                    bits
                }
            });
            if on_ports != 0 && context.state.cr4 & x86_defs::control::Cr4::DE.bits() == 0 {
                return errno(Errno::EPERM);
            }
            value &= !on_ports;
            ports = Some(on_ports);
        }
    }
    let registers = &mut context.state.debug_registers;
    if let Some(slot) = registers.get_mut(register) {
        *slot = value;
    }
    if let (Some(ports), Some(slot)) = (ports, registers.get_mut(5)) {
        *slot = ports;
    }
    platform_cpu::debug_registers::replace(registers);
    ok()
}

/// `get_debugreg`.
#[inline(never)]
pub fn get_debugreg(context: &Context<'_>, register: u64) -> Outcome {
    let register = match debug_register(context, register) {
        Ok(register) => register,
        Err(error) => return errno(error),
    };
    let registers = &context.state.debug_registers;
    let value = match registers.get(register) {
        Some(value) if register == 7 => value | registers.get(5).copied().unwrap_or(0),
        Some(value) => *value,
        None => return errno(Errno::EINVAL),
    };
    Outcome::Done(value as i64)
}
