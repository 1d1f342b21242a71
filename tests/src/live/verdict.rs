//! What broke: each connection's life held against what may happen to it.
//!
//! A connection counts unless its backend was killed. One that was never answered counts unless a
//! backend was killed while it was open: it may have been that one's.

use std::{collections::BTreeMap, time::Duration};

use super::messages::{Connection, End, Outcome, Wait};

/// A stall up to this is none, whatever the controls do.
const TOLERATED: Duration = Duration::from_secs(1);
/// How many broken connections are told of one by one.
const TOLD: usize = 10;

/// A backend's death.
#[derive(Clone, Debug)]
pub(crate) struct Death {
    /// Its name.
    pub(crate) name: String,
    /// When it came, by [`super::clock`].
    pub(crate) at: Duration,
}

/// What broke, in numbers.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Connections that count.
    pub counted: usize,
    /// Connections that don't, since their backend was killed.
    pub lost: usize,
    /// Answers to connections that count.
    pub answers: u64,
    /// Connections that count, by their backend.
    pub shares: BTreeMap<String, usize>,
    /// Connections that were reset.
    pub resets: usize,
    /// Connections that another backend answered, too.
    pub strays: usize,
    /// Connections with an answer to something that was not asked, or twice.
    pub misnumbered: usize,
    /// Connections that never opened.
    pub unopened: usize,
    /// Connections that ended in another way, or fell silent.
    pub ended: usize,
    /// Connections with a longer wait than `limit`.
    pub stalled: usize,
    /// The longest wait of all that count, and when it began.
    pub longest: (Duration, Duration),
    /// The wait that one in a hundred connections exceeded.
    pub percentile99: Duration,
    /// The longest wait of the controls, and when it began.
    pub control: (Duration, Duration),
    /// The wait from which on a connection is stalled.
    pub limit: Duration,
    /// In a flood: connections that began in it, and how many of those broke. They count nowhere else.
    pub late: (usize, usize),
    /// Whether the wire was full of others' packets, so that a wait says nothing.
    pub flooded: bool,
    /// Controls that did not live to the end: then the measure itself is broken.
    pub controls_broken: usize,
    /// Some of what is wrong, connection by connection.
    pub told: Vec<String>,
}

impl Verdict {
    /// Judges what the client found. `start` is when the run's times begin, `flood` when a flood did.
    pub(crate) fn on(
        outcome: &Outcome,
        deaths: &[Death],
        start: Duration,
        flood: Option<Duration>,
    ) -> Self {
        let control = longest(&outcome.controls);
        let told = |wait: Wait| (wait.took, wait.since.saturating_sub(start));
        let mut verdict = Self {
            control: told(control),
            limit: control.took.max(TOLERATED),
            flooded: flood.is_some(),
            ..Self::default()
        };
        let (lost, counted): (Vec<_>, Vec<_>) = outcome
            .connections
            .iter()
            .partition(|connection| is_lost(connection, deaths));
        let (late, counted): (Vec<_>, Vec<_>) = counted
            .into_iter()
            .partition(|connection| is_late(connection, flood));
        (verdict.lost, verdict.counted) = (lost.len(), counted.len());
        let broken = |connection: &&&Connection| is_broken(connection);
        verdict.late = (late.len(), late.iter().filter(broken).count());
        verdict.controls_broken = outcome
            .controls
            .iter()
            .filter(|control| control.end != End::Alive || control.misnumbered > 0)
            .count();
        for connection in &counted {
            verdict.count(connection, start);
        }
        let mut waits: Vec<_> = counted.iter().map(|c| c.longest.took).collect();
        waits.sort_unstable();
        verdict.longest = told(longest(counted.iter().copied()));
        let one_in_a_hundred = waits.len().saturating_sub(waits.len() / 100 + 1);
        verdict.percentile99 = waits.get(one_in_a_hundred).copied().unwrap_or_default();
        verdict
    }

    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.problems().is_empty()
    }

    /// All that is wrong.
    pub fn problems(&self) -> Vec<String> {
        let counts = [
            (self.resets, "reset"),
            (self.strays, "answered by another backend than at first"),
            (self.misnumbered, "answered twice, or not what was asked"),
            (self.unopened, "never open"),
            (self.ended, "ended or silent"),
            (
                if self.flooded { 0 } else { self.stalled },
                "stalled for too long",
            ),
            (
                self.controls_broken,
                "broken beside Sluice: the measure itself",
            ),
        ];
        let wrong = counts.into_iter().filter(|(count, _)| *count > 0);
        let mut problems: Vec<_> = wrong
            .map(|(count, what)| format!("{count} connections {what}"))
            .collect();
        if self.answers == 0 {
            problems.push("no answer at all".to_owned());
        }
        problems
    }

    fn count(&mut self, connection: &Connection, start: Duration) {
        self.answers += connection.answers;
        if let Some(backend) = &connection.backend {
            *self.shares.entry(backend.clone()).or_default() += 1;
        }
        let end = match &connection.end {
            End::Alive => None,
            End::Reset => Some((&mut self.resets, "reset".to_owned())),
            End::NotOpened(why) => Some((&mut self.unopened, format!("never open: {why}"))),
            End::Closed => Some((&mut self.ended, "closed".to_owned())),
            End::Silent => Some((&mut self.ended, "silent".to_owned())),
            End::Failed(why) => Some((&mut self.ended, why.clone())),
        };
        let mut wrong = Vec::new();
        if let Some((counter, what)) = end {
            *counter += 1;
            wrong.push(format!("{what} at {}", seconds(connection.ended, start)));
        }
        if !connection.strays.is_empty() {
            self.strays += 1;
            wrong.push(format!("answered by {:?}, too", connection.strays));
        }
        if connection.misnumbered > 0 {
            self.misnumbered += 1;
            wrong.push(format!("{} answers misnumbered", connection.misnumbered));
        }
        let Wait { took, since } = connection.longest;
        if took > self.limit {
            self.stalled += 1;
            let since = seconds(since, start);
            wrong.push(format!(
                "waited {:.3} s from {since} on",
                took.as_secs_f64()
            ));
        }
        if !wrong.is_empty() && self.told.len() < TOLD {
            let (number, backend) = (connection.number, connection.backend.as_deref());
            self.told.push(format!(
                "connection {number} (IPv{}) of {}, open {}: {}",
                if number.is_multiple_of(2) { 4 } else { 6 },
                backend.unwrap_or("nobody"),
                connection.opened.map_or("never".to_owned(), |at| format!(
                    "at {}",
                    seconds(at, start)
                )),
                wrong.join("; ")
            ));
        }
    }
}

fn is_lost(connection: &Connection, deaths: &[Death]) -> bool {
    match (&connection.backend, connection.opened) {
        (Some(backend), _) => deaths.iter().any(|death| death.name == *backend),
        (None, Some(opened)) => deaths
            .iter()
            .any(|death| opened <= death.at && death.at <= connection.ended),
        (None, None) => false,
    }
}

/// Whether it began, or should have, when the flood had.
fn is_late(connection: &Connection, flood: Option<Duration>) -> bool {
    flood.is_some_and(|flood| connection.opened.is_none_or(|opened| opened >= flood))
}

fn is_broken(connection: &Connection) -> bool {
    let strays = !connection.strays.is_empty() || connection.misnumbered > 0;
    connection.end != End::Alive || strays
}

fn longest<'a>(connections: impl IntoIterator<Item = &'a Connection>) -> Wait {
    let waits = connections.into_iter().map(|connection| connection.longest);
    waits.max().unwrap_or_default()
}

/// A moment, as summaries show it.
fn seconds(at: Duration, start: Duration) -> String {
    format!("{:.1} s", at.saturating_sub(start).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn connection(backend: &str, wait: u32) -> Connection {
        Connection {
            number: 0,
            opened: Some(Duration::from_secs(1)),
            backend: (!backend.is_empty()).then(|| backend.to_owned()),
            answers: 9,
            strays: BTreeMap::new(),
            misnumbered: 0,
            longest: Wait {
                took: MILLI * wait,
                since: Duration::from_secs(3),
            },
            end: End::Alive,
            ended: Duration::from_secs(9),
        }
    }

    fn judge(connections: &[Connection], controls: &[Connection]) -> Verdict {
        let outcome = Outcome {
            connections: connections.to_vec(),
            controls: controls.to_vec(),
        };
        let death = Death {
            name: "dead".to_owned(),
            at: Duration::from_secs(5),
        };
        Verdict::on(&outcome, &[death], Duration::ZERO, None)
    }

    #[test]
    fn whole_lives_are_good() {
        let verdict = judge(
            &[connection("b1", 30), connection("b2", 999)],
            &[connection("c", 5)],
        );
        assert!(verdict.is_good(), "{verdict:?}");
        assert_eq!((verdict.counted, verdict.answers), (2, 18));
        assert_eq!(
            (verdict.longest.0, verdict.control.0),
            (999 * MILLI, 5 * MILLI)
        );
    }

    #[test]
    fn every_way_to_break_is_told() {
        let ended = |end| Connection {
            end,
            ..connection("b1", 5)
        };
        let stray = Connection {
            strays: [("b2".to_owned(), 1)].into(),
            ..connection("b1", 5)
        };
        let twice = Connection {
            misnumbered: 1,
            ..connection("b1", 5)
        };
        let broken = [
            ended(End::Reset),
            ended(End::Closed),
            ended(End::Silent),
            ended(End::Failed("no route".to_owned())),
            ended(End::NotOpened("refused".to_owned())),
            stray,
            twice,
            connection("b1", 1001),
        ];
        for connection in broken {
            let verdict = judge(std::slice::from_ref(&connection), &[]);
            assert_eq!(verdict.problems().len(), 1, "{connection:?}");
            assert_eq!(verdict.told.len(), 1, "{connection:?}");
        }
        let control = judge(&[connection("b1", 5)], &[ended(End::Reset)]);
        assert_eq!(control.controls_broken, 1);
        assert!(!control.is_good());
        assert!(!judge(&[], &[]).is_good());
    }

    #[test]
    fn stalls_are_measured_by_the_controls_too() {
        let stalled = connection("b1", 1500);
        assert_eq!(
            judge(std::slice::from_ref(&stalled), &[connection("c", 1400)]).stalled,
            1
        );
        assert_eq!(judge(&[stalled], &[connection("c", 1600)]).stalled, 0);
    }

    #[test]
    fn who_began_in_a_flood_is_told_of_apart() {
        let flood = Some(Duration::from_secs(2));
        let late = Connection {
            opened: flood,
            ..connection("b1", 2000)
        };
        let reset = Connection {
            end: End::Reset,
            ..late.clone()
        };
        let outcome = Outcome {
            connections: vec![connection("b1", 2000), late, reset],
            controls: Vec::new(),
        };
        let verdict = Verdict::on(&outcome, &[], Duration::ZERO, flood);
        assert!(verdict.is_good(), "{verdict:?}");
        assert_eq!((verdict.counted, verdict.late), (1, (2, 1)));
    }

    #[test]
    fn who_was_with_a_dead_backend_does_not_count() {
        let of_the_dead = Connection {
            end: End::Reset,
            ..connection("dead", 4000)
        };
        let of_nobody = Connection {
            end: End::Silent,
            ..connection("", 4000)
        };
        let opened_later = Connection {
            opened: Some(Duration::from_secs(6)),
            ..of_nobody.clone()
        };
        let verdict = judge(&[of_the_dead, of_nobody, opened_later], &[]);
        assert_eq!((verdict.lost, verdict.counted, verdict.ended), (2, 1, 1));
    }
}
