//! `cargo xtask setup`: everything that builds, tests and the demo need and the machine lacks. Each
//! step looks first and is silent if there is nothing to do.

use anyhow::Result;
use bpf_build::Tools;

use crate::{packages, workspace::Workspace};

/// Install what is missing: BPF linker and sysroot under target/, and Debian packages
///
/// The linker is installed by cargo into target/tools; `core` for the BPF target is compiled into
/// target/bpf from the installed toolchain's own text. Packages (nginx-light, iproute2, ethtool) come
/// from apt-get, by sudo unless this is root; no service is started.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only what `cargo build` needs: no packages, no root
    #[arg(long)]
    build_only: bool,
}

/// Does all of it and says that it is done.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    if arguments.build_only {
        tools(workspace)?;
    } else {
        everything(workspace)?;
    }
    println!("set up");
    Ok(())
}

/// What tests with root and the demo need.
pub(crate) fn everything(workspace: &Workspace) -> Result<Tools> {
    packages::ensure(workspace, &packages::NEEDED)?;
    tools(workspace)
}

/// What `cargo build` needs.
pub(crate) fn tools(workspace: &Workspace) -> Result<Tools> {
    let tools = Tools::locate(workspace.root())?;
    if !tools.linker.is_installed() {
        println!(
            "linker: installing bpf-linker {} into target/tools (two minutes)",
            tools.linker.version()
        );
        tools.linker.install()?;
    }
    if !tools.sysroot.is_built() {
        println!(
            "sysroot: compiling core for {} (ten seconds)",
            bpf_build::TARGET
        );
        if let Some(origin) = tools.sysroot.ensure()? {
            println!("sysroot: compiled from {origin}");
        }
    }
    Ok(tools)
}
