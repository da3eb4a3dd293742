//! See `xenconsoled::fuzzing::header`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xenconsoled::fuzzing::header(bytes));
