//! What health checks cost, and whether servers that hang delay any other: TCP checks of many addresses on
//! loopback, once an interval each, a tenth of them of a server that takes connections and says nothing.

use std::{
    collections::BTreeMap,
    fmt, fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    num::NonZeroU16,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use lb_userspace::{
    health::{
        Before, MemberTargets, Monitor, PoolTargets, Run, Snapshot, State, Target, Targets,
        checks::Prober,
    },
    model::{
        BackendAddress, Family, Health, Initial, Pace, Probe, Weight,
        probe::{Payload, Tcp},
    },
};
use socket2::{Domain, Socket, Type};

/// Of so many targets one hangs.
const HANGS: u32 = 10;

/// The threads that run checks.
const CHECKS: &str = "checks";

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Addresses that are checked.
    pub targets: u32,
    /// How often each is.
    pub interval: Duration,
    /// How long they run before it counts: until all have their own time, and those that hang are down.
    pub warm_up: Duration,
    /// How long it counts.
    pub measured: Duration,
}

impl Size {
    /// 10,000 checks a second.
    pub const FULL: Self = Self {
        targets: 10_000,
        interval: Duration::from_secs(1),
        warm_up: Duration::from_secs(8),
        measured: Duration::from_secs(30),
    };

    /// For CI.
    pub const SMALL: Self = Self {
        targets: 200,
        interval: Duration::from_millis(500),
        warm_up: Duration::from_secs(3),
        measured: Duration::from_secs(2),
    };

    /// How long it takes.
    pub fn length(self) -> Duration {
        self.warm_up + self.measured
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Runs of checks that ended while it counted, in a second.
    pub rate: f64,
    /// As many as there should be.
    pub expected: f64,
    /// CPU seconds in a second that the checks took.
    pub load: f64,
    /// Targets that are not what their server is: down though it answers, or up though it hangs.
    pub wrong: usize,
}

impl Found {
    /// Whether all are what they should be, and none was late for want of anything.
    pub fn is_well(&self) -> bool {
        self.wrong == 0 && self.rate > 0.95 * self.expected && self.load <= 1.0
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rate,
            expected,
            load,
            wrong,
        } = self;
        let each = load / rate * 1e6;
        write!(
            f,
            "{rate:.0} checks a second (of {expected:.0}), one in {HANGS} of a server that hangs, took {load:.2} \
             CPU seconds a second ({each:.1} µs each); {wrong} targets were not found as they are"
        )
    }
}

/// Runs the checks.
pub fn run(size: Size) -> Result<Found> {
    let [answers, hangs] = [listener()?, listener()?];
    let ports = (answers.local_addr()?.port(), hangs.local_addr()?.port());
    // One listener is all targets of a kind: every address of 127.0.0.0/8 leads to it.
    thread::spawn(move || answers.incoming().for_each(drop));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(CHECKS)
        .enable_all()
        .build()?;
    let monitor = runtime.block_on(async {
        let targets = Arc::new(targets(size, ports));
        Monitor::start(Prober::default(), targets, &Before::default(), 1)
    });
    thread::sleep(size.warm_up);
    let (began, before, runs) = (Instant::now(), cpu()?, ended(&monitor));
    thread::sleep(size.measured);
    let (time, spent) = (began.elapsed().as_secs_f64(), cpu()? - before);
    let made = ended(&monitor) - runs;
    let snapshot = monitor.snapshots().borrow().clone();
    runtime.block_on(monitor.stop());
    drop(hangs);
    Ok(Found {
        rate: made as f64 / time,
        expected: f64::from(size.targets) / size.interval.as_secs_f64(),
        load: spent.as_secs_f64() / time,
        wrong: wrong(&snapshot),
    })
}

fn listener() -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    socket.bind(&any.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn targets(size: Size, (answers, hangs): (u16, u16)) -> Targets {
    let times = |n| NonZeroU16::new(n).unwrap_or(NonZeroU16::MIN);
    let pace = Pace {
        interval: size.interval,
        jitter: size.interval / 10,
        timeout: size.interval,
        rise: times(2),
        fall: times(3),
        initial: Initial::FullyUp,
    };
    let plain = Arc::new(Probe::Tcp(Tcp::default()));
    let waits = Arc::new(Probe::Tcp(Tcp {
        expect: Some(Payload(b"hello".to_vec())),
        ..Tcp::default()
    }));
    let member = |n: u32| {
        let ip = IpAddr::V4(Ipv4Addr::from_bits(0x7f01_0000 + n));
        let (port, probe) = match n % HANGS {
            0 => (hangs, &waits),
            _ => (answers, &plain),
        };
        let port = Some(port);
        MemberTargets {
            backend: n.to_string(),
            address: BackendAddress { ip, port },
            weight: Weight::DEFAULT,
            priority: 0,
            runs: vec![Run {
                probe: Arc::clone(probe),
                target: Target {
                    ip,
                    port,
                    service: None,
                },
                pace,
            }],
        }
    };
    let members: Vec<_> = (0..size.targets).map(member).collect();
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

fn wrong(snapshot: &Snapshot) -> usize {
    let members = &snapshot.pools["all"].members;
    let is_wrong = |name: &str, state: State| {
        let hangs = name.parse::<u32>().is_ok_and(|n| n % HANGS == 0);
        (state == State::Down) != hangs
    };
    let wrong = members
        .iter()
        .filter(|((name, _), member)| is_wrong(name, member.state));
    wrong.count()
}

/// Runs that have ended.
fn ended(monitor: &Monitor) -> u64 {
    let snapshot = monitor.snapshots().borrow().clone();
    let checks = snapshot.pools["all"].members.values();
    let counts = checks
        .flat_map(|member| &member.checks)
        .map(|check| check.counts.read());
    counts
        .map(|counts| counts.passed + counts.failed.values().sum::<u64>())
        .sum()
}

/// The CPU time of the threads that run checks, in the kernel too (proc_pid_schedstat).
fn cpu() -> Result<Duration> {
    let threads = fs::read_dir("/proc/self/task").context("listing threads")?;
    let times = threads.flatten().filter_map(|thread| {
        let name = fs::read_to_string(thread.path().join("comm")).ok()?;
        let time = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let nanos = time.split_whitespace().next()?.parse().ok()?;
        (name.trim() == CHECKS).then_some(Duration::from_nanos(nanos))
    });
    Ok(times.sum())
}
