//! `cargo xtask guest`: a command under another kernel, in a guest of QEMU, which needs no hardware for it. For
//! what the machine's own kernel lacks: VLAN devices, say.
//!
//! ```text
//! kernel     Debian's package, unpacked once into the user's cache
//! initramfs  mounts the host's root, read-only, below one in memory
//! machine    runs it, and takes the command's status
//! ```

mod initramfs;
mod kernel;
mod machine;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{
    packages, process, root, setup,
    workspace::{TESTS, Workspace},
};
use machine::Machine;

/// Run a command in a guest with another kernel, as root
///
/// The guest sees this machine's files, and what it writes is gone with it. Its status is the command's.
/// Code in it runs some fifteen times slower than outside.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Series of the kernel, as Debian packages it
    #[arg(long, value_name = "VERSION", default_value = KERNEL)]
    kernel: String,
    /// Processors, which take turns
    #[arg(long, value_name = "N", default_value_t = 1)]
    cpus: u32,
    /// Memory, MiB
    #[arg(long, value_name = "MIB", default_value_t = 3072)]
    memory: u32,
    /// The guest is ended after so long
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    seconds: u64,
    /// A kernel module to load first; may be given several times
    #[arg(long, value_name = "NAME")]
    module: Vec<String>,
    /// The command, and what it is given
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// The kernel of tests.
const KERNEL: &str = "6.18";

/// The integration test that runs in a guest.
pub(crate) const TEST: &str = "guest";

/// The modules that it needs.
const MODULES: [&str; 3] = ["8021q", "veth", "bridge"];

/// Runs a command.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let machine = Machine {
        cpus: arguments.cpus,
        memory: arguments.memory,
        limit: Duration::from_secs(arguments.seconds),
        modules: arguments.module.clone(),
    };
    boot(workspace, &arguments.kernel, &machine, &arguments.command)
}

/// Runs the tests that need another kernel.
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    let machine = Machine {
        cpus: 1,
        memory: 3072,
        limit: Duration::from_secs(600),
        modules: MODULES.map(str::to_owned).into(),
    };
    let binary = test_binary(workspace)?;
    let command = [binary.into_os_string(), "--nocapture".into()];
    boot(workspace, KERNEL, &machine, &command)
}

fn boot(
    workspace: &Workspace,
    series: &str,
    machine: &Machine,
    command: &[OsString],
) -> Result<()> {
    packages::ensure(workspace, &packages::FOR_GUESTS)?;
    root::acquire(workspace, "a guest that sees this machine's files")?;
    let kernel = kernel::unpacked(workspace, series)?;
    let initramfs = initramfs::packed(workspace, &kernel)?;
    println!(
        "guest: Linux {}, {} processor(s), {} MiB, at most {} s",
        kernel.version,
        machine.cpus,
        machine.memory,
        machine.limit.as_secs()
    );
    machine.run(workspace, &kernel, &initramfs, command)
}

/// Builds the test, and the agent that it starts; where it is.
fn test_binary(workspace: &Workspace) -> Result<PathBuf> {
    setup::everything(workspace)?;
    let mut cargo = workspace.cargo();
    cargo.args([
        "test",
        "--workspace",
        "--features",
        crate::test::ROOT_FEATURE,
    ]);
    cargo.args(["--no-run", "--message-format", "json"]);
    let built = process::output(&mut cargo)?;
    let text = String::from_utf8_lossy(&built.stdout);
    executable(&text).with_context(|| format!("cargo built no test {TEST} of {TESTS}"))
}

/// The test's file, as cargo's messages name it.
fn executable(messages: &str) -> Option<PathBuf> {
    let name = format!("\"name\":\"{TEST}\"");
    let line = messages
        .lines()
        .find(|line| line.contains("\"kind\":[\"test\"]") && line.contains(&name))?;
    let (_, path) = line.split_once("\"executable\":\"")?;
    let (path, _) = path.split_once('"')?;
    Some(path.into())
}

/// What the guest's command came to.
fn judge(status: Option<i32>) -> Result<()> {
    match status {
        Some(0) => Ok(()),
        Some(status) => bail!("the command in the guest ended with status {status}"),
        None => bail!("the guest ended and its command never told a status: see what it printed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_is_found_in_cargos_messages() {
        let of = |kind, name, path| {
            format!(
                "{{\"target\":{{\"kind\":[\"{kind}\"],\"name\":\"{name}\"}},\"executable\":{path}}}\n"
            )
        };
        let messages = of("lib", "guest", "null")
            + &of("test", "netns", "\"/t/netns-1\"")
            + &of("test", "guest", "\"/t/guest-2\"");
        assert_eq!(executable(&messages), Some("/t/guest-2".into()));
        assert_eq!(executable(&of("test", "netns", "\"/t/netns-1\"")), None);
    }

    #[test]
    fn a_guest_that_tells_nothing_has_failed() {
        assert!(judge(Some(0)).is_ok());
        assert!(judge(Some(1)).is_err());
        assert!(judge(None).is_err());
    }
}
