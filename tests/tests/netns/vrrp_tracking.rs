//! Hosts whose addresses depend on more than adverts: on what is tracked, on each other, and on what operators want.

use std::{fs, path::Path};

use aya::maps::{Array, Map, MapData};

use super::vrrp_site::{Agent, Lan};

/// Lines of an instance, to which others may be added.
fn lines(priority: u8, more: &str) -> String {
    format!("priority = {priority}\ninterval = \"500ms\"\naddresses = [\"198.18.0.10/24\"]\n{more}")
}

/// Two hosts, of which the first has the addresses, and goes by these lines besides.
fn pair<'a>(lan: &'a Lan, more: &str) -> (Agent<'a>, Agent<'a>) {
    let first = lan.agent(1, &lines(150, more));
    first.wait_until("master");
    let second = lan.agent(2, &lines(100, ""));
    second.wait_until("backup");
    (first, second)
}

/// Has the first lose the addresses to the second, and get them back.
fn goes_and_comes(
    [first, second]: [&Agent<'_>; 2],
    role: &str,
    breaks: impl FnOnce(),
    mends: impl FnOnce(),
) -> Vec<String> {
    breaks();
    second.wait_until("master");
    first.wait_until(role);
    let failing = first.instance().unwrap()["failing"].clone();
    mends();
    first.wait_until("master");
    second.wait_until("backup");
    let failing = failing.as_array().unwrap().iter();
    failing
        .map(|why| why.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn vrrp_what_is_tracked_costs_the_addresses() {
    let lan = Lan::set_up("vrrp-tracked", 2);
    let file = |name: &str| lan.folder(1).join(name).display().to_string();
    let [flag, up, standby] = ["flag", "up", "standby"].map(file);
    for file in [&flag, &up] {
        fs::write(file, "").unwrap();
    }
    lan.host(1)
        .ip("link add inside0 type veth peer name inside1")
        .unwrap();
    for end in ["inside0", "inside1"] {
        lan.host(1).ip(&format!("link set {end} up")).unwrap();
    }
    let track = format!(
        "track = [\n  {{ file = \"{up}\", penalty = 100 }},\n  {{ no_file = \"{standby}\", fault = true }},\n  \
         {{ interface = \"inside0\", penalty = 60 }},\n  \
         {{ check = {{ type = \"exec\", command = [\"/usr/bin/test\", \"-e\", \"{flag}\"], \
         interval = \"200ms\", rise = 1, fall = 1 }}, fault = true }},\n]"
    );
    let (first, second) = pair(&lan, &track);
    let both = [&first, &second];
    let remove = |path: &str| fs::remove_file(Path::new(path)).unwrap();
    let write = |path: &str| fs::write(path, "").unwrap();

    // A part of the priority.
    let failing = goes_and_comes(both, "backup", || remove(&up), || write(&up));
    assert_eq!(failing, [format!("file {up} is not there")]);
    let set = |to: &str| lan.host(1).ip(&format!("link set inside0 {to}")).unwrap();
    let failing = goes_and_comes(both, "backup", || set("down"), || set("up"));
    assert_eq!(failing, ["interface inside0 is down"]);
    // All of it.
    let failing = goes_and_comes(both, "fault", || write(&standby), || remove(&standby));
    assert_eq!(failing, [format!("file {standby} is there")]);
    let failing = goes_and_comes(both, "fault", || remove(&flag), || write(&flag));
    assert!(
        failing[0].starts_with("exec /usr/bin/test check: "),
        "{failing:?}"
    );
    // It says at once that it gives them up.
    assert_eq!(second.transitions("master", "resignation"), 2);
}

#[test]
fn vrrp_a_pool_without_healthy_backends_costs_the_addresses() {
    let lan = Lan::set_up("vrrp-pool", 2);
    let flag = lan.folder(1).join("flag").display().to_string();
    fs::write(&flag, "").unwrap();
    let pool = format!(
        "track = [{{ pool = \"web\", penalty = 100 }}]\n\n[[pool]]\nname = \"web\"\nforward = \"nat\"\n\
         [[pool.check]]\ntype = \"exec\"\ncommand = [\"/usr/bin/test\", \"-e\", \"{flag}\"]\n\
         interval = \"200ms\"\nrise = 1\nfall = 1\n\
         [[pool.backend]]\nname = \"web1\"\naddress = \"198.18.0.2:80\"\n"
    );
    let first = lan.gateway(1, &lines(150, &pool));
    first.wait_until("master");
    let second = lan.agent(2, &lines(100, ""));
    second.wait_until("backup");
    let failing = goes_and_comes(
        [&first, &second],
        "backup",
        || fs::remove_file(&flag).unwrap(),
        || fs::write(&flag, "").unwrap(),
    );
    assert_eq!(failing, ["pool web has 0 healthy of at least 1"]);
    assert_eq!(first.instance().unwrap()["effective_priority"], 150);
}

#[test]
fn vrrp_instances_of_a_sync_group_move_together() {
    let lan = Lan::set_up("vrrp-group", 2);
    let standby = lan.folder(1).join("standby").display().to_string();
    let group = |priority: u8, track: &str| {
        let other = lines(priority, &format!("sync_group = \"all\"\n{track}"));
        let other = other.replace("198.18.0.10", "198.18.0.11");
        let other = format!("[[vrrp]]\nname = \"other\"\ninterface = \"eth0\"\nvrid = 52\n{other}");
        lines(priority, &format!("sync_group = \"all\"\n\n{other}"))
    };
    let track = format!("track = [{{ no_file = \"{standby}\", fault = true }}]");
    let first = lan.agent(1, &group(150, &track));
    first.wait_until("master");
    let second = lan.agent(2, &group(100, ""));
    second.wait_until("backup");
    let has = |number: u8, has: bool| {
        for address in ["198.18.0.10/24", "198.18.0.11/24"] {
            lan.wait_until_has(number, address, has).unwrap();
        }
    };
    has(1, true);
    // The other one's.
    fs::write(&standby, "").unwrap();
    has(2, true);
    has(1, false);
    first.wait_until("fault");
    let fault = first.instance().unwrap()["fault"].clone();
    assert_eq!(fault, "other of the sync group can't take part");
    fs::remove_file(&standby).unwrap();
    has(1, true);
    has(2, false);
    let said = first.run(&["vrrp", "resign", "gateway"]);
    assert_eq!(said, "resigned: gateway, other\n");
    has(2, true);
    has(1, false);
}

#[test]
fn vrrp_an_operator_has_a_host_give_its_addresses_up() {
    let lan = Lan::set_up("vrrp-operator", 2);
    let (mut first, second) = pair(&lan, "");
    assert_eq!(
        first.run(&["vrrp", "resign", "gateway"]),
        "resigned: gateway\n"
    );
    second.wait_until("master");
    first.wait_until("backup");
    assert_eq!(first.transitions("backup", "resigned"), 1);
    // It does not take them back; the other does not take them twice.
    let said = first.run(&["vrrp", "maintenance", "on"]);
    assert!(said.contains("gateway: maintenance"), "{said}");
    first.wait_until("fault");
    first.sluice.stop().unwrap();
    first.start_again();
    first.wait_until("fault");
    assert_eq!(first.instance().unwrap()["fault"], "maintenance");
    first.run(&["vrrp", "maintenance", "off"]);
    first.wait_until("master");
    second.wait_until("backup");
    let said = first.run(&["vrrp", "maintenance", "on"]);
    assert!(said.contains("fault"), "{said}");
    // That is so once the command ends.
    assert!(!lan.has(1, "198.18.0.10/24"));
    second.wait_until("master");
    assert!(second.transitions("master", "resignation") >= 2);
}

#[test]
fn vrrp_a_gateway_without_its_program_gives_the_addresses_up() {
    let lan = Lan::set_up("vrrp-detached", 2);
    let track = "track = [{ data_plane = true, fault = true }]\n";
    let first = lan.gateway(1, &lines(150, track));
    first.wait_until("master");
    let second = lan.gateway(2, &lines(100, track));
    second.wait_until("backup");
    // Nothing but the pin holds it.
    for link in fs::read_dir(lan.pin(1).join("links")).unwrap() {
        fs::remove_file(link.unwrap().path()).unwrap();
    }
    second.wait_until("master");
    first.wait_until("fault");
    let fault = first.instance().unwrap()["fault"].clone();
    let expected = "data plane: the program is not attached";
    assert!(fault.as_str().unwrap().starts_with(expected), "{fault}");
}

#[test]
fn vrrp_a_gateway_that_forwards_wrongly_gives_the_addresses_up() {
    let lan = Lan::set_up("vrrp-canary", 3);
    let track = "track = [{ data_plane = true, fault = true }]\n";
    let service = "[[service]]\nname = \"web\"\nlisten = [\"198.18.0.10:80/tcp\"]\npool = \"web\"\n\
                   [[pool]]\nname = \"web\"\nforward = \"dsr\"\n\
                   [[pool.backend]]\nname = \"web1\"\naddress = \"198.18.0.3\"\n";
    let first = lan.gateway(1, &lines(150, &format!("{track}\n{service}")));
    first.wait_until("master");
    let second = lan.gateway(2, &lines(100, &format!("{track}\n{service}")));
    second.wait_until("backup");
    // Behind the agent's back.
    let mut forgotten = 0;
    for set in fs::read_dir(lan.pin(1)).unwrap() {
        let hops = set.unwrap().path().join("maps/NEXT_HOPS");
        if hops.exists() {
            let map = Map::Array(MapData::from_pin(hops).unwrap());
            let mut hops: Array<MapData, [u64; 2]> = map.try_into().unwrap();
            hops.set(1, [0; 2], 0).unwrap();
            forgotten += 1;
        }
    }
    assert_eq!(forgotten, 1);
    second.wait_until("master");
    first.wait_until("fault");
    let fault = first.instance().unwrap()["fault"].clone();
    let expected = "data plane: a TCP reset for 198.18.0.10 port 80 was dropped";
    assert_eq!(fault, expected);
}
