//! Three namespaces in a row, and the agent's configuration. Neighbours are permanent and every
//! kernel's own packets end in a blackhole, so that what is on the wires is the generator's or
//! Sluice's.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
};

use anyhow::Result;

use crate::{
    addresses::{BACKENDS, CLIENTS, Dual, GATEWAY_BACK, GATEWAY_FRONT, ROUTER_FRONT, SOURCE},
    cases::places::Mac,
    command,
    link::{End, connect, print_mac, route},
    namespace::Namespace,
    offload,
    programs::Pass,
    services::Configuration,
    stage::Stage,
};

/// MTU of both links: a full-sized packet does not fit a tunnel.
pub(super) const MTU: u16 = 1500;

/// The far ends' and the gateway's MAC addresses, on the clients' side and on the backends'.
pub(super) const CLIENT_MAC: Mac = [0x02, 0, 0, 0, 1, 0xfe];
/// The gateway's, towards clients.
pub(super) const FRONT_MAC: Mac = [0x02, 0, 0, 0, 1, 0x01];
/// The gateway's, towards backends.
pub(super) const BACK_MAC: Mac = [0x02, 0, 0, 0, 2, 0x01];
/// The backends'.
pub(super) const BACKEND_MAC: Mac = [0x02, 0, 0, 0, 2, 0xfe];

/// Port of all services that listen on one.
pub(super) const PORT: u16 = 80;
/// The UDP port that `gue` is unpacked at.
pub(super) const GUE_PORT: u16 = 6080;

/// A service: its pool's mode, and what else is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    /// Of service and pool.
    pub(super) name: &'static str,
    /// The mode's name.
    pub(super) forward: &'static str,
    /// Whether every flow is recorded though the mode needs none of that.
    pub(super) tracked: bool,
    /// The first and the last port that it listens on.
    pub(super) ports: (u16, u16),
    /// The backends' port, where the mode maps ports: no other service's.
    pub(super) port: Option<u16>,
    /// Whether backends have an IPv6 address only.
    pub(super) across: bool,
    /// Whether its only backend is [`ABSENT`].
    pub(super) empty: bool,
}

const PLAIN: Service = Service {
    name: "",
    forward: "",
    tracked: false,
    ports: (PORT, PORT),
    port: None,
    across: false,
    empty: false,
};

/// All of them; [`address`] gives each one's.
pub(super) const SERVICES: [Service; 15] = [
    Service {
        name: "full-nat",
        forward: "full-nat",
        port: Some(8080),
        ..PLAIN
    },
    Service {
        name: "nat",
        forward: "nat",
        port: Some(8081),
        ..PLAIN
    },
    Service {
        name: "nat-tracked",
        forward: "nat",
        port: Some(8082),
        tracked: true,
        ..PLAIN
    },
    Service {
        name: "full-nat-across",
        forward: "full-nat",
        port: Some(8083),
        across: true,
        ..PLAIN
    },
    // Backends see the port that was asked for: no other service's.
    Service {
        name: "nat-range",
        forward: "nat",
        ports: (8084, 8087),
        ..PLAIN
    },
    Service {
        name: "ipip-range",
        forward: "ipip",
        ports: (70, 90),
        ..PLAIN
    },
    Service {
        name: "dsr",
        forward: "dsr",
        ..PLAIN
    },
    Service {
        name: "dsr-tracked",
        forward: "dsr",
        tracked: true,
        ..PLAIN
    },
    Service {
        name: "ipip",
        forward: "ipip",
        ..PLAIN
    },
    Service {
        name: "ipip-tracked",
        forward: "ipip",
        tracked: true,
        ..PLAIN
    },
    Service {
        name: "ipip-across",
        forward: "ipip",
        across: true,
        ..PLAIN
    },
    Service {
        name: "gue",
        forward: "gue",
        ..PLAIN
    },
    Service {
        name: "gue-tracked",
        forward: "gue",
        tracked: true,
        ..PLAIN
    },
    Service {
        name: "gue-across",
        forward: "gue",
        across: true,
        ..PLAIN
    },
    Service {
        name: "empty",
        forward: "full-nat",
        empty: true,
        ..PLAIN
    },
];

/// A backend that nobody answers for.
const ABSENT: Dual = Dual {
    v4: Ipv4Addr::new(198, 18, 1, 99),
    v6: Ipv6Addr::new(0xfd00, 0x181, 0, 0, 0, 0, 0, 0x99),
};
/// What `full-nat` between families connects from. Pools that share one with it would cross as well.
const SOURCE_ACROSS: Dual = Dual {
    v4: Ipv4Addr::new(198, 18, 1, 253),
    v6: Ipv6Addr::new(0xfd00, 0x181, 0, 0, 0, 0, 0, 0xfd),
};
/// How many next hops stay unresolved for it.
pub(super) const UNRESOLVED: u32 = 2;

/// The address of the service at `index`.
pub(super) fn address(index: usize) -> Dual {
    let mut address = crate::addresses::WEB;
    let [.., last] = address.v4.octets();
    address.v4 = [198, 18, 0, last + index as u8].into();
    address.v6 = (address.v6.to_bits() + index as u128).into();
    address
}

/// The namespaces, taken down with it.
pub(super) struct Site {
    // Programs first: they are detached before their interfaces go.
    _pass: Pass,
    /// Where clients' packets come from.
    pub(super) clients: Namespace,
    /// Where Sluice runs.
    pub(super) gateway: Namespace,
    /// Where packets to backends arrive.
    pub(super) backends: Namespace,
}

impl Site {
    /// Makes everything.
    pub(super) fn set_up(stage: &Stage) -> Result<Self> {
        let create = |part: &str| Namespace::create(&stage.name(part));
        let mut site = Self {
            _pass: Pass::load()?,
            clients: create("clients")?,
            gateway: create("gateway")?,
            backends: create("backends")?,
        };
        let [front, back] = ["eth0", "eth1"].map(|interface| End {
            namespace: &site.gateway,
            interface,
        });
        let [client, backend] = [&site.clients, &site.backends].map(|namespace| End {
            namespace,
            interface: "eth0",
        });
        connect(client, front, MTU)?;
        connect(backend, back, MTU)?;
        for (end, mac) in [
            (client, CLIENT_MAC),
            (front, FRONT_MAC),
            (back, BACK_MAC),
            (backend, BACKEND_MAC),
        ] {
            let End {
                namespace,
                interface,
            } = end;
            let mac = print_mac(mac);
            namespace.ip(&format!("link set {interface} address {mac}"))?;
            // Merged packets would be counted once.
            offload::disable_merging(namespace, interface)?;
        }
        front.add_addresses(GATEWAY_FRONT, (24, 64))?;
        back.add_addresses(GATEWAY_BACK, (24, 64))?;
        for source in [SOURCE, SOURCE_ACROSS] {
            back.add_addresses(source, (32, 128))?;
        }
        let lo = End {
            namespace: &site.gateway,
            interface: "lo",
        };
        for index in 0..SERVICES.len() {
            lo.add_addresses(address(index), (32, 128))?;
        }
        site._pass.attach(client)?;
        site._pass.attach(backend)?;
        site.introduce(ROUTER_FRONT, CLIENT_MAC, "eth0")?;
        for address in BACKENDS {
            site.introduce(address, BACKEND_MAC, "eth1")?;
        }
        // bpf_fib_lookup answers only on interfaces that forward.
        site.gateway.forward_packets()?;
        route(&site.gateway, CLIENTS, ROUTER_FRONT)?;
        Ok(site)
    }

    /// From now on no kernel sends anything: only XDP and our packet sockets pass by the queues.
    pub(super) fn silence(&self) -> Result<()> {
        for (namespace, interface) in [
            (&self.clients, "eth0"),
            (&self.backends, "eth0"),
            (&self.gateway, "eth0"),
            (&self.gateway, "eth1"),
        ] {
            let mut command = namespace.command("tc")?;
            command.args(["qdisc", "replace", "dev", interface, "root", "blackhole"]);
            command::run(&mut command)?;
        }
        Ok(())
    }

    fn introduce(&self, to: Dual, mac: Mac, interface: &str) -> Result<()> {
        for ip in to.both() {
            let mac = print_mac(mac);
            self.gateway.ip(&format!(
                "neigh replace {ip} lladdr {mac} dev {interface} nud permanent"
            ))?;
        }
        Ok(())
    }
}

/// The agent's configuration, with its files in `folder` and its pins in `bpf`.
pub(super) fn configuration(folder: &Path, bpf: &Path) -> String {
    let mut text = Configuration::new(folder, bpf).agent();
    for (index, service) in SERVICES.iter().enumerate() {
        add_service(&mut text, service, address(index));
    }
    text
}

fn add_service(text: &mut String, service: &Service, Dual { v4, v6 }: Dual) {
    let Service { name, forward, .. } = service;
    let ports = match service.ports {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    let listen = ["tcp", "udp"]
        .map(|protocol| format!("\"{v4}:{ports}/{protocol}\", \"[{v6}]:{ports}/{protocol}\""));
    let _ = write!(
        text,
        "\n[[service]]\nname = \"{name}\"\nlisten = [{}]\npool = \"{name}\"\n",
        listen.join(", ")
    );
    if service.tracked {
        text.push_str("tracking = \"full\"\n");
    }
    let _ = write!(
        text,
        "\n[[pool]]\nname = \"{name}\"\nforward = \"{forward}\"\nslots = 1021\n"
    );
    let source = match *forward {
        "full-nat" if service.across => Some(SOURCE_ACROSS),
        "full-nat" => Some(SOURCE),
        "ipip" | "gue" => Some(GATEWAY_BACK),
        _ => None,
    };
    if let Some(Dual { v4, v6 }) = source {
        let _ = writeln!(text, "source = [\"{v4}\", \"{v6}\"]");
    }
    let backends = if service.empty {
        &[ABSENT][..]
    } else {
        &BACKENDS
    };
    for (index, Dual { v4, v6 }) in backends.iter().enumerate() {
        let addresses = match (service.port, service.across) {
            (Some(port), true) => format!("\"[{v6}]:{port}\""),
            (Some(port), false) => format!("\"{v4}:{port}\", \"[{v6}]:{port}\""),
            (None, true) => format!("\"{v6}\""),
            (None, false) => format!("\"{v4}\", \"{v6}\""),
        };
        let _ = write!(
            text,
            "\n[[pool.backend]]\nname = \"{name}{index}\"\naddress = [{addresses}]\n"
        );
    }
}
