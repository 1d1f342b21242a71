//! What Sluice tells clients itself, and that their kernels take it: refusals, resets, echo replies,
//! what fits.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use sluice_tests::{
    addresses::{BACKENDS, Dual, Family, TUNNEL, WEB, client},
    clients::LIMIT,
    http::{self, Request},
    network::Network,
    services::PORT,
    sluice, wait,
};

use super::{
    ping,
    site::{PATIENCE, Site, ask_over},
};

/// A service at both addresses of `host`, of TCP and UDP, and a pool of its own with the first so
/// many backends.
fn balancing(name: &str, Dual { v4, v6 }: Dual, keys: &str, backends: usize) -> String {
    let backend = |(n, Dual { v4, v6 }): (usize, Dual)| {
        format!(
            "\n[[pool.backend]]\nname = \"backend{n}\"\naddress = [\"{v4}:{PORT}\", \"[{v6}]:{PORT}\"]\n"
        )
    };
    let backends: String = (1..).zip(BACKENDS).take(backends).map(backend).collect();
    format!(
        "[[service]]\nname = \"{name}\"\n\
         listen = [\"{v4}:{PORT}/tcp\", \"[{v6}]:{PORT}/tcp\", \"{v4}:{PORT}/udp\", \"[{v6}]:{PORT}/udp\"]\n\
         pool = \"{name}\"\n{keys}\n\n[[pool]]\nname = \"{name}\"\nforward = \"ipip\"\n{backends}\n"
    )
}

/// The gateway has no route to the first backend any more.
fn cut_off_first(network: &Network) {
    let Dual { v4, v6 } = BACKENDS[0];
    let gateway = &network.gateway;
    gateway
        .ip(&format!("-4 route add unreachable {v4}/32"))
        .unwrap();
    gateway
        .ip(&format!("-6 route add unreachable {v6}/128"))
        .unwrap();
}

/// Clients' packets that were answered for a reason.
fn answered(site: &Site, reason: &str) -> f64 {
    let labels = [("interface", "eth0"), ("reason", reason)];
    let metrics = sluice::scrape(&site.network().gateway).unwrap();
    let answered = metrics.sum("sluice_interface_answered_packets_total", &labels);
    answered.unwrap()
}

/// What becomes of an attempt to connect to the tunnels' service.
fn connect(site: &Site, from: IpAddr) -> io::Result<TcpStream> {
    let to = SocketAddr::new(TUNNEL.of(Family::of(from)), PORT);
    site.connect(from, to)
}

/// What a client hears of a datagram to the tunnels' service.
fn ask(site: &Site, from: IpAddr) -> io::Result<usize> {
    let exchange = || {
        let socket = UdpSocket::bind((from, 0))?;
        socket.connect((TUNNEL.of(Family::of(from)), PORT))?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.send(b"anybody?")?;
        socket.recv(&mut [0; 64])
    };
    site.network().client.run(|| Ok(exchange())).unwrap()
}

#[test]
fn clients_are_refused_at_once_where_there_is_no_backend() {
    let balancing = balancing("tunnel", TUNNEL, "", 1);
    let site = Site::start_without("reject", &balancing, 2, cut_off_first);
    for family in Family::ALL {
        let from = client(family, 1);
        let refused = ErrorKind::ConnectionRefused;
        assert_eq!(connect(&site, from).unwrap_err().kind(), refused);
        assert_eq!(ask(&site, from).unwrap_err().kind(), refused);
    }
    // The gateway's kernel, whose address it is too, would have refused them as well.
    assert_eq!(answered(&site, "rejected"), 4.0);
}

/// Connections to two backends, of which the first goes: its own end by a reset, the other's go on.
/// How many were reset.
fn assert_resets(title: &str, keys: &str) -> (Site, usize) {
    let keys = format!("on_down = \"reset\"\n{keys}");
    let site = Site::start(title, &balancing("tunnel", TUNNEL, &keys, 2), |_| {});
    let clients = (0..10).flat_map(|n| Family::ALL.map(|family| client(family, n)));
    let mut connections = Vec::new();
    for from in clients {
        let mut connection = connect(&site, from).unwrap();
        let server = ask_over(&mut connection).unwrap();
        connections.push((server, connection));
    }
    cut_off_first(site.network());
    let unresolved = || {
        let metrics = sluice::scrape(&site.network().gateway)?;
        let unresolved = metrics.sum("sluice_next_hops_unresolved", &[]);
        Ok((unresolved == Some(2.0)).then_some(()))
    };
    wait::until("the backend to be gone", PATIENCE, unresolved).unwrap();
    let mut resets = 0;
    for (server, mut connection) in connections {
        let answer = ask_over(&mut connection);
        if server == "tunnel1" {
            let error = answer.unwrap_err().kind();
            assert_eq!(error, ErrorKind::ConnectionReset, "{}", site.sluice.log());
            resets += 1;
        } else {
            assert_eq!(answer.unwrap(), "tunnel2");
        }
    }
    assert!(resets > 0);
    (site, resets)
}

#[test]
fn recorded_connections_of_a_backend_that_is_gone_are_reset() {
    let (site, resets) = assert_resets("reset", "tracking = \"full\"");
    assert!(answered(&site, "reset") >= resets as f64);
}

/// Of those that nothing is recorded of, the backend that takes their packets over resets them.
#[test]
fn unrecorded_connections_of_a_backend_that_is_gone_are_reset() {
    assert_resets("reset-hashed", "");
}

#[test]
fn a_ping_is_answered_while_a_backend_lives() {
    let balancing = balancing("tunnel", TUNNEL, "", 1) + &balancing("web", WEB, "echo = false", 2);
    let site = Site::start("echo", &balancing, |network| {
        let gateway = &network.gateway;
        // Whose addresses they are too.
        gateway.sysctl("ipv4/icmp_echo_ignore_all", "1").unwrap();
        gateway.sysctl("ipv6/icmp/echo_ignore_all", "1").unwrap();
        ping::allow(&network.client);
    });
    let namespace = &site.network().client;
    let short = Duration::from_millis(300);
    for family in Family::ALL {
        let from = client(family, 1);
        ping::exchange(namespace, from, TUNNEL.of(family), LIMIT).unwrap();
        let silence = ping::exchange(namespace, from, WEB.of(family), short);
        assert_eq!(silence.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    assert_eq!(answered(&site, "echo_reply"), 2.0);
    cut_off_first(site.network());
    for family in Family::ALL {
        let silent = || {
            let (from, to) = (client(family, 1), TUNNEL.of(family));
            Ok(ping::exchange(namespace, from, to, short).err())
        };
        let error = wait::until("silence", PATIENCE, silent).unwrap();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

/// The MTU that the client's kernel has learnt of the way to an address.
fn learnt(site: &Site, from: IpAddr, to: IpAddr) -> Option<u32> {
    let route = format!("route get {to} from {from}");
    let route = site.network().client.read_ip(&route).unwrap();
    let mut words = route.split_whitespace();
    words.find(|word| *word == "mtu")?;
    words.next()?.parse().ok()
}

#[test]
fn a_client_learns_what_fits_the_tunnel() {
    const BACK: u32 = 1400;
    let balancing = balancing("tunnel", TUNNEL, "", 1);
    let site = Site::start("too-big", &balancing, |network| {
        let mtu = format!("link set eth1 mtu {BACK}");
        network.gateway.ip(&mtu).unwrap();
    });
    for (family, header) in [(Family::Ipv4, 20), (Family::Ipv6, 40)] {
        let (from, to) = (client(family, 1), TUNNEL.of(family));
        assert_eq!(learnt(&site, from, to), None);
        let body: Vec<u8> = (0..100_000u32).map(|n| (n * 31 + n / 256) as u8).collect();
        let request = Request {
            method: "PUT",
            path: "/upload/whole",
            body: &body,
        };
        let to_port = SocketAddr::new(to, PORT);
        let put = || http::exchange(Some(from), to_port, &request, LIMIT);
        let response = site.network().client.run(put).unwrap();
        assert!([201, 204].contains(&response.status), "{response:?}");
        assert_eq!(site.uploaded(0, "tunnel", "whole"), body);
        assert_eq!(learnt(&site, from, to), Some(BACK - header));
    }
    assert!(answered(&site, "told_too_big") >= 2.0);
}
