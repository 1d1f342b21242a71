//! Whole networks of routers in virtual time: packets are lost, delayed, doubled and overtake each other, the network falls
//! apart and heals, routers crash, clocks run fast and slow. Once things are quiet there is one master in each part.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{
    machine::{Action, Event, Role, Router, Settings},
    packet::Version,
    timing::{down, handover},
};

const INTERVAL: Duration = Duration::from_millis(100);

/// The longest that a packet takes.
const DELAY: Duration = Duration::from_millis(8);

fn settings(number: usize, priority: u8, preempt: Option<Duration>) -> Settings {
    Settings {
        version: Version::V3,
        priority,
        interval: INTERVAL,
        preempt,
        refresh: Duration::from_secs(60),
        address: address(number),
        grouped: false,
    }
}

fn address(number: usize) -> IpAddr {
    Ipv4Addr::new(198, 18, 0, number as u8 + 1).into()
}

/// A router on its host.
struct Node {
    router: Router,
    settings: Settings,
    runs: bool,
    /// How much too fast its clock is, millionths.
    drift: i64,
    /// The part of the network that it is in.
    part: u8,
}

impl Node {
    /// What its clock shows, counted from the same start.
    fn clock(&self, time: Duration) -> Duration {
        let nanos = time.as_nanos() as i64;
        Duration::from_nanos((nanos + nanos / 1_000_000 * self.drift) as u64)
    }

    /// When its clock shows that.
    fn time(&self, clock: Duration) -> Duration {
        let nanos = clock.as_nanos() as i64;
        let rough = nanos - nanos / (1_000_000 + self.drift) * self.drift;
        // Rounded up: not before the clock shows it.
        Duration::from_nanos(rough as u64 + 2 * self.drift.unsigned_abs() + 1)
    }

    fn is_master(&self) -> bool {
        self.runs && self.router.role() == Role::Master
    }
}

/// Packets on their way: when they arrive, in which order they were sent, where to, and what they say.
type Flying = BinaryHeap<Reverse<(Duration, u64, usize, (IpAddr, u8, Duration))>>;

struct Lan {
    start: Instant,
    now: Duration,
    nodes: Vec<Node>,
    flying: Flying,
    sent: u64,
    /// Of a hundred packets so many are lost, and as many come twice.
    lost: u64,
    random: u64,
    /// When there was no master in the whole of the network, for how long at most.
    without: Duration,
    since: Option<Duration>,
}

impl Lan {
    fn new(nodes: Vec<(Settings, i64)>, random: u64) -> Self {
        let nodes = nodes.into_iter().map(|(settings, drift)| Node {
            router: Router::new(settings),
            settings,
            runs: false,
            drift,
            part: 0,
        });
        let mut lan = Self {
            start: Instant::now(),
            now: Duration::ZERO,
            nodes: nodes.collect(),
            flying: BinaryHeap::new(),
            sent: 0,
            lost: 0,
            random: random | 1,
            without: Duration::ZERO,
            since: None,
        };
        for number in 0..lan.nodes.len() {
            lan.boot(number);
        }
        lan
    }

    /// xorshift64 (Marsaglia, Xorshift RNGs, 2003).
    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % limit
    }

    fn boot(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        if !node.runs {
            node.router = Router::new(node.settings);
            node.runs = true;
            self.tell(number, Event::Able);
        }
    }

    /// The host is gone, without a word.
    fn crash(&mut self, number: usize) {
        self.nodes[number].runs = false;
    }

    fn tell(&mut self, number: usize, event: Event) {
        let node = &mut self.nodes[number];
        if !node.runs {
            return;
        }
        let now = self.start + node.clock(self.now);
        let actions = node.router.on(event, now);
        let (interval, part) = (node.settings.interval, node.part);
        for action in actions {
            if let Action::Send(priority) = action {
                self.send(number, part, (address(number), priority, interval));
            }
        }
    }

    fn send(&mut self, from: usize, part: u8, says: (IpAddr, u8, Duration)) {
        let others = 0..self.nodes.len();
        let others: Vec<usize> = others
            .filter(|&n| n != from && self.nodes[n].part == part)
            .collect();
        for to in others {
            let copies = match self.below(100) {
                n if n < self.lost => 0,
                n if n < 2 * self.lost => 2,
                _ => 1,
            };
            for _ in 0..copies {
                let delay = Duration::from_nanos(self.below(DELAY.as_nanos() as u64));
                self.sent += 1;
                let packet = (self.now + delay, self.sent, to, says);
                self.flying.push(Reverse(packet));
            }
        }
    }

    fn masters(&self) -> BTreeMap<u8, Vec<usize>> {
        let mut masters = BTreeMap::<u8, Vec<usize>>::new();
        for (number, node) in self.nodes.iter().enumerate() {
            if node.is_master() {
                masters.entry(node.part).or_default().push(number);
            }
        }
        masters
    }

    /// Lets so much time pass; `look` sees each moment.
    fn pass(&mut self, time: Duration, mut look: impl FnMut(&Self)) {
        let end = self.now + time;
        loop {
            let deadline = |node: &Node| {
                let deadline = node.router.deadline().filter(|_| node.runs)?;
                Some(node.time(deadline.duration_since(self.start)))
            };
            let deadlines = self.nodes.iter().map(deadline).enumerate();
            let due = deadlines.filter_map(|(n, at)| Some((at?, n))).min();
            let arrives = self.flying.peek().map(|Reverse((at, ..))| *at);
            let next = due.map(|(at, _)| at).into_iter().chain(arrives).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            // What has arrived comes before what is due.
            if arrives == Some(next) {
                if let Some(Reverse((_, _, to, (from, priority, interval)))) = self.flying.pop() {
                    let heard = Event::Heard {
                        from,
                        priority,
                        interval,
                    };
                    self.tell(to, heard);
                }
            } else if let Some((_, number)) = due {
                self.tell(number, Event::Deadline);
            }
            self.note();
            look(self);
        }
        self.now = end;
        self.note();
    }

    fn note(&mut self) {
        if self.nodes.iter().any(Node::is_master) {
            self.since = None;
            return;
        }
        let since = *self.since.get_or_insert(self.now);
        self.without = self.without.max(self.now - since);
    }

    /// As long as it may take until all know who is the master: who preempts waits, and is waited for.
    fn settling(&self) -> Duration {
        let waits = self.nodes.iter().map(|node| {
            let Settings {
                version, priority, ..
            } = node.settings;
            node.settings.preempt.unwrap_or_default() + down(version, priority, INTERVAL)
        });
        let longest: Duration = waits.max().unwrap_or_default();
        2 * longest + 4 * INTERVAL
    }
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Incident {
    Crash(usize),
    Boot(usize),
    Unable(usize),
    Able(usize),
    Resign(usize),
    Priority(usize, u8),
    /// Which part of the network each router is in.
    Parts([u8; 4]),
    Loss(u64),
}

fn incident() -> impl Strategy<Value = Incident> {
    let node = 0..4usize;
    prop_oneof![
        node.clone().prop_map(Incident::Crash),
        node.clone().prop_map(Incident::Boot),
        node.clone().prop_map(Incident::Unable),
        node.clone().prop_map(Incident::Able),
        node.clone().prop_map(Incident::Resign),
        (node, 1..255u8).prop_map(|(node, priority)| Incident::Priority(node, priority)),
        prop::array::uniform4(0..3u8).prop_map(Incident::Parts),
        (0..50u64).prop_map(Incident::Loss),
    ]
}

fn node() -> impl Strategy<Value = (u8, Option<u64>, i64)> {
    // Priorities that are often equal.
    let priority = prop_oneof![Just(100u8), 1..=255u8];
    (priority, prop::option::of(0..700u64), -2000..2000i64)
}

fn lan(nodes: &[(u8, Option<u64>, i64)], random: u64) -> Lan {
    let nodes = nodes.iter().enumerate();
    let nodes = nodes.map(|(n, &(priority, preempt, drift))| {
        let preempt = preempt.map(Duration::from_millis);
        (settings(n, priority, preempt), drift)
    });
    Lan::new(nodes.collect(), random)
}

fn happens(lan: &mut Lan, incident: &Incident) {
    match *incident {
        Incident::Crash(number) => lan.crash(number),
        Incident::Boot(number) => lan.boot(number),
        Incident::Unable(number) => lan.tell(number, Event::Unable),
        Incident::Able(number) => lan.tell(number, Event::Able),
        Incident::Resign(number) => lan.tell(number, Event::Resign),
        Incident::Priority(number, priority) => {
            let node = &mut lan.nodes[number];
            node.settings.priority = priority;
            let settings = node.settings;
            lan.tell(number, Event::Settings(settings));
        }
        Incident::Parts(parts) => {
            for (node, part) in lan.nodes.iter_mut().zip(parts) {
                node.part = part;
            }
        }
        Incident::Loss(lost) => lan.lost = lost,
    }
}

proptest! {
    #[test]
    fn each_part_has_one_master_once_it_is_quiet(
        nodes in prop::array::uniform4(node()),
        incidents in prop::collection::vec((0..900u64, incident()), 0..30),
        random: u64,
    ) {
        let mut lan = lan(&nodes, random);
        for (millis, incident) in &incidents {
            lan.pass(Duration::from_millis(*millis), |_| {});
            happens(&mut lan, incident);
        }
        lan.lost = 0;
        // What was sent before arrives, and those that were told otherwise take part.
        lan.pass(DELAY, |_| {});
        lan.pass(lan.settling(), |_| {});
        let mut seen = vec![];
        lan.pass(5 * INTERVAL, |lan| seen.push(lan.masters()));
        let able = |node: &&Node| node.runs && node.router.role() != Role::Fault;
        let parts: Vec<u8> = lan.nodes.iter().filter(able).map(|node| node.part).collect();
        for masters in seen {
            for part in &parts {
                let here = masters.get(part).map_or(0, Vec::len);
                prop_assert_eq!(here, 1, "masters in part {}", part);
            }
        }
    }

    #[test]
    fn the_best_is_the_master_where_all_preempt(
        priorities in prop::array::uniform4(1..=255u8),
        random: u64,
    ) {
        let nodes = priorities.map(|priority| (priority, Some(0), 0));
        let mut lan = lan(&nodes, random);
        lan.pass(lan.settling(), |_| {});
        let best = (0..4).max_by_key(|&n| (priorities[n], address(n)));
        prop_assert_eq!(lan.masters().remove(&0), best.map(|best| vec![best]));
    }

    #[test]
    fn nobody_is_missed_for_longer_than_the_down_time_and_an_advert(
        nodes in prop::array::uniform4(node()),
        random: u64,
    ) {
        let mut lan = lan(&nodes, random);
        lan.pass(lan.settling(), |_| {});
        let master = lan.masters()[&0][0];
        lan.crash(master);
        lan.without = Duration::ZERO;
        lan.pass(lan.settling(), |_| {});
        let others = lan.nodes.iter().filter(|node| node.runs);
        let down = others.map(|node| down(Version::V3, node.settings.priority, INTERVAL)).min();
        let most = down.unwrap() * 1_002 / 1_000 + INTERVAL;
        prop_assert!(lan.without <= most, "{:?} > {most:?}", lan.without);
    }

    #[test]
    fn who_resigns_is_followed_at_once_and_by_the_best(
        priorities in prop::array::uniform4(1..255u8),
        random: u64,
    ) {
        let nodes = priorities.map(|priority| (priority, Some(0), 0));
        let mut lan = lan(&nodes, random);
        lan.pass(lan.settling(), |_| {});
        let master = lan.masters()[&0][0];
        // An advert that comes after the resignation, out of order, would take it back.
        while !lan.flying.is_empty() {
            lan.pass(DELAY / 8, |_| {});
        }
        lan.without = Duration::ZERO;
        lan.tell(master, Event::Resign);
        let others = (0..4).filter(|&n| n != master).map(|n| priorities[n]);
        let best = others.max().unwrap_or_default();
        lan.pass(lan.settling(), |_| {});
        let masters = &lan.masters()[&0];
        prop_assert!(masters.len() == 1 && masters[0] != master, "and does not come back");
        prop_assert_eq!(priorities[masters[0]], best);
        let most = handover(Version::V3, best, INTERVAL) + DELAY;
        prop_assert!(lan.without <= most, "{:?} > {most:?}", lan.without);
    }
}

#[test]
fn preemption_waits_as_long_as_it_is_told_to() {
    let wait = Duration::from_secs(5);
    for (preempt, takes) in [
        (None, false),
        (Some(wait), true),
        (Some(Duration::ZERO), true),
    ] {
        let nodes = vec![(settings(0, 100, None), 0), (settings(1, 200, preempt), 0)];
        let mut lan = Lan::new(nodes, 7);
        lan.crash(1);
        lan.pass(Duration::from_secs(2), |_| {});
        assert_eq!(lan.masters()[&0], [0]);
        let booted = lan.now;
        lan.boot(1);
        let mut taken = None;
        lan.pass(Duration::from_secs(20), |lan| {
            if lan.nodes[1].is_master() {
                taken.get_or_insert(lan.now - booted);
            }
        });
        assert_eq!(taken.is_some(), takes, "{preempt:?}");
        if let (Some(taken), Some(preempt)) = (taken, preempt) {
            let least = preempt + 2 * INTERVAL;
            assert!(taken >= least && taken <= least + 4 * INTERVAL, "{taken:?}");
        }
        let masters = lan.masters();
        assert_eq!(masters[&0], [usize::from(takes)]);
    }
}
