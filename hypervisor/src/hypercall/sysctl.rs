//! `sysctl`: what tools ask of the whole machine (public/sysctl.h, version 0x15).

use ::hypercall::{Authorized, Outcome, authorize, op};
use addr::Vaddr;
use platform_cpu::guest;
use xen_abi::errno::Errno;
use xen_abi::sysctl::{self, DebugKeys, ReadConsole, Sysctl};

use crate::console;
use crate::context::Context;
use crate::hypercall::{errno, not_implemented};
use crate::keys;

/// Handles the call; the request is at `argument`, and what the operation changed of it goes back there.
pub fn sysctl(context: &mut Context<'_>, argument: u64) -> Outcome {
    let at = Vaddr::new(argument);
    let Ok(mut request) = guest::read::<Sysctl>(at) else {
        return errno(Errno::EFAULT);
    };
    if request.interface_version != sysctl::INTERFACE_VERSION {
        return errno(Errno::EACCES);
    }
    let caller = context.domain.caller();
    let result = match request.cmd {
        sysctl::READCONSOLE => {
            authorize::<op::SysctlReadconsole>(caller, caller.domid).and_then(|permission| {
                let done = read_console(permission, request.u.readconsole())?;
                request.u.set(done);
                Ok(())
            })
        }
        sysctl::DEBUG_KEYS => authorize::<op::SysctlDebugKeys>(caller, caller.domid)
            .and_then(|permission| debug_keys(permission, context, &request.u.debug_keys())),
        command => return not_implemented(context, "sysctl", command),
    };
    match result {
        Ok(()) => match guest::write(at, &request) {
            Ok(()) => Outcome::SUCCESS,
            Err(_) => errno(Errno::EFAULT),
        },
        Err(error) => errno(error),
    }
}

/// Copies the console ring out; returns the request with the count and index that follow.
fn read_console(
    _permission: Authorized<op::SysctlReadconsole>,
    mut request: ReadConsole,
) -> Result<ReadConsole, Errno> {
    const CHUNK: usize = 128;
    let incremental = request.incremental != 0;
    let mut index = console::ring_start(incremental.then_some(request.index));
    let mut copied = 0u32;
    while copied < request.count {
        let mut bytes = [0; CHUNK];
        let wanted = (request.count - copied).min(CHUNK as u32) as usize;
        let room = bytes.get_mut(..wanted).ok_or(Errno::EINVAL)?;
        let got = console::read_ring(index, room);
        if got == 0 {
            break;
        }
        let to = request
            .buffer
            .address
            .checked_add(u64::from(copied))
            .ok_or(Errno::EFAULT)?;
        guest::copy_to(Vaddr::new(to), room.get(..got).unwrap_or_default())
            .map_err(|_| Errno::EFAULT)?;
        copied = copied.saturating_add(got as u32);
        index = index.wrapping_add(got as u32);
    }
    if request.clear != 0 {
        console::clear_ring(index);
    }
    request.count = copied;
    request.index = index;
    Ok(request)
}

/// Handles keys as if they were typed at the console.
fn debug_keys(
    _permission: Authorized<op::SysctlDebugKeys>,
    context: &mut Context<'_>,
    request: &DebugKeys,
) -> Result<(), Errno> {
    /// More keys than this are a mistake.
    const MAX_KEYS: u32 = 256;
    for index in 0..request.nr_keys.min(MAX_KEYS) {
        let handle = request
            .keys
            .element(u64::from(index))
            .ok_or(Errno::EFAULT)?;
        let key = guest::read::<u8>(Vaddr::new(handle.address)).map_err(|_| Errno::EFAULT)?;
        keys::handle(context.cpu, key);
    }
    Ok(())
}
