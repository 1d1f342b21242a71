//! `sluice run` in a namespace.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    command,
    http::{self, Request, Response},
    metrics::Metrics,
    namespace::Namespace,
    process::Process,
    services::Configuration,
    wait,
};

/// Where the agent's stats listen, inside its namespace.
const STATS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9633);

/// How long the agent may take for anything that it is waited for, each answer included: in a guest it is fifteen
/// times slower than here.
const PATIENCE: Duration = Duration::from_secs(60);

/// The main file of the configuration, in the agent's folder.
const FILE: &str = "sluice.toml";

/// A running agent.
pub struct Sluice {
    process: Process,
    folder: PathBuf,
}

impl Sluice {
    /// Starts `binary` in `namespace` with `configuration`.
    pub fn start(
        binary: &Path,
        namespace: &Namespace,
        configuration: &Configuration,
    ) -> Result<Self> {
        Self::start_with(
            binary,
            namespace,
            configuration.folder(),
            &configuration.to_string(),
        )
    }

    /// The same with the main file's text; the agent's files are in `folder`.
    pub fn start_with(
        binary: &Path,
        namespace: &Namespace,
        folder: &Path,
        text: &str,
    ) -> Result<Self> {
        let folder = folder.to_owned();
        let file = folder.join(FILE);
        fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
        let process = run(binary, namespace, &folder)?;
        Ok(Self { process, folder })
    }

    /// Writes the main file anew.
    pub fn configure(&self, text: &str) -> Result<()> {
        let file = self.folder.join(FILE);
        fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))
    }

    /// Starts `binary` in place of the process that has ended, with the files as they are now.
    pub fn start_again(&mut self, binary: &Path, namespace: &Namespace) -> Result<()> {
        self.process = run(binary, namespace, &self.folder)?;
        Ok(())
    }

    /// Waits until its tables are applied, its programs attached and all next hops known.
    pub fn wait_until_ready(&mut self, namespace: &Namespace) -> Result<()> {
        self.wait_until_unresolved(namespace, 0)
    }

    /// The same for so long.
    pub fn wait_until_ready_for(&mut self, namespace: &Namespace, limit: Duration) -> Result<()> {
        self.wait(namespace, 0, limit)
    }

    /// Waits until its tables are applied, its programs attached and all next hops known but
    /// `count`.
    pub fn wait_until_unresolved(&mut self, namespace: &Namespace, count: u32) -> Result<()> {
        self.wait(namespace, count, PATIENCE)
    }

    fn wait(&mut self, namespace: &Namespace, count: u32, limit: Duration) -> Result<()> {
        let what = format!("sluice to be ready with {count} next hops unresolved");
        let ready = wait::until(&what, limit, || {
            self.process.expect_running()?;
            let answer = namespace.run(|| Ok(ask("/readyz")))?;
            if !answer.is_ok_and(|response| response.status == 200) {
                return Ok(None);
            }
            let unresolved = scrape(namespace)?.sum("sluice_next_hops_unresolved", &[]);
            Ok((unresolved == Some(count.into())).then_some(()))
        });
        self.process.explain(ready)
    }

    /// Waits until its log has a line with `text`.
    pub fn wait_until_logged(&mut self, text: &str) -> Result<()> {
        let logged = wait::until(&format!("a log line with {text:?}"), PATIENCE, || {
            self.process.expect_running()?;
            Ok(self.process.log().contains(text).then_some(()))
        });
        self.process.explain(logged)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What the control socket answers to a GET of `path`.
    pub fn ask(&self, path: &str) -> Result<Value> {
        let socket = self.control();
        let asked = || -> Result<Value> {
            let stream = UnixStream::connect(&socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let response = http::exchange_over(stream, "sluice", &Request::get(path))?;
            let Response { status, body, .. } = &response;
            ensure!(*status == 200, "status {status}: {body}");
            Ok(serde_json::from_str(body)?)
        };
        asked().with_context(|| format!("{path} of {}", socket.display()))
    }

    /// Has the agent do what a POST of `body` to `path` of the control socket asks for.
    pub fn tell(&self, path: &str, body: &str) -> Result<()> {
        let socket = self.control();
        let told = || -> Result<()> {
            let stream = UnixStream::connect(&socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let request = Request {
                method: "POST",
                path,
                body: body.as_bytes(),
            };
            let Response { status, body, .. } = http::exchange_over(stream, "sluice", &request)?;
            ensure!(status == 200, "status {status}: {body}");
            Ok(())
        };
        told().with_context(|| format!("{path} of {}", socket.display()))
    }

    /// Its control socket, unless the configuration puts it elsewhere.
    pub fn control(&self) -> PathBuf {
        self.folder.join("control.sock")
    }

    /// Its whole log.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The last lines of its log.
    pub fn log_end(&self) -> String {
        self.process.log_end()
    }

    /// Stops it with SIGTERM; anything but a clean end is an error.
    pub fn stop(&mut self) -> Result<()> {
        self.stop_with(Signal::SIGTERM)
    }

    /// The same with another signal.
    pub fn stop_with(&mut self, signal: Signal) -> Result<()> {
        let status = self.process.end_with(signal)?;
        let clean = if status.success() {
            Ok(())
        } else {
            Err(anyhow!("it ended with {status}"))
        };
        self.process.explain(clean)
    }

    /// Sends it a signal, and waits for nothing.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Waits until it has ended, as it was told to.
    pub fn expect_end(&mut self) -> Result<()> {
        self.process.expect_end().map(drop)
    }

    /// Kills it, so that it can't clean up. An error if it has ended by itself.
    pub fn kill(&mut self) -> Result<()> {
        let running = self.process.expect_running();
        self.process.explain(running)?;
        self.process.end_with(Signal::SIGKILL).map(drop)
    }

    /// Waits until it has given up with exit status 1; returns its log.
    pub fn expect_refusal(&mut self) -> Result<String> {
        let status = self.process.expect_end()?;
        let refused = if status.code() == Some(1) {
            Ok(self.process.log())
        } else {
            Err(anyhow!("it ended with {status}"))
        };
        self.process.explain(refused)
    }
}

/// Ends the data plane that is pinned in a folder, where no agent runs; returns what that prints.
pub fn detach(binary: &Path, namespace: &Namespace, pin: &Path) -> Result<String> {
    let mut command = namespace.command(binary)?;
    command::read(command.args(["detach", "--yes", "--pin"]).arg(pin))
}

fn run(binary: &Path, namespace: &Namespace, folder: &Path) -> Result<Process> {
    let mut command = namespace.command(binary)?;
    command.arg("run").arg("--config").arg(folder.join(FILE));
    Process::start("sluice", command, &folder.join("sluice.log"))
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
    http::exchange(None, STATS, &Request::get(path), PATIENCE)
}

/// The binary that tests run: `$SLUICE`, or the one that was built beside the tests.
pub fn binary() -> Result<PathBuf> {
    built("SLUICE", "sluice", "cargo build")
}

/// The same out of the same source, but for the layout of the tables: `$SLUICE_NEXT`, or the one that was built
/// beside the tests.
pub fn next() -> Result<PathBuf> {
    built("SLUICE_NEXT", "sluice-next", "cargo xtask next")
}

fn built(variable: &str, name: &str, by: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Ok(path.into());
    }
    // target/PROFILE/demo or target/PROFILE/deps/netns-0123456789abcdef
    let own = env::current_exe().context("where am I?")?;
    let beside = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name));
    let mut found = beside.filter(|path| path.is_file());
    match found.next() {
        Some(path) => Ok(path),
        None => bail!(
            "no {name} beside {}: {by}, or set {variable}",
            own.display()
        ),
    }
}
