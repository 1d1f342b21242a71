//! A storage pair: two PostgreSQL servers behind one address, which follows the one that accepts; whoever gets it is promoted by
//! its notify hook. The primary is killed under a client that writes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use sluice_tests::{
    command,
    namespace::Namespace,
    postgres::{self, Postgres},
};

use super::vrrp_site::Lan;

/// How long the client writes before the primary is killed, and after it can write again.
const WHILE: Duration = Duration::from_secs(2);

/// How long it may be without a server.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lines of an instance whose host has a server with its socket in a folder.
fn lines(priority: u8, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "priority = {priority}\ninterval = \"100ms\"\npreempt = false\n\
         addresses = [\"198.18.0.10/24\"]\nnotify = \"{folder}/notify\"\n\
         [[vrrp.track]]\nfault = true\n\
         check = {{ type = \"exec\", command = [\"/usr/bin/pg_isready\", \"--quiet\", \"--host={folder}\"], \
         interval = \"200ms\", rise = 1, fall = 1 }}\n"
    )
}

/// Has a host's server be the primary once the host has the address.
fn write_hook(folder: &Path) {
    let socket = folder.display();
    let text = format!(
        "#!/bin/sh\n[ \"$2\" = master ] || exit 0\n\
         exec psql --no-psqlrc --host={socket} --username=postgres \
         --command='SELECT pg_promote() WHERE pg_is_in_recovery()'\n"
    );
    let file = folder.join("notify");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Writes numbers until told to stop, each by a connection of its own; those that were acknowledged, and when.
fn write(client: &Namespace, stop: &AtomicBool) -> Vec<(u32, Instant)> {
    let mut acknowledged = Vec::new();
    let mut numbers = 1..;
    while !stop.load(Ordering::Relaxed) {
        let number = numbers.next().unwrap();
        let mut psql = client.command("timeout").unwrap();
        psql.args(["3", "psql", "--host=198.18.0.10"])
            .args(postgres::ARGUMENTS);
        let insert = format!("INSERT INTO written VALUES ({number})");
        if command::read(psql.arg(insert)).is_ok() {
            acknowledged.push((number, Instant::now()));
        }
    }
    acknowledged
}

#[test]
fn vrrp_a_storage_pair_loses_nothing_that_was_acknowledged() {
    let lan = Lan::set_up("vrrp-postgres", 3);
    let [first, second] = [1, 2].map(|number| lan.folder(number).join("pg"));
    let mut primary = Postgres::primary(lan.host(1), &first).unwrap();
    let standby = Postgres::standby(lan.host(2), &second, "198.18.0.1".parse().unwrap()).unwrap();
    primary.ask("CREATE TABLE written (number int)").unwrap();
    for folder in [&first, &second] {
        write_hook(folder);
    }
    let one = lan.agent(1, &lines(150, &first));
    one.wait_until("master");
    let other = lan.agent(2, &lines(100, &second));
    other.wait_until("backup");
    assert_eq!(
        standby.ask("SELECT pg_is_in_recovery()").unwrap().trim(),
        "t"
    );

    let stop = AtomicBool::new(false);
    let (killed, acknowledged) = thread::scope(|scope| {
        let writer = scope.spawn(|| write(lan.host(3), &stop));
        thread::sleep(WHILE);
        let killed = Instant::now();
        primary.kill().unwrap();
        other.wait_until("master");
        let deadline = Instant::now() + PATIENCE;
        while standby.ask("SELECT pg_is_in_recovery()").unwrap().trim() != "f" {
            assert!(Instant::now() < deadline, "{}", other.sluice.log_end());
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(WHILE);
        stop.store(true, Ordering::Relaxed);
        (killed, writer.join().unwrap())
    });
    let before = acknowledged.iter().filter(|(_, at)| *at < killed).count();
    let after = acknowledged.iter().find(|(_, at)| *at > killed);
    let (_, again) = after.expect("writes after the failover");
    let gap = again.duration_since(killed);
    println!(
        "{before} writes before, then none for {} ms",
        gap.as_millis()
    );
    assert!(before > 10, "{before}");
    let kept = standby.ask("SELECT number FROM written").unwrap();
    let kept: Vec<u32> = kept.lines().map(|line| line.parse().unwrap()).collect();
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|(n, _)| !kept.contains(n))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");

    // A server that was primary is behind when it comes back, and does not get the address.
    one.wait_until("fault");
    let back = Postgres::again(lan.host(1), &first).unwrap();
    one.wait_until("backup");
    assert!(lan.has(2, "198.18.0.10/24"));
    drop(back);
}
