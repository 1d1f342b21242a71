//! A long list of backends: a change of one writes what is its own, and no more.

use super::*;

/// So many backends, spread over pools, each with a table of slots of its own.
const BACKENDS: u32 = 100_000;
const POOLS: u32 = 4;
/// The address of one more than are in the list at any time.
const MORE: u32 = BACKENDS + 1;

fn address(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + n).into()
}

fn long_backend(n: u32, weight: u16) -> model::Backend {
    backend(&format!("b{n}"), weight, &[&address(n).to_string()])
}

/// The first pool has the first ones, and so on.
fn long_list() -> Config {
    let of_pool = |p: u32| {
        let each = BACKENDS / POOLS;
        let backends = (p * each..(p + 1) * each).map(|n| long_backend(n, 100));
        let mut pool = pool(&format!("p{p}"), Forward::Dsr, &[], backends.collect());
        pool.slots = TableSize::Large;
        pool
    };
    let listen = |p: u32| format!("198.18.0.{p}:80");
    let services = (0..POOLS).map(|p| service(&format!("s{p}"), p as usize, &[&listen(p)]));
    Config {
        services: services.collect(),
        pools: (0..POOLS).map(of_pool).collect(),
        ..config()
    }
}

/// Tables that note which operations there were, and how many slots those wrote.
#[derive(Default)]
struct Noting {
    fake: FakeTables,
    operations: BTreeMap<String, usize>,
    slots: usize,
}

impl KernelTables for Noting {
    fn apply(&mut self, operation: &Operation) -> Result<(), Error> {
        if let Operation::SetSlots(_, changes) = operation {
            self.slots += changes.len();
        }
        let text = format!("{operation:?}");
        let name = text.split('(').next().unwrap_or_default();
        *self.operations.entry(name.to_owned()).or_default() += 1;
        self.fake.apply(operation)
    }

    fn wait_for_readers(&mut self) -> Result<(), Error> {
        self.fake.wait_for_readers()
    }
}

/// Tables that follow configurations whose next hops are all resolved.
struct Follower {
    registry: Registry,
    memo: Memo,
    hops: BTreeMap<IpAddr, Hop>,
    reconciler: Reconciler<Noting>,
}

impl Follower {
    fn new() -> Self {
        let hop = hops(&ALL[..1]).pop_first().unwrap().1;
        let hops = (0..=MORE).map(|n| (address(n), hop));
        Self {
            registry: Registry::default(),
            memo: Memo::default(),
            hops: hops.collect(),
            reconciler: Reconciler::new(Noting::default()),
        }
    }

    /// What that wrote: operations by name, and how many slots.
    fn follow(&mut self, config: &Config) -> (BTreeMap<String, usize>, usize) {
        let (registry, ids) = self.registry.assign(config).unwrap();
        self.registry = registry;
        let links = links();
        let inputs = Inputs {
            config,
            ids: &ids,
            own: &BTreeSet::new(),
            links: &links,
            hops: &self.hops,
            standings: &Standings::default(),
            hertz: 250,
        };
        let wanted = state::desired(inputs, &mut self.memo).settled(&ids);
        let before = self.reconciler.kernel.fake.writes;
        self.reconciler.reconcile(&wanted).unwrap();
        let noting = &mut self.reconciler.kernel;
        let operations = std::mem::take(&mut noting.operations);
        let slots = std::mem::take(&mut noting.slots);
        let tables = operations.get("SetSlots").copied().unwrap_or(0);
        let others = operations.values().sum::<usize>() - tables;
        assert_eq!(noting.fake.writes - before, others + slots);
        (operations, slots)
    }
}

fn operations(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    let named = expected
        .iter()
        .map(|&(name, count)| (name.to_owned(), count));
    named.collect()
}

#[test]
fn one_of_a_hundred_thousand_backends_writes_what_is_its_own() {
    let mut follower = Follower::new();
    let mut config = long_list();
    let (first, slots) = follower.follow(&config);
    assert_eq!(first["SetBackend"], BACKENDS as usize);
    assert_eq!(slots, (POOLS * TableSize::Large.slots()) as usize);

    config.pools[0].backends.push(long_backend(BACKENDS, 100));
    let (added, slots) = follower.follow(&config);
    let its_own = [
        ("SetBackend", 1),
        ("SetLoad", 1),
        ("SetNextHop", 1),
        ("SetSlots", 1),
    ];
    assert_eq!(added, operations(&its_own));
    assert!((1..=MOST_SLOTS).contains(&slots), "{slots}");

    // One less, one of another weight, and one that has another address, which is another backend.
    config.pools[1].backends.remove(7);
    config.pools[2].backends[7].weight = model::Weight::new(50).unwrap();
    config.pools[3].backends[7].addresses[0].ip = address(MORE);
    let (changed, slots) = follower.follow(&config);
    let their_own = [
        ("SetBackend", 1 + 2),
        ("SetLoad", 1 + 1 + 2),
        ("SetNextHop", 1 + 2),
        ("SetSlots", 3),
    ];
    assert_eq!(changed, operations(&their_own));
    assert!((3..=3 * MOST_SLOTS).contains(&slots), "{slots}");
    assert_eq!(follower.follow(&config), (BTreeMap::new(), 0));
}

/// Slots of a table that change with one of its backends, of which each has two or three: those, and some that move from
/// one to the next.
const MOST_SLOTS: usize = 100;
