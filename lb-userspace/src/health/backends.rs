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
    advice::Advice,
    before::Past,
    history::{Entry, History},
    machine::Status,
    member::{Event, Member, Opinion, State},
    observation::Observation,
    passive::Passive,
    pool::{Candidate, Mode, Tally, mode},
    snapshot::{CheckView, MemberView, PassiveView, PoolView, Snapshot},
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
    /// What its clients' connections say of it, if that counts.
    passive: Option<Passive>,
    /// How often each of its checks had passed when it went down for that.
    passes: BTreeMap<u64, u64>,
    history: History,
    since: Option<SystemTime>,
    /// What changed last.
    because: Option<Because>,
    view: Option<Arc<MemberView>>,
}

/// What may change what a backend is.
#[derive(Clone, Copy, Debug)]
enum Because {
    /// A check, by number.
    Check(u64),
    /// What its clients' connections come to.
    Passive,
}

/// How often a check has passed, and how often it must to make its targets up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passes {
    pub(super) count: u64,
    pub(super) rise: u64,
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
        before: &BTreeMap<&MemberId, Past<'_>>,
        now: Instant,
        wall: SystemTime,
    ) {
        let members = self.pools.iter_mut().flat_map(|pool| &mut pool.members);
        for state in members.filter(|state| state.member.is_none()) {
            let was = before.get(&state.id);
            if let (Some(passive), Some(was)) = (&mut state.passive, was) {
                *passive = was.passive(now, wall);
            }
            let opinions = state.checks.iter().map(|id| opinion(*id));
            let opinions: Vec<_> = opinions.chain(state.opinion()).collect();
            let member = Member::new(&opinions);
            let is_up = |state| state == State::Up;
            let same = was.filter(|was| is_up(was.state()) == is_up(member.state()));
            state.since = state.since.or(same.map(|was| was.since()));
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
            state.because = Some(Because::Check(check));
        }
    }

    /// Takes note of what was counted of backends; `passes` says how often a check has passed. Those that are
    /// otherwise than before.
    pub(super) fn observe(
        &mut self,
        observation: &Observation,
        passes: impl Fn(u64) -> Option<Passes>,
    ) -> BTreeSet<Place> {
        let mut changed = BTreeSet::new();
        for (n, pool) in self.pools.iter_mut().enumerate() {
            for (m, state) in pool.members.iter_mut().enumerate() {
                if state.observe(observation, &passes) {
                    changed.insert(Place { pool: n, member: m });
                }
            }
        }
        changed
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
        let asked = |member: &MemberState| !member.checks.is_empty() || member.passive.is_some();
        let checked = self.members.iter().any(asked);
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
        let (mut passive, mut passes) = (None, BTreeMap::new());
        let last = last.map(|last| {
            (passive, passes) = (last.passive.filter(|_| same), last.passes);
            (last.member.filter(|_| same), last.history, last.since)
        });
        let (member, history, since) = last.unwrap_or_default();
        let passive = pool.health.passive.then(|| passive.unwrap_or_default());
        Self {
            id,
            address: wanted.address,
            configured: wanted.weight,
            priority: wanted.priority,
            checks: Vec::new(),
            member,
            passive,
            passes,
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
        let passive = self.passive.as_ref();
        let opinions = looks.iter().map(|(opinion, _)| *opinion);
        let opinions: Vec<_> = opinions.chain(passive.map(opinion)).collect();
        let last = member.state();
        let events = member.judge(&opinions, settings, now);
        let (state, held) = (member.state(), member.held_until());
        let deadline = member.deadline(settings, now);
        if state != last {
            self.since = Some(wall);
        }
        let down = looks.iter().find(|(o, _)| o.status == Status::Down);
        let fails = passive.and_then(|passive| Some(passive.hold()?.cause.as_str()));
        let returned = passive.and_then(back_after);
        let why = Why {
            down: down.and_then(|(_, cause)| *cause).or(fails),
            up: match self.because {
                Some(Because::Check(id)) => look(id).and_then(|(_, cause)| cause),
                Some(Because::Passive) => returned.as_deref(),
                None => None,
            },
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
            passive: self.passive.as_ref().map(|p| passive_view(p, now, wall)),
            history: self.history.entries().cloned().collect(),
        }));
    }

    /// What its clients' connections say of it, if that counts.
    fn opinion(&self) -> Option<Opinion> {
        self.passive.as_ref().map(opinion)
    }

    /// Takes note of what was counted of it; whether it is otherwise than before.
    fn observe(
        &mut self,
        observation: &Observation,
        passes: impl Fn(u64) -> Option<Passes>,
    ) -> bool {
        let Some(sample) = observation.of(&self.id) else {
            return false;
        };
        let Some(passive) = &mut self.passive else {
            return false;
        };
        let checks = || {
            self.checks
                .iter()
                .filter_map(|id| Some((*id, passes(*id)?)))
        };
        let passed = checks().all(|(id, Passes { count, rise })| {
            let before = self.passes.get(&id).copied().unwrap_or(0);
            count >= before + rise
        });
        if !passive.look(sample, passed) {
            return false;
        }
        self.passes = checks().map(|(id, passes)| (id, passes.count)).collect();
        self.because = Some(Because::Passive);
        true
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

fn opinion(passive: &Passive) -> Opinion {
    Opinion {
        status: passive.status(),
        advice: Advice::NONE,
    }
}

/// In words, that it is tried again.
fn back_after(passive: &Passive) -> Option<String> {
    let time = format_duration(rounded(passive.came_back_after()?));
    Some(format!("it gets new flows again after {time}"))
}

fn passive_view(passive: &Passive, now: Instant, wall: SystemTime) -> PassiveView {
    match passive.hold() {
        None => PassiveView::Up,
        Some(hold) => PassiveView::Down {
            cause: hold.cause.clone(),
            hold: hold.length,
            until: wall + hold.until.saturating_duration_since(now),
        },
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
            Event::Up => format!(
                "is up: {}",
                self.up.unwrap_or("nothing speaks against it any more")
            ),
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
