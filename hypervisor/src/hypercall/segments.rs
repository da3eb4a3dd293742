//! Trap table, stack, callbacks, segment bases, debug registers, task-switched flag: calls that set how the CPU
//! treats the vCPU that makes them (public/xen.h, public/callback.h).

use addr::Vaddr;
use hypercall::{CallFrame, Outcome};
use platform_cpu::{guest, segments};
use xen_abi::callback::{self, CallbackRegister, CallbackUnregister};
use xen_abi::errno::Errno;
use xen_abi::trap::TrapInfo;

use crate::bounce::Callback;
use crate::context::Context;
use crate::hypercall::{errno, ok};

/// `set_trap_table`: entries up to one with a null address replace handlers; a null table clears all.
pub fn set_trap_table(context: &mut Context<'_>, table: u64) -> Outcome {
    if table == 0 {
        context.state.traps.fill(TrapInfo::default());
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
    ok()
}

/// `set_callbacks`: the older way to set event, failsafe and system call callbacks.
pub fn set_callbacks(context: &mut Context<'_>, event: u64, failsafe: u64, syscall: u64) -> Outcome {
    if [event, failsafe, syscall]
        .iter()
        .any(|address| !Vaddr::new(*address).is_canonical())
    {
        return errno(Errno::EINVAL);
    }
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
pub fn callback_op(context: &mut Context<'_>, command: u64, argument: u64) -> Outcome {
    match command {
        callback::REGISTER => {
            let Ok(request) = guest::read::<CallbackRegister>(Vaddr::new(argument)) else {
                return errno(Errno::EFAULT);
            };
            let masks = request.flags & callback::CALLBACKF_MASK_EVENTS != 0;
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
            match request.kind {
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
    let callbacks = &mut context.state.callbacks;
    match kind {
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
pub fn nmi_op(context: &mut Context<'_>, command: u64, argument: u64) -> Outcome {
    match command {
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
pub fn set_segment_base(context: &mut Context<'_>, which: u64, base: u64) -> Outcome {
    let canonical = Vaddr::new(base).is_canonical();
    match u32::try_from(which).unwrap_or(u32::MAX) {
        xen_abi::segments::SEGBASE_FS if canonical => segments::set_fs_base(base),
        xen_abi::segments::SEGBASE_GS_USER if canonical => segments::set_inactive_gs_base(base),
        xen_abi::segments::SEGBASE_GS_KERNEL if canonical => segments::set_gs_base(base),
        xen_abi::segments::SEGBASE_GS_USER_SEL => {
            // COMPAT: as on Xen, a selector that cannot be loaded is replaced by the null one.
            segments::load_inactive_gs_selector(base as u16);
        }
        _ => return errno(Errno::EINVAL),
    }
    let _ = context;
    ok()
}

/// `fpu_taskswitch`: sets or clears the flag that makes the next FPU instruction trap.
pub fn fpu_taskswitch(context: &mut Context<'_>, set: u64) -> Outcome {
    let ts = x86_defs::cr0::TS;
    if set != 0 {
        context.state.cr0 |= ts;
    } else {
        context.state.cr0 &= !ts;
    }
    platform_cpu::set_task_switched(set != 0);
    ok()
}

/// `vm_assist`: switches a convenience on or off for the whole domain.
pub fn vm_assist(context: &mut Context<'_>, command: u64, kind: u64) -> Outcome {
    use xen_abi::vm_assist as assist;
    let known = 1 << assist::TYPE_WRITABLE_PAGETABLES
        | 1 << assist::TYPE_PAE_EXTENDED_CR3
        | 1 << assist::TYPE_ARCHITECTURAL_IOPL
        | 1 << assist::TYPE_RUNSTATE_UPDATE_FLAG
        | 1 << assist::TYPE_M2P_STRICT
        | 1 << assist::TYPE_4GB_SEGMENTS
        | 1 << assist::TYPE_4GB_SEGMENTS_NOTIFY;
    match u32::try_from(kind) {
        Ok(kind) if kind < 64 && (known >> kind) & 1u64 != 0 => {
            match command {
                assist::CMD_ENABLE => context.domain.set_assist(kind, true),
                assist::CMD_DISABLE => context.domain.set_assist(kind, false),
                _ => return errno(Errno::ENOSYS),
            }
            ok()
        }
        _ => errno(Errno::EINVAL),
    }
}

/// The rest of the arguments of a call, for those that take none.
pub fn ignored(_frame: &CallFrame) {}
