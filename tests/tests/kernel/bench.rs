//! The benchmark's cases, with few packets: they still take the paths that their names say. Times
//! are nobody's business here.

use sluice_tests::bench::{self, Options};

#[test]
fn every_case_of_the_benchmark_takes_its_path() {
    // Fails by itself if a verdict, a length, a next hop or a counter is not the expected one.
    let report = bench::run(Options { packets: 300 }).expect("a run");
    let json = report.json();
    let cases = json.as_array().expect("one object a case");
    assert_eq!(cases.len(), report.cases.len());
    for case in cases {
        for key in ["case", "method", "flows", "ns", "floor", "ratio"] {
            assert!(!case[key].is_null(), "{key} in {case}");
        }
    }
    for mode in ["floor", "ipip v4", "ipip v6", "full-nat v4", "full-nat v6"] {
        let named = report
            .cases
            .iter()
            .any(|(case, _)| case.name.starts_with(mode));
        assert!(named, "no case of {mode}");
    }
}
