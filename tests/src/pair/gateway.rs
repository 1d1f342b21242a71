//! One gateway of a pair: its configuration, and its agent.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use crate::{
    addresses::{Dual, INSIDE},
    live::{
        Mode,
        pool::{self, Pool},
        reload,
    },
    namespace::Namespace,
    services::Configuration,
    sluice::Sluice,
    stage::Stage,
    wait,
};

/// What both hash flows by.
const SEED: &str = "\"000102030405060708090a0b0c0d0e0f\"";
/// Longer than a run: slots that move do so until its end.
const SETTLE: Duration = Duration::from_secs(120);
/// How long a role may take to change.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The one that has the addresses whenever it can.
    First,
    /// The other one.
    Second,
}

impl Which {
    /// What its namespace and its ports are called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::First => "gateway",
            Self::Second => "second",
        }
    }
}

/// A gateway's agent.
pub(super) struct Gateway {
    which: Which,
    pub(super) sluice: Sluice,
    folder: PathBuf,
    binary: PathBuf,
}

impl Gateway {
    /// Starts it with a pool, and waits until it is ready.
    pub(super) fn start(
        which: Which,
        binary: PathBuf,
        namespace: &Namespace,
        stage: &Stage,
        (mode, pool): (Mode, &Pool),
    ) -> Result<Self> {
        let folder = stage.folder().join(which.name());
        let bpf = stage.bpf().join(which.name());
        for folder in [&folder, &bpf] {
            fs::create_dir(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        reload::write(&folder, &which.pool(pool))?;
        let configured = Configuration::new(&folder, &bpf).with("seed", SEED);
        let text = pool::main_file(mode, &["tcp"], SETTLE, &configured) + &which.instances();
        let mut sluice = Sluice::start_with(&binary, namespace, &folder, &text)?;
        sluice.wait_until_ready(namespace)?;
        Ok(Self {
            which,
            sluice,
            folder,
            binary,
        })
    }

    /// Starts it again, after it was killed.
    pub(super) fn start_again(&mut self, namespace: &Namespace) -> Result<()> {
        self.sluice.start_again(&self.binary, namespace)
    }

    /// Waits until all its instances have a role.
    pub(super) fn wait_until(&self, role: &str) -> Result<()> {
        let name = self.which.name();
        let found = wait::until(&format!("{name} to be {role}"), PATIENCE, || {
            // It may only just have been started.
            let Ok(shown) = self.sluice.ask("/api/v1/vrrp") else {
                return Ok(None);
            };
            let instances = shown["instances"].as_array().cloned().unwrap_or_default();
            let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
            let mut families = instances
                .iter()
                .flat_map(|instance| list(&instance["families"]));
            let all = families.all(|family| family["role"] == role);
            Ok((!instances.is_empty() && all).then_some(()))
        });
        found.with_context(|| format!("the end of its log:\n{}", self.sluice.log_end()))
    }

    /// Has it take another pool.
    pub(super) fn reload(&self, pool: &Pool) -> Result<()> {
        reload::reload(&self.sluice, &self.folder, &self.which.pool(pool))
    }
}

impl Which {
    fn pool(self, pool: &Pool) -> Pool {
        match self {
            Self::First => pool.clone(),
            Self::Second => pool.at_second(),
        }
    }

    /// The service's addresses, and those that backends route by, move together.
    fn instances(self) -> String {
        let priority = match self {
            Self::First => 150,
            Self::Second => 100,
        };
        let Dual { v4, v6 } = INSIDE;
        let instance = |name: &str, interface: &str, vrid: u8, addresses: &str| {
            format!(
                "\n[[vrrp]]\nname = \"{name}\"\ninterface = \"{interface}\"\nvrid = {vrid}\n\
                 priority = {priority}\ninterval = \"100ms\"\naddresses = [{addresses}]\n\
                 sync_group = \"pair\"\ntrack = [{{ data_plane = true, fault = true }}]\n"
            )
        };
        let front = instance("front", "eth0", 51, "\"live\"");
        let inside = format!("\"{v4}/24\", \"{v6}/64\"");
        front + &instance("inside", "eth1", 52, &inside)
    }
}
