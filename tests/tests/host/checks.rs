//! Health checks of many targets, some of which hang.

use sluice_tests::checks::{Size, run};

/// How many there are in a second is for the long run to judge.
#[test]
fn servers_that_hang_are_down_and_no_other() {
    let found = run(Size::SMALL).unwrap();
    assert_eq!(found.wrong, 0, "{found}");
}
