//! An address goes to the other host when the one that has it fails, and comes back: the soak `failover`, smaller. `cargo xtask
//! soak failover` is the full size, and judges how long it takes.

use std::collections::BTreeMap;

use sluice_tests::{
    failover::{self, Event, Plan, Product},
    progress::Progress,
};

use super::binary;

#[test]
fn serial_whatever_happens_to_the_host_the_other_one_serves() {
    let mut rows = BTreeMap::new();
    let note = |row: anyhow::Result<failover::Row>| {
        let row = row?;
        rows.insert((row.product.name(), row.name), row);
        Ok(())
    };
    let (plan, progress) = (Plan::brief(), Progress::new());
    failover::run("sluice-failover", &plan, &binary(), &progress, note).unwrap();
    let table: String = rows.values().map(ToString::to_string).collect();
    println!("{}{table}", failover::heading());
    for product in Product::ALL {
        let happens = |event: &Event| event.happens_to(product);
        for event in Event::ALL.into_iter().filter(happens) {
            let row = &rows[&(product.name(), event.name())];
            assert_eq!(row.outcomes.len(), 1, "{row}");
            assert!(row.is_sound(), "{row}");
        }
        // Two had the address, and one gave it up.
        for end in ["resumed", "healed"] {
            let row = &rows[&(product.name(), end)];
            assert!(row.is_sound(), "{row}");
        }
    }
}
