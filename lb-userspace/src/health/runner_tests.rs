//! The runner with stubs for targets, in virtual time: who delays whom, what a reload keeps, what is
//! published.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Mutex,
    time::Duration,
};

use lb_common::abi::{BackendRef, Handshakes};
use tokio::time::{advance, sleep};

use super::*;
use crate::{
    health::{
        MemberId, MemberView, Mode, PassiveView, Phase, Probing, Progress, State, Target,
        targets::{MemberTargets, PoolTargets},
        testing::PACE,
    },
    model::{BackendAddress, Family, Health, Pace, Probe, Weight, probe::Tcp},
    unix_time::unix_seconds,
};

/// What targets do, by port.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answer,
    Refuse,
    Hang,
}

/// Targets that do as they are told, and remember when they were asked.
#[derive(Clone, Default)]
struct Stub(Arc<Mutex<Stubbed>>);

#[derive(Default)]
struct Stubbed {
    does: BTreeMap<u16, Does>,
    asked: BTreeMap<u16, Vec<tokio::time::Instant>>,
    under_way: BTreeMap<u16, usize>,
}

/// A run under way, until it is dropped.
struct UnderWay(Stub, u16);

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap().under_way.get_mut(&self.1).unwrap() -= 1;
    }
}

impl Stub {
    fn does(&self, port: u16, does: Does) {
        self.0.lock().unwrap().does.insert(port, does);
    }

    fn asked(&self, port: u16) -> usize {
        self.0.lock().unwrap().asked.get(&port).map_or(0, Vec::len)
    }

    fn under_way(&self) -> usize {
        self.0.lock().unwrap().under_way.values().sum()
    }
}

impl Probing for Stub {
    type Prepared = ();

    fn prepare(&self, _: &Probe) {}

    fn run(
        &self,
        _: Arc<()>,
        target: Target,
        progress: Arc<Progress>,
    ) -> impl Future<Output = Outcome> + Send + 'static {
        let port = target.port.unwrap();
        let mut stubbed = self.0.lock().unwrap();
        stubbed
            .asked
            .entry(port)
            .or_default()
            .push(tokio::time::Instant::now());
        *stubbed.under_way.entry(port).or_default() += 1;
        let under_way = UnderWay(self.clone(), port);
        let does = stubbed.does.get(&port).copied().unwrap_or(Does::Answer);
        async move {
            let _under_way = under_way;
            progress.reached(Phase::Waiting);
            match does {
                Does::Answer => Outcome::PASSED,
                Does::Refuse => Outcome::Failed(Failure::Refused),
                Does::Hang => pending().await,
            }
        }
    }
}

fn run(port: u16, pace: Pace) -> Run {
    Run {
        probe: Arc::new(Probe::Tcp(Tcp::default())),
        target: Target {
            service: None,
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: Some(port),
        },
        pace,
    }
}

/// A pool with a backend at each port.
fn pool(name: &str, ports: &[u16], pace: Pace) -> PoolTargets {
    let member = |port: &u16| MemberTargets {
        backend: format!("b{port}"),
        address: BackendAddress {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: Some(*port),
        },
        weight: Weight::DEFAULT,
        priority: 0,
        runs: vec![run(*port, pace)],
    };
    PoolTargets {
        name: name.into(),
        health: Health::default(),
        members: ports.iter().map(member).collect(),
        groups: [(Family::Ipv4, (0..ports.len()).collect())].into(),
    }
}

fn targets(pools: Vec<PoolTargets>) -> Arc<Targets> {
    Arc::new(Targets { pools })
}

fn start(stub: &Stub, pools: Vec<PoolTargets>) -> Monitor {
    Monitor::start(stub.clone(), targets(pools), &Before::default(), 1)
}

/// Whether each port's backend is available, in a snapshot.
fn available(snapshot: &Snapshot, pool: &str, ports: &[u16]) -> Vec<bool> {
    let pool = &snapshot.pools[pool];
    let used = |port: &u16| {
        let member = &pool.members[&(format!("b{port}"), Family::Ipv4)];
        pool.modes[&Family::Ipv4].uses(member.state)
    };
    ports.iter().map(used).collect()
}

/// Lets time pass in small steps, so that everything due happens when it is.
async fn pass(time: Duration) {
    sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_target_delays_none_but_itself() {
    let stub = Stub::default();
    let ports: Vec<u16> = (1..=1000).collect();
    ports[..900]
        .iter()
        .for_each(|port| stub.does(*port, Does::Hang));
    let monitor = start(&stub, vec![pool("web", &ports, PACE)]);
    let minute = Duration::from_secs(60);
    pass(minute).await;
    for port in &ports[900..] {
        // The first within a second, the second within an interval, then one each interval.
        let asked = stub.asked(*port);
        assert!(
            (6..=8).contains(&asked),
            "{asked} runs of {port} in a minute"
        );
    }
    let snapshot = monitor.snapshots().borrow().clone();
    let up = available(&snapshot, "web", &ports);
    assert!(up.iter().enumerate().all(|(n, up)| *up == (n >= 900)));
    let member = &snapshot.pools["web"].members[&("b1".to_owned(), Family::Ipv4)];
    let cause = member.checks[0].cause.as_deref();
    let words = "no answer of 127.0.0.1:1 within 1s, 3rd failure in a row";
    assert_eq!(cause, Some(words));
    assert!(stub.under_way() <= 900, "one run of each at a time");
    monitor.stop().await;
    pass(Duration::from_millis(1)).await;
    assert_eq!(stub.under_way(), 0, "a stop ends all runs");
}

#[tokio::test(start_paused = true)]
async fn one_run_serves_all_pools_and_says_so_to_all() {
    let stub = Stub::default();
    let pools = vec![pool("web", &[1, 2], PACE), pool("api", &[1], PACE)];
    let monitor = start(&stub, pools);
    let mut snapshots = monitor.snapshots();
    pass(PACE.interval * 10).await;
    let asked = stub.asked(1);
    assert!((10..=12).contains(&asked), "{asked}");
    stub.does(1, Does::Refuse);
    let down = |snapshot: &Arc<Snapshot>| {
        available(snapshot, "web", &[1, 2]) == [false, true]
            && available(snapshot, "api", &[1]) == [false]
    };
    snapshots.wait_for(down).await.unwrap();
    let took = stub.asked(1) - asked;
    assert_eq!(took, 3, "as many as `fall`");
    let snapshot = snapshots.borrow().clone();
    let member = &snapshot.pools["api"].members[&("b1".to_owned(), Family::Ipv4)];
    let told: Vec<_> = member
        .history
        .iter()
        .map(|entry| entry.text.as_str())
        .collect();
    assert_eq!(
        told,
        ["is down: connect to 127.0.0.1:1 refused, 3rd failure in a row"]
    );
    let counted = member.checks[0].counts.read();
    assert_eq!(counted.failed, BTreeMap::from([("refused", 3)]));
    assert_eq!(counted.passed, asked as u64);

    stub.does(1, Does::Answer);
    let up = |snapshot: &Arc<Snapshot>| available(snapshot, "api", &[1]) == [true];
    snapshots.wait_for(up).await.unwrap();
    let snapshot = snapshots.borrow().clone();
    let member = &snapshot.pools["api"].members[&("b1".to_owned(), Family::Ipv4)];
    let told = &member.history.last().unwrap().text;
    assert_eq!(told, "is up: 127.0.0.1:1 answers, 2nd success in a row");
    monitor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_it_does_not_change() {
    let stub = Stub::default();
    stub.does(1, Does::Refuse);
    stub.does(2, Does::Refuse);
    let monitor = start(&stub, vec![pool("web", &[1, 2, 3], PACE)]);
    let mut snapshots = monitor.snapshots();
    let down = |snapshot: &Arc<Snapshot>| available(snapshot, "web", &[1, 2]) == [false, false];
    snapshots.wait_for(down).await.unwrap();
    let asked = [1, 2, 3].map(|port| stub.asked(port));

    // The first as before, the second at another pace, the third gone, a fourth new.
    let faster = Pace {
        interval: Duration::from_secs(5),
        ..PACE
    };
    let mut next = pool("web", &[1, 2, 4], PACE);
    next.members[1].runs[0].pace = faster;
    monitor.follow(targets(vec![next]));
    snapshots.changed().await.unwrap();
    let snapshot = snapshots.borrow_and_update().clone();
    assert_eq!(
        available(&snapshot, "web", &[1, 2, 4]),
        [false, false, true]
    );
    let first = &snapshot.pools["web"].members[&("b1".to_owned(), Family::Ipv4)];
    assert_eq!((first.history.len(), first.state), (1, State::Down));
    assert_eq!(
        first.checks[0].counts.read().failed["refused"],
        3,
        "it is the same check"
    );
    assert!(
        !snapshot.pools["web"]
            .members
            .contains_key(&("b3".to_owned(), Family::Ipv4))
    );

    pass(PACE.interval * 7 / 2).await;
    let later = [1, 2, 3].map(|port| stub.asked(port));
    assert!((3..=4).contains(&(later[0] - asked[0])), "on time");
    assert!(later[1] - asked[1] > 5, "at its new pace");
    assert_eq!(later[2], asked[2], "gone");
    assert!(stub.asked(4) > 1);
    monitor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_backends_were_before_a_restart_is_where_they_begin() {
    let stub = Stub::default();
    stub.does(1, Does::Refuse);
    let pools = || vec![pool("web", &[1, 2], PACE)];
    let monitor = start(&stub, pools());
    let mut snapshots = monitor.snapshots();
    let down = |snapshot: &Arc<Snapshot>| available(snapshot, "web", &[1]) == [false];
    let before = Before::of(&snapshots.wait_for(down).await.unwrap());
    monitor.stop().await;
    let text = serde_json::to_string(&before).unwrap();
    let before: Before = serde_json::from_str(&text).unwrap();
    let monitor = Monitor::start(stub.clone(), targets(pools()), &before, 1);
    let first = monitor.snapshots().borrow().clone();
    assert_eq!(
        available(&first, "web", &[1, 2]),
        [false, true],
        "before any run"
    );
    monitor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_panics_and_starts_slowly() {
    let stub = Stub::default();
    let mut web = pool("web", &[1, 2, 3, 4], PACE);
    web.health.panic_threshold = 50;
    web.health.slow_start = Some(Duration::from_secs(100));
    let monitor = start(&stub, vec![web]);
    let mut snapshots = monitor.snapshots();
    let mode = |snapshot: &Snapshot| snapshot.pools["web"].modes[&Family::Ipv4];
    (1..=3).for_each(|port| stub.does(port, Does::Refuse));
    let panics = |snapshot: &Arc<Snapshot>| matches!(mode(snapshot), Mode::Panic(_));
    let snapshot = snapshots.wait_for(panics).await.unwrap().clone();
    assert_eq!(available(&snapshot, "web", &[1, 2, 3, 4]), [true; 4]);
    stub.does(1, Does::Answer);
    let calm = |snapshot: &Arc<Snapshot>| mode(snapshot) == Mode::Normal;
    let mut snapshot = snapshots.wait_for(calm).await.unwrap().clone();
    assert_eq!(
        available(&snapshot, "web", &[1, 2, 3, 4]),
        [true, false, false, true]
    );
    let mut weights = Vec::new();
    let began = tokio::time::Instant::now();
    loop {
        let first = &snapshot.pools["web"].members[&("b1".to_owned(), Family::Ipv4)];
        let weight = first.weight_of(Weight::DEFAULT);
        if weights.last() != Some(&weight.value()) {
            weights.push(weight.value());
        }
        if weight == Weight::DEFAULT {
            break;
        }
        snapshots.changed().await.unwrap();
        snapshot = snapshots.borrow_and_update().clone();
    }
    assert_eq!(weights, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    let took = began.elapsed().as_secs();
    assert!((89..=91).contains(&took), "{took} s to the last step");
    monitor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_is_as_one_that_hangs() {
    async fn defect() -> Outcome {
        panic!("a defect of ours")
    }
    struct Panics;
    impl Probing for Panics {
        type Prepared = ();
        fn prepare(&self, _: &Probe) {}
        fn run(
            &self,
            _: Arc<()>,
            _: Target,
            _: Arc<Progress>,
        ) -> impl Future<Output = Outcome> + Send + 'static {
            defect()
        }
    }
    let pools = targets(vec![pool("web", &[1], PACE)]);
    let monitor = Monitor::start(Panics, pools, &Before::default(), 1);
    let down = |snapshot: &Arc<Snapshot>| available(snapshot, "web", &[1]) == [false];
    monitor.snapshots().wait_for(down).await.unwrap();
    advance(Duration::from_millis(1)).await;
    monitor.stop().await;
}

/// A monitor of a pool of one backend whose clients' connections count, and what was counted of it.
struct Observed {
    monitor: Monitor,
    handshakes: Handshakes,
}

impl Observed {
    fn start(pool: PoolTargets, stub: &Stub, before: &Before) -> Self {
        Self {
            monitor: Monitor::start(stub.clone(), targets(vec![pool]), before, 1),
            handshakes: Handshakes::default(),
        }
    }

    fn member(&self) -> Arc<MemberView> {
        let snapshot = self.monitor.snapshots().borrow().clone();
        let members = &snapshot.pools["web"].members;
        Arc::clone(&members[&("b1".to_owned(), Family::Ipv4)])
    }

    /// Seconds in which each of so many SYNs is refused.
    async fn seconds(&mut self, seconds: u32, refused: u64) {
        for _ in 0..seconds {
            self.handshakes.syns += refused;
            self.handshakes.refused += refused;
            let id = MemberId {
                pool: "web".into(),
                backend: "b1".into(),
                family: Family::Ipv4,
            };
            self.monitor.observe(Observation {
                at: now(),
                backends: [(id, (BackendRef::new(1, 0), self.handshakes))].into(),
            });
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// A pool of one backend that is judged by its clients' connections, with a check or without.
fn passive(checked: bool) -> PoolTargets {
    let mut pool = pool("web", &[1], PACE);
    pool.health.passive = true;
    if !checked {
        pool.members[0].runs.clear();
    }
    pool
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_refuses_its_clients_is_down_and_comes_back() {
    let mut observed = Observed::start(passive(false), &Stub::default(), &Before::default());
    observed.seconds(3, 0).await;
    assert_eq!(observed.member().state, State::Up);
    observed.seconds(2, 5).await;
    let member = observed.member();
    assert_eq!(member.state, State::Down);
    let cause = "5 of 5 SYNs of clients refused by reset within";
    let words = |member: &MemberView, n: usize| member.history[n].text.clone();
    assert!(
        words(&member, 0).starts_with(&format!("is down: {cause}")),
        "{member:?}"
    );
    assert!(matches!(&member.passive, Some(PassiveView::Down { .. })));
    observed.seconds(10, 0).await;
    let member = observed.member();
    assert_eq!(member.state, State::Up);
    assert_eq!(
        words(&member, 1),
        "is up: it gets new flows again after 10s"
    );
    assert_eq!(member.passive, Some(PassiveView::Up));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_checked_comes_back_when_its_check_has_passed_twice_since() {
    let stub = Stub::default();
    let mut observed = Observed::start(passive(true), &stub, &Before::default());
    observed.seconds(21, 0).await;
    let asked = stub.asked(1);
    observed.seconds(1, 5).await;
    assert_eq!(observed.member().state, State::Down);
    let mut waited = 0;
    while observed.member().state == State::Down {
        observed.seconds(1, 0).await;
        waited += 1;
    }
    // Every ten seconds.
    assert_eq!(stub.asked(1), asked + 2, "{waited} s");
    assert!((10..=21).contains(&waited), "{waited} s");
    stub.does(1, Does::Refuse);
    observed.seconds(40, 5).await;
    assert_eq!(observed.member().state, State::Down);
    let words = observed.member().checks[0].cause.clone().unwrap();
    assert!(words.contains("3rd failure"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_the_hold_and_leaves_checks_as_they_were() {
    let stub = Stub::default();
    let mut observed = Observed::start(passive(true), &stub, &Before::default());
    observed.seconds(21, 0).await;
    observed.seconds(2, 5).await;
    let snapshot = observed.monitor.snapshots().borrow().clone();
    observed.monitor.stop().await;
    let before = Before::of(&snapshot);
    let text = serde_json::to_string(&before).unwrap();
    let before: Before = serde_json::from_str(&text).unwrap();
    // Of another pool, whose clients are not refused.
    let other = pool("other", &[1], PACE);
    let monitor = Monitor::start(stub, targets(vec![passive(true), other]), &before, 1);
    let pools = monitor.snapshots().borrow().pools.clone();
    let key = ("b1".to_owned(), Family::Ipv4);
    let [web, other] = ["web", "other"].map(|pool| Arc::clone(&pools[pool].members[&key]));
    assert_eq!((web.state, other.state), (State::Down, State::Up));
    let since = snapshot.pools["web"].members[&key].since;
    assert_eq!(unix_seconds(web.since), unix_seconds(since));
    let Some(PassiveView::Down { cause, hold, .. }) = &web.passive else {
        panic!("{web:?}");
    };
    assert!(
        cause.contains("5 of 5") && *hold == Duration::from_secs(10),
        "{cause}"
    );
    monitor.stop().await;
}
