//! `xenstore-ls`, `xenstore-read` and so on: one program, which its name or its first argument tells what to do.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    xenstore::commands::main(std::env::args_os())
}
