//! The namespaces of a run.
//!
//! ```text
//!  client eth0 ───────────── eth0 gateway eth1
//!    eth1                            │
//!     └────────────── switch ────────┘
//!              │       │       │
//!        backend1 … backendB  control
//! ```
//!
//! Clients have an address each; requests go to the gateway. Answers come over the switch, but in
//! the modes that bring them back through the gateway. The controls' way is the switch alone.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};

use crate::{
    addresses::{
        CLIENTS, Dual, GATEWAY_BACK, GATEWAY_FRONT, ROUTER_BACK, ROUTER_FRONT, SERVICES, SOURCE,
    },
    decapsulator::Decapsulator,
    link::{End, connect, route},
    namespace::Namespace,
    programs::Pass,
    stage::Stage,
};

use super::{
    mode::{Forward, Mode},
    pool::SERVICE,
    script::Backend,
};

/// MTU of all links: room for an outer header.
const MTU: u16 = 1600;
/// The client's end of the link to the gateway, and of that to the switch.
const CLIENT_FRONT: Dual = ROUTER_FRONT;
const CLIENT_BACK: Dual = ROUTER_BACK;
/// The server beside Sluice.
pub(crate) const CONTROL: Dual = Dual {
    v4: Ipv4Addr::new(198, 18, 1, 9),
    v6: Ipv6Addr::new(0xfd00, 0x181, 0, 0, 0, 0, 0, 9),
};

/// The namespaces, taken down with it.
pub(crate) struct Site {
    // Programs first: they are detached before their interfaces go.
    pass: Pass,
    decapsulators: Vec<Decapsulator>,
    /// Where connections come from.
    pub(crate) client: Namespace,
    /// Where Sluice runs.
    pub(crate) gateway: Namespace,
    /// Where servers run.
    pub(crate) backends: Vec<Namespace>,
    /// Where the server beside Sluice runs.
    pub(crate) control: Namespace,
    /// Between the gateway and all of them.
    pub(crate) switch: Namespace,
}

impl Site {
    /// Makes everything, for `backends` backends of `mode`. Those of tunnels can't take packets out of
    /// them yet.
    pub(crate) fn set_up(stage: &Stage, mode: Mode, backends: usize) -> Result<Self> {
        let create = |part: &str| Namespace::create(&stage.name(part));
        let names = (0..backends).map(|index| Backend(index).to_string());
        let mut site = Self {
            pass: Pass::load()?,
            decapsulators: Vec::new(),
            client: create("client")?,
            gateway: create("gateway")?,
            backends: names.map(|name| create(&name)).collect::<Result<_>>()?,
            control: create("control")?,
            switch: create("switch")?,
        };
        site.switch
            .ip("link add lan type bridge mcast_snooping 0 stp_state 0 forward_delay 0")?;
        site.switch.ip("link set lan up")?;
        site.connect_gateway()?;
        site.connect_clients()?;
        for index in 0..backends {
            site.connect_backend(Backend(index), mode)?;
        }
        plug(
            &mut site.pass,
            &site.switch,
            (&site.control, "eth0"),
            "control",
            CONTROL,
        )?;
        Ok(site)
    }

    /// Gives the backends of tunnels what takes packets out of them.
    pub(super) fn decapsulate(&mut self, mode: Mode) -> Result<()> {
        let Some(tunnel) = mode.forward.tunnel() else {
            return Ok(());
        };
        for (index, namespace) in self.backends.iter().enumerate() {
            let own = Backend(index).address().both();
            let mut decapsulator = Decapsulator::load_for(tunnel, &own, &SERVICE.both())?;
            decapsulator.attach(end(namespace, "eth0"))?;
            self.decapsulators.push(decapsulator);
        }
        Ok(())
    }

    /// A backend's link goes down, at both ends.
    pub(crate) fn cut(&self, backend: Backend) -> Result<()> {
        self.switch.ip(&format!("link set {backend} down"))
    }

    fn connect_gateway(&mut self) -> Result<()> {
        let (near, far) = (end(&self.client, "eth0"), end(&self.gateway, "eth0"));
        connect(near, far, MTU)?;
        near.add_addresses(CLIENT_FRONT, (24, 64))?;
        far.add_addresses(GATEWAY_FRONT, (24, 64))?;
        self.pass.attach(near)?;
        let gateway = (&self.gateway, "eth1");
        plug(
            &mut self.pass,
            &self.switch,
            gateway,
            "gateway",
            GATEWAY_BACK,
        )?;
        end(&self.gateway, "eth1").add_addresses(SOURCE, (32, 128))?;
        end(&self.gateway, "lo").add_addresses(SERVICE, (32, 128))?;
        // bpf_fib_lookup answers only on interfaces that forward.
        self.gateway.forward_packets()?;
        route(&self.gateway, CLIENTS, CLIENT_FRONT)?;
        route(&self.client, SERVICES, GATEWAY_FRONT)
    }

    fn connect_clients(&mut self) -> Result<()> {
        let client = &self.client;
        plug(
            &mut self.pass,
            &self.switch,
            (client, "eth1"),
            "client",
            CLIENT_BACK,
        )?;
        // Every address of the clients' is the namespace's own, without having to be added.
        client.ip(&format!("-4 route add local {} dev lo", CLIENTS.0))?;
        client.ip(&format!("-6 route add local {} dev lo", CLIENTS.1))?;
        client.sysctl("ipv4/ip_nonlocal_bind", "1")?;
        client.sysctl("ipv6/ip_nonlocal_bind", "1")
    }

    fn connect_backend(&mut self, backend: Backend, mode: Mode) -> Result<()> {
        let namespace = &self.backends[backend.0];
        let own = backend.address();
        let port = backend.to_string();
        plug(
            &mut self.pass,
            &self.switch,
            (namespace, "eth0"),
            &port,
            own,
        )?;
        let back = match mode.forward {
            Forward::Nat => GATEWAY_BACK,
            Forward::Ipip | Forward::Gue | Forward::Dsr | Forward::FullNat => CLIENT_BACK,
        };
        route(namespace, CLIENTS, back)?;
        match mode.forward {
            Forward::Ipip | Forward::Gue => {}
            Forward::Dsr => {
                // The service's address is answered for, but not by ARP.
                namespace.sysctl("ipv4/conf/all/arp_ignore", "1")?;
                namespace.sysctl("ipv4/conf/all/arp_announce", "2")?;
            }
            Forward::Nat | Forward::FullNat => return Ok(()),
        }
        end(namespace, "lo").add_addresses(SERVICE, (32, 128))
    }
}

fn end<'a>(namespace: &'a Namespace, interface: &'a str) -> End<'a> {
    End {
        namespace,
        interface,
    }
}

/// Connects an interface to a port of the switch and gives it addresses.
fn plug(
    pass: &mut Pass,
    switch: &Namespace,
    (namespace, interface): (&Namespace, &str),
    port: &str,
    addresses: Dual,
) -> Result<()> {
    let (near, socket) = (end(namespace, interface), end(switch, port));
    connect(near, socket, MTU)?;
    switch
        .ip(&format!("link set {port} master lan"))
        .with_context(|| format!("could not make {port} a port of the switch"))?;
    pass.attach(socket)?;
    near.add_addresses(addresses, (24, 64))
}
