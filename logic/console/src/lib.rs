//! What the hypervisor's console remembers and decides: the ring of the last output ([`Ring`]), whose the
//! input is ([`Input`]), and which messages are printed ([`Filter`]).
//!
//! Devices, locks and the clock are the hypervisor's; positions, bytes and times are passed in.

#![no_std]
#![forbid(unsafe_code)]

mod input;
mod levels;
mod ring;

pub use input::{Input, Typed};
pub use levels::{Filter, Verdict};
pub use ring::Ring;
