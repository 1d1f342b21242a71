//! The pool as it is at one moment, and the agent's configuration: a main file that stays, and the
//! file of the pool, which every change writes anew.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    net::SocketAddr,
    time::Duration,
};

use crate::{
    addresses::{Dual, GATEWAY_BACK, SECOND_BACK, SECOND_SOURCE, SOURCE, TUNNEL},
    services::{Configuration, PORT},
};

use super::{
    mode::{Forward, Mode},
    script::{Backend, Change},
};

/// The file of the pool, beside the main one.
pub(crate) const FILE: &str = "pool.toml";
/// The address of the service, on port 80.
pub(crate) const SERVICE: Dual = TUNNEL;

/// Backends by weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    mode: Mode,
    /// What tunnels come from, and what `full-nat` does.
    sources: [Dual; 2],
    members: BTreeMap<Backend, u16>,
}

impl Pool {
    /// The first `count` backends, of equal weight.
    pub(crate) fn new(mode: Mode, count: usize) -> Self {
        let members = (0..count).map(|index| (Backend(index), Backend::WEIGHT));
        Self {
            mode,
            sources: [GATEWAY_BACK, SOURCE],
            members: members.collect(),
        }
    }

    /// The same at the second gateway of a pair.
    pub(crate) fn at_second(&self) -> Self {
        Self {
            sources: [SECOND_BACK, SECOND_SOURCE],
            ..self.clone()
        }
    }

    /// What is left of it after a change. A kill changes nothing that is configured.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Add(backend) => {
                self.members.insert(backend, Backend::WEIGHT);
            }
            Change::Weigh(backend, weight) => {
                self.members.insert(backend, weight);
            }
            Change::Remove(backend) => {
                self.members.remove(&backend);
            }
            Change::Kill(_) => {}
        }
    }

    /// Weights by name.
    pub(crate) fn weights(&self) -> BTreeMap<String, u64> {
        let named = self.members.iter();
        named
            .map(|(backend, weight)| (backend.to_string(), u64::from(*weight)))
            .collect()
    }
}

/// The file's text.
impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forward = self.mode.forward;
        writeln!(
            f,
            "[[pool]]\nname = \"live\"\nforward = \"{}\"",
            forward.name()
        )?;
        let [tunnels, full_nat] = self.sources;
        let source = match forward {
            Forward::FullNat => Some(full_nat),
            Forward::Ipip | Forward::Gue => Some(tunnels),
            // They keep the client's.
            Forward::Dsr | Forward::Nat => None,
        };
        if let Some(Dual { v4, v6 }) = source {
            writeln!(f, "source = [\"{v4}\", \"{v6}\"]")?;
        }
        for (backend, weight) in &self.members {
            let Dual { v4, v6 } = backend.address();
            writeln!(
                f,
                "\n[[pool.backend]]\nname = \"{backend}\"\naddress = [\"{v4}\", \"{v6}\"]\n\
                 weight = {weight}"
            )?;
        }
        Ok(())
    }
}

/// The main file: the agent as it is `configured`, and one service for `protocols` (`tcp`).
pub(crate) fn main_file(
    mode: Mode,
    protocols: &[&str],
    settle: Duration,
    configured: &Configuration,
) -> String {
    let mut text = format!("include = [{FILE:?}]\n\n{}", configured.agent());
    let listen = protocols.iter().flat_map(|protocol| {
        let ends = SERVICE.both().map(|ip| SocketAddr::new(ip, PORT));
        ends.map(|end| format!("{end}/{protocol}"))
    });
    let listen: Vec<_> = listen.collect();
    let tracking = if mode.tracked { "full" } else { "auto" };
    let _ = writeln!(
        text,
        "\n[[service]]\nname = \"live\"\nlisten = {listen:?}\npool = \"live\"\n\
         tracking = \"{tracking}\""
    );
    if !mode.tracked {
        let settle = settle.as_millis();
        for key in ["settle", "entry_timeout"] {
            let _ = writeln!(text, "{key} = \"{settle}ms\"");
        }
    }
    text
}
