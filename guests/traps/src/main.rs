//! Traps: every exception that a guest can raise, from its kernel and from a program, with the frame that Xen's ABI
//! promises; software interrupts; `iret` with everything that can be wrong about a frame. With `crash=N`, the domain ends.

#![no_std]
#![no_main]
// UNSAFETY: a guest is a kernel.
#![allow(unsafe_code)]

mod crashes;
mod crossings;
mod debug;
mod descriptors;
mod kernel;
mod programs;
mod returns;

use guest_runtime::xen_abi::start_info::StartInfo;
use guest_runtime::{fail, guest, println, shared, traps};

guest!(main);

/// A function of bare instructions, which gets a number in RDI.
macro_rules! code {
    ($($name:ident: $($line:literal),+;)+) => {
        $(
            #[unsafe(naked)]
            pub(crate) extern "sysv64" fn $name(_: u64) {
                core::arch::naked_asm!($($line),+, "ret")
            }
        )+
    };
}
pub(crate) use code;

/// Calls such a function, which raises a trap.
pub(crate) fn raise(name: &str, function: extern "sysv64" fn(u64), argument: u64) -> traps::Trap {
    match traps::probe(function, argument) {
        Some(trap) => trap,
        None => {
            println!("{name}: no trap");
            fail()
        }
    }
}

/// The address of a function.
pub(crate) fn address(function: extern "sysv64" fn(u64)) -> u64 {
    function as *const () as u64
}

fn main(info: &'static StartInfo) {
    shared::map(info);
    traps::init();
    if let Some(number) = guest_runtime::option(info, "crash=") {
        crashes::run(number);
    }
    println!("traps of the kernel");
    kernel::run();
    println!("debug exceptions");
    debug::run();
    println!("descriptors");
    descriptors::run();
    traps::init_programs();
    println!("traps of programs");
    programs::run();
    println!("returns");
    returns::run();
    crossings::run();
}
