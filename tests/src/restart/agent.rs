//! The agent and its pool's file, and what befalls both. What it is started with is what the last reload
//! said, whether it heard of that or not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    live::{
        Mode,
        pool::{self, Pool},
        reload,
        site::Site,
    },
    namespace::Namespace,
    services::Configuration,
    sluice::Sluice,
    stage::Stage,
    wait,
};

use super::{
    flaw::Flaw,
    run::Programs,
    script::{BACKENDS, Mishap},
};

/// The service's settle time: short, so that slots go through all of their phases in a run.
const SETTLE: Duration = Duration::from_secs(3);
/// Sizes of tables that are not the usual ones. Builds of a while ago do not know the last.
const SIZES: [(&str, &str); 3] = [
    ("flows", "200000"),
    ("exceptions", "50000"),
    ("backends", "70000"),
];
/// How long a start may take, on a machine with other things to do: the kernel verifies several programs.
const START: Duration = Duration::from_secs(60);
/// How long the agent may take to take or refuse a configuration.
const PATIENCE: Duration = Duration::from_secs(10);

/// The agent, in one process after the other.
pub(super) struct Agent<'a> {
    sluice: Sluice,
    /// The build that it is started as, and the other one.
    builds: [&'a Path; 2],
    /// Its main file, and the same with tables of other sizes.
    texts: [String; 2],
    folder: PathBuf,
    pool: Pool,
}

/// Whether a build takes a configuration: one of before a key does not know it.
fn takes(build: &Path, folder: &Path, text: &str) -> Result<bool> {
    let file = folder.join("check.toml");
    fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
    let checked = Command::new(build).arg("check").arg(&file).output();
    let checked = checked.with_context(|| format!("could not start {}", build.display()))?;
    Ok(checked.status.success())
}

impl<'a> Agent<'a> {
    /// Starts the first one, of a pool with all backends but the last.
    pub(super) fn start(
        programs: &'a Programs,
        gateway: &Namespace,
        mode: Mode,
        stage: &Stage,
    ) -> Result<Self> {
        let folder = stage.folder().to_owned();
        let pool = Pool::new(mode, BACKENDS - 1);
        reload::write(&folder, &pool)?;
        let text = |sizes: &[(&'static str, &str)]| {
            let plain = Configuration::new(&folder, &stage.bpf());
            let sized = sizes
                .iter()
                .fold(plain, |all, (key, size)| all.with(key, *size));
            pool::main_file(mode, &["tcp", "udp"], SETTLE, &sized)
        };
        let mut resized = text(&SIZES);
        if !takes(&programs.next, &folder, &resized)? {
            resized = text(&SIZES[..2]);
        }
        let texts = [text(&[]), resized];
        let sluice = Sluice::start_with(&programs.sluice, gateway, &folder, &texts[0])?;
        let mut agent = Self {
            sluice,
            builds: [&programs.sluice, &programs.next],
            texts,
            folder,
            pool,
        };
        agent.settle(gateway)?;
        Ok(agent)
    }

    /// Waits until it is ready and shows the pool as it was last written.
    pub(super) fn settle(&mut self, gateway: &Namespace) -> Result<()> {
        self.sluice.wait_until_ready_for(gateway, START)?;
        reload::wait_until_shown(&self.sluice, &self.pool)
    }

    /// Has it suffer a mishap, or the backend that the mishap is one of.
    pub(super) fn suffer(&mut self, mishap: Mishap, site: &Site) -> Result<()> {
        let gateway = &site.gateway;
        match mishap {
            Mishap::Kill | Mishap::KillEarly => {
                self.sluice.kill()?;
                self.start_again(gateway)
            }
            Mishap::KillAndMislead(flaw) => {
                self.sluice.kill()?;
                self.start_misled(flaw, gateway)?;
                self.start_again(gateway)
            }
            Mishap::Stop => {
                self.sluice.stop()?;
                self.start_again(gateway)
            }
            Mishap::Upgrade => {
                self.sluice.stop()?;
                self.builds.reverse();
                self.start_again(gateway)
            }
            Mishap::Resize => {
                self.sluice.stop()?;
                self.texts.reverse();
                self.sluice.configure(&self.texts[0])?;
                self.start_again(gateway)
            }
            Mishap::Reload(change) => {
                self.pool.apply(change);
                self.reload()
            }
            Mishap::Mislead(flaw) => self.mislead(flaw),
            Mishap::Cut(backend) => site.cut(backend),
        }
    }

    /// Stops it for good.
    pub(super) fn stop(&mut self) -> Result<()> {
        self.sluice.stop()
    }

    /// The end of its log.
    pub(super) fn log_end(&self) -> String {
        self.sluice.log_end()
    }

    fn start_again(&mut self, gateway: &Namespace) -> Result<()> {
        self.sluice.start_again(self.builds[0], gateway)
    }

    /// A start that has to fail.
    fn start_misled(&mut self, flaw: Flaw, gateway: &Namespace) -> Result<()> {
        reload::write(&self.folder, &flaw.spoil(&self.pool))?;
        self.start_again(gateway)?;
        let refused = self.sluice.expect_refusal();
        refused.with_context(|| format!("started with {flaw}"))?;
        reload::write(&self.folder, &self.pool)
    }

    fn reload(&self) -> Result<()> {
        reload::write(&self.folder, &self.pool)?;
        reload::ask(&self.sluice)
    }

    /// A reload that has to fail, and one that puts things right.
    fn mislead(&mut self, flaw: Flaw) -> Result<()> {
        reload::write(&self.folder, &flaw.spoil(&self.pool))?;
        reload::ask(&self.sluice)?;
        self.wait_until_reloaded(&format!("sluice to refuse {flaw}"), false)?;
        self.reload()?;
        self.wait_until_reloaded("sluice to take the pool again", true)
    }

    fn wait_until_reloaded(&self, what: &str, well: bool) -> Result<()> {
        wait::until(what, PATIENCE, || {
            let status = self.sluice.ask("/api/v1/status")?;
            Ok((status["agent"]["reload_error"].is_null() == well).then_some(()))
        })
    }
}
