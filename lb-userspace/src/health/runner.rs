//! Runs the checks when `machine` says so, hands it what they come to, and publishes what `member` and
//! `pool` make of that. Decides nothing itself.
//!
//! ```text
//!  targets ─► follow ─► machines ──due──► a task for each run ──┐
//!                          ▲  │                                 │ outcome
//!                          └──┼─────────────────────────────────┘
//!                             └─ transitions ─► members ─► pools ─► snapshot, log
//! ```
//!
//! A run is a task of its own, and there is one of a check and its target at a time: so one that hangs
//! delays none but itself, and sockets are as many as targets at most. The machine's deadline ends it: its
//! task is aborted, and what it holds goes with it.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    future::pending,
    mem,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::sleep_until,
};
use tracing::{info, warn};

use super::{
    backends::{Backends, Line, Passes, Place},
    before::{self, Before},
    machine::{Due, Machine, Transition},
    member::State,
    observation::Observation,
    outcome::{Failure, Outcome, Unknown},
    probing::Probing,
    running::{Check, Known, UnderWay, opinion},
    snapshot::Snapshot,
    targets::{Run, Targets},
};

/// Results that are taken at once before what follows from them is published.
const BATCH: usize = 512;

/// How long changes are gathered after the last ones were published: each makes the view of a whole
/// pool anew.
const GATHER: Duration = Duration::from_millis(10);

/// Keeps the health of all backends current, in a task of its own.
#[derive(Debug)]
pub struct Monitor {
    targets: watch::Sender<Arc<Targets>>,
    observations: watch::Sender<Observation>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    task: JoinHandle<()>,
}

impl Monitor {
    /// Starts. Needs a tokio runtime, and runs checks from its network namespace. The first snapshot is
    /// there at once, of what backends are before anything is known of them; those of `before`, what they
    /// were when last seen, are that instead. `seed` spreads the runs over time.
    pub fn start(probing: impl Probing, targets: Arc<Targets>, before: &Before, seed: u64) -> Self {
        let (publisher, snapshots) = watch::channel(Arc::default());
        let mut runner = Runner::new(probing, publisher, seed);
        runner.follow(&targets, before);
        runner.settle();
        let (targets, wanted) = watch::channel(targets);
        let (observations, observed) = watch::channel(Observation::none(now()));
        Self {
            targets,
            observations,
            snapshots,
            task: tokio::spawn(runner.run(wanted, observed)),
        }
    }

    /// Follows another configuration. What it asks as before goes on as it was.
    pub fn follow(&self, targets: Arc<Targets>) {
        self.targets.send_replace(targets);
    }

    /// Judges backends by what was counted of them, where that counts. Wants to be told once a second.
    pub fn observe(&self, observation: Observation) {
        self.observations.send_replace(observation);
    }

    /// Every change.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// Ends, and with it all runs under way.
    pub async fn stop(self) {
        drop(self.targets);
        if let Err(error) = self.task.await {
            warn!("the health checks ended badly: {error}");
        }
    }
}

/// What to wake for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// A run is due, or overdue.
    Run(u64),
    /// A backend is to be judged anew. Of the configuration of this number.
    Backend(u64, Place),
}

/// A run of this number of this check came to this.
type Report = (u64, u64, Outcome);

struct Runner<P: Probing> {
    probing: P,
    seed: u64,
    checks: HashMap<u64, Check<P::Prepared>>,
    /// The number of the last check.
    last: u64,
    alarms: BinaryHeap<Reverse<(Instant, Alarm)>>,
    backends: Backends,
    /// How often the targets changed.
    generation: u64,
    /// Backends of which something changed since the last snapshot.
    changed: BTreeSet<Place>,
    published: Option<Instant>,
    results: mpsc::UnboundedSender<Report>,
    reports: mpsc::UnboundedReceiver<Report>,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

impl<P: Probing> Runner<P> {
    fn new(probing: P, snapshots: watch::Sender<Arc<Snapshot>>, seed: u64) -> Self {
        let (results, reports) = mpsc::unbounded_channel();
        Self {
            probing,
            seed,
            checks: HashMap::new(),
            last: 0,
            alarms: BinaryHeap::new(),
            backends: Backends::default(),
            generation: 0,
            changed: BTreeSet::new(),
            published: None,
            results,
            reports,
            snapshots,
        }
    }

    async fn run(
        mut self,
        mut targets: watch::Receiver<Arc<Targets>>,
        mut observations: watch::Receiver<Observation>,
    ) {
        let mut reports = Vec::with_capacity(BATCH);
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                changed = targets.changed() => match changed {
                    Ok(()) => {
                        let targets = Arc::clone(&targets.borrow_and_update());
                        self.follow(&targets, &Before::default());
                    }
                    Err(_) => break,
                },
                Ok(()) = observations.changed() => self.observe(&observations.borrow_and_update()),
                _ = self.reports.recv_many(&mut reports, BATCH) => {}
                () = until(due) => {}
            }
            for (check, number, outcome) in reports.drain(..) {
                self.ended(check, number, outcome);
            }
            self.wake();
            self.settle();
        }
    }

    /// When to wake if nothing happens.
    fn due(&self) -> Option<Instant> {
        let alarm = self.alarms.peek().map(|Reverse((due, _))| *due);
        let publish = self.gathered().filter(|_| !self.changed.is_empty());
        alarm.into_iter().chain(publish).min()
    }

    /// When the next snapshot may be published.
    fn gathered(&self) -> Option<Instant> {
        self.published.map(|last| last + GATHER)
    }

    /// Takes over what is asked as before, begins what is new, ends what is gone.
    fn follow(&mut self, targets: &Targets, before: &Before) {
        self.generation += 1;
        let mut known = Known::of(mem::take(&mut self.checks));
        let pasts = before.pasts();
        let mut numbers: HashMap<Run, u64> = HashMap::new();
        let mut backends = mem::take(&mut self.backends);
        backends.follow(targets, |place, member, run| {
            let id = numbers.get(run).copied().unwrap_or_else(|| {
                let was = pasts.get(member).map(|past| past.checked());
                let id = self.adopt(run, was, &mut known);
                numbers.insert(run.clone(), id);
                id
            });
            if let Some(check) = self.checks.get_mut(&id) {
                check.users.push(place);
            }
            id
        });
        let checks = &self.checks;
        backends.begin(|id| opinion(checks, id), &pasts, now(), SystemTime::now());
        self.changed = backends.all();
        self.backends = backends;
        // What nobody asks for any more ends with `known`.
    }

    /// Judges backends by what was counted of them.
    fn observe(&mut self, observation: &Observation) {
        let checks = &self.checks;
        let changed = self.backends.observe(observation, |id| {
            let check = checks.get(&id)?;
            Some(Passes {
                count: check.machine.passes(),
                rise: check.run.pace.rise.get().into(),
            })
        });
        self.changed.extend(changed);
    }

    /// The number of a check that is wanted: the one that there was, or a new one.
    fn adopt(&mut self, run: &Run, was: Option<State>, known: &mut Known<P::Prepared>) -> u64 {
        let prepared = known.prepared.entry(Arc::clone(&run.probe));
        let prepared = prepared.or_insert_with(|| Arc::new(self.probing.prepare(&run.probe)));
        let prepared = Arc::clone(prepared);
        if let Some((id, check)) = known.same.remove(run) {
            self.checks.insert(id, Check { prepared, ..check });
            return id;
        }
        self.last += 1;
        let (seed, now) = (self.seed.wrapping_add(self.last), now());
        let alike = known.alike.get(&(Arc::clone(&run.probe), run.target));
        let machine = match alike {
            Some(&(status, advice)) => Machine::resumed(run.pace, status, advice, seed, now),
            None => before::machine(was, run.pace, seed, now),
        };
        let alarm = Alarm::Run(self.last);
        self.alarms.push(Reverse((machine.deadline(), alarm)));
        let check = Check::new(run.clone(), prepared, machine);
        self.checks.insert(self.last, check);
        self.last
    }

    /// Does what is due.
    fn wake(&mut self) {
        let now = now();
        while let Some(Reverse((due, alarm))) = self.alarms.peek().copied()
            && due <= now
        {
            self.alarms.pop();
            match alarm {
                Alarm::Run(id) => self.step(id, now),
                Alarm::Backend(generation, place) if generation == self.generation => {
                    self.changed.insert(place);
                }
                Alarm::Backend(..) => {}
            }
        }
    }

    /// Starts or ends a run of a check, if it is time; it may be gone.
    fn step(&mut self, id: u64, now: Instant) {
        let Some(check) = self.checks.get_mut(&id) else {
            return;
        };
        match check.machine.wake(now) {
            Due::Nothing => {}
            Due::Start => {
                let run =
                    self.probing
                        .run(Arc::clone(&check.prepared), check.run.target, check.begin());
                let (results, number) = (self.results.clone(), check.number);
                let task = tokio::spawn(async move {
                    let outcome = run.await;
                    // Nobody wants it if the runner is gone.
                    drop(results.send((id, number, outcome)));
                });
                check.under_way = Some(UnderWay {
                    task: task.abort_handle(),
                    began: now,
                });
                let due = check.machine.deadline();
                self.alarms.push(Reverse((due, Alarm::Run(id))));
            }
            Due::Missed => {
                let words = "this host was too busy to wait for it".to_owned();
                let number = check.number;
                self.ended(id, number, Outcome::Unknown(Unknown::Local(words)));
            }
            Due::Overdue => {
                let timeout = check.run.pace.timeout;
                let phase = check.progress.phase();
                let number = check.number;
                let outcome = Outcome::Failed(Failure::TimedOut(phase, timeout));
                self.ended(id, number, outcome);
            }
        }
    }

    /// Takes what a run came to, unless it was ended before.
    fn ended(&mut self, id: u64, number: u64, outcome: Outcome) {
        let now = now();
        let Some(check) = self.checks.get_mut(&id).filter(|c| c.number == number) else {
            return;
        };
        let Some(run) = check.under_way.take() else {
            return;
        };
        let outcome = outcome.of(&check.run.probe);
        check.counts.add(&outcome, now - run.began);
        check.tell_unable(&outcome);
        let advice = check.machine.advice();
        let transition = check.machine.ended(&outcome, now);
        let due = check.machine.deadline();
        self.alarms.push(Reverse((due, Alarm::Run(id))));
        if transition.is_none() && advice == check.machine.advice() {
            return;
        }
        if let Some(Transition { cause, .. }) = transition {
            check.cause = Some(cause.of(&check.run.target));
        }
        for place in check.users.clone() {
            self.backends.because(place, id);
            self.changed.insert(place);
        }
    }

    /// Judges the backends of which something changed, says what happened to them, and publishes it.
    fn settle(&mut self) {
        let (now, wall) = (now(), SystemTime::now());
        if self.changed.is_empty() || self.gathered().is_some_and(|due| now < due) {
            return;
        }
        self.published = Some(now);
        let checks = &self.checks;
        for &place in &self.changed {
            let judged = self.backends.judge(place, now, wall, |id| {
                let check = checks.get(&id)?;
                Some((opinion(checks, id), check.cause.as_deref()))
            });
            judged.lines.iter().for_each(tell);
            if let Some(due) = judged.deadline {
                let alarm = Alarm::Backend(self.generation, place);
                self.alarms.push(Reverse((due, alarm)));
            }
        }
        let view = |id| checks.get(&id).map(Check::view);
        let changed = mem::take(&mut self.changed);
        let (snapshot, lines) = self.backends.publish(&changed, now, wall, view);
        lines.iter().for_each(tell);
        self.snapshots.send_replace(Arc::new(snapshot));
    }
}

fn tell(line: &Line) {
    match line {
        Line::Info(text) => info!("{text}"),
        Line::Warn(text) => warn!("{text}"),
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
}

/// The runtime's clock, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
