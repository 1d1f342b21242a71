//! What comes along from tables whose place others take: what is new, what was there, and whose port is taken.

use aya::maps::{HashMap, Map, MapData, MapError};
use lb_common::abi::{
    BackendRef, Direction, Exception, ExceptionState, FlowEntry, FlowKey, FlowSpec, FlowState,
    HopWord, Ipv4Address, Rewrite,
};
use lb_userspace::{
    kernel::{Carried, DataPlane, Error, Features, OlderTables, Pins, TableSet, Wire},
    layouts::Layouts,
};
use sluice_tests::stage::Stage;
use zerocopy::FromZeros as _;

use super::constants;

type Key = FlowKey<Ipv4Address>;
type Entry = FlowEntry<Ipv4Address>;

const HERTZ: u32 = 250;
const TCP: u8 = 6;

/// Two sets of tables, of which the second is to have what the first knows.
struct Sets {
    older: TableSet,
    newer: TableSet,
    carrying: OlderTables,
    _newer: DataPlane,
    _stage: Stage,
}

fn sets(title: &str, layouts: &Layouts) -> (Sets, Vec<String>) {
    let stage = Stage::set_up(title).unwrap();
    let constants = constants::small(Features::default());
    let pins = || Pins::open(&stage.pin()).unwrap();
    let before = DataPlane::begin(pins(), &constants).unwrap();
    let older = before.set().clone();
    drop(before);
    let plane = DataPlane::follow(pins(), vec![older.clone()], &constants, HERTZ).unwrap();
    let newer = plane.set().clone();
    let (carrying, lost) = OlderTables::open(&older, layouts, &newer).unwrap();
    let sets = Sets {
        older,
        newer,
        carrying,
        _newer: plane,
        _stage: stage,
    };
    (sets, lost)
}

impl Sets {
    fn carry(&self, how: fn(&OlderTables, &mut Carried) -> Result<(), Error>) -> Carried {
        let mut carried = Carried::default();
        how(&self.carrying, &mut carried).unwrap();
        carried
    }
}

fn flows(set: &TableSet, name: &str) -> HashMap<MapData, Wire<Key>, Wire<Entry>> {
    map(set, name)
}

fn exceptions(set: &TableSet) -> HashMap<MapData, Wire<Key>, Wire<Exception>> {
    map(set, "EXCEPTIONS_V4")
}

fn map<M: TryFrom<Map, Error = MapError>>(set: &TableSet, name: &str) -> M {
    let path = set.path().join("maps").join(name);
    let map = Map::from_map_data(MapData::from_pin(path).unwrap()).unwrap();
    map.try_into().unwrap()
}

fn address(n: u8) -> Ipv4Address {
    Ipv4Address::from_bytes([198, 18, 0, n])
}

/// A client's key, and that of the answers to its packets from `port` of ours.
fn keys(client: u8, port: u16) -> [Key; 2] {
    let [service, source, backend] = [1, 2, 3].map(address);
    let key = |from, to, from_port: u16, to_port: u16| {
        FlowKey::new(
            from,
            to,
            from_port.to_be_bytes(),
            to_port.to_be_bytes(),
            TCP,
        )
    };
    let there = key(address(100 + client), service, 5000, 80);
    [there, key(backend, source, 80, port)]
}

/// Both entries of such a flow.
fn entries(client: u8, port: u16, seen: u32) -> [(Key, Entry); 2] {
    let [there, back] = keys(client, port);
    let entry = |key: &Key, ends: Rewrite<Ipv4Address>, direction| {
        let mut entry = Entry::new_zeroed();
        let spec = FlowSpec {
            key,
            ends,
            direction,
            service: 1,
            backend: BackendRef::new(1, 0),
            route: HopWord::NONE,
            sequence: 0,
        };
        entry.fill(spec, seen, seen);
        entry
    };
    [
        (there, entry(&there, back.reply(), Direction::In)),
        (back, entry(&back, there.reply(), Direction::Out)),
    ]
}

fn put(set: &TableSet, table: &str, entries: [(Key, Entry); 2]) {
    for (key, entry) in entries {
        flows(set, table).insert(Wire(key), Wire(entry), 0).unwrap();
    }
}

fn get(set: &TableSet, table: &str, key: Key) -> Option<Entry> {
    let found = flows(set, table).get(&Wire(key), 0);
    found.ok().map(|Wire(entry)| entry)
}

#[test]
fn flows_come_along_once_and_the_later_of_two_counts() {
    let (sets, lost) = sets("sluice-older-flows", &Layouts::of_this_build());
    assert_eq!(lost, [""; 0]);
    put(&sets.older, "FLOWS_V4", entries(1, 1024, 10));
    put(&sets.older, "YOUNG_V4", entries(2, 1025, u32::MAX));
    assert_eq!(sets.carry(OlderTables::carry_flows).flows, 4);
    assert!(sets.carry(OlderTables::carry_flows).is_nothing());
    let [there, _] = keys(1, 1024);
    let carried = get(&sets.newer, "FLOWS_V4", there).unwrap();
    assert_eq!(carried, entries(1, 1024, 10)[0].1);
    // Both go on; the second one's time has passed zero.
    put(&sets.newer, "FLOWS_V4", entries(1, 1024, 12));
    put(&sets.older, "FLOWS_V4", entries(1, 1024, 11));
    put(&sets.older, "YOUNG_V4", entries(2, 1025, 1));
    assert!(sets.carry(OlderTables::carry_flows).is_nothing());
    let seen = |table, key| get(&sets.newer, table, key).unwrap().last_seen;
    assert_eq!(seen("FLOWS_V4", there), 12);
    assert_eq!(seen("YOUNG_V4", keys(2, 1025)[0]), 1);
}

#[test]
fn a_flow_that_is_committed_there_is_committed_here() {
    let (sets, _) = sets("sluice-older-commit", &Layouts::of_this_build());
    let [there, back] = keys(1, 1024);
    put(&sets.older, "YOUNG_V4", entries(1, 1024, 10));
    sets.carry(OlderTables::carry_flows);
    let mut young = flows(&sets.older, "YOUNG_V4");
    for key in [there, back] {
        young.remove(&Wire(key)).unwrap();
    }
    let established = entries(1, 1024, 11).map(|(key, mut entry)| {
        entry.set_state(FlowState::Established);
        (key, entry)
    });
    put(&sets.older, "FLOWS_V4", established);
    sets.carry(OlderTables::carry_flows);
    for (key, entry) in established {
        assert_eq!(get(&sets.newer, "FLOWS_V4", key), Some(entry));
        assert_eq!(get(&sets.newer, "YOUNG_V4", key), None);
    }
    // What comes later from where it was young changes nothing.
    put(&sets.older, "YOUNG_V4", entries(1, 1024, 12));
    assert!(sets.carry(OlderTables::carry_flows).is_nothing());
    assert_eq!(get(&sets.newer, "YOUNG_V4", there), None);
}

#[test]
fn a_flow_whose_port_is_anothers_by_now_stays_behind() {
    let (sets, _) = sets("sluice-older-port", &Layouts::of_this_build());
    put(&sets.older, "FLOWS_V4", entries(1, 1024, 10));
    put(&sets.newer, "YOUNG_V4", entries(2, 1024, 5));
    let carried = sets.carry(OlderTables::carry_flows);
    assert_eq!((carried.flows, carried.refused), (0, 2));
    let [there, back] = keys(1, 1024);
    assert_eq!(get(&sets.newer, "FLOWS_V4", there), None);
    assert_eq!(get(&sets.newer, "FLOWS_V4", back), None);
}

#[test]
fn exceptions_come_along_as_far_as_there_is_room() {
    let (sets, _) = sets("sluice-older-room", &Layouts::of_this_build());
    let mut from = exceptions(&sets.older);
    for client in 0..100 {
        let mut entry = Exception::default();
        entry.set_owners(BackendRef::new(1, 0), BackendRef::new(2, 0));
        entry.set_mark(ExceptionState::Tentative, 7);
        entry.set_seen(client.into(), 0);
        let [key, _] = keys(client, 0);
        from.insert(Wire(key), Wire(entry), 0).unwrap();
    }
    let mut to = exceptions(&sets.newer);
    for n in 0..1000u32 {
        let key = FlowKey::new(
            address(0),
            address(1),
            [0; 2],
            n.to_be_bytes()[2..].try_into().unwrap(),
            17,
        );
        to.insert(Wire(key), Wire(Exception::default()), 0).unwrap();
    }
    let carried = sets.carry(OlderTables::carry_exceptions);
    let [ipv4, ipv6] = carried.exceptions;
    // The kernel keeps a few elements a CPU beside those that there may be.
    assert!((24..100).contains(&ipv4), "{carried:?}");
    assert_eq!((ipv4 + carried.refused, ipv6), (100, 0));
}

#[test]
fn what_is_not_known_there_is_told_with_its_number() {
    let (sets, lost) = sets("sluice-older-lost", &Layouts::undescribed(7));
    assert_eq!(lost.len(), 9);
    assert!(
        lost[0].starts_with("FLOWS_V4: nothing is known"),
        "{lost:?}"
    );
    put(&sets.older, "FLOWS_V4", entries(1, 1024, 10));
    assert!(sets.carry(OlderTables::carry_flows).is_nothing());
    let layouts = Layouts::undescribed(7);
    let (_, lost) = OlderTables::open(&sets.older, &layouts, &sets.newer).unwrap();
    assert!(lost[0].ends_with("2 entries stay behind"), "{lost:?}");
}
