//! Time and events: clocks, timers, event channels of both kinds, blocking and polling.

#![no_std]
#![no_main]
// UNSAFETY: a guest is a kernel.
#![allow(unsafe_code)]

mod channels;
mod fifo;
mod timers;

use guest_runtime::xen_abi::start_info::StartInfo;
use guest_runtime::{guest, option, println, shared, traps};

guest!(main);

pub(crate) use guest_runtime::event_channels::{
    bind_ipi, bind_virq, channel, close, schedule, send, status, unmask,
};

pub(crate) const EBUSY: i64 = -16;
pub(crate) const EEXIST: i64 = -17;
pub(crate) const EINVAL: i64 = -22;
pub(crate) const ENOENT: i64 = -2;

fn main(info: &'static StartInfo) {
    shared::map(info);
    traps::init();
    let is_careful = option(info, "careful=").is_some();
    println!("clock");
    timers::clock();
    println!("channels");
    channels::run();
    println!("timers");
    timers::run(is_careful);
    println!("priorities");
    fifo::run();
    println!("timers again");
    timers::run(is_careful);
}
