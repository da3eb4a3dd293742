//! The hypervisor: domains, their vCPUs, the run loop, a module for each family of hypercalls, and domain 0's
//! construction. Safe code: what touches the machine is in `platform/`, what can be reasoned about alone in `logic/`.

#![no_std]
#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    reason = "the crate exports one function: `pub` says what a module offers to the others"
)]

extern crate alloc;

mod audit;
mod bounce;
mod config;
mod console;
mod context;
mod counters;
mod cpu;
mod creation;
mod crossings;
mod death;
mod dom0;
mod domain;
mod domains;
mod dump;
mod emulate;
mod events;
mod history;
mod hotplug;
mod hypercall;
mod io_access;
mod irq;
mod keys;
mod mm;
mod nmi;
mod pool;
mod power;
mod ranks;
mod run;
mod schedule;
mod shared_info;
mod shutdown;
mod smp;
mod start;
mod switch;
mod time;
mod timer_queues;
mod topology;
mod trap;
mod vcpu;
mod vcpu_context;
mod vcpu_time;
mod watchdog;

pub use start::start;
