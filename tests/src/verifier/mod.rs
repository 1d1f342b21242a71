//! What this kernel's verifier says about the packet programs: instructions walked, of the 1,000,000 that there
//! are, and the stack of each function. Backs `cargo xtask verify`.
//!
//! libbpf loads the object, since aya keeps no log of a load that went well. The log asked for is of figures
//! alone: one of every step takes the kernel minutes to write. Nothing is pinned. What is too much,
//! `accepted` says.

mod accepted;
mod libbpf;

use std::fmt;

use anyhow::{Context, Result};
use lb_userspace::kernel::OBJECT;

/// Loads the programs and prints what the verifier says about each. Fails if it walked more than `accepted`, the
/// text of `lb-ebpf/verified.txt`, has.
pub fn run(accepted: &str) -> Result<()> {
    let programs = libbpf::load(OBJECT)?
        .into_iter()
        .map(|program| Verified::new(program.name, &program.log))
        .collect::<Result<Vec<_>>>()?;
    for program in &programs {
        println!("{program}");
    }
    for program in &programs {
        accepted::check(accepted, &program.name, program.instructions)?;
    }
    Ok(())
}

/// What the verifier said about one program.
#[derive(Debug, PartialEq, Eq)]
struct Verified {
    name: String,
    /// Instructions walked, over all paths.
    instructions: u32,
    /// Bytes of stack of each function that is not inlined, the program itself first. The limit
    /// holds for a chain of calls; which function calls which, the log does not say.
    stack: Vec<u32>,
}

impl Verified {
    /// Reads a log as `print_verification_stats` writes it (kernel/bpf/verifier.c).
    fn new(name: String, log: &str) -> Result<Self> {
        let figures = |prefix: &str| {
            let line = log.lines().find_map(|line| line.strip_prefix(prefix));
            let figures = line.and_then(|line| line.split(' ').next());
            figures
                .and_then(|text| text.split('+').map(|figure| figure.parse().ok()).collect())
                .with_context(|| format!("{name}: no {prefix:?} in the verifier's log:\n{log}"))
        };
        let stack = figures("stack depth ")?;
        let walked: Vec<_> = figures("processed ")?;
        Ok(Self {
            instructions: walked[0],
            stack,
            name,
        })
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames: Vec<_> = self.stack.iter().map(u32::to_string).collect();
        write!(
            f,
            "program {}: {} instructions verified; stack {} bytes (a chain of calls has 512)",
            self.name,
            self.instructions,
            frames.join("+")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_log_is_read() {
        let log = "verification time 812 usec\n\
                   stack depth 32+64\n\
                   processed 695 insns (limit 1000000) max_states_per_insn 4\n";
        let expected = Verified {
            name: "first".into(),
            instructions: 695,
            stack: vec![32, 64],
        };
        assert_eq!(Verified::new("first".into(), log).unwrap(), expected);
    }

    #[test]
    fn a_log_without_figures_is_refused() {
        for log in ["", "stack depth 32\n", "stack depth x\nprocessed 1 insns"] {
            assert!(Verified::new("first".into(), log).is_err(), "{log:?}");
        }
    }
}
