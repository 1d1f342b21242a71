//! `cargo xtask soak NAME`: sets up, builds the release binaries, and hands over to `soak` in
//! `tests`, which knows what there is.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::process::CommandExt,
};

use anyhow::{Context, Result, bail};

use crate::{
    fuzz::{self, MINUTES, TARGETS, Target},
    next, previous, process, root, setup,
    workspace::{PRODUCT, TESTS, Workspace},
};

/// Run Sluice at full size for minutes or hours, and judge; without NAME, list what there is
///
/// Says first how long it takes, and writes its summary to target/soak/NAME.txt. Ends with status 0
/// only if all was well. Builds as the user; the run itself is root's, by sudo if need be.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which
    name: Option<String>,
    /// `restart`: the other build that the agent is upgraded to and back from is that of this commit; otherwise it is of
    /// this source, and of another layout
    #[arg(long, value_name = "COMMIT")]
    previous: Option<String>,
    /// Passed through to the run (`-- --help` lists what it takes; of fuzz targets `-- -help=1`)
    #[arg(last = true)]
    rest: Vec<OsString>,
}

/// Becomes the run, so that a Ctrl-C reaches nobody else and its clean-up is waited for.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let named = |target: &&Target| arguments.name.as_deref() == Some(target.name);
    if let Some(target) = TARGETS.iter().find(named) {
        return fuzz::run(workspace, target, &arguments.rest);
    }
    setup::everything(workspace)?;
    let build = |more: &[&str]| {
        let mut cargo = workspace.cargo();
        cargo.args(["build", "--release", "--bin", "sluice", "--bin", "soak"]);
        process::run(
            cargo
                .args(["--package", PRODUCT, "--package", TESTS])
                .args(more),
        )
    };
    let mut other = None;
    match (arguments.name.as_deref(), &arguments.previous) {
        (Some("restart"), Some(commit)) => {
            other = Some(previous::build(workspace, commit)?);
            build(&[])?;
        }
        (Some("restart"), None) => next::beside(&workspace.released("sluice"), build)?,
        (_, Some(_)) => bail!("only `restart` goes over to another build"),
        (_, None) => build(&[])?,
    }
    let program = workspace.released("soak");
    let Some(name) = &arguments.name else {
        process::run(workspace.command(program).arg("list"))?;
        for Target { name, about, .. } in &TARGETS {
            println!("{name:14}{MINUTES:4} min   {about}");
        }
        return Ok(());
    };
    let folder = workspace.root().join("target/soak");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    root::acquire(workspace, "the run (network namespaces, BPF programs)")?;
    let mut soak = root::command(workspace, program);
    soak.args(["run", name, "--sluice"])
        .arg(workspace.released("sluice"))
        .arg("--output")
        .arg(folder.join(format!("{name}.txt")))
        .args(
            other
                .iter()
                .flat_map(|path| [OsStr::new("--next"), path.as_os_str()]),
        )
        .args(&arguments.rest);
    Err(soak.exec()).context("starting the run")
}
