//! What fuzzers have found worth keeping, once more: packet path and model agree about all of it.

use std::{fs, path::Path};

use sluice_tests::oracle::fuzz;

fn replay(name: &str, target: fn(&[u8])) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = tests.join("../fuzz/corpus").join(name);
    let inputs = fs::read_to_string(&corpus).expect("the corpus is in the tree");
    let byte = |pair: &[u8]| {
        let digits = str::from_utf8(pair).expect("digits");
        u8::from_str_radix(digits, 16).expect("hexadecimal digits")
    };
    for line in inputs.lines() {
        let input: Vec<_> = line.as_bytes().chunks(2).map(byte).collect();
        target(&input);
    }
    let count = inputs.lines().count();
    println!("{count} inputs of {name}");
    assert!(count > 0, "no input in {}", corpus.display());
}

#[test]
fn frames_that_were_found_agree() {
    replay("parse.txt", fuzz::parse);
}

#[test]
fn stories_that_were_found_agree() {
    replay("path.txt", fuzz::path);
}
