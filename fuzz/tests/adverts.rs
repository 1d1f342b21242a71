//! What the fuzzer of adverts has found worth keeping, once more.

use std::{fs, path::Path};

use ring0::adverts;

#[test]
fn adverts_that_were_found_are_read_as_they_are_written() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/vrrp.txt");
    let inputs = fs::read_to_string(corpus).expect("the corpus is in the tree");
    let byte = |pair: &[u8]| {
        let digits = str::from_utf8(pair).expect("digits");
        u8::from_str_radix(digits, 16).expect("hexadecimal digits")
    };
    assert!(inputs.lines().count() > 10);
    for line in inputs.lines() {
        let input: Vec<u8> = line.as_bytes().chunks(2).map(byte).collect();
        adverts::advert(&input);
    }
}
