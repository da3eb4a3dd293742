//! `xl`: creates, watches, configures and ends domains, with the names, exit codes and columns of Xen's `xl`.
//!
//! A command is a type with [`command::Run`]; [`commands::ALL`] lists them. [`context::Context`] has what they share:
//! the hypervisor, xenstore, and the way of telling. What is made on behalf of a domain is written down before it is
//! made ([`record`]), so that whatever ends this program, `xl reconcile` can clean up.
#![forbid(unsafe_code)]

mod command;
mod commands;
mod config_update;
mod console;
mod context;
mod create;
mod destroy;
mod devices;
mod domains;
mod dump_core;
mod identity;
mod info;
mod list;
mod memory;
mod messages;
mod monitor;
mod nodes;
mod pause;
mod pools;
mod progress;
mod record;
mod scheduler;
mod shutdown;
mod top;
mod vcpus;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::main(std::env::args().skip(1).collect())
}
