//! Decides what of all that an instance tracks is not well, and what that costs. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    model::{Check, Cost, Track, Tracked},
    net::Device,
};

/// An agent that has said nothing for so long has stalled. It loads programs now and then, which takes a few seconds.
const STALLED: Duration = Duration::from_secs(10);

/// What is known of what may be tracked, interfaces aside. What is not known is not well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// How many backends are healthy, of each pool.
    pub pools: BTreeMap<String, u32>,
    /// What checks that are no pool's come to.
    pub checks: Vec<Checked>,
    /// Files that are there.
    pub files: BTreeSet<PathBuf>,
    /// What the data plane is.
    pub data_plane: Option<DataPlaneFact>,
}

/// What a check comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Which.
    pub check: Check,
    /// Why it is down, if it is.
    pub down: Option<String>,
}

/// What the agent says of the data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPlaneFact {
    /// What is wrong with it, if anything.
    pub trouble: Option<String>,
    /// When it said so.
    pub at: Instant,
}

/// What is not well, and what that costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// What is not well, in words.
    pub(super) failing: Vec<String>,
    /// So much of the priority.
    pub(super) penalty: u8,
    /// The first of what is not well that leaves no priority at all.
    pub(super) fault: Option<String>,
    /// When to judge again, if nothing is heard before.
    pub(super) again: Option<Instant>,
}

/// What tracked things cost, by what is known of them.
pub(super) fn judge(
    track: &[Track],
    devices: &BTreeMap<String, Device>,
    facts: &Facts,
    now: Instant,
) -> Judgement {
    let mut judgement = Judgement::default();
    for Track { subject, cost } in track {
        if let Tracked::DataPlane = subject {
            let stalls = facts.data_plane.as_ref().map(|fact| fact.at + STALLED);
            judgement.again = stalls.filter(|at| *at > now);
        }
        let Some(why) = trouble(subject, devices, facts, now) else {
            continue;
        };
        match cost {
            Cost::Penalty(penalty) => {
                judgement.penalty = judgement.penalty.saturating_add(*penalty)
            }
            Cost::Fault => drop(judgement.fault.get_or_insert(why.clone())),
        }
        judgement.failing.push(why);
    }
    judgement
}

/// What is wrong, if anything.
fn trouble(
    subject: &Tracked,
    devices: &BTreeMap<String, Device>,
    facts: &Facts,
    now: Instant,
) -> Option<String> {
    match subject {
        Tracked::Interface(name) => match devices.get(name) {
            None => Some(format!("there is no interface {name}")),
            Some(device) if !device.up => Some(format!("interface {name} is down")),
            Some(device) if !device.carrier => Some(format!("interface {name} has no carrier")),
            Some(_) => None,
        },
        Tracked::Pool { name, at_least } => {
            let healthy = facts.pools.get(name).copied().unwrap_or(0);
            let short = healthy < *at_least;
            short.then(|| format!("pool {name} has {healthy} healthy of at least {at_least}"))
        }
        Tracked::Check(check) => {
            let known = facts.checks.iter().find(|known| known.check == **check);
            match known {
                Some(Checked { down: None, .. }) => None,
                Some(Checked {
                    down: Some(why), ..
                }) => Some(format!("{subject}: {why}")),
                None => Some(format!("{subject}: not made yet")),
            }
        }
        Tracked::File { path, present } => {
            let is_wrong = facts.files.contains(path) != *present;
            let is = if *present { "is not" } else { "is" };
            is_wrong.then(|| format!("file {} {is} there", path.display()))
        }
        Tracked::DataPlane => match &facts.data_plane {
            None => Some("data plane: it has not begun".to_owned()),
            Some(fact) if now.saturating_duration_since(fact.at) >= STALLED => {
                Some("data plane: the agent has stalled".to_owned())
            }
            Some(DataPlaneFact { trouble, .. }) => {
                trouble.as_ref().map(|why| format!("data plane: {why}"))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Probe, Through},
        net::IfIndex,
    };

    fn device(up: bool, carrier: bool) -> Device {
        Device {
            index: IfIndex(7),
            mac: None,
            up,
            carrier,
            addresses: vec![],
        }
    }

    fn check() -> Check {
        Check {
            probe: Probe::Tcp(Default::default()),
            address: Some("127.0.0.1".parse().unwrap()),
            port: Some(5432),
            through: Through::Backend,
            pace: crate::health::testing::PACE,
        }
    }

    fn judged(subject: Tracked, devices: &[(&str, Device)], facts: &Facts) -> Vec<String> {
        let devices = devices.iter();
        let devices = devices.map(|(name, device)| ((*name).to_owned(), device.clone()));
        let track = Track {
            subject,
            cost: Cost::Fault,
        };
        judge(&[track], &devices.collect(), facts, Instant::now()).failing
    }

    #[test]
    fn an_interface_is_up_and_has_a_carrier() {
        let of = |devices: &[_]| {
            judged(
                Tracked::Interface("eth1".into()),
                devices,
                &Facts::default(),
            )
        };
        assert_eq!(of(&[]), ["there is no interface eth1"]);
        assert_eq!(
            of(&[("eth1", device(false, true))]),
            ["interface eth1 is down"]
        );
        let failing = of(&[("eth1", device(true, false)), ("eth0", device(true, true))]);
        assert_eq!(failing, ["interface eth1 has no carrier"]);
        assert!(of(&[("eth1", device(true, true))]).is_empty());
    }

    #[test]
    fn a_pool_has_enough_healthy_backends() {
        let of = |healthy: Option<u32>| {
            let pools = healthy.map(|healthy| ("web".to_owned(), healthy));
            let facts = Facts {
                pools: pools.into_iter().collect(),
                ..Facts::default()
            };
            let (name, at_least) = ("web".to_owned(), 2);
            judged(Tracked::Pool { name, at_least }, &[], &facts)
        };
        assert_eq!(of(None), ["pool web has 0 healthy of at least 2"]);
        assert_eq!(of(Some(1)), ["pool web has 1 healthy of at least 2"]);
        assert!(of(Some(2)).is_empty());
    }

    #[test]
    fn a_check_is_known_to_be_up() {
        let of = |checks: Vec<Checked>| {
            let facts = Facts {
                checks,
                ..Facts::default()
            };
            judged(Tracked::Check(Box::new(check())), &[], &facts)
        };
        let known = |down: Option<&str>| {
            vec![Checked {
                check: check(),
                down: down.map(str::to_owned),
            }]
        };
        assert_eq!(of(vec![]), ["tcp check of 127.0.0.1:5432: not made yet"]);
        assert_eq!(
            of(known(Some("refused"))),
            ["tcp check of 127.0.0.1:5432: refused"]
        );
        assert!(of(known(None)).is_empty());
    }

    #[test]
    fn a_file_is_there_or_not() {
        let of = |present: bool, there: &[&str]| {
            let facts = Facts {
                files: there.iter().map(PathBuf::from).collect(),
                ..Facts::default()
            };
            let path = PathBuf::from("/run/primary");
            judged(Tracked::File { path, present }, &[], &facts)
        };
        assert_eq!(of(true, &[]), ["file /run/primary is not there"]);
        assert_eq!(of(false, &["/run/primary"]), ["file /run/primary is there"]);
        assert!(of(true, &["/run/primary"]).is_empty());
        assert!(of(false, &["/run/other"]).is_empty());
    }

    #[test]
    fn a_data_plane_that_nobody_speaks_of_has_stalled() {
        let now = Instant::now() + 10 * STALLED;
        let of = |trouble: Option<&str>, ago: Duration| {
            let facts = Facts {
                data_plane: Some(DataPlaneFact {
                    trouble: trouble.map(str::to_owned),
                    at: now.checked_sub(ago).unwrap(),
                }),
                ..Facts::default()
            };
            let track = Track {
                subject: Tracked::DataPlane,
                cost: Cost::Fault,
            };
            judge(&[track], &BTreeMap::new(), &facts, now)
        };
        let second = Duration::from_secs(1);
        let well = of(None, second);
        assert_eq!(
            (well.fault, well.again),
            (None, Some(now + STALLED - second))
        );
        let stalled = of(None, STALLED);
        assert_eq!(
            stalled.fault.as_deref(),
            Some("data plane: the agent has stalled")
        );
        assert_eq!(stalled.again, None);
        let troubled = of(Some("eth0 has no program"), second);
        assert_eq!(
            troubled.fault.as_deref(),
            Some("data plane: eth0 has no program")
        );
        let unknown = judged(Tracked::DataPlane, &[], &Facts::default());
        assert_eq!(unknown, ["data plane: it has not begun"]);
    }

    #[test]
    fn costs_add_up() {
        let lost = |name: &str, cost| Track {
            subject: Tracked::Interface(name.into()),
            cost,
        };
        let devices = [("eth3".to_owned(), device(true, true))].into();
        let track = [
            lost("eth1", Cost::Penalty(200)),
            lost("eth2", Cost::Penalty(100)),
            lost("eth3", Cost::Fault),
        ];
        let judgement = judge(&track, &devices, &Facts::default(), Instant::now());
        assert_eq!((judgement.penalty, judgement.fault), (255, None));
        assert_eq!(judgement.failing.len(), 2);
        let track = [lost("eth1", Cost::Fault), lost("eth2", Cost::Fault)];
        let judgement = judge(&track, &devices, &Facts::default(), Instant::now());
        let first = "there is no interface eth1";
        assert_eq!(
            (judgement.penalty, judgement.fault.as_deref()),
            (0, Some(first))
        );
    }
}
