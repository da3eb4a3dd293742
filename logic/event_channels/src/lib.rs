//! Event channels: the ports of a domain, what they are bound to, and how an event reaches the guest.
//!
//! [`EventChannels`] is the state of one domain. It has no lock of its own: the hypervisor keeps each in a lock,
//! and locks two domains in the order of their domain numbers where an operation joins two
//! ([`bind_interdomain`], [`EventChannels::close`] of a connected port). Sending takes the two locks one after
//! the other instead: [`EventChannels::send`] names the peer's port and [`EventChannels::receive`] delivers
//! there, if the two are still connected.
//!
//! Words that the guest reads and writes at the same time are reached through [`SharedPage`] and
//! [`DomainMemory`], which the hypervisor implements over mapped frames. An operation that makes an event
//! pending returns a [`Delivery`] that says whom to wake.
//!
//! Two ABIs exist: bitmaps in the shared info page ([`two_level`], 4096 ports), and queues of linked event
//! words in pages that the guest provides ([`fifo`], 131072 ports).
//!
//! Invariants:
//! - Port numbers below [`EventChannels::valid_ports`] exist; all others answer as Xen's do. No index derived
//!   from a guest is used unchecked.
//! - Two interdomain ports name each other, or one of them is being closed under the locks of both.
//! - A port is allocated only if it is free and, with FIFO, the guest has unlinked it.
//! - All memory is allocated fallibly, in the operations that say so; events never allocate.
//!
//! Source: `public/event_channel.h`; errors and their precedence are those of Xen 4.17.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod audit;
mod channel;
mod deliver;
pub mod fifo;
mod memory;
mod pair;
mod poll;
mod ports;
mod reset;
mod table;
pub mod two_level;

pub use audit::Mismatch;
pub use channel::{Consumer, PortState, Status};
pub use deliver::{Delivery, PeerPort, Received, Sent};
pub use memory::DomainMemory;
pub use pair::{Closed, Closer, bind_interdomain};
pub use poll::Poll;
pub use shared_page::SharedPage;
pub use table::{EventChannels, virq_is_global};

#[cfg(test)]
mod tests;
