//! What a hypercall is, who may make it, and what can come of it.
//!
//! A call arrives as a [`CallFrame`]. The hypervisor finds the domain that the call is about, asks
//! [`authorize`] for the token of the operation, and passes the token to the handler, which cannot be
//! called without it. The handler answers with an [`Outcome`]; one place in the hypervisor applies it to
//! the guest's registers.
//!
//! Every operation is a row of one table ([`ROWS`]): its number, its name, its token type and who may
//! make it. Code, tests and documentation come from that table.
//!
//! Sources: the public headers (`xen.h` and one per family); the permission classes are those that a
//! guest of Xen 4.17 sees without a loaded security policy.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod authorize;
mod budget;
mod call;
mod table;

pub use authorize::{Authorized, Caller, Operation, Who, authorize};
pub use budget::Budget;
pub use call::{CallFrame, CrashReason, Outcome};
pub use table::{
    CALLS, Call, ROWS, Row, SubOpPlace, call, call_name, find, op, operation_name, sub_op,
};
