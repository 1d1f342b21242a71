//! The services of the test network and the configuration that tells Sluice of them.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::addresses::{BACKENDS, Dual, GATEWAY_BACK, SOURCE, TUNNEL, WEB};

/// A forwarding mode that the test network has a service for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Both ends rewritten; the backend sees the source address.
    FullNat,
    /// Whole packets inside another header; the backend sees the client and answers it directly.
    Ipip,
}

impl Mode {
    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullNat => "full-nat",
            Self::Ipip => "ipip",
        }
    }
}

/// A service with a pool of its own, both of one name.
#[derive(Debug)]
pub struct Service {
    /// Name of service and pool.
    pub name: &'static str,
    /// The pool's mode.
    pub mode: Mode,
    /// Where clients connect to, on port 80.
    pub address: Dual,
    /// Addresses that packets to the backends come from.
    pub source: Dual,
    /// Port of the backends.
    pub backend_port: u16,
    /// Its backends, one in each backend namespace.
    pub backends: [Backend; 3],
}

/// A backend's name and weight in a pool; its addresses are those of [`BACKENDS`], by position.
#[derive(Debug)]
pub struct Backend {
    /// Unique in the whole test network, so that an answer tells the pool too.
    pub name: &'static str,
    /// Relative to the other two.
    pub weight: u16,
}

/// Port that clients connect to.
pub const PORT: u16 = 80;

/// One service for each mode.
pub static SERVICES: [Service; 2] = [
    Service {
        name: "web",
        mode: Mode::FullNat,
        address: WEB,
        source: SOURCE,
        backend_port: 8080,
        backends: [
            Backend {
                name: "web1",
                weight: 300,
            },
            Backend {
                name: "web2",
                weight: 200,
            },
            Backend {
                name: "web3",
                weight: 100,
            },
        ],
    },
    Service {
        name: "tunnel",
        mode: Mode::Ipip,
        address: TUNNEL,
        source: GATEWAY_BACK,
        backend_port: PORT,
        backends: [
            Backend {
                name: "tunnel1",
                weight: 100,
            },
            Backend {
                name: "tunnel2",
                weight: 150,
            },
            Backend {
                name: "tunnel3",
                weight: 250,
            },
        ],
    },
];

impl Service {
    /// The share of new connections that a backend's weight asks for.
    pub fn share(&self, backend: &Backend) -> f64 {
        let total: u16 = self.backends.iter().map(|b| b.weight).sum();
        f64::from(backend.weight) / f64::from(total)
    }
}

/// The interfaces of the gateway that Sluice serves.
pub const INTERFACES: [&str; 2] = ["eth0", "eth1"];

/// A configuration with all services.
#[derive(Clone, Debug)]
pub struct Configuration {
    folder: PathBuf,
    /// The settings of `[agent]`, as TOML values.
    agent: BTreeMap<&'static str, String>,
}

impl Configuration {
    /// The agent's files are in `folder`, its pins in `bpf`.
    pub fn new(folder: &Path, bpf: &Path) -> Self {
        let path = |path: PathBuf| format!("{path:?}");
        let agent = [
            ("interfaces", format!("{INTERFACES:?}")),
            ("control", path(folder.join("control.sock"))),
            ("state", path(folder.join("state"))),
            ("pin", path(bpf.join("sluice"))),
            ("stats", "\"127.0.0.1:9633\"".to_owned()),
        ];
        Self {
            folder: folder.to_owned(),
            agent: agent.into(),
        }
    }

    /// The same with another setting in `[agent]`, a TOML value.
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.agent.insert(key, value.into());
        self
    }

    /// The text of `[agent]` alone.
    pub fn agent(&self) -> String {
        let mut text = "[agent]\n".to_owned();
        for (key, value) in &self.agent {
            let _ = writeln!(text, "{key} = {value}");
        }
        text
    }

    /// Where the agent's files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.agent();
        for service in &SERVICES {
            add_service(&mut text, service);
        }
        f.write_str(&text)
    }
}

fn add_service(text: &mut String, service: &Service) {
    let Service {
        name,
        mode,
        address: Dual { v4, v6 },
        source,
        ..
    } = service;
    let _ = write!(
        text,
        "\n[[service]]\nname = \"{name}\"\n\
         listen = [\"{v4}:{PORT}/tcp\", \"[{v6}]:{PORT}/tcp\"]\npool = \"{name}\"\n\
         \n[[pool]]\nname = \"{name}\"\nforward = \"{}\"\nsource = [\"{}\", \"{}\"]\n",
        mode.name(),
        source.v4,
        source.v6
    );
    for (backend, Dual { v4, v6 }) in service.backends.iter().zip(BACKENDS) {
        let addresses = match mode {
            Mode::FullNat => {
                format!(
                    "\"{v4}:{port}\", \"[{v6}]:{port}\"",
                    port = service.backend_port
                )
            }
            Mode::Ipip => format!("\"{v4}\", \"{v6}\""),
        };
        let _ = write!(
            text,
            "\n[[pool.backend]]\nname = \"{}\"\naddress = [{addresses}]\nweight = {}\n",
            backend.name, backend.weight
        );
    }
}
