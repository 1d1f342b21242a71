//! The interfaces, routes and neighbours of the cases' world, in a namespace of their own.

use std::net::IpAddr;

use anyhow::Result;
use sluice_tests::{
    cases::{
        places::{CLOSED, INTERFACES, Mac, PROBE, Version},
        world::{Route, World},
    },
    namespace::Namespace,
    stage::Stage,
};

/// A namespace with the world's interfaces, all up.
pub(crate) struct Network {
    namespace: Namespace,
    _stage: Stage,
}

impl Network {
    /// Makes it, without routes.
    pub(crate) fn create() -> Result<Self> {
        let stage = Stage::set_up("sluice-cases")?;
        let namespace = Namespace::create(&stage.name("world"))?;
        namespace.forward_packets()?;
        for (n, interface) in INTERFACES.iter().chain([&PROBE]).enumerate() {
            let (name, index, mac) = (interface.name, interface.ifindex, mac(interface.mac));
            let peer = format!("peer name {name}-peer index {}", 30 + n);
            namespace.ip(&format!(
                "link add {name} index {index} address {mac} type veth {peer}"
            ))?;
            namespace.ip(&format!("link set {name}-peer up"))?;
            namespace.ip(&format!("link set {name} up"))?;
            for version in Version::ALL {
                let address = version.link(index as u8, 254);
                let length = if version == Version::V4 { 24 } else { 64 };
                namespace.ip(&format!("address add {address}/{length} dev {name}"))?;
            }
        }
        for family in ["ipv4", "ipv6"] {
            namespace.sysctl(&format!("{family}/conf/{}/forwarding", CLOSED.name), "0")?;
        }
        Ok(Self {
            namespace,
            _stage: stage,
        })
    }

    /// Runs `task` in it.
    pub(crate) fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        let done = self.namespace.run(|| Ok(task()));
        done.expect("a namespace that can be entered, and a task that does not panic")
    }

    /// Has the kernel route as `new` says, where it routes as `old` said.
    pub(crate) fn change(&self, old: &World, new: &World) {
        for prefix in old
            .routes
            .keys()
            .filter(|prefix| !new.routes.contains_key(prefix))
        {
            self.ip(&format!("route del {}/{}", prefix.0, prefix.1));
        }
        for (prefix, route) in new
            .routes
            .iter()
            .filter(|(k, v)| old.routes.get(k) != Some(v))
        {
            self.add_route(*prefix, *route);
        }
        let gone = old
            .neighbours
            .keys()
            .filter(|key| !new.neighbours.contains_key(key));
        for (ifindex, address) in gone {
            self.ip(&format!("neigh del {address} dev {}", name(*ifindex)));
        }
        let fresh = new
            .neighbours
            .iter()
            .filter(|(k, v)| old.neighbours.get(k) != Some(v));
        for ((ifindex, address), lladdr) in fresh {
            let (lladdr, name) = (mac(*lladdr), name(*ifindex));
            self.ip(&format!(
                "neigh replace {address} lladdr {lladdr} dev {name} nud permanent"
            ));
        }
    }

    fn add_route(&self, (address, length): (IpAddr, u8), route: Route) {
        match route {
            Route::Unreachable => self.ip(&format!("route replace unreachable {address}/{length}")),
            Route::Via {
                gateway,
                ifindex,
                mtu,
            } => {
                let name = name(ifindex);
                let mtu = mtu.map(|mtu| format!("mtu lock {mtu}")).unwrap_or_default();
                let via = format!("via {gateway} dev {name} {mtu}");
                self.ip(&format!("route replace {address}/{length} {via}"));
            }
        }
    }

    fn ip(&self, arguments: &str) {
        self.namespace
            .ip(arguments)
            .unwrap_or_else(|error| panic!("{error:#}"));
    }
}

fn name(ifindex: u32) -> &'static str {
    let interface = INTERFACES
        .iter()
        .chain([&PROBE])
        .find(|interface| interface.ifindex == ifindex);
    interface.expect("one of the world's interfaces").name
}

fn mac(bytes: Mac) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
