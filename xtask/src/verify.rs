//! `cargo xtask verify`: what this kernel's verifier says about the packet program: instructions
//! walked, of the 1,000,000 that there are, and the stack of each function.
//!
//! bpftool loads the object, since aya keeps no log of a load that went well. It does so in a mount
//! namespace with a BPF file system of its own: what it pins is gone when it ends, however it ends.
//! What is too much, `accepted` says.

mod accepted;

use std::{fmt, fs, path::Path};

use anyhow::{Context, Result, bail};
use bpf_build::Tools;

use crate::{executable, process, root, setup, workspace::Workspace};

/// Load the packet program and print the verifier's instruction count and stack depth
///
/// Fails if more instructions were walked than lb-ebpf/verified.txt accepts. Needs root (by sudo if
/// this is not root). Nothing stays loaded.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

const LOAD: &str = r#"
set -eu
mount -t bpf bpf /sys/fs/bpf
exec "$1" --debug prog loadall "$2" /sys/fs/bpf/verify
"#;

/// Builds the object, loads it, prints what the log says.
pub(crate) fn run(workspace: &Workspace, _: &Arguments) -> Result<()> {
    let tools = setup::everything(workspace)?;
    let programs = verified(workspace, &tools)?;
    for program in &programs {
        println!("{program}");
    }
    let file = workspace.root().join("lb-ebpf/verified.txt");
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    for program in &programs {
        accepted::check(&text, &program.name, program.instructions)
            .with_context(|| format!("{}", file.display()))?;
    }
    Ok(())
}

fn verified(workspace: &Workspace, tools: &Tools) -> Result<Vec<Verified>> {
    let object = bpf_build::object(tools, bpf_build::PRODUCT, &workspace.bpf_target())?;
    let log = load(workspace, &object)?;
    let programs = parse(&log);
    if programs.is_empty() {
        bail!(
            "bpftool loaded {} but printed no verifier log",
            object.display()
        );
    }
    Ok(programs)
}

/// The log of loading `object`, from both of bpftool's outputs.
fn load(workspace: &Workspace, object: &Path) -> Result<String> {
    let bpftool = executable::find("bpftool").context("bpftool is not installed")?;
    root::acquire(workspace, "loading the packet program")?;
    let output = process::output(
        root::command(workspace, "unshare")
            .args(["--mount", "--", "sh", "-c", LOAD, "sh"])
            .args([&bpftool, object]),
    )?;
    let mut log = String::from_utf8_lossy(&output.stdout).into_owned();
    log.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok(log)
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

/// Reads libbpf's debug output: `prog 'NAME': -- BEGIN PROG LOAD LOG --`, then the verifier's lines.
fn parse(log: &str) -> Vec<Verified> {
    log.split("libbpf: prog '")
        .skip(1)
        .filter_map(parse_program)
        .collect()
}

fn parse_program(text: &str) -> Option<Verified> {
    let (name, log) = text.split_once("': -- BEGIN PROG LOAD LOG --")?;
    let number = |prefix: &str| {
        log.lines()
            .find_map(|line| line.strip_prefix(prefix))
            .map(|rest| {
                rest.split(|c: char| !c.is_ascii_digit() && c != '+')
                    .next()
                    .unwrap_or_default()
            })
    };
    Some(Verified {
        name: name.to_owned(),
        instructions: number("processed ")?.parse().ok()?,
        stack: number("stack depth ")?
            .split('+')
            .filter_map(|depth| depth.parse().ok())
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_each_program_is_read() {
        let log = "libbpf: map 'X': created\n\
                   libbpf: prog 'first': -- BEGIN PROG LOAD LOG --\n\
                   0: R1=ctx() R10=fp0\n\
                   verification time 812 usec\n\
                   stack depth 32+64\n\
                   processed 695 insns (limit 1000000) max_states_per_insn 4\n\
                   -- END PROG LOAD LOG --\n\
                   libbpf: prog 'second': no log\n";
        let first = Verified {
            name: "first".into(),
            instructions: 695,
            stack: vec![32, 64],
        };
        assert_eq!(parse(log), [first]);
    }
}
