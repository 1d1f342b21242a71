//! Fuzz target `parse`: see `oracle::fuzz::parse`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ring0::oracle::fuzz;

fuzz_target!(|bytes: &[u8]| fuzz::parse(bytes));
