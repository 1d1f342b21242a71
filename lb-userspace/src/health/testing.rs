//! What several tests of this folder share.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Advice, MemberView, Mode, PoolView, Snapshot, State};
use crate::model::{Check, Family, Initial, Pace, Probe};

/// A check every ten seconds, without jitter; up, and down after three failures.
pub(crate) const PACE: Pace = Pace {
    interval: Duration::from_secs(10),
    jitter: Duration::ZERO,
    timeout: Duration::from_secs(1),
    rise: Pace::DEFAULT_RISE,
    fall: Pace::DEFAULT_FALL,
    initial: Initial::FullyUp,
};

/// An echo request that begins like this.
pub(crate) fn check(initial: Initial) -> Check {
    Check {
        probe: Probe::Icmp,
        address: None,
        port: None,
        through: Default::default(),
        pace: Pace { initial, ..PACE },
    }
}

/// Since when the backends of [`snapshot`] are what they are, in seconds since 1970.
pub(crate) const SINCE: u64 = 100;

/// A pool whose services and backends are of IPv4.
pub(crate) fn snapshot(pool: &str, mode: Mode, members: &[(&str, State)]) -> Snapshot {
    let member = |&(name, state): &(&str, State)| {
        let view = MemberView {
            state,
            since: SystemTime::UNIX_EPOCH + Duration::from_secs(SINCE),
            advice: Advice::NONE,
            slow_start: None,
            checks: Vec::new(),
            passive: None,
            history: Vec::new(),
        };
        ((name.to_owned(), Family::Ipv4), Arc::new(view))
    };
    let view = PoolView {
        modes: BTreeMap::from([(Family::Ipv4, mode)]),
        members: members.iter().map(member).collect(),
    };
    Snapshot {
        pools: BTreeMap::from([(pool.to_owned(), Arc::new(view))]),
    }
}
