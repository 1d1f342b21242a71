//! All backends of all pools, as far as their health goes: joins what checks say (`member`, `pool`) with
//! names, and makes views and words of it. No I/O; whoever calls has the clock and the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use humantime::format_duration;

use super::{
    history::{Entry, History},
    machine::Status,
    member::{Event, Member, Opinion, State},
    pool::{Candidate, Mode, Tally, mode},
    snapshot::{CheckView, MemberView, PoolView, Snapshot},
    targets::{MemberId, MemberTargets, PoolTargets, Run, Targets},
};
use crate::model::{BackendAddress, Family, Health, Weight};

/// A backend at one address, by its indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pool: usize,
    member: usize,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// An operator may want to know.
    Info(String),
    /// An operator should act.
    Warn(String),
}

/// What came of judging a backend.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) lines: Vec<Line>,
    /// When to judge it again though nothing happens.
    pub(super) deadline: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Backends {
    pools: Vec<PoolState>,
}

#[derive(Debug)]
struct PoolState {
    name: String,
    health: Health,
    groups: BTreeMap<Family, Vec<usize>>,
    modes: BTreeMap<Family, Mode>,
    members: Vec<MemberState>,
    view: Arc<PoolView>,
}

#[derive(Debug)]
struct MemberState {
    id: MemberId,
    address: BackendAddress,
    configured: Weight,
    priority: u8,
    /// Its checks, by number.
    checks: Vec<u64>,
    /// `None` until its checks are known.
    member: Option<Member>,
    history: History,
    since: Option<SystemTime>,
    /// The check that changed last.
    because: Option<u64>,
    view: Option<Arc<MemberView>>,
}

impl Backends {
    /// Follows other targets: `number` gives each run its number. What is told of backends goes on by
    /// their names, and what they are, where their addresses are the same.
    pub(super) fn follow(
        &mut self,
        targets: &Targets,
        mut number: impl FnMut(Place, &MemberId, &Run) -> u64,
    ) {
        let mut known: BTreeMap<MemberId, MemberState> = BTreeMap::new();
        let mut modes: BTreeMap<String, BTreeMap<Family, Mode>> = BTreeMap::new();
        for pool in mem::take(&mut self.pools) {
            modes.insert(pool.name, pool.modes);
            known.extend(pool.members.into_iter().map(|m| (m.id.clone(), m)));
        }
        for (n, pool) in targets.pools.iter().enumerate() {
            let members = pool.members.iter().enumerate().map(|(m, wanted)| {
                let place = Place { pool: n, member: m };
                let mut member = MemberState::of(pool, wanted, &mut known);
                let runs = wanted.runs.iter();
                member.checks = runs.map(|run| number(place, &member.id, run)).collect();
                member
            });
            let members = members.collect();
            self.pools.push(PoolState {
                name: pool.name.clone(),
                health: pool.health.clone(),
                groups: pool.groups.clone(),
                modes: modes.remove(&pool.name).unwrap_or_default(),
                members,
                view: Arc::default(),
            });
        }
    }

    /// Makes those that are new what their checks say, since when they were so `before`.
    pub(super) fn begin(
        &mut self,
        opinion: impl Fn(u64) -> Opinion,
        before: &BTreeMap<&MemberId, (State, SystemTime)>,
    ) {
        let members = self.pools.iter_mut().flat_map(|pool| &mut pool.members);
        for state in members.filter(|state| state.member.is_none()) {
            let opinions: Vec<_> = state.checks.iter().map(|id| opinion(*id)).collect();
            let member = Member::new(&opinions);
            let was = before.get(&state.id);
            let same = was.filter(|(was, _)| (*was == State::Up) == (member.state() == State::Up));
            state.since = state.since.or(same.map(|(_, since)| *since));
            state.member = Some(member);
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeSet<Place> {
        let pools = self.pools.iter().enumerate();
        let places = pools.flat_map(|(pool, state)| {
            (0..state.members.len()).map(move |member| Place { pool, member })
        });
        places.collect()
    }

    /// Takes note of the check by which something changed.
    pub(super) fn because(&mut self, place: Place, check: u64) {
        if let Some(state) = self.state(place) {
            state.because = Some(check);
        }
    }

    fn state(&mut self, place: Place) -> Option<&mut MemberState> {
        self.pools
            .get_mut(place.pool)?
            .members
            .get_mut(place.member)
    }

    /// What became of a backend; `look` says what a check says, and why.
    pub(super) fn judge<'a>(
        &mut self,
        place: Place,
        now: Instant,
        wall: SystemTime,
        look: impl Fn(u64) -> Option<(Opinion, Option<&'a str>)>,
    ) -> Judged {
        let Some(pool) = self.pools.get_mut(place.pool) else {
            return Judged::default();
        };
        let Some(state) = pool.members.get_mut(place.member) else {
            return Judged::default();
        };
        state.judge(&pool.health, now, wall, look)
    }

    /// The snapshot after these have changed, and what is to be said of their pools.
    pub(super) fn publish(
        &mut self,
        changed: &BTreeSet<Place>,
        now: Instant,
        wall: SystemTime,
        check: impl Fn(u64) -> Option<CheckView>,
    ) -> (Snapshot, Vec<Line>) {
        let mut lines = Vec::new();
        for place in changed {
            let Some(pool) = self.pools.get_mut(place.pool) else {
                continue;
            };
            if let Some(state) = pool.members.get_mut(place.member) {
                state.look(&pool.health, now, wall, &check);
            }
        }
        let pools: BTreeSet<usize> = changed.iter().map(|place| place.pool).collect();
        for n in pools {
            if let Some(pool) = self.pools.get_mut(n) {
                lines.extend(pool.take_stock());
            }
        }
        let views = self.pools.iter();
        let views = views.map(|pool| (pool.name.clone(), Arc::clone(&pool.view)));
        let pools = views.collect();
        (Snapshot { pools }, lines)
    }
}

impl PoolState {
    /// How its health is taken now, and its view.
    fn take_stock(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        // Without checks nothing is known of anybody.
        let checked = self.members.iter().any(|member| !member.checks.is_empty());
        for (family, group) in &self.groups {
            let members = group.iter().filter_map(|n| self.members.get(*n));
            let candidates: Vec<Candidate> = members.filter_map(MemberState::candidate).collect();
            let next = match checked {
                true => mode(&candidates, &self.health),
                false => Mode::Normal,
            };
            let last = self.modes.insert(*family, next).unwrap_or(Mode::Normal);
            if next.differs(last) {
                lines.push(mode_line(&self.name, *family, next, &self.health));
            }
        }
        let groups = &self.groups;
        self.modes.retain(|family, _| groups.contains_key(family));
        let members = self.members.iter().filter_map(|state| {
            let key = (state.id.backend.clone(), state.id.family);
            Some((key, Arc::clone(state.view.as_ref()?)))
        });
        self.view = Arc::new(PoolView {
            modes: self.modes.clone(),
            members: members.collect(),
        });
        lines
    }
}

fn mode_line(pool: &str, family: Family, mode: Mode, settings: &Health) -> Line {
    match mode {
        Mode::Normal => Line::Info(format!(
            "pool {pool}: enough backends are up for {family} services, health is heeded again"
        )),
        Mode::Panic(Tally { up, of }) => Line::Warn(format!(
            "pool {pool}: {up} of {of} backends up for {family} services, below the panic threshold \
             of {}%: health is disregarded, all are used",
            settings.panic_threshold
        )),
        Mode::BelowMinimum(Tally { up, of }) => Line::Warn(format!(
            "pool {pool}: {up} of {of} backends up for {family} services, fewer than `min_healthy`, {}: \
             none is used",
            settings.min_healthy
        )),
    }
}

impl MemberState {
    fn of(
        pool: &PoolTargets,
        wanted: &MemberTargets,
        known: &mut BTreeMap<MemberId, Self>,
    ) -> Self {
        let id = MemberId {
            pool: pool.name.clone(),
            backend: wanted.backend.clone(),
            family: wanted.family(),
        };
        let last = known.remove(&id);
        let same = last
            .as_ref()
            .is_some_and(|last| last.address == wanted.address);
        let last = last.map(|last| (last.member.filter(|_| same), last.history, last.since));
        let (member, history, since) = last.unwrap_or_default();
        Self {
            id,
            address: wanted.address,
            configured: wanted.weight,
            priority: wanted.priority,
            checks: Vec::new(),
            member,
            history,
            since,
            because: None,
            view: None,
        }
    }

    fn judge<'a>(
        &mut self,
        settings: &Health,
        now: Instant,
        wall: SystemTime,
        look: impl Fn(u64) -> Option<(Opinion, Option<&'a str>)>,
    ) -> Judged {
        let Some(member) = &mut self.member else {
            return Judged::default();
        };
        let looks: Vec<_> = self.checks.iter().filter_map(|id| look(*id)).collect();
        let opinions: Vec<_> = looks.iter().map(|(opinion, _)| *opinion).collect();
        let last = member.state();
        let events = member.judge(&opinions, settings, now);
        let (state, held) = (member.state(), member.held_until());
        let deadline = member.deadline(settings, now);
        if state != last {
            self.since = Some(wall);
        }
        let down = looks.iter().find(|(o, _)| o.status == Status::Down);
        let why = Why {
            down: down.and_then(|(_, cause)| *cause),
            up: self.because.and_then(&look).and_then(|(_, cause)| cause),
            held: held.map(|until| until.saturating_duration_since(now)),
        };
        let lines = events.into_iter().map(|event| {
            let text = why.words(event);
            let line = format!(
                "pool {}: backend {} ({}) {text}",
                self.id.pool, self.id.backend, self.address
            );
            self.history.record(Entry {
                at: wall,
                state: state.to_string(),
                text,
            });
            Line::Info(line)
        });
        let lines = lines.collect();
        Judged { lines, deadline }
    }

    /// Makes its view anew.
    fn look(
        &mut self,
        settings: &Health,
        now: Instant,
        wall: SystemTime,
        check: impl Fn(u64) -> Option<CheckView>,
    ) {
        let Some(member) = &self.member else {
            return;
        };
        self.view = Some(Arc::new(MemberView {
            state: member.state(),
            since: *self.since.get_or_insert(wall),
            advice: member.advice(),
            slow_start: member.step(settings, now),
            checks: self.checks.iter().filter_map(|id| check(*id)).collect(),
            history: self.history.entries().cloned().collect(),
        }));
    }

    fn candidate(&self) -> Option<Candidate> {
        let member = self.member.as_ref()?;
        Some(Candidate {
            state: member.state(),
            weight: member.advice().of(self.configured),
            priority: self.priority,
        })
    }
}

/// Why something happened to a backend.
struct Why<'a> {
    /// What its first check that is down says.
    down: Option<&'a str>,
    /// What its check that changed last says.
    up: Option<&'a str>,
    /// For how long it is held down.
    held: Option<Duration>,
}

impl Why<'_> {
    fn words(&self, event: Event) -> String {
        let down = self.down.unwrap_or("a check is down");
        let held = format_duration(rounded(self.held.unwrap_or_default()));
        match event {
            Event::Up => format!("is up: {}", self.up.unwrap_or("its checks are up")),
            Event::Down => format!("is down: {down}"),
            Event::Flapping(times) => {
                format!("is down, {times} times lately, and held down for {held} at least: {down}")
            }
            Event::Held => format!("answers, but is held down for another {held}"),
            Event::Released => "is up: it was held down for long enough".to_owned(),
            Event::Advised(advice) => format!("is told by its agent: {advice}"),
        }
    }
}

/// Whole seconds, for words.
fn rounded(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}
