//! What health and operators make of each backend over time: whether it takes new flows, with which weight, and whether
//! its flows are still its own. Those of one that is down are for a while where `on_down = "keep"` says so; those of one
//! that is drained, until a deadline, if there is one. Who of several tiers takes new flows is `contenders`' to say.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_common::abi::Fate;

use crate::{
    health::{MemberView, Mode, PoolView, Snapshot},
    model::{Family, Initial, Pool, Weight},
    overrides::Overrides,
    unix_time::unix_seconds,
};

/// What a backend, at its address of a family, is to services of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether its flows are its own.
    pub(super) keeps: bool,
    /// Whether it takes new ones.
    pub(super) takes: bool,
    /// Its share of those.
    pub(super) weight: Weight,
    /// What becomes of its flows, if an operator's deadline has come.
    pub(super) fate: Option<Fate>,
}

/// What is known of all pools' health, and what operators say.
#[derive(Clone, Debug, Default)]
pub struct Standings {
    pools: BTreeMap<String, Known>,
    overrides: Overrides,
    /// The time of that, in seconds since 1970.
    unix: u64,
}

/// The time, by two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    /// For how long something has been so.
    pub now: Instant,
    /// Seconds since 1970, for deadlines.
    pub unix: u64,
}

#[derive(Clone, Debug, Default)]
struct Known {
    view: Arc<PoolView>,
    down: BTreeMap<Reach, Down>,
}

/// The family of services, a backend, and the family of its address.
type Reach = (Family, String, Family);

/// A backend that is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Down {
    Since(Instant),
    /// For longer than its flows are kept.
    Over,
}

impl Standings {
    /// Takes note of what health and operators say now; `grace` is how long the flows of a pool's backends stay with
    /// one that is down.
    pub fn follow(
        &mut self,
        snapshot: &Snapshot,
        overrides: &Overrides,
        grace: impl Fn(&str) -> Duration,
        Time { now, unix }: Time,
    ) {
        if self.overrides != *overrides {
            self.overrides = overrides.clone();
        }
        self.unix = unix;
        self.pools
            .retain(|name, _| snapshot.pools.contains_key(name));
        for (name, view) in &snapshot.pools {
            let first = !self.pools.contains_key(name);
            let known = self.pools.entry(name.clone()).or_default();
            if !Arc::ptr_eq(&known.view, view) {
                let since = |member: &MemberView| match first {
                    // It may have been so before this agent was.
                    true => {
                        let ago = unix.saturating_sub(unix_seconds(member.since));
                        let since = now.checked_sub(Duration::from_secs(ago));
                        since.map_or(Down::Over, Down::Since)
                    }
                    false => Down::Since(now),
                };
                known.follow(view, since);
            }
            if known.keeps_for_a_while() {
                let grace = grace(name);
                let down = known.down.values_mut();
                down.filter(|down| down.is_over(grace, now))
                    .for_each(|down| *down = Down::Over);
            }
        }
    }

    /// Whether a backend is due to lose its flows.
    pub fn is_due(&self, grace: impl Fn(&str) -> Duration, Time { now, unix }: Time) -> bool {
        if self.overrides.is_due(self.unix, unix) {
            return true;
        }
        let mut pools = self
            .pools
            .iter()
            .filter(|(_, known)| known.keeps_for_a_while());
        pools.any(|(name, known)| {
            let grace = grace(name);
            let mut down = known.down.values();
            down.any(|down| *down != Down::Over && down.is_over(grace, now))
        })
    }

    /// What a pool's backend, by its index and the family of its address, is to services of a family. One that
    /// nothing is known of yet is what its checks begin as.
    pub(super) fn of(&self, pool: &Pool, n: usize, address: Family, services: Family) -> Standing {
        let backend = &pool.backends[n];
        let said = (pool.name.as_str(), backend.name.as_str());
        let weight = self.overrides.weight(said.0, said.1, backend.weight);
        let fate = self.overrides.fate(said.0, said.1, self.unix);
        let known = self.pools.get(&pool.name);
        let key = (backend.name.clone(), address);
        let Some((known, member)) = known.and_then(|k| Some((k, k.view.members.get(&key)?))) else {
            let is_up = |initial| matches!(initial, Initial::Up | Initial::FullyUp);
            let up = pool.checks.iter().all(|check| is_up(check.pace.initial));
            return Standing {
                keeps: up && fate.is_none(),
                takes: up,
                weight,
                fate,
            };
        };
        let mode = known.mode(services);
        let reach = (services, key.0, key.1);
        Standing {
            keeps: known.down.get(&reach) != Some(&Down::Over) && fate.is_none(),
            takes: mode.uses(member.state),
            weight: member.weight_of(weight),
            fate,
        }
    }

    /// Whether fewer of a pool's backends are up than services of a family need, so that none is used.
    pub(super) fn has_too_few(&self, pool: &Pool, services: Family) -> bool {
        let known = self.pools.get(&pool.name);
        known.is_some_and(|known| matches!(known.mode(services), Mode::BelowMinimum(_)))
    }
}

impl Known {
    fn mode(&self, services: Family) -> Mode {
        let mode = self.view.modes.get(&services);
        mode.copied().unwrap_or(Mode::Normal)
    }

    /// Whether any backend is down that may still have its flows.
    fn keeps_for_a_while(&self) -> bool {
        self.down.values().any(|down| *down != Down::Over)
    }

    /// Follows another view; `since` says of one that goes down since when it is.
    fn follow(&mut self, view: &Arc<PoolView>, since: impl Fn(&MemberView) -> Down) {
        let mut before = std::mem::take(&mut self.down);
        self.view = Arc::clone(view);
        for ((backend, address), member) in &view.members {
            for services in Family::ALL {
                if self.mode(services).keeps(member.state) {
                    continue;
                }
                let reach = (services, backend.clone(), *address);
                let down = before.remove(&reach).unwrap_or_else(|| since(member));
                self.down.insert(reach, down);
            }
        }
    }
}

impl Down {
    fn is_over(self, grace: Duration, now: Instant) -> bool {
        match self {
            Self::Since(since) => now.saturating_duration_since(since) >= grace,
            Self::Over => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        health::{State, Tally, testing},
        model::Forward,
        overrides::{Change, Drain, Then},
        state::fixtures::{backend, pool},
    };

    const GRACE: Duration = Duration::from_secs(30);

    fn at(now: Instant) -> Time {
        Time {
            now,
            unix: testing::SINCE,
        }
    }

    fn web() -> Pool {
        let backends = vec![
            backend("a", 100, &["198.18.1.11"]),
            backend("b", 50, &["198.18.1.12"]),
        ];
        pool("web", Forward::Dsr, &[], backends)
    }

    fn snapshot(mode: Mode, states: [State; 2]) -> Snapshot {
        testing::snapshot("web", mode, &[("a", states[0]), ("b", states[1])])
    }

    /// Of both backends: whether it keeps, and whether it takes flows.
    fn standings(standings: &Standings, pool: &Pool) -> [(bool, bool); 2] {
        [0, 1].map(|n| {
            let standing = standings.of(pool, n, Family::Ipv4, Family::Ipv4);
            (standing.keeps, standing.takes)
        })
    }

    #[test]
    fn one_that_is_down_takes_nothing_and_keeps_its_flows_for_the_grace() {
        let (pool, mut known, start) = (web(), Standings::default(), Instant::now());
        let none = Overrides::default();
        let grace = |_: &str| GRACE;
        known.follow(
            &snapshot(Mode::Normal, [State::Up, State::Down]),
            &none,
            grace,
            at(start),
        );
        assert_eq!(standings(&known, &pool), [(true, true), (true, false)]);
        assert!(
            !known.is_due(grace, at(start + GRACE / 2)) && known.is_due(grace, at(start + GRACE))
        );
        // Still down, by another view of the same.
        let end = start + GRACE;
        known.follow(
            &snapshot(Mode::Normal, [State::Up, State::Held]),
            &none,
            grace,
            at(end),
        );
        assert_eq!(standings(&known, &pool), [(true, true), (false, false)]);
        assert!(!known.is_due(grace, at(end + GRACE)), "once is enough");
        known.follow(
            &snapshot(Mode::Normal, [State::Up, State::Up]),
            &none,
            grace,
            at(end),
        );
        assert_eq!(standings(&known, &pool), [(true, true); 2]);
        known.follow(
            &snapshot(Mode::Normal, [State::Up, State::Down]),
            &none,
            |_| Duration::ZERO,
            at(end),
        );
        assert_eq!(standings(&known, &pool), [(true, true), (false, false)]);
    }

    #[test]
    fn what_was_down_before_this_agent_was_is_down_for_that_long() {
        let (pool, none, now) = (web(), Overrides::default(), Instant::now());
        let grace = |_: &str| GRACE;
        let down = snapshot(Mode::Normal, [State::Up, State::Down]);
        for (ago, keeps) in [(10, true), (30, false), (u64::MAX - testing::SINCE, false)] {
            let mut known = Standings::default();
            let unix = testing::SINCE + ago;
            known.follow(&down, &none, grace, Time { now, unix });
            assert_eq!(standings(&known, &pool)[1].0, keeps, "{ago} s");
        }
    }

    #[test]
    fn health_is_disregarded_in_panic_and_nobody_is_used_below_the_minimum() {
        let (pool, mut known, now) = (web(), Standings::default(), at(Instant::now()));
        let none = Overrides::default();
        let tally = Tally { up: 1, of: 2 };
        let states = [State::Up, State::Down];
        let grace = |_: &str| Duration::ZERO;
        known.follow(&snapshot(Mode::Panic(tally), states), &none, grace, now);
        assert_eq!(standings(&known, &pool), [(true, true); 2]);
        assert!(!known.has_too_few(&pool, Family::Ipv4));
        known.follow(
            &snapshot(Mode::BelowMinimum(tally), states),
            &none,
            grace,
            now,
        );
        assert_eq!(standings(&known, &pool), [(true, false), (false, false)]);
        assert!(known.has_too_few(&pool, Family::Ipv4));
    }

    #[test]
    fn one_that_is_not_known_yet_is_what_its_checks_begin_as() {
        let (mut pool, known) = (web(), Standings::default());
        assert_eq!(standings(&known, &pool), [(true, true); 2]);
        pool.checks = vec![
            testing::check(Initial::FullyUp),
            testing::check(Initial::Down),
        ];
        assert_eq!(standings(&known, &pool), [(false, false); 2]);
        pool.checks.pop();
        assert_eq!(standings(&known, &pool), [(true, true); 2]);
    }

    #[test]
    fn one_that_is_drained_keeps_its_flows_until_the_deadline() {
        let (pool, mut known) = (web(), Standings::default());
        let (mut overrides, grace) = (Overrides::default(), |_: &str| Duration::ZERO);
        let drain = Drain {
            since_unix_seconds: 100,
            deadline_unix_seconds: Some(110),
            then: Then::Reset,
        };
        overrides.change("web", "a", Change::Drain(drain));
        let health = snapshot(Mode::Normal, [State::Up, State::Up]);
        let mut time = at(Instant::now());
        known.follow(&health, &overrides, grace, time);
        let first = |known: &Standings| known.of(&pool, 0, Family::Ipv4, Family::Ipv4);
        let expected = Standing {
            keeps: true,
            takes: true,
            weight: Weight::ZERO,
            fate: None,
        };
        assert_eq!(first(&known), expected);
        time.unix = 110;
        assert!(known.is_due(grace, time));
        known.follow(&health, &overrides, grace, time);
        assert!(!known.is_due(grace, time), "once is enough");
        let ended = Standing {
            keeps: false,
            fate: Some(Fate::Reset),
            ..expected
        };
        assert_eq!(first(&known), ended);
    }
}
