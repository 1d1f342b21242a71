//! What is shown of backends' health: words and numbers for what `health` knows.

use std::collections::{BTreeMap, HashMap};

use crate::{
    health::{self, Advice, MemberView, PoolView, Status},
    model::{Family, Weight},
    stats::{CheckView, HealthMode, HealthView, HistoryView, PassiveView, PoolHealthView},
    unix_time::unix_seconds,
};

/// How a pool's health is taken, by services of each family.
pub(super) fn modes(pool: &PoolView) -> Vec<PoolHealthView> {
    let mode = |(&family, &mode): (&Family, &health::Mode)| {
        let (mode, tally) = match mode {
            health::Mode::Normal => (HealthMode::Normal, None),
            health::Mode::Panic(tally) => (HealthMode::Panic, Some(tally)),
            health::Mode::BelowMinimum(tally) => (HealthMode::BelowMinimum, Some(tally)),
        };
        PoolHealthView {
            family,
            mode,
            up: tally.map(|tally| tally.up),
            of: tally.map(|tally| tally.of),
        }
    };
    pool.modes.iter().map(mode).collect()
}

/// The health of a backend at an address of a family; none where nothing is asked of it.
pub(super) fn of(
    pool: &PoolView,
    backend: &str,
    family: Family,
    configured: Weight,
) -> Option<HealthView> {
    let member = pool.members.get(&(backend.to_owned(), family))?;
    if member.checks.is_empty() && member.passive.is_none() {
        return None;
    }
    let mut modes = pool.modes.values();
    Some(HealthView {
        state: member.state,
        since_unix_seconds: unix_seconds(member.since),
        used: modes.any(|mode| mode.uses(member.state)),
        weight: member.weight_of(configured).value(),
        advice: (member.advice != Advice::NONE).then(|| member.advice.to_string()),
        slow_start: member.slow_start,
        checks: checks(member),
        passive: member.passive.as_ref().map(passive),
        history: member.history.iter().map(entry).collect(),
    })
}

fn checks(member: &MemberView) -> Vec<CheckView> {
    let mut alike: HashMap<(&str, &str), usize> = HashMap::new();
    let checks = member.checks.iter().map(|check| {
        let count = alike.entry((&check.probe, &check.target)).or_default();
        *count += 1;
        let counts = check.counts.read();
        let by_reason = |counts: BTreeMap<&str, u64>| {
            let counts = counts.into_iter();
            counts.map(|(reason, n)| (reason.to_owned(), n)).collect()
        };
        CheckView {
            check: match count {
                1 => check.probe.clone(),
                n => format!("{} #{n}", check.probe),
            },
            target: check.target.clone(),
            status: check.status,
            cause: check.cause.clone(),
            passed: counts.passed,
            failed: by_reason(counts.failed),
            unknown: by_reason(counts.unknown),
            last_microseconds: u64::try_from(counts.last.as_micros()).unwrap_or(u64::MAX),
        }
    });
    checks.collect()
}

fn passive(view: &health::PassiveView) -> PassiveView {
    match view {
        health::PassiveView::Up => PassiveView {
            status: Status::Up,
            cause: None,
            hold_seconds: None,
            until_unix_seconds: None,
        },
        health::PassiveView::Down { cause, hold, until } => PassiveView {
            status: Status::Down,
            cause: Some(cause.clone()),
            hold_seconds: Some(hold.as_secs()),
            until_unix_seconds: Some(unix_seconds(*until)),
        },
    }
}

fn entry(entry: &health::Entry) -> HistoryView {
    HistoryView {
        at_unix_seconds: unix_seconds(entry.at),
        state: entry.state.clone(),
        text: entry.text.clone(),
    }
}
