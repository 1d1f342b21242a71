//! Health in `sluice backends`: why backends are down, what is asked of them, and what happened to them lately.

use std::time::{Duration, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;

use super::{
    figures::count,
    output::Look,
    table::{Column, Mood, Table, moody, plain},
};
use crate::{
    health::{State, Status},
    stats::{AddressView, BackendView, HealthMode, HealthView, PoolView},
};

/// Backends of pools, their addresses with health, and that.
type Checked<'a> = (
    &'a PoolView,
    &'a BackendView,
    &'a AddressView,
    &'a HealthView,
);

fn checked(pools: &[PoolView]) -> impl Iterator<Item = Checked<'_>> {
    pools.iter().flat_map(|pool| {
        pool.backends.iter().flat_map(move |backend| {
            let addresses = backend.addresses.iter();
            addresses
                .filter_map(move |address| Some((pool, backend, address, address.health.as_ref()?)))
        })
    })
}

/// What is worth a word of an address's health beside its state.
pub(super) fn state(health: &HealthView) -> Option<(Mood, &'static str)> {
    match (health.state, health.used) {
        (State::Up, true) => None,
        (State::Up, false) => Some((Mood::Poor, "up, not used")),
        (State::Down, false) => Some((Mood::Bad, "down")),
        (State::Held, false) => Some((Mood::Bad, "held down")),
        (State::Down | State::Held, true) => Some((Mood::Bad, "down, used")),
    }
}

/// A weight, and what operators and health leave of it, if that is another.
pub(super) fn weight(backend: &BackendView) -> String {
    let checked = backend.addresses.iter().filter_map(|a| a.health.as_ref());
    let left = checked.map(|health| health.weight).min();
    match left.unwrap_or(backend.weight_in_force()) {
        left if left != backend.weight => format!("{left} of {}", backend.weight),
        weight => weight.to_string(),
    }
}

/// Why backends are down, and pools are not as ever, a line each.
pub(super) fn reasons(pools: &[PoolView]) -> String {
    let down = checked(pools).filter(|(_, _, _, health)| health.state != State::Up);
    let down = down.map(|(pool, backend, address, health)| {
        let cause = health.cause().unwrap_or("it went down too often");
        let state = health.state;
        format!(
            "{}/{}: {} is {state}: {cause}\n",
            pool.name, backend.name, address.address
        )
    });
    let modes = pools.iter().flat_map(|pool| {
        pool.health.iter().filter_map(move |health| {
            let what = match health.mode {
                HealthMode::Normal => return None,
                HealthMode::Panic => "few backends are up, so all are used",
                HealthMode::BelowMinimum => "too few backends are up, so none is used",
            };
            Some(format!(
                "{}: {what} by {} services\n",
                pool.name, health.family
            ))
        })
    });
    down.chain(modes).collect()
}

/// What is asked of each address, and what came of it; then what clients' connections say of it.
pub(super) fn checks(pools: &[PoolView], look: Look) -> String {
    let columns = [
        Column::text("CHECK"),
        Column::text("TARGET"),
        Column::text("STATE"),
        Column::figure("PASSED"),
        Column::figure("FAILED"),
        Column::figure("UNKNOWN").optional(),
        Column::figure("LAST TOOK"),
    ];
    let mut table = Table::new(&columns, look);
    let mut any = false;
    for check in checked(pools).flat_map(|(_, _, _, health)| &health.checks) {
        any = true;
        let (mood, word) = status(check.status);
        table.row(vec![
            plain(&check.check),
            plain(&check.target),
            moody(mood, word),
            plain(count(check.passed)),
            plain(count(check.failed.values().sum())),
            plain(count(check.unknown.values().sum())),
            plain(format!("{:.1} ms", check.last_microseconds as f64 / 1e3)),
        ]);
    }
    for (_, _, address, health) in checked(pools) {
        let Some(passive) = &health.passive else {
            continue;
        };
        any = true;
        let (mood, word) = status(passive.status);
        let mut row = vec![plain("passive"), plain(&address.address), moody(mood, word)];
        row.extend(["–"; 4].map(plain));
        table.row(row);
    }
    match any {
        true => format!("\n{}", table.text()),
        false => String::new(),
    }
}

fn status(status: Status) -> (Mood, &'static str) {
    match status {
        Status::Up => (Mood::Good, "up"),
        Status::Down => (Mood::Bad, "down"),
    }
}

/// What happened, the oldest first.
pub(super) fn history(pools: &[PoolView], look: Look) -> String {
    let mut entries: Vec<_> = checked(pools)
        .flat_map(|(pool, backend, address, health)| {
            let entries = health.history.iter();
            entries.map(move |entry| (entry, pool, backend, address))
        })
        .collect();
    if entries.is_empty() {
        return "nothing has happened to a backend since the agent was started\n".to_owned();
    }
    entries.sort_by_key(|(entry, ..)| entry.at_unix_seconds);
    let columns = ["TIME", "BACKEND", "ADDRESS", "WHAT HAPPENED"].map(Column::text);
    let mut table = Table::new(&columns, look);
    for (entry, pool, backend, address) in entries {
        let at = UNIX_EPOCH + Duration::from_secs(entry.at_unix_seconds);
        table.row(vec![
            plain(format_rfc3339_seconds(at).to_string()),
            plain(format!("{}/{}", pool.name, backend.name)),
            plain(&address.address),
            plain(&entry.text),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::tests::assert_text, stats::sample};

    #[test]
    fn checks_and_history_are_shown_on_request() {
        let pools = sample::troubled().pools;
        assert_text("backends_checks", &checks(&pools, Look::PLAIN));
        assert_text("backends_history", &history(&pools, Look::PLAIN));
        let healthy = sample::healthy().pools;
        assert_eq!(checks(&healthy, Look::PLAIN), "");
    }
}
