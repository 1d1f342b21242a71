//! Compiles the test programs of `tests/ebpf`; `programs.rs` carries the object.

use std::process::ExitCode;

fn main() -> ExitCode {
    bpf_build::build_script(bpf_build::FOR_TESTS, "TESTS_EBPF")
}
