//! See `xenconsoled::fuzzing::ring`.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xenconsoled::fuzzing::ring(bytes));
