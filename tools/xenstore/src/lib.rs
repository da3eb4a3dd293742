//! Xenstore's protocol and its clients.
//!
//! - [`wire`]: messages, and an incremental decoder without I/O, for either side.
//! - [`Client`]: a connection that waits for each answer; transactions, watches.
//! - [`AsyncClient`]: a connection that many tasks share, on any executor.
//! - [`commands`]: `xenstore-ls` and its relatives, which the program `xenstore` is.
//!
//! Source: `public/io/xs_wire.h`, Xen's `docs/misc/xenstore.txt`.
#![forbid(unsafe_code)]

pub mod arguments;
mod async_client;
mod batch;
mod client;
pub mod commands;
mod error;
mod permission;
mod request;
mod transaction;
mod transport;
pub mod wire;

pub use async_client::{AsyncClient, AsyncTransaction, Reply};
pub use client::Client;
pub use error::{ClientError, StoreError};
pub use permission::{Access, Permission};
pub use request::{TransactionId, WatchEvent};
pub use transaction::Transaction;
pub use transport::{Endpoint, candidates};
