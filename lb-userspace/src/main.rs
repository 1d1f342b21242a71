//! The `sluice` binary: all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    lb_userspace::cli::main()
}
