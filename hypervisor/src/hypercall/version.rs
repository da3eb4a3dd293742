//! `xen_version`: what the hypervisor is and can do (public/version.h, public/features.h).

use ::hypercall::{Outcome, authorize, op};
use addr::Vaddr;
use platform_cpu::guest;
use xen_abi::errno::Errno;
use xen_abi::{features, version};

use crate::context::Context;
use crate::domain::Domain;
use crate::hypercall::{done, errno};

/// Major and minor version of the interface that is spoken: the tools that are installed go by it.
pub const VERSION: (u32, u32) = (4, 17);
/// What follows the version.
pub const EXTRA_VERSION: &str = ".0-xenolith";
/// Guest kinds that can be run, as tools expect them.
const CAPABILITIES: &str = "xen-3.0-x86_64 ";
/// First address of the hypervisor's part of every address space.
const VIRT_START: u64 = 0xffff_8000_0000_0000;

/// Handles the call; `command` is a `XENVER_*` number.
#[inline]
pub fn xen_version(context: &mut Context<'_>, command: u64, argument: u64) -> Outcome {
    // Linux asks for the version when all that it wants is to be interrupted by its events.
    if command == u64::from(version::VERSION) {
        return done((VERSION.0 << 16) | VERSION.1);
    }
    describe(context, command, argument)
}

#[inline(never)]
fn describe(context: &mut Context<'_>, command: u64, argument: u64) -> Outcome {
    let to = Vaddr::new(argument);
    let copied = |result: Result<(), guest::Fault>, value: i64| match result {
        Ok(()) => Outcome::Done(value),
        Err(_) => errno(Errno::EFAULT),
    };
    match u32::try_from(command).unwrap_or(u32::MAX) {
        version::EXTRAVERSION => copied(text::<16>(to, EXTRA_VERSION), 0),
        version::COMPILE_INFO => {
            let mut info = [0; 64 + 16 + 32 + 32];
            put(
                &mut info,
                0,
                concat!("rustc ", env!("CARGO_PKG_RUST_VERSION")),
            );
            put(&mut info, 64, "xenolith");
            put(&mut info, 64 + 16, "");
            put(&mut info, 64 + 16 + 32, "");
            copied(guest::copy_to(to, &info), 0)
        }
        version::CAPABILITIES => copied(text::<1024>(to, CAPABILITIES), 0),
        version::CHANGESET => copied(text::<64>(to, "unavailable"), 0),
        version::PLATFORM_PARAMETERS => copied(guest::write(to, &VIRT_START), 0),
        version::GET_FEATURES => {
            // struct xen_feature_info { submap_idx: IN, submap: OUT }
            let Ok(index) = guest::read::<u32>(to) else {
                return errno(Errno::EFAULT);
            };
            let submap = if index == 0 {
                features(context.domain)
            } else {
                0
            };
            match to.checked_add(4) {
                Some(at) => copied(guest::write(at, &submap), 0),
                None => errno(Errno::EFAULT),
            }
        }
        version::PAGESIZE => done(addr::PAGE_SIZE as u32),
        version::GUEST_HANDLE => copied(guest::copy_to(to, &context.domain.handle()), 0),
        version::COMMANDLINE => {
            let own = context.domain.caller();
            let line = match authorize::<op::VersionCommandline>(own, own.domid) {
                Ok(_permission) => crate::config::command_line(),
                // As on Xen, a refusal is a text too.
                Err(_) => "<denied>",
            };
            copied(text::<1024>(to, line), 0)
        }
        version::BUILD_ID => {
            let own = context.domain.caller();
            match authorize::<op::VersionBuildId>(own, own.domid) {
                Ok(_permission) => errno(Errno::ENODATA),
                Err(refused) => errno(refused),
            }
        }
        _ => errno(Errno::ENOSYS),
    }
}

/// Features of a 64-bit paravirtual domain, as bits `XENFEAT_*`.
pub fn features(domain: &Domain) -> u32 {
    let mut bits = 1 << features::PAE_PGDIR_ABOVE_4GB
        | 1 << features::MMU_PT_UPDATE_PRESERVE_AD
        | 1 << features::HIGHMEM_ASSIST
        | 1 << features::GNTTAB_MAP_AVAIL_BITS
        | 1 << features::MEMORY_OP_VNODE_SUPPORTED
        | 1 << features::DIRECT_MAPPED;
    if domain.is_hardware() {
        bits |= 1 << features::DOM0;
    }
    bits
}

/// Writes `text`, cut to fit and padded with NULs, as an array of `N` bytes.
fn text<const N: usize>(to: Vaddr, text: &str) -> Result<(), guest::Fault> {
    let mut bytes = [0; N];
    put(&mut bytes[..N - 1], 0, text);
    guest::copy_to(to, &bytes)
}

/// Copies as much of `text` as fits to `bytes` from `at`.
fn put(bytes: &mut [u8], at: usize, text: &str) {
    for (to, from) in bytes.iter_mut().skip(at).zip(text.bytes()) {
        *to = from;
    }
}
