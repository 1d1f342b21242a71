//! Checks that go through services: what they find that those of the backend's own address don't, in each kind of mode,
//! and what is left of them when the agent is killed.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::Value;
use sluice_tests::{
    addresses::{BACKENDS, Dual, Family, GATEWAY_BACK, SOURCE, TUNNEL, WEB},
    network::Network,
    services::PORT,
    wait,
};

use super::{
    agent_interfaces::bridge,
    site::{PATIENCE, Site},
};

/// Where probes come from: the backends find this host for it, on their own network.
const PROBES: Dual = Dual {
    v4: std::net::Ipv4Addr::new(198, 18, 1, 250),
    v6: std::net::Ipv6Addr::new(0xfd00, 0x181, 0, 0, 0, 0, 0, 0x250),
};
/// The port that the backends' servers listen on at their own addresses.
const BACKEND_PORT: u16 = 8080;
/// The port of the service in `nat` mode.
const ONE_SIDED_PORT: u16 = 8081;
/// The device of probes.
const DEVICE: &str = "sluice-probe";

/// Pools of the first two backends: each is asked through its service, and at its own address.
fn balancing() -> String {
    let mut text = format!("probe_sources = [\"{}\", \"{}\"]\n\n", PROBES.v4, PROBES.v6);
    let source = format!("source = [\"{}\", \"{}\"]\n", SOURCE.v4, SOURCE.v6);
    for (name, forward, vip, port, source) in [
        ("tunnel", "ipip", TUNNEL, PORT, ""),
        ("web", "full-nat", WEB, PORT, &source),
        ("one", "nat", WEB, ONE_SIDED_PORT, ""),
    ] {
        let _ = write!(
            text,
            "[[service]]\nname = \"{name}\"\nlisten = [\"{}:{port}/tcp\", \"[{}]:{port}/tcp\"]\n\
             pool = \"{name}\"\nsettle = \"1s\"\nentry_timeout = \"1s\"\n\n\
             [[pool]]\nname = \"{name}\"\nforward = \"{forward}\"\n{source}\n",
            vip.v4, vip.v6
        );
        for asked in [
            "type = \"http\"\npath = \"/?number=1\"\nthrough = \"service\"\n".to_owned(),
            format!("type = \"tcp\"\nport = {BACKEND_PORT}\n"),
        ] {
            let pace = "interval = \"500ms\"\ntimeout = \"500ms\"\nfall = 2\nrise = 1\n";
            let _ = write!(text, "[[pool.check]]\n{asked}{pace}\n");
        }
        let at = match forward {
            "ipip" => String::new(),
            _ => format!(":{BACKEND_PORT}"),
        };
        for (n, Dual { v4, v6 }) in (1..).zip(&BACKENDS[..2]) {
            let v6 = match forward {
                "ipip" => v6.to_string(),
                _ => format!("[{v6}]"),
            };
            let _ = write!(
                text,
                "[[pool.backend]]\nname = \"backend{n}\"\naddress = [\"{v4}{at}\", \"{v6}{at}\"]\n\n"
            );
        }
    }
    text
}

fn prepare(network: &Network) {
    // Else the kernel answers no question about IPv6 neighbours that are not its own.
    let gateway = &network.gateway;
    gateway.sysctl("ipv6/conf/eth1/proxy_ndp", "1").unwrap();
}

/// The health of a backend at its address of a family.
fn health(site: &Site, (pool, backend): (&str, usize), family: Family) -> Result<Value> {
    let answer = site.sluice.ask("/api/v1/backends")?;
    let named = |values: &Value, name: &str| {
        let values = values.as_array().unwrap();
        values
            .iter()
            .find(|one| one["name"] == name)
            .unwrap()
            .clone()
    };
    let backend = named(
        &named(&answer["pools"], pool)["backends"],
        &format!("backend{backend}"),
    );
    let is_of = |address: &&Value| {
        let address = address["address"].as_str().unwrap_or_default();
        (address.matches(':').count() > 1) == (family == Family::Ipv6)
    };
    let mut addresses = backend["addresses"].as_array().unwrap().iter();
    let address = addresses.find(is_of).context("no such address")?;
    Ok(address["health"].clone())
}

/// Waits until a backend's check through its service is up or down.
fn wait_until(site: &Site, backend: (&str, usize), family: Family, expected: &str) -> String {
    let found = wait::until(
        &format!("{backend:?} {family} to be {expected}"),
        PATIENCE,
        || {
            let health = health(site, backend, family)?;
            let through = &health["checks"][0];
            let cause = through["cause"].as_str().unwrap_or_default().to_owned();
            Ok((health["state"] == expected && through["passed"] != 0).then_some(cause))
        },
    );
    found.unwrap_or_else(|error| {
        let now = health(site, backend, family);
        panic!("{error:#}: {now:?}\n{}", site.sluice.log())
    })
}

fn all_up(site: &Site) {
    for pool in ["tunnel", "web", "one"] {
        for backend in [1, 2] {
            for family in Family::ALL {
                wait_until(site, (pool, backend), family, "up");
            }
        }
    }
}

/// That a backend is up, by both of its checks.
fn assert_up(site: &Site, backend: (&str, usize), family: Family) {
    let health = health(site, backend, family).unwrap();
    assert_eq!(
        health["state"],
        "up",
        "{backend:?} {health}\n{}",
        site.sluice.log()
    );
}

/// Waits until a backend is down since its service does not reach it, though the backend itself answers.
fn lost(site: &Site, backend: (&str, usize), family: Family, service: &str) {
    let cause = wait_until(site, backend, family, "down");
    let through = format!("through {service}");
    assert!(cause.contains(&through), "{cause}");
    let health = health(site, backend, family).unwrap();
    assert_eq!(health["checks"][1]["status"], "up", "{health}");
}

/// A backend loses something and gets it back; the same of the other one stays.
fn each_mode_finds_what_is_lost(site: &Site) {
    let v4 = Family::Ipv4;
    let backend = &site.network().backends[0];
    let tunnel = format!("{}:{PORT}", TUNNEL.v4);

    backend
        .ip(&format!("addr del {}/32 dev lo", TUNNEL.v4))
        .unwrap();
    lost(site, ("tunnel", 1), v4, &tunnel);
    for (backend, family) in [
        (("tunnel", 2), v4),
        (("tunnel", 1), Family::Ipv6),
        (("web", 1), v4),
        (("one", 1), v4),
    ] {
        assert_up(site, backend, family);
    }
    let gone = || {
        Ok((0..16)
            .all(|_| site.who_answers(v4) == Ok("tunnel2".into()))
            .then_some(()))
    };
    wait::until("nobody to be sent to the first backend", PATIENCE, gone).unwrap();
    backend
        .ip(&format!("addr add {}/32 dev lo", TUNNEL.v4))
        .unwrap();
    wait_until(site, ("tunnel", 1), v4, "up");

    // What answers to clients finds no way back.
    backend
        .ip(&format!("route add unreachable {}/32", PROBES.v4))
        .unwrap();
    lost(
        site,
        ("one", 1),
        v4,
        &format!("{}:{ONE_SIDED_PORT}", WEB.v4),
    );
    lost(site, ("tunnel", 1), v4, &tunnel);
    for backend in [("one", 2), ("tunnel", 2), ("web", 1)] {
        assert_up(site, backend, v4);
    }
    backend
        .ip(&format!("route del unreachable {}/32", PROBES.v4))
        .unwrap();
    wait_until(site, ("one", 1), v4, "up");

    backend
        .ip(&format!("route add unreachable {}/32", SOURCE.v4))
        .unwrap();
    lost(site, ("web", 1), v4, &format!("{}:{PORT}", WEB.v4));
    for backend in [("web", 2), ("one", 1)] {
        assert_up(site, backend, v4);
    }
    backend
        .ip(&format!("route del unreachable {}/32", SOURCE.v4))
        .unwrap();
    all_up(site);
}

/// A service of both families, each of whose two backends has an address of one.
fn crossing() -> String {
    let Dual { v4, v6 } = WEB;
    let addresses = |Dual { v4, v6 }: Dual| format!("[\"{v4}\", \"{v6}\"]");
    let [first, second, ..] = BACKENDS;
    format!(
        "probe_sources = {}\n\n\
         [[service]]\nname = \"web\"\nlisten = [\"{v4}:{PORT}/tcp\", \"[{v6}]:{PORT}/tcp\"]\npool = \"web\"\n\n\
         [[pool]]\nname = \"web\"\nforward = \"full-nat\"\nsource = {}\n\n\
         [[pool.check]]\ntype = \"http\"\npath = \"/?number=1\"\nthrough = \"service\"\n\
         interval = \"500ms\"\ntimeout = \"500ms\"\nfall = 2\nrise = 1\n\n\
         [[pool.backend]]\nname = \"backend1\"\naddress = \"{}:{BACKEND_PORT}\"\n\n\
         [[pool.backend]]\nname = \"backend2\"\naddress = \"[{}]:{BACKEND_PORT}\"\n",
        addresses(PROBES),
        addresses(SOURCE),
        first.v4,
        second.v6
    )
}

#[test]
fn probes_cross_to_the_family_of_a_backend() {
    let site = Site::start("probes-crossing", &crossing(), prepare);
    let backends = [(("web", 1), Family::Ipv4), (("web", 2), Family::Ipv6)];
    let all_up = || {
        for (backend, family) in backends {
            wait_until(&site, backend, family, "up");
        }
    };
    all_up();
    let lengths = [32, 128];
    for (n, length) in (0..).zip(lengths) {
        let ((backend, family), (other, others)) = (backends[n], backends[1 - n]);
        let way_back = format!("unreachable {}/{length}", SOURCE.of(family));
        let host = &site.network().backends[n];
        host.ip(&format!("route add {way_back}")).unwrap();
        wait_until(&site, backend, family, "down");
        assert_up(&site, other, others);
        host.ip(&format!("route del {way_back}")).unwrap();
        all_up();
    }
}

/// Whether the gateway has the device.
fn has_device(site: &Site) -> bool {
    let gateway = &site.network().gateway;
    gateway.read_ip(&format!("link show {DEVICE}")).is_ok()
}

#[test]
fn what_only_clients_would_notice_is_found() {
    let balancing = balancing();
    let mut site = Site::start("probes", &balancing, prepare);
    all_up(&site);
    each_mode_finds_what_is_lost(&site);
    let labels = [("interface", DEVICE)];
    let forwarded = site
        .scrape()
        .sum("sluice_interface_forwarded_packets_total", &labels);
    assert!(
        forwarded.is_some_and(|packets| packets > 100.0),
        "{forwarded:?}"
    );

    // Nothing is left of it but what the kernel has yet to tidy up.
    site.sluice.kill().unwrap();
    let gone = || Ok((!has_device(&site)).then_some(()));
    wait::until("the device of probes to go", PATIENCE, gone).unwrap();
    site.restart(&balancing);
    all_up(&site);
    let backend = &site.network().backends[1];
    backend
        .ip(&format!("addr del {}/128 dev lo", TUNNEL.v6))
        .unwrap();
    let service = format!("[{}]:{PORT}", TUNNEL.v6);
    lost(&site, ("tunnel", 2), Family::Ipv6, &service);
    assert_up(&site, ("tunnel", 1), Family::Ipv6);
}

/// A bridge takes no program in its driver, so that of probes is in the stack as well.
#[test]
fn probes_take_the_same_way_in_the_stack() {
    let on_a_bridge = |network: &Network| {
        let gateway = &network.gateway;
        for arguments in [
            "link set eth1 down",
            "link set eth1 name port",
            "link set port up",
        ] {
            gateway.ip(arguments).unwrap();
        }
        let addresses = [(GATEWAY_BACK, (24, 64)), (SOURCE, (32, 128))];
        bridge(gateway, "port", "eth1", &addresses);
        prepare(network);
    };
    let site = Site::start("probes-stack", &balancing(), on_a_bridge);
    all_up(&site);
    each_mode_finds_what_is_lost(&site);
    let (_, status, _) = site.say(&["status"]);
    assert!(status.contains("generic"), "{status}");
}
