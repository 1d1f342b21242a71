//! `sluice run` in a namespace.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::{
    http::{self, Request},
    metrics::Metrics,
    namespace::Namespace,
    process::Process,
    wait,
};

/// Where the agent's stats listen, inside its namespace.
const STATS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9633);

/// A running agent.
pub struct Sluice {
    process: Process,
}

impl Sluice {
    /// Starts `binary` in `namespace` with `configuration`, its files in `folder`.
    pub fn start(
        binary: &Path,
        namespace: &Namespace,
        folder: &Path,
        configuration: &str,
    ) -> Result<Self> {
        let file = folder.join("sluice.toml");
        fs::write(&file, configuration)
            .with_context(|| format!("could not write {}", file.display()))?;
        let mut command = namespace.command(binary)?;
        command.arg("run").arg("--config").arg(&file);
        let process = Process::start("sluice", command, &folder.join("sluice.log"))?;
        Ok(Self { process })
    }

    /// Waits until its tables are applied, its programs attached and all next hops known.
    pub fn wait_until_ready(&mut self, namespace: &Namespace) -> Result<()> {
        let ready = wait::until("sluice to be ready", Duration::from_secs(20), || {
            self.process.expect_running()?;
            let answer = namespace.run(|| Ok(ask("/readyz")))?;
            if !answer.is_ok_and(|response| response.status == 200) {
                return Ok(None);
            }
            let unresolved = scrape(namespace)?.sum("sluice_next_hops_unresolved", &[]);
            Ok((unresolved == Some(0.0)).then_some(()))
        });
        self.process.explain(ready)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The last lines of its log.
    pub fn log_end(&self) -> String {
        self.process.log_end()
    }

    /// Stops it with SIGTERM; anything but a clean end is an error.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.process.stop()?;
        let clean = if status.success() {
            Ok(())
        } else {
            Err(anyhow!("it ended with {status}"))
        };
        self.process.explain(clean)
    }
}

/// What the agent in `namespace` counts.
pub fn scrape(namespace: &Namespace) -> Result<Metrics> {
    namespace.run(|| {
        let response = ask("/metrics").context("could not read sluice's metrics")?;
        ensure!(
            response.status == 200,
            "/metrics answered {}",
            response.status
        );
        Metrics::parse(&response.body)
    })
}

fn ask(path: &str) -> Result<http::Response> {
    http::exchange(None, STATS, &Request::get(path), Duration::from_secs(2))
}

/// The binary that tests run: `$SLUICE`, or the one that was built beside the tests.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("SLUICE") {
        return Ok(path.into());
    }
    // target/PROFILE/demo or target/PROFILE/deps/netns-0123456789abcdef
    let own = env::current_exe().context("where am I?")?;
    let beside = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("sluice"));
    let mut found = beside.filter(|path| path.is_file());
    match found.next() {
        Some(path) => Ok(path),
        None => bail!(
            "no sluice beside {}: cargo build, or set SLUICE",
            own.display()
        ),
    }
}
