//! The oracle agrees with the packet path, on the seeds of a list and on one that no run had before.

use std::time::{SystemTime, UNIX_EPOCH};

use sluice_tests::oracle::{Met, check};

/// Stories of the list, and as many after the fresh seed.
const STORIES: u64 = 700;

#[test]
fn the_oracle_agrees() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let fresh = now.expect("it is after 1970").as_nanos() as u64;
    println!("the fresh seed is {fresh:#x}");
    let mut met = Met::default();
    for n in 0..STORIES {
        check(n, &mut met).unwrap_or_else(|wrong| panic!("{wrong}"));
        check(fresh.wrapping_add(n), &mut met).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
    println!("{met}");
    let missing = met.missing();
    assert!(missing.is_empty(), "never met: {}", missing.join(", "));
}
