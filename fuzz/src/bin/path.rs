//! Fuzz target `path`: see `oracle::fuzz::path`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ring0::oracle::fuzz;

fuzz_target!(|bytes: &[u8]| fuzz::path(bytes));
