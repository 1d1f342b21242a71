//! Ring 3 in a guest kernel that has what this machine's may lack: VLAN devices. `cargo xtask guest` starts
//! it. Needs root, and the module 8021q.
//!
//! ```text
//!  client ── eth0.100 ── eth0 gateway eth1 ── eth1.300.301 ── backend
//!            802.1Q                           802.1Q in 802.1ad
//! ```

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use anyhow::Result;
use sluice_tests::{
    addresses::{Dual, Family},
    http::{self, Request},
    link::{End, connect, route},
    namespace::Namespace,
    programs::Pass,
    services::Configuration,
    sluice::{self, Sluice},
    stage::Stage,
};

/// How long the kernel may take to verify the programs, which it does many times slower than outside.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(5);
const PORT: u16 = 80;
const REQUESTS: usize = 16;

const fn dual(net: u8, host: u8) -> Dual {
    Dual {
        v4: Ipv4Addr::new(198, 18, net, host),
        v6: Ipv6Addr::new(0xfd00, 0x180 + net as u16, 0, 0, 0, 0, 0, host as u16),
    }
}

const CLIENT: Dual = dual(1, 2);
const FRONT: Dual = dual(1, 1);
/// The client's address in a VLAN that is not among the agent's.
const STRANGER: Dual = dual(3, 2);
const FRONT_OF_STRANGER: Dual = dual(3, 1);
const BACK: Dual = dual(2, 1);
const SOURCE: Dual = dual(2, 254);
const BACKENDS: [Dual; 2] = [dual(2, 11), dual(2, 12)];
/// Services in `full-nat` and in `nat`.
const SERVICES: [(&str, Dual, u16); 2] =
    [("full-nat", dual(0, 10), 8080), ("nat", dual(0, 20), 8081)];

/// Three hosts, of which every frame to another has tags.
struct Network {
    // First: it is detached before its interfaces go.
    _pass: Pass,
    client: Namespace,
    gateway: Namespace,
    backend: Namespace,
}

impl Network {
    fn set_up(stage: &Stage) -> Result<Self> {
        let create = |part: &str| Namespace::create(&stage.name(part));
        let (client, gateway, backend) =
            (create("client")?, create("gateway")?, create("backend")?);
        let mut pass = Pass::load()?;
        for (host, interface) in [(&client, "eth0"), (&backend, "eth1")] {
            let end = |namespace| End {
                namespace,
                interface,
            };
            connect(end(host), end(&gateway), 1500)?;
            pass.attach(end(host))?;
            for namespace in [host, &gateway] {
                keep_tags_in_frames(namespace, interface)?;
            }
        }
        gateway.forward_packets()?;
        for (host, own, others) in [
            (&client, CLIENT, STRANGER),
            (&gateway, FRONT, FRONT_OF_STRANGER),
        ] {
            add_vlan(host, "eth0", ("802.1Q", 100), own)?;
            add_vlan(host, "eth0", ("802.1Q", 101), others)?;
        }
        for (host, addresses) in [(&gateway, [BACK, SOURCE]), (&backend, BACKENDS)] {
            host.ip("link add link eth1 name eth1.300 type vlan proto 802.1ad id 300")?;
            host.ip("link set eth1.300 up mtu 1496")?;
            for own in addresses {
                add_vlan(host, "eth1.300", ("802.1Q", 301), own)?;
            }
        }
        route(&client, ("198.18.0.0/24", "fd00:180::/64"), FRONT)?;
        route(&backend, ("198.18.1.0/24", "fd00:181::/64"), BACK)?;
        for (_, service, _) in SERVICES {
            let interface = "lo";
            End {
                namespace: &gateway,
                interface,
            }
            .add_addresses(service, (32, 128))?;
        }
        Ok(Self {
            _pass: pass,
            client,
            gateway,
            backend,
        })
    }

    /// Has each backend's address answer who it is.
    fn serve(&self) -> Result<()> {
        for (n, backend) in BACKENDS.into_iter().enumerate() {
            for address in backend.both() {
                for (mode, _, port) in SERVICES {
                    let bind = || Ok(TcpListener::bind((address, port))?);
                    let listener = self.backend.run(bind)?;
                    thread::spawn(move || answer(&listener, &format!("{mode} {n}")));
                }
            }
        }
        Ok(())
    }

    /// Who answers a request of the client's.
    fn ask(&self, from: IpAddr, to: SocketAddr) -> Result<String> {
        let ask = || Ok(http::exchange(Some(from), to, &Request::get("/"), LIMIT)?.body);
        self.client.run(ask)
    }
}

/// Until the process ends, which the test's does.
fn answer(listener: &TcpListener, who: &str) {
    for mut stream in listener.incoming().flatten() {
        let length = who.len();
        let text = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{who}"
        );
        let _ = stream.write_all(text.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        // Until the other end has read it: bytes that nobody reads would reset the connection.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    }
}

/// Without this a veth hands tags on beside the frame, where no XDP program sees them.
fn keep_tags_in_frames(namespace: &Namespace, interface: &str) -> Result<()> {
    let mut ethtool = namespace.command("ethtool")?;
    let off = ["txvlan", "off", "tx-vlan-stag-hw-insert", "off"];
    let status = ethtool.arg("-K").arg(interface).args(off).status()?;
    anyhow::ensure!(status.success(), "ethtool -K {interface}: {status}");
    Ok(())
}

/// Adds a VLAN device, if it is not there, and an address of each family to it.
fn add_vlan(
    namespace: &Namespace,
    below: &str,
    (protocol, id): (&str, u16),
    own: Dual,
) -> Result<()> {
    let name = format!("{below}.{id}");
    if namespace.read_ip(&format!("link show {name}")).is_err() {
        let kind = format!("type vlan proto {protocol} id {id}");
        namespace.ip(&format!("link add link {below} name {name} {kind}"))?;
        namespace.ip(&format!("link set {name} up"))?;
    }
    let interface = name.as_str();
    End {
        namespace,
        interface,
    }
    .add_addresses(own, (24, 64))
}

fn configuration(stage: &Stage) -> String {
    let interfaces = r#"["eth0", "eth0.100", "eth1", "eth1.300.301"]"#;
    let agent = Configuration::new(stage.folder(), &stage.bpf()).with("interfaces", interfaces);
    let mut text = agent.agent();
    for (mode, Dual { v4, v6 }, port) in SERVICES {
        let listen = format!("\"{v4}:{PORT}/tcp\", \"[{v6}]:{PORT}/tcp\"");
        text +=
            &format!("\n[[service]]\nname = \"{mode}\"\npool = \"{mode}\"\nlisten = [{listen}]\n");
        text += &format!("\n[[pool]]\nname = \"{mode}\"\nforward = \"{mode}\"\n");
        if mode == "full-nat" {
            text += &format!("source = [\"{}\", \"{}\"]\n", SOURCE.v4, SOURCE.v6);
        }
        for (n, Dual { v4, v6 }) in BACKENDS.into_iter().enumerate() {
            let address = format!("\"{v4}:{port}\", \"[{v6}]:{port}\"");
            text += &format!("\n[[pool.backend]]\nname = \"backend{n}\"\naddress = [{address}]\n");
        }
    }
    text
}

#[test]
fn services_on_vlans_are_served_and_others_are_not() {
    let stage = Stage::set_up("sluice-vlans").unwrap();
    let network = Network::set_up(&stage).unwrap();
    network.serve().unwrap();
    let (gateway, binary) = (&network.gateway, sluice::binary().unwrap());
    let text = configuration(&stage);
    let mut sluice = Sluice::start_with(&binary, gateway, stage.folder(), &text).unwrap();
    sluice.wait_until_ready_for(gateway, PATIENCE).unwrap();

    for (mode, service, _) in SERVICES {
        for family in Family::ALL {
            let to = SocketAddr::new(service.of(family), PORT);
            let ask = |_| {
                let answer = network.ask(CLIENT.of(family), to);
                answer.unwrap_or_else(|e| panic!("{mode} {family}: {e}\n{}", sluice.log()))
            };
            let answers: BTreeSet<String> = (0..REQUESTS).map(ask).collect();
            let all = (0..BACKENDS.len()).map(|n| format!("{mode} {n}"));
            assert_eq!(answers, all.collect(), "{mode} {family}");
        }
    }

    let forwarded = |interface| {
        let labels = [("interface", interface)];
        let metrics = sluice::scrape(gateway).unwrap();
        let sum = metrics.sum("sluice_interface_forwarded_packets_total", &labels);
        sum.unwrap_or_default()
    };
    // A request is five packets of its client's at least: SYN, ACK, request, ACK, FIN.
    let requests = (SERVICES.len() * Family::ALL.len() * REQUESTS) as f64;
    for interface in ["eth0.100", "eth1.300.301"] {
        let packets = forwarded(interface);
        assert!(packets >= 4.0 * requests, "{interface}: {packets}");
    }
    assert_eq!((forwarded("eth0"), forwarded("eth1")), (0.0, 0.0));

    // The same services from a VLAN that is not listed: the kernel's business, which has nobody there.
    let route = format!("route replace 198.18.0.0/24 via {}", FRONT_OF_STRANGER.v4);
    network.client.ip(&route).unwrap();
    let to = SocketAddr::new(SERVICES[0].1.of(Family::Ipv4), PORT);
    let answer = network.ask(STRANGER.of(Family::Ipv4), to);
    assert!(answer.is_err(), "{answer:?}");
    let metrics = sluice::scrape(gateway).unwrap();
    let labels = [("interface", "eth0"), ("reason", "vlan")];
    let passed = metrics.sum("sluice_interface_passed_packets_total", &labels);
    assert!(passed.is_some_and(|packets| packets > 0.0), "{passed:?}");
    assert_eq!((forwarded("eth0"), forwarded("eth1")), (0.0, 0.0));
}
