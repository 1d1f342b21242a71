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
//!
//! With a pair of gateways the clients' link is a switch, too: whichever gateway has the service's address answers for it.
//!
//! ```text
//!  client eth0 ── front ─┬─ eth0 gateway eth1 ─┬─ switch ── …
//!                        └─ eth0 second  eth1 ─┘
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};

use crate::{
    addresses::{
        CLIENTS, Dual, GATEWAY_BACK, GATEWAY_FRONT, INSIDE, ROUTER_BACK, ROUTER_FRONT, SECOND_BACK,
        SECOND_FRONT, SECOND_SOURCE, SERVICES, SOURCE,
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
/// The switch of the backends, and that of a pair's clients.
const BACK: &str = "lan";
const FRONT: &str = "front";
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
    /// Where it runs too, in a pair.
    pub(crate) second: Option<Namespace>,
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
        let mut site = Self::begin(stage, backends)?;
        site.connect_gateway()?;
        site.connect_ends(mode, GATEWAY_BACK)?;
        Ok(site)
    }

    /// The same with a pair of gateways. Neither has the service's address yet, nor [`INSIDE`].
    pub(crate) fn set_up_pair(stage: &Stage, mode: Mode, backends: usize) -> Result<Self> {
        let mut site = Self::begin(stage, backends)?;
        site.second = Some(Namespace::create(&stage.name("second"))?);
        site.connect_pair()?;
        site.connect_ends(mode, INSIDE)?;
        Ok(site)
    }

    /// Everything, and none of the links.
    fn begin(stage: &Stage, backends: usize) -> Result<Self> {
        let create = |part: &str| Namespace::create(&stage.name(part));
        let names = (0..backends).map(|index| Backend(index).to_string());
        let site = Self {
            pass: Pass::load()?,
            decapsulators: Vec::new(),
            client: create("client")?,
            gateway: create("gateway")?,
            second: None,
            backends: names.map(|name| create(&name)).collect::<Result<_>>()?,
            control: create("control")?,
            switch: create("switch")?,
        };
        add_switch(&site.switch, BACK)?;
        Ok(site)
    }

    /// Connects all but gateways. Backends of `nat` route by `inside`.
    fn connect_ends(&mut self, mode: Mode, inside: Dual) -> Result<()> {
        self.connect_clients()?;
        for index in 0..self.backends.len() {
            self.connect_backend(Backend(index), mode, inside)?;
        }
        let control = (&self.control, "eth0");
        plug(
            &mut self.pass,
            (&self.switch, BACK),
            control,
            "control",
            CONTROL,
        )
    }

    /// Gives the backends of tunnels what takes packets out of them.
    pub(crate) fn decapsulate(&mut self, mode: Mode) -> Result<()> {
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
        connect_back(
            &mut self.pass,
            &self.switch,
            &self.gateway,
            "gateway",
            [GATEWAY_BACK, SOURCE],
        )?;
        end(&self.gateway, "lo").add_addresses(SERVICE, (32, 128))?;
        route(&self.client, SERVICES, GATEWAY_FRONT)
    }

    fn connect_pair(&mut self) -> Result<()> {
        let Self { pass, switch, .. } = self;
        add_switch(switch, FRONT)?;
        let front = (&*switch, FRONT);
        plug(pass, front, (&self.client, "eth0"), "clients", CLIENT_FRONT)?;
        let second = self.second.as_ref().context("there is no pair")?;
        let both = [
            (
                &self.gateway,
                "gateway",
                GATEWAY_FRONT,
                [GATEWAY_BACK, SOURCE],
            ),
            (second, "second", SECOND_FRONT, [SECOND_BACK, SECOND_SOURCE]),
        ];
        for (gateway, port, own, back) in both {
            plug(
                pass,
                front,
                (gateway, "eth0"),
                &format!("{port}-front"),
                own,
            )?;
            connect_back(pass, switch, gateway, port, back)?;
        }
        let (v4, v6) = SERVICES;
        self.client.ip(&format!("-4 route add {v4} dev eth0"))?;
        self.client.ip(&format!("-6 route add {v6} dev eth0"))
    }

    /// Both links of a gateway of a pair go down or up, at the switch.
    pub(crate) fn set_links(&self, gateway: &str, to: &str) -> Result<()> {
        let mut ports = [format!("{gateway}-front"), gateway.to_owned()].into_iter();
        ports.try_for_each(|port| self.switch.ip(&format!("link set {port} {to}")))
    }

    fn connect_clients(&mut self) -> Result<()> {
        let client = &self.client;
        plug(
            &mut self.pass,
            (&self.switch, BACK),
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

    fn connect_backend(&mut self, backend: Backend, mode: Mode, inside: Dual) -> Result<()> {
        let namespace = &self.backends[backend.0];
        let own = backend.address();
        let port = backend.to_string();
        plug(
            &mut self.pass,
            (&self.switch, BACK),
            (namespace, "eth0"),
            &port,
            own,
        )?;
        let back = match mode.forward {
            Forward::Nat => inside,
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

/// Adds a switch to the namespace of switches.
fn add_switch(namespace: &Namespace, name: &str) -> Result<()> {
    namespace.ip(&format!(
        "link add {name} type bridge mcast_snooping 0 stp_state 0 forward_delay 0"
    ))?;
    namespace.ip(&format!("link set {name} up"))
}

/// Connects a gateway to the backends, by its own address and what `full-nat` connects from.
fn connect_back(
    pass: &mut Pass,
    switch: &Namespace,
    gateway: &Namespace,
    port: &str,
    [own, source]: [Dual; 2],
) -> Result<()> {
    plug(pass, (switch, BACK), (gateway, "eth1"), port, own)?;
    end(gateway, "eth1").add_addresses(source, (32, 128))?;
    // bpf_fib_lookup answers only on interfaces that forward.
    gateway.forward_packets()?;
    route(gateway, CLIENTS, CLIENT_FRONT)
}

/// Connects an interface to a port of a switch and gives it addresses.
fn plug(
    pass: &mut Pass,
    (switch, bridge): (&Namespace, &str),
    (namespace, interface): (&Namespace, &str),
    port: &str,
    addresses: Dual,
) -> Result<()> {
    let (near, socket) = (end(namespace, interface), end(switch, port));
    connect(near, socket, MTU)?;
    switch
        .ip(&format!("link set {port} master {bridge}"))
        .with_context(|| format!("could not make {port} a port of the switch"))?;
    pass.attach(socket)?;
    near.add_addresses(addresses, (24, 64))
}
