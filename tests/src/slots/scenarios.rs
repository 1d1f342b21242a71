//! What happens to a pool of eight backends in an hour, by name.

use lb_common::abi::{RecordLimits, TableSize};

use super::{
    packets::Traffic,
    trace::{Dice, Load},
};

/// A change of a pool.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// A backend gets this weight. It is added if it was not there.
    Weight(usize, u16),
    /// A backend dies, and its flows with it.
    Down(usize),
    /// It comes back, as another generation.
    Up(usize),
    /// The table gets another size and seed.
    Resize(TableSize),
}

/// What the agent was told.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The settle time, seconds.
    pub settle: u32,
    /// The time after which a silent exception goes, seconds.
    pub timeout: u32,
    /// How much may be recorded.
    pub limits: RecordLimits,
}

/// An hour.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What its flows are.
    pub traffic: Traffic,
    /// What changes, and at which second, in order.
    pub changes: Vec<(u32, Change)>,
    /// What the gateway is told.
    pub settings: Settings,
    /// The share of flows that send their SYN twice.
    pub sent_twice: f64,
    /// Spoofed packets a second, for ten minutes, for each new flow a second.
    pub flood: f64,
}

const SETTINGS: Settings = Settings {
    settle: 900,
    timeout: 7_800,
    limits: RecordLimits {
        capacity: 1 << 20,
        rate: 1 << 20,
    },
};

fn scenario(name: &str, changes: impl IntoIterator<Item = (u32, Change)>) -> Scenario {
    let mut changes: Vec<_> = changes.into_iter().collect();
    changes.sort_by_key(|&(at, _)| at);
    Scenario {
        name: name.to_owned(),
        traffic: Traffic::Tcp,
        changes,
        settings: SETTINGS,
        sent_twice: 0.0,
        flood: 0.0,
    }
}

/// Every scenario.
pub fn all(load: Load) -> Vec<Scenario> {
    use Change::{Down, Resize, Up, Weight};
    let mut scenarios = vec![
        scenario(
            "add four",
            (0..4).map(|n| (600 + 480 * n, Weight(8 + n as usize, 100))),
        ),
        scenario("drain, undrain", flips(2, 60)),
        scenario("three flips", flips(6, 90)),
        scenario("slow start", slow_start(8, 600)),
        scenario(
            "the new one dies in motion",
            [(600, Weight(8, 100)), (700, Down(8))],
        ),
        scenario(
            "another dies in motion",
            [(600, Weight(8, 100)), (700, Down(3))],
        ),
        scenario(
            "crash and recovery x3",
            (0..6).map(|n| (600 + 200 * n, if n % 2 == 0 { Down(3) } else { Up(3) })),
        ),
        scenario("rolling restart of 4", (0..4).flat_map(restart)),
        Scenario {
            settings: Settings {
                settle: 300,
                ..SETTINGS
            },
            ..scenario(
                "later changes after mixed",
                [600, 1_000, 1_500]
                    .into_iter()
                    .zip(8..)
                    .map(|(at, n)| (at, Weight(n, 100))),
            )
        },
        Scenario {
            sent_twice: 0.01,
            ..scenario(
                "re-weight x20, SYNs twice",
                (0..20).map(|n| (600 + 60 * n, Weight(0, if n % 2 == 0 { 50 } else { 100 }))),
            )
        },
        flooded("flood, table of 2,048", 2_048),
        flooded("flood, table of 64", 64),
        scenario("resize", [(600, Resize(TableSize::Medium))]),
        scenario(
            "resize in motion",
            [
                (600, Weight(8, 100)),
                (650, Weight(0, 0)),
                (700, Resize(TableSize::Medium)),
                (760, Weight(0, 100)),
                (800, Down(3)),
                (900, Weight(9, 50)),
                (1_000, Up(3)),
                (2_000, Weight(1, 0)),
            ],
        ),
    ];
    scenarios.extend((0..4).map(|n| mixed(load.seed + n)));
    let datagrams: Vec<_> = [Traffic::Udp, Traffic::Quic]
        .into_iter()
        .flat_map(|traffic| of_datagrams(&scenarios, traffic))
        .collect();
    scenarios.extend(datagrams);
    scenarios
}

/// The scenarios that are also tried with datagrams.
const OF_DATAGRAMS: [&str; 7] = [
    "add four",
    "three flips",
    "another dies in motion",
    "rolling restart of 4",
    "flood, table of 64",
    "resize",
    "resize in motion",
];

/// The same scenarios, of flows of UDP or QUIC.
fn of_datagrams(scenarios: &[Scenario], traffic: Traffic) -> Vec<Scenario> {
    let of_datagrams = scenarios
        .iter()
        .filter(|scenario| OF_DATAGRAMS.contains(&scenario.name.as_str()));
    of_datagrams
        .map(|scenario| Scenario {
            name: format!("{traffic:?}: {}", scenario.name),
            traffic,
            ..scenario.clone()
        })
        .collect()
}

/// A backend is drained and back, by turns.
fn flips(count: u32, every: u32) -> impl Iterator<Item = (u32, Change)> {
    (0..count).map(move |n| {
        let weight = if n % 2 == 0 { 0 } else { 100 };
        (600 + every * n, Change::Weight(0, weight))
    })
}

/// A backend's weight grows in ten steps.
fn slow_start(backend: usize, from: u32) -> impl Iterator<Item = (u32, Change)> {
    (0..10).map(move |n| {
        let weight = 10 * (n as u16 + 1);
        (from + 10 * n, Change::Weight(backend, weight))
    })
}

/// A backend is drained, restarted and eased in.
fn restart(backend: usize) -> Vec<(u32, Change)> {
    let start = 400 + 600 * backend as u32;
    let mut changes = vec![
        (start, Change::Weight(backend, 0)),
        (start + 240, Change::Down(backend)),
        (start + 300, Change::Up(backend)),
    ];
    changes.extend(slow_start(backend, start + 300));
    changes
}

/// Two are added, and for ten minutes spoofed packets come at 25 times the rate of new flows. No
/// more than 40 exceptions a second are recorded.
fn flooded(name: &str, capacity: u32) -> Scenario {
    let (limits, changes) = (
        RecordLimits { capacity, rate: 40 },
        [(600, Change::Weight(8, 100)), (600, Change::Weight(9, 100))],
    );
    Scenario {
        settings: Settings { limits, ..SETTINGS },
        flood: 25.0,
        ..scenario(name, changes)
    }
}

/// Forty changes at random. At least four backends live and have their weight.
fn mixed(seed: u64) -> Scenario {
    let mut dice = Dice::new(seed ^ 0x51_0756);
    let mut down = [false; 8];
    let mut changes = Vec::new();
    for n in 0..40 {
        let (at, backend) = (300 + 75 * n + dice.below(70), dice.below(8) as usize);
        let change = match dice.below(8) {
            0 | 1 if backend < 4 && !down[backend] => Change::Down(backend),
            0 | 1 if backend < 4 => Change::Up(backend),
            2 => Change::Weight(backend % 4, 0),
            3 if n % 16 == 0 => Change::Resize(TableSize::Small),
            4 => Change::Weight(8 + backend % 2, 50),
            _ => Change::Weight(backend, 20 + dice.below(100) as u16),
        };
        if let Change::Down(b) | Change::Up(b) = change {
            down[b] = matches!(change, Change::Down(_));
        }
        changes.push((at, change));
    }
    let name = format!("forty at random, seed {seed}");
    let settings = Settings {
        settle: 300,
        ..SETTINGS
    };
    Scenario {
        settings,
        ..scenario(&name, changes)
    }
}
