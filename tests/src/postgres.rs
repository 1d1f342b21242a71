//! PostgreSQL servers with a database each: a primary, and a standby that has every commit before it is acknowledged. They run as
//! the user that Debian's package makes, since they refuse to run as root; whoever is on this machine or in the test's network is
//! let in.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{sys::signal::Signal, unistd::User};

use crate::{command, namespace::Namespace, process::Process, wait};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);

/// Where Debian has a version's programs.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Of the package.
const USER: &str = "postgres";

/// What all servers are started with: their files outlive no power cut.
const SETTINGS: [&str; 3] = ["listen_addresses=*", "fsync=off", "shared_buffers=16MB"];

/// A server, stopped with its owner.
pub struct Postgres {
    process: Process,
    folder: PathBuf,
}

impl Postgres {
    /// A new one, in a folder that is to be made. It acknowledges a commit once some standby has it.
    pub fn primary(namespace: &Namespace, folder: &Path) -> Result<Self> {
        make(folder)?;
        let mut initdb = as_user(namespace, &program("initdb")?)?;
        initdb.args(["--auth=trust", "--no-sync", "--pgdata"]);
        command::run(initdb.arg(folder.join("data")))?;
        let access = folder.join("data/pg_hba.conf");
        let rules = fs::read_to_string(&access)?
            + "host all all 198.18.0.0/24 trust\nhost replication all 198.18.0.0/24 trust\n";
        fs::write(&access, rules)?;
        Self::start(namespace, folder, &["synchronous_standby_names=*"])
    }

    /// A standby of the primary at this address.
    pub fn standby(namespace: &Namespace, folder: &Path, primary: IpAddr) -> Result<Self> {
        make(folder)?;
        let mut backup = as_user(namespace, &program("pg_basebackup")?)?;
        backup.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
        backup.arg(format!("--host={primary}"));
        command::run(backup.arg("--pgdata").arg(folder.join("data")))?;
        Self::start(namespace, folder, &[])
    }

    /// One that was there before, as it was when it ended.
    pub fn again(namespace: &Namespace, folder: &Path) -> Result<Self> {
        Self::start(namespace, folder, &[])
    }

    fn start(namespace: &Namespace, folder: &Path, more: &[&str]) -> Result<Self> {
        let mut command = as_user(namespace, &program("postgres")?)?;
        command.arg("-D").arg(folder.join("data"));
        let sockets = format!("unix_socket_directories={}", folder.display());
        for setting in SETTINGS.iter().chain(more).copied().chain([&*sockets]) {
            command.args(["-c", setting]);
        }
        let mut server = Self {
            process: Process::start("postgres", command, &folder.join("output.log"))?,
            folder: folder.to_owned(),
        };
        let ready = wait::until("postgres to accept", START, || {
            server.process.expect_running()?;
            Ok(server.ask("SELECT 1").is_ok().then_some(()))
        });
        server.process.explain(ready)?;
        Ok(server)
    }

    /// What it answers on its socket, without what is around values.
    pub fn ask(&self, statement: &str) -> Result<String> {
        let mut psql = Command::new("psql");
        psql.arg(format!("--host={}", self.folder.display()));
        command::read(psql.args(ARGUMENTS).arg(statement))
    }

    /// Kills it, and with it all of its processes.
    pub fn kill(&mut self) -> Result<()> {
        self.process.end_with(Signal::SIGKILL).map(drop)
    }
}

/// What `psql` is started with; a statement comes behind it.
pub const ARGUMENTS: [&str; 6] = [
    "--no-psqlrc",
    "--quiet",
    "--tuples-only",
    "--no-align",
    "--username=postgres",
    "--command",
];

/// Makes a folder of the user's own, which it can reach.
fn make(folder: &Path) -> Result<()> {
    fs::create_dir(folder).with_context(|| format!("making {}", folder.display()))?;
    let user = User::from_name(USER)?.context("there is no user postgres")?;
    chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    let temporary = std::env::temp_dir();
    let above = folder.ancestors().skip(1);
    for folder in above.take_while(|folder| **folder != temporary) {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711))?;
    }
    Ok(())
}

/// A program of the newest version that is installed.
fn program(name: &str) -> Result<PathBuf> {
    let versions = fs::read_dir(VERSIONS).context("PostgreSQL is needed")?;
    let versions = versions.collect::<Result<Vec<_>, _>>()?;
    let number = |path: &PathBuf| -> Option<u32> { path.file_name()?.to_str()?.parse().ok() };
    let versions = versions.into_iter().map(|version| version.path());
    let newest = versions
        .max_by_key(number)
        .context("PostgreSQL is needed")?;
    Ok(newest.join("bin").join(name))
}

fn as_user(namespace: &Namespace, program: &Path) -> Result<Command> {
    let mut command = namespace.command("setpriv")?;
    command.arg(format!("--reuid={USER}"));
    command.arg(format!("--regid={USER}"));
    command.args(["--clear-groups", "--"]).arg(program);
    Ok(command)
}
