//! Tables whose place others take: of a build of another layout, or of other sizes. What is recorded of flows comes
//! along, also where the agent ends half-way. That no packet is lost meanwhile, `restart` shows.

use std::{
    net::{SocketAddr, TcpStream},
    path::PathBuf,
};

use lb_common::abi::LAYOUT;
use sluice_tests::{
    addresses::{Family, TUNNEL, client},
    services::PORT,
    sluice, wait,
};

use super::{
    agent_pins::{set, sets},
    binary,
    site::{PATIENCE, Site, ask_over, tunnel},
};

/// Connections of each family.
const COUNT: u32 = 12;

fn next() -> PathBuf {
    sluice::next().unwrap()
}

/// The name of a set that the build of another layout made.
fn next_set(number: u32) -> String {
    format!("{}-{number}", LAYOUT + 1)
}

/// Open connections to the tunnels' service, and the server of each.
fn connect(site: &Site) -> Vec<(String, TcpStream)> {
    let clients = (0..COUNT).flat_map(|n| Family::ALL.map(|family| (family, client(family, n))));
    let open = |(family, from)| {
        let to = SocketAddr::new(TUNNEL.of(family), PORT);
        let mut connection = site.connect(from, to).unwrap();
        (ask_over(&mut connection).unwrap(), connection)
    };
    clients.map(open).collect()
}

/// Each connection is still its server's.
fn assert_kept(site: &Site, connections: &mut [(String, TcpStream)]) {
    for (server, connection) in connections {
        let answer = ask_over(connection);
        let answer = answer.unwrap_or_else(|error| panic!("{error}\n{}", site.sluice.log()));
        assert_eq!(answer, *server, "{}", site.sluice.log());
    }
}

/// How many of something came along, as the log of the last start says.
fn carried(site: &Site, what: &str) -> u32 {
    let log = site.sluice.log();
    let mut lines = log.lines().rev();
    let line = lines.find(|line| line.contains("has come along"));
    let words = line.unwrap_or_else(|| panic!("nothing came along\n{log}"));
    let mut words = words.split_whitespace();
    let found = words.find_map(|word| word.strip_prefix(what)?.strip_prefix('='));
    found.unwrap().parse().unwrap()
}

fn tracked(weights: &[u16]) -> String {
    tunnel("1h", weights).replace("[[pool]]", "tracking = \"full\"\n\n[[pool]]")
}

#[test]
fn recorded_flows_go_to_another_layout_and_back() {
    let mut site = Site::start("older-flows", &tracked(&[100; 3]), |_| {});
    let mut connections = connect(&site);
    site.sluice.stop().unwrap();
    // The flows' hash alone would lead them elsewhere.
    let balancing = tracked(&[1, 1, 1000]);
    site.restart_as(&next(), &balancing);
    assert_eq!(sets(&site), [next_set(2)]);
    assert_eq!(carried(&site, "flows"), 2 * COUNT);
    assert_eq!(carried(&site, "refused"), 0);
    assert_kept(&site, &mut connections);
    site.assert_answered("tunnel", 10);
    site.sluice.kill().unwrap();
    site.restart_as(&binary(), &balancing);
    assert_eq!(sets(&site), [set(3)]);
    assert!(carried(&site, "flows") >= 2 * COUNT);
    assert_kept(&site, &mut connections);
    site.assert_answered("tunnel", 10);
}

#[test]
fn exceptions_go_to_another_layout_and_to_other_sizes() {
    let mut site = Site::start("older-exceptions", &tunnel("1h", &[100, 100, 1]), |_| {});
    let balancing = tunnel("1h", &[1, 1, 100]);
    site.reload(&balancing, |status| {
        status["unsettled"]
            .as_array()
            .is_some_and(|all| all.len() == 2)
    });
    // They are whom the slots go to, which an exception alone says.
    let mut connections = connect(&site);
    site.sluice.stop().unwrap();
    site.restart_as(&next(), &balancing);
    assert_eq!(sets(&site), [next_set(2)]);
    let count = carried(&site, "exceptions");
    assert!(count > 0);
    assert_kept(&site, &mut connections);
    site.sluice.stop().unwrap();
    site.write_agent("exceptions", "2000", &balancing);
    site.restart_as_written(&next());
    assert_eq!(sets(&site), [next_set(3)]);
    assert!(carried(&site, "exceptions") >= count);
    assert_kept(&site, &mut connections);
    // Those that came along are counted, too.
    site.wait_for("the exceptions", |status| {
        let used = ["ipv4", "ipv6"].map(|family| status["exceptions"][family].as_u64());
        (used[0]? + used[1]? >= count.into()).then_some(())
    });
}

#[test]
fn recorded_flows_go_to_tables_of_another_size() {
    let balancing = tracked(&[100; 3]);
    let mut site = Site::start("older-sizes", &balancing, |_| {});
    let mut connections = connect(&site);
    let balancing = tracked(&[1, 1, 1000]);
    for (key, size, number) in [
        ("flows", "4000", 2),
        ("backends", "100000", 3),
        ("backends", "1024", 4),
    ] {
        site.sluice.stop().unwrap();
        site.write_agent(key, size, &balancing);
        site.restart_as_written(&binary());
        assert_eq!(sets(&site), [set(number)]);
        assert_eq!(carried(&site, "flows"), 2 * COUNT);
        assert_kept(&site, &mut connections);
        let log = site.sluice.log();
        assert!(!log.contains("can't be gone on with"), "{log}");
    }
}

/// Starts a build of another layout and kills it once its tables are whole and take the place of those before.
fn interrupt(site: &mut Site) {
    site.start_as(&next(), &tracked(&[1, 1, 1000]));
    let (link, whole) = (
        site.pin().join(next_set(2)).join("older"),
        site.pin().join(next_set(2)).join("identity"),
    );
    wait::until("tables beside others", PATIENCE, || {
        Ok((whole.exists() && link.is_symlink()).then_some(()))
    })
    .unwrap();
    site.sluice.kill().unwrap();
    let mut both = [set(1), next_set(2)];
    both.sort();
    assert_eq!(sets(site), both);
}

#[test]
fn an_agent_that_ended_half_way_is_gone_on_with() {
    let mut site = Site::start("older-again", &tracked(&[100; 3]), |_| {});
    let mut connections = connect(&site);
    site.sluice.kill().unwrap();
    interrupt(&mut site);
    assert_kept(&site, &mut connections);
    let mut more = connect(&site);
    site.restart_as(&next(), &tracked(&[1, 1, 1000]));
    assert_eq!(sets(&site), [next_set(2)]);
    assert_kept(&site, &mut connections);
    assert_kept(&site, &mut more);
}

#[test]
fn an_upgrade_that_ended_half_way_is_taken_back() {
    let mut site = Site::start("older-back", &tracked(&[100; 3]), |_| {});
    let mut connections = connect(&site);
    site.sluice.kill().unwrap();
    interrupt(&mut site);
    let mut more = connect(&site);
    site.restart_as(&binary(), &tracked(&[1000, 1, 1]));
    assert_eq!(sets(&site), [set(3)]);
    assert_kept(&site, &mut connections);
    assert_kept(&site, &mut more);
}
