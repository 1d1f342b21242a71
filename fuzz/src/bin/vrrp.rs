//! Fuzz target `vrrp`: see `adverts`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ring0::adverts;

fuzz_target!(|bytes: &[u8]| adverts::advert(bytes));
