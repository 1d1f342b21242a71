//! The test network: seven namespaces, their links, addresses and routes.
//!
//! ```text
//!  client ── router ──────── eth0 gateway eth1
//!              │                           │
//!              └────────── switch ─────────┘
//!                         │   │   │
//!                 backend1  backend2  backend3
//! ```
//!
//! The gateway reaches clients and backends; backends answer clients through the router, past the
//! gateway (direct server return), and the gateway's `source` address on their own network. The
//! back network has room for an outer header on full-sized packets.
//!
//! Every veth end has an XDP program: `decapsulate` on the backends', Sluice's on the gateway's,
//! `pass` on the rest.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};

use crate::{
    addresses::{
        BACKENDS, CLIENT, CLIENTS, Family, GATEWAY_BACK, GATEWAY_FRONT, ROUTER_BACK,
        ROUTER_CLIENTS, ROUTER_FRONT, SERVICES, SOURCE, TUNNEL, WEB, client,
    },
    decapsulator::Decapsulator,
    http,
    link::{End, connect, route},
    namespace::Namespace,
    programs::Pass,
    stage::Stage,
    wait,
};

/// MTU between clients and gateway.
const MTU: u16 = 1500;
/// MTU of the back network: an IPv6 header more, and a round number.
const BACK_MTU: u16 = 1600;

/// The network, taken down with it.
pub struct Network {
    // Programs first: they are detached before their interfaces go.
    _pass: Pass,
    decapsulators: Vec<Decapsulator>,
    /// Where requests come from.
    pub client: Namespace,
    /// Where Sluice runs.
    pub gateway: Namespace,
    /// Where servers run.
    pub backends: Vec<Namespace>,
    /// Between clients, gateway and backends.
    pub router: Namespace,
    switch: Namespace,
}

impl Network {
    /// Makes everything; afterwards addresses answer, services don't.
    pub fn set_up(stage: &Stage) -> Result<Self> {
        let create = |part: &str| Namespace::create(&stage.name(part));
        let client = create("client")?;
        let router = create("router")?;
        let gateway = create("gateway")?;
        let switch = create("switch")?;
        let backends = ["backend1", "backend2", "backend3"].map(create);
        let backends = backends.into_iter().collect::<Result<Vec<_>>>()?;
        let mut pass = Pass::load()?;

        set_up_switch(&switch)?;
        connect_clients(&client, &router, &mut pass)?;
        connect_front(&router, &gateway, &mut pass)?;
        connect_gateway_back(&gateway, &switch, &mut pass)?;
        connect_router_back(&router, &switch, &mut pass)?;
        let mut decapsulators = Vec::new();
        for (index, backend) in backends.iter().enumerate() {
            decapsulators.push(connect_backend(index, backend, &switch, &mut pass)?);
        }
        Ok(Self {
            _pass: pass,
            decapsulators,
            client,
            gateway,
            backends,
            router,
            switch,
        })
    }

    /// Has all links towards clients take IP packets of `front` bytes, and those of the back network of
    /// `back` bytes.
    pub fn set_mtu(&self, front: u16, back: u16) -> Result<()> {
        let set = |namespace: &Namespace, interface: &str, mtu: u16| {
            namespace.ip(&format!("link set {interface} mtu {mtu}"))
        };
        set(&self.client, "eth0", front)?;
        set(&self.router, "clients", front)?;
        set(&self.router, "front", front)?;
        set(&self.gateway, "eth0", front)?;
        for port in [
            "gateway", "router", "backend1", "backend2", "backend3", "lan",
        ] {
            set(&self.switch, port, back)?;
        }
        set(&self.gateway, "eth1", back)?;
        set(&self.router, "back", back)?;
        let mut backends = self.backends.iter();
        backends.try_for_each(|backend| set(backend, "eth0", back))
    }

    /// What a backend's end of the tunnel did with frames.
    pub fn decapsulator(&self, backend: usize) -> &Decapsulator {
        &self.decapsulators[backend]
    }

    /// Takes a backend off the switch: it hears nothing any more, though its carrier stays.
    pub fn unplug(&self, backend: usize) -> Result<()> {
        self.switch
            .ip(&format!("link set backend{} nomaster", backend + 1))
    }

    /// Puts it back.
    pub fn plug_in(&self, backend: usize) -> Result<()> {
        self.switch
            .ip(&format!("link set backend{} master lan", backend + 1))
    }

    /// Waits until clients reach the backends' own addresses (where nothing listens, or a server)
    /// and the router forwards both families. Sluice has no part in that.
    pub fn wait_until_connected(&self) -> Result<()> {
        for family in Family::ALL {
            for backend in BACKENDS {
                let to = SocketAddr::new(backend.of(family), 9);
                self.wait_for_answer(to, family)?;
            }
        }
        Ok(())
    }

    /// Namespaces by name, for a person who wants to look.
    pub fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        [&self.client, &self.router, &self.gateway]
            .into_iter()
            .chain(&self.backends)
    }

    fn wait_for_answer(&self, to: SocketAddr, family: Family) -> Result<()> {
        wait::until(&format!("{to} to answer"), Duration::from_secs(10), || {
            self.client.run(|| {
                let answer = http::connect(Some(client(family, 0)), to, Duration::from_secs(1));
                let answered = match answer {
                    Ok(_) => true,
                    Err(error) => error.kind() == ErrorKind::ConnectionRefused,
                };
                Ok(answered.then_some(()))
            })
        })
    }
}

fn set_up_switch(switch: &Namespace) -> Result<()> {
    switch.ip("link add lan type bridge mcast_snooping 0 stp_state 0 forward_delay 0")?;
    switch.ip("link set lan up")
}

fn connect_clients(client: &Namespace, router: &Namespace, pass: &mut Pass) -> Result<()> {
    let near = End {
        namespace: client,
        interface: "eth0",
    };
    let far = End {
        namespace: router,
        interface: "clients",
    };
    connect(near, far, MTU)?;
    near.add_addresses(CLIENT, (24, 64))?;
    far.add_addresses(ROUTER_CLIENTS, (24, 64))?;
    pass.attach(near)?;
    pass.attach(far)?;
    // Every address of the pool is the client's own, without one having to be added for each.
    client.ip(&format!("-4 route add local {} dev lo", CLIENTS.0))?;
    client.ip(&format!("-6 route add local {} dev lo", CLIENTS.1))?;
    client.sysctl("ipv4/ip_nonlocal_bind", "1")?;
    client.sysctl("ipv6/ip_nonlocal_bind", "1")?;
    route(client, ("default", "default"), ROUTER_CLIENTS)?;
    router.forward_packets()?;
    route(router, CLIENTS, CLIENT)
}

fn connect_front(router: &Namespace, gateway: &Namespace, pass: &mut Pass) -> Result<()> {
    let near = End {
        namespace: router,
        interface: "front",
    };
    let far = End {
        namespace: gateway,
        interface: "eth0",
    };
    connect(near, far, MTU)?;
    near.add_addresses(ROUTER_FRONT, (24, 64))?;
    far.add_addresses(GATEWAY_FRONT, (24, 64))?;
    pass.attach(near)?;
    route(router, SERVICES, GATEWAY_FRONT)?;
    route(gateway, ("default", "default"), ROUTER_FRONT)?;
    // bpf_fib_lookup answers only on interfaces that forward.
    gateway.forward_packets()?;
    let lo = End {
        namespace: gateway,
        interface: "lo",
    };
    lo.add_addresses(WEB, (32, 128))?;
    lo.add_addresses(TUNNEL, (32, 128))
}

fn connect_gateway_back(gateway: &Namespace, switch: &Namespace, pass: &mut Pass) -> Result<()> {
    let end = End {
        namespace: gateway,
        interface: "eth1",
    };
    plug(end, switch, "gateway", pass)?;
    end.add_addresses(GATEWAY_BACK, (24, 64))?;
    end.add_addresses(SOURCE, (32, 128))
}

fn connect_router_back(router: &Namespace, switch: &Namespace, pass: &mut Pass) -> Result<()> {
    let end = End {
        namespace: router,
        interface: "back",
    };
    plug(end, switch, "router", pass)?;
    pass.attach(end)?;
    end.add_addresses(ROUTER_BACK, (24, 64))
}

fn connect_backend(
    index: usize,
    backend: &Namespace,
    switch: &Namespace,
    pass: &mut Pass,
) -> Result<Decapsulator> {
    let end = End {
        namespace: backend,
        interface: "eth0",
    };
    plug(end, switch, &format!("backend{}", index + 1), pass)?;
    let own = BACKENDS[index];
    end.add_addresses(own, (24, 64))?;
    route(backend, ("default", "default"), ROUTER_BACK)?;
    End {
        namespace: backend,
        interface: "lo",
    }
    .add_addresses(TUNNEL, (32, 128))?;
    let mut decapsulator = Decapsulator::load(&own.both(), &TUNNEL.both())?;
    decapsulator.attach(end)?;
    Ok(decapsulator)
}

/// Connects an end to a port of the switch.
fn plug(end: End<'_>, switch: &Namespace, port: &str, pass: &mut Pass) -> Result<()> {
    let socket = End {
        namespace: switch,
        interface: port,
    };
    connect(end, socket, BACK_MTU)?;
    switch
        .ip(&format!("link set {port} master lan"))
        .with_context(|| format!("could not make {port} a port of the switch"))?;
    pass.attach(socket)
}
