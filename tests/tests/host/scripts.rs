//! Ring 1: scripts on tables that are plain collections.

use sluice_tests::scripts;

#[test]
fn every_script_goes_as_it_says() {
    let failures = scripts::run_all_on_collections();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
