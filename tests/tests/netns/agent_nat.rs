//! `nat` mode: replies come back through the gateway, which uses its backends itself too.

use std::net::{IpAddr, SocketAddr, TcpStream};

use sluice_tests::{
    addresses::{BACKENDS, CLIENTS, Family, GATEWAY_BACK, SOURCE, WEB, client},
    clients::LIMIT,
    http,
    namespace::Namespace,
    network::Network,
    services::PORT,
    wait,
};

use super::site::{PATIENCE, Site, request};

/// The port that the backends' servers listen on.
const BACKEND_PORT: u16 = 8080;

/// One service for all backends.
fn balancing() -> String {
    let backend = |(n, sluice_tests::addresses::Dual { v4, v6 })| {
        format!(
            "[[pool.backend]]\nname = \"backend{n}\"\n\
             address = [\"{v4}:{BACKEND_PORT}\", \"[{v6}]:{BACKEND_PORT}\"]\n\n"
        )
    };
    let backends: String = (1..).zip(BACKENDS).map(backend).collect();
    format!(
        "[[service]]\nname = \"web\"\nlisten = [\"{}:{PORT}/tcp\", \"[{}]:{PORT}/tcp\"]\n\
         pool = \"web\"\n\n[[pool]]\nname = \"web\"\nforward = \"nat\"\n\n{backends}",
        WEB.v4, WEB.v6
    )
}

/// The backends' way to the clients leads through the gateway.
fn lead_back(network: &Network) {
    for backend in &network.backends {
        backend
            .ip(&format!(
                "-4 route replace {} via {}",
                CLIENTS.0, GATEWAY_BACK.v4
            ))
            .unwrap();
        backend
            .ip(&format!(
                "-6 route replace {} via {}",
                CLIENTS.1, GATEWAY_BACK.v6
            ))
            .unwrap();
    }
}

/// As a health check does: connects, and that is all.
fn check(from: &Namespace, source: Option<IpAddr>, to: SocketAddr) -> Result<(), String> {
    let connect = || Ok(http::connect(source, to, LIMIT).map(|_: TcpStream| ()));
    from.run(connect)
        .unwrap()
        .map_err(|error| error.to_string())
}

#[test]
fn clients_are_served_and_the_gateway_reaches_the_backends_itself() {
    let site = Site::start("nat", &balancing(), lead_back);
    let gateway = &site.network().gateway;
    for number in 0..60 {
        for family in Family::ALL {
            let from = client(family, number);
            let to = SocketAddr::new(WEB.of(family), PORT);
            let answer = site.answer(from, to);
            let answer = answer.unwrap_or_else(|error| panic!("{error}\n{}", site.sluice.log()));
            assert!(answer.trim().ends_with(&from.to_string()), "{answer}");
            // The gateway's own, in between: from the address that it would choose, and another.
            let backend = BACKENDS[number as usize % 3].of(family);
            let backend = SocketAddr::new(backend, BACKEND_PORT);
            for own in [None, Some(GATEWAY_BACK.of(family)), Some(SOURCE.of(family))] {
                check(gateway, own, backend).unwrap();
            }
            let scraped = request(gateway, None, backend).unwrap();
            assert!(scraped.starts_with("web"), "{scraped}");
        }
    }
}

#[test]
fn an_address_that_the_gateway_gets_later_is_its_own_too() {
    let site = Site::start("nat-address", &balancing(), lead_back);
    let gateway = &site.network().gateway;
    gateway.ip("addr add 198.18.1.77/24 dev eth1").unwrap();
    let own = Some("198.18.1.77".parse().unwrap());
    let to = SocketAddr::new(BACKENDS[0].of(Family::Ipv4), BACKEND_PORT);
    wait::until("the new address to be told from others", PATIENCE, || {
        Ok(check(gateway, own, to).ok())
    })
    .unwrap();
}

/// How large segments the ends of open connections in a namespace send.
fn segment_sizes(namespace: &Namespace) -> Vec<u32> {
    let mut list = namespace.command("ss").unwrap();
    let list = list.args(["--no-header", "-tin", "state", "established"]);
    let listed = String::from_utf8(list.output().unwrap().stdout).unwrap();
    let words = listed.split_whitespace();
    let sizes = words.filter_map(|word| word.strip_prefix("mss:"));
    sizes.map(|size| size.parse().unwrap()).collect()
}

#[test]
fn neither_end_sends_larger_segments_than_allowed() {
    let balancing = balancing().replacen("pool = \"web\"", "pool = \"web\"\nmss_clamp = 1000", 1);
    let site = Site::start("nat-segments", &balancing, lead_back);
    let network = site.network();
    for family in Family::ALL {
        let to = SocketAddr::new(WEB.of(family), PORT);
        let connect = || Ok(http::connect(Some(client(family, 1)), to, LIMIT)?);
        let _open = network.client.run(connect).unwrap();
        let asked = segment_sizes(&network.client);
        assert!(
            !asked.is_empty() && asked.iter().all(|size| *size <= 1000),
            "{asked:?}"
        );
        let accepted = || {
            let sizes: Vec<u32> = network.backends.iter().flat_map(segment_sizes).collect();
            Ok(Some(sizes).filter(|sizes| !sizes.is_empty()))
        };
        let accepted = wait::until("a backend to accept", PATIENCE, accepted).unwrap();
        assert!(accepted.iter().all(|size| *size <= 1000), "{accepted:?}");
    }
}
