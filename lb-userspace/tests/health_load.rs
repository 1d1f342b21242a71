//! What ten thousand checks a second cost: TCP checks of as many addresses on loopback, once a second
//! each. Prints the CPU time of the threads that run them, and fails if any backend goes down
//! meanwhile. Not a part of CI, whose machines have better to do:
//!
//! ```text
//! cargo test --release -p lb-userspace --test health_load -- --ignored --nocapture
//! ```

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    num::NonZeroU16,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use lb_userspace::{
    health::{
        Before, MemberTargets, Monitor, PoolTargets, Run, Snapshot, State, Target, Targets,
        checks::Prober,
    },
    model::{BackendAddress, Family, Health, Initial, Pace, Probe, Weight, probe::Tcp},
};
use socket2::{Domain, Socket, Type};

const TARGETS: u32 = 10_000;
const INTERVAL: Duration = Duration::from_secs(1);
/// Until first runs are over and all have their own time.
const WARM_UP: Duration = Duration::from_secs(4);
const MEASURED: Duration = Duration::from_secs(10);

/// The threads that run checks.
const CHECKS: &str = "checks";

#[test]
#[ignore = "a measurement"]
fn ten_thousand_checks_a_second() {
    let listener = listener();
    let port = listener.local_addr().unwrap().port();
    // One listener is all targets: every address of 127.0.0.0/8 leads to it.
    thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(CHECKS)
        .enable_all()
        .build()
        .unwrap();
    let monitor = runtime.block_on(async {
        let targets = Arc::new(targets(port));
        Monitor::start(Prober::default(), targets, &Before::default(), 1)
    });
    thread::sleep(WARM_UP);
    let (began, before, runs) = (Instant::now(), cpu(), counted(&monitor));
    thread::sleep(MEASURED);
    let (time, spent) = (began.elapsed().as_secs_f64(), cpu() - before);
    let made = counted(&monitor) - runs;
    println!(
        "{:.0} checks a second took {:.2} CPU seconds a second ({:.1} µs each)",
        made as f64 / time,
        spent.as_secs_f64() / time,
        spent.as_secs_f64() / made as f64 * 1e6,
    );
    let snapshot = monitor.snapshots().borrow().clone();
    let down = members(&snapshot).filter(|(state, _)| *state != State::Up);
    assert_eq!(down.count(), 0, "backends went down");
    let expected = f64::from(TARGETS) * time;
    assert!(
        made as f64 > 0.95 * expected,
        "{made} runs, not {expected:.0}"
    );
    runtime.block_on(monitor.stop());
}

fn listener() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    socket.bind(&any.into()).unwrap();
    socket.listen(4096).unwrap();
    socket.into()
}

fn targets(port: u16) -> Targets {
    let times = |n| NonZeroU16::new(n).unwrap();
    let pace = Pace {
        interval: INTERVAL,
        jitter: INTERVAL / 10,
        timeout: INTERVAL,
        rise: times(2),
        fall: times(3),
        initial: Initial::FullyUp,
    };
    let probe = Arc::new(Probe::Tcp(Tcp::default()));
    let member = |n: u32| {
        let ip = IpAddr::V4(Ipv4Addr::from_bits(0x7f01_0000 + n));
        MemberTargets {
            backend: format!("b{n}"),
            address: BackendAddress {
                ip,
                port: Some(port),
            },
            weight: Weight::DEFAULT,
            priority: 0,
            runs: vec![Run {
                probe: Arc::clone(&probe),
                target: Target {
                    ip,
                    port: Some(port),
                },
                pace,
            }],
        }
    };
    let members: Vec<_> = (0..TARGETS).map(member).collect();
    let all = (0..members.len()).collect();
    Targets {
        pools: vec![PoolTargets {
            name: "all".into(),
            health: Health::default(),
            members,
            groups: BTreeMap::from([(Family::Ipv4, all)]),
        }],
    }
}

/// What each backend is, and how many of its runs have passed.
fn members(snapshot: &Snapshot) -> impl Iterator<Item = (State, u64)> {
    let members = snapshot.pools["all"].members.values();
    members.map(|member| (member.state, member.checks[0].counts.read().passed))
}

fn counted(monitor: &Monitor) -> u64 {
    let snapshot = monitor.snapshots().borrow().clone();
    members(&snapshot).map(|(_, passed)| passed).sum()
}

/// The CPU time of the threads that run checks, in the kernel too (proc_pid_schedstat).
fn cpu() -> Duration {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let times = threads.flatten().filter_map(|thread| {
        let name = fs::read_to_string(thread.path().join("comm")).ok()?;
        let time = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let nanos = time.split_whitespace().next()?.parse().ok()?;
        (name.trim() == CHECKS).then_some(Duration::from_nanos(nanos))
    });
    times.sum()
}
