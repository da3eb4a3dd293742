//! The xenstore as a pure state machine: [`Store::step`] takes an [`Event`] and answers with [`Effect`]s. No I/O, no clock,
//! no threads; what only the hypervisor knows is asked of a [`Host`]. The daemon around it moves bytes.
//!
//! # How a daemon uses it
//!
//! - Bytes that a ring or socket has, at most [`Store::input_space`] of them: [`Event::Received`].
//! - While [`Store::has_work`]: [`Event::Turn`], which handles one request of the connection whose turn it is.
//! - After a step (or several): write [`Store::take_journal`] where it lasts, then carry out the effects, then hand out
//!   [`Store::output`] and report [`Event::Sent`]. In this order nothing that anyone saw is forgotten by a crash: neither
//!   ring indices nor replies may move before the journal is written.
//! - [`Store::snapshot`] is the whole state, for a live update or as the start of a new journal. [`Store::restore`] makes
//!   the same store of it; [`Store::recover`] makes one of it and a journal that was written since, whose last record may
//!   be torn.
//!
//! # Invariants
//!
//! - A step does one request at most; its cost is bounded by what the request touches, not by the store.
//! - What an unprivileged domain causes to be kept, anywhere, is bounded by its quotas; [`Store::check`] recounts them.
//! - Every node's owner is a domain that is known.
//! - Nothing a client sends makes it panic.
//!
//! # Source of facts
//!
//! `docs/misc/xenstore.txt`, `public/io/xs_wire.h`, and what Xen 4.17's xenstored answers.
//!
//! # Differences from Xen's
//!
//! - Quotas of watches and transactions are exact; xenstored lets one more pass.
//! - Children come in the order of their names.
//! - Two transactions that create different nodes in the same directory do not conflict.
//! - A number that is not decimal is EINVAL, not 0.
//! - Who may read a node's parent, but not the node, hears of its coming and going, and not of other changes.

#![forbid(unsafe_code)]

mod accounting;
mod codec;
mod connection;
mod control;
mod decode;
mod domain;
mod error;
mod event;
mod fire;
mod journal;
mod lifecycle;
mod map;
mod metrics;
mod nodes;
mod path;
mod permissions;
mod quota;
mod recover;
mod requests;
mod schedule;
mod snapshot;
mod store;
mod transaction;
mod transactions;
mod tree;
mod verify;
mod watch;
pub mod wire;

pub use domain::Usage;
pub use error::Error;
pub use event::{
    ConnectionId, ControlCommand, DOMAIN_0, DomainId, Effect, Event, Host, Level, Reason,
};
pub use map::Work;
pub use path::domain_path;
pub use permissions::{Access, Permission};
pub use quota::{Limits, Quota};
pub use recover::Recovered;
pub use snapshot::Problem;
pub use store::{Config, ConnectionState, Store};
pub use verify::describe;
