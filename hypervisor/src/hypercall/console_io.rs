//! `console_io`: the hypervisor's console as a guest's own (public/xen.h `CONSOLEIO_*`).

use ::hypercall::{Authorized, CallFrame, Outcome, authorize, op};
use addr::Vaddr;
use platform_cpu::guest;
use xen_abi::console_io;
use xen_abi::errno::Errno;

use crate::context::Context;
use crate::hypercall::errno;
use crate::{console, domain::Domain};

/// Bytes moved at a time.
const CHUNK: usize = 128;
/// Bytes written before the guest may be interrupted.
const BATCH: u64 = 1024;

/// Handles the call: command, count, buffer.
#[inline(never)]
pub fn console_io(context: &mut Context<'_>, frame: &CallFrame) -> Outcome {
    let [command, count, buffer, ..] = frame.args;
    // The count is an int in the ABI.
    let Ok(count) = u64::try_from(count as i32) else {
        return errno(Errno::EINVAL);
    };
    let caller = context.domain.caller();
    let buffer = Vaddr::new(buffer);
    match u32::try_from(command).unwrap_or(u32::MAX) {
        console_io::WRITE => match authorize::<op::ConsoleWrite>(caller, caller.domid) {
            Ok(permission) => write(permission, context.domain, frame, buffer, count),
            Err(refused) => errno(refused),
        },
        console_io::READ => match authorize::<op::ConsoleRead>(caller, caller.domid) {
            Ok(permission) => read(permission, buffer, count),
            Err(refused) => errno(refused),
        },
        _ => errno(Errno::ENOSYS),
    }
}

fn write(
    _permission: Authorized<op::ConsoleWrite>,
    domain: &Domain,
    frame: &CallFrame,
    mut from: Vaddr,
    count: u64,
) -> Outcome {
    let mut left = count;
    while left != 0 {
        if count - left >= BATCH {
            return Outcome::Preempt(CallFrame::new(
                frame.nr,
                [frame.args[0], left, from.raw(), 0, 0, 0],
            ));
        }
        let mut bytes = [0; CHUNK];
        let chunk = left.min(CHUNK as u64);
        let Some(bytes) = bytes.get_mut(..chunk as usize) else {
            return errno(Errno::EINVAL);
        };
        if guest::copy_from(bytes, from).is_err() {
            return errno(Errno::EFAULT);
        }
        console::guest_write(domain.id(), domain.is_hardware(), bytes);
        left -= chunk;
        match from.checked_add(chunk) {
            Some(next) => from = next,
            None => return errno(Errno::EFAULT),
        }
    }
    Outcome::SUCCESS
}

/// Takes what was typed for the domain; fewer bytes than asked for if there are no more.
fn read(_permission: Authorized<op::ConsoleRead>, to: Vaddr, count: u64) -> Outcome {
    let mut read: u64 = 0;
    while read < count {
        let mut bytes = [0; CHUNK];
        let wanted = (count - read).min(CHUNK as u64) as usize;
        let Some(room) = bytes.get_mut(..wanted) else {
            break;
        };
        let got = console::read_input(room);
        let Some(at) = to.checked_add(read) else {
            return errno(Errno::EFAULT);
        };
        if guest::copy_to(at, room.get(..got).unwrap_or_default()).is_err() {
            return errno(Errno::EFAULT);
        }
        read += got as u64;
        if got < wanted {
            break;
        }
    }
    Outcome::Done(i64::try_from(read).unwrap_or(i64::MAX))
}
