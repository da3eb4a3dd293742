//! Which vCPU runs where, and for how long.
//!
//! # What there is
//!
//! [`Scheduler`] is all run queues of the machine, each in a lock of the hypervisor's ([`Lock`]); [`Pools`] says which
//! CPUs form a pool, and which policy ([`Kind`]) each has. A vCPU is known by the hypervisor's own handle, a
//! [`Payload`]; the scheduler's part of it is a [`Unit`] that the hypervisor embeds in the vCPU, and a [`Share`]
//! (weight and cap) that it embeds in the domain. Nothing here reads a clock, waits, or sends an interrupt:
//! operations are told the time, and answer which CPU should pick again. So tests drive the same code, with the
//! same queues and the same order of locks, by a simulated clock.
//!
//! # The protocol
//!
//! - A CPU that was told to by the answer of an operation, whose current unit slept or yielded, or whose turn is over
//!   ([`TurnEnd`]), calls [`Scheduler::pick`] and does what [`Pick::next`] says. The answer also
//!   names other CPUs that should pick, now and then ([`Pick::kick`]).
//! - A unit that becomes ready and may not take a CPU before some time makes that CPU's turn end then
//!   ([`Notice::Sooner`]): the CPU sets its timer anew, and picks no sooner.
//! - A CPU that loads another unit's registers first saves those that it has, and then calls
//!   [`Scheduler::release`]. Until then no other CPU is told to run that unit. An idle CPU may keep a
//!   sleeping unit's registers: it is where the unit is woken.
//! - A CPU that must pick, and is not the one that asks, is sent an interrupt. It picks at some time; nobody waits for
//!   it, for it may itself be a vCPU of some other hypervisor that does not run just now.
//! - All times are absolute nanoseconds of one clock. CPUs may disagree about it a little.
//!
//! # Locks
//!
//! Every operation on a unit takes the lock of the queue that has it, and no other; [`Scheduler::pick`] takes the lock of
//! its CPU's queue. Whatever moves a unit between queues holds one of the two and only *tries* to get the other, so
//! there is no order to keep, and nobody waits for a second lock: a CPU that steals tries again 50 µs later. There is
//! no lock of the whole machine. What queues tell each other without locks (which CPUs idle, what waits) are hints; the
//! one thing that must not be missed, work for a CPU that is just going idle, is looked for again after the CPU
//! has said that it idles, and offered after the work was made visible.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod arinc653;
mod balance;
mod credit2;
mod mask;
mod null;
mod policy;
mod pools;
mod queue;
mod scheduler;
mod share;
mod topology;
mod unit;

pub use arinc653::{BadSchedule, DEFAULT_WINDOW, MAX_WINDOWS, Schedule, Window};
pub use credit2::DEFAULT_RATE_LIMIT;
pub use mask::{CpuMask, MAX_CPUS};
pub use policy::Kind;
pub use pools::{DEFAULT_POOL, PoolError, PoolId, PoolInfo, Pools};
pub use queue::Queue;
pub use scheduler::{Lock, NEVER, Next, Notice, Pick, Scheduler, TurnEnd};
pub use share::{CAP_PERIOD, DEFAULT_WEIGHT, MAX_WEIGHT, Share};
pub use topology::{QueueInfo, UnitInfo};
pub use unit::{Affinity, Payload, State, Unit};

/// Memory for another unit, queue or pool could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;
