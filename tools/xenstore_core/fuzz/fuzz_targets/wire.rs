//! Scripts of everything that can happen to a store, as `tests/fuzz_wire.rs` plays them.

#![no_main]

#[path = "../../tests/support/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| script::play(bytes));
