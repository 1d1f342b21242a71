//! `[[vrrp.track]]`: one subject and one cost each, of an instance that can bear it.

use super::{health, keys::idle};
use crate::{
    config::{
        diagnostic::{Code, Finding},
        raw::vrrp::{Track, Vrrp},
        resolve,
        schema::Written,
        source::Place,
    },
    model::Through,
    vrrp::machine::OWNER,
};

const SUBJECTS: &str =
    "one of `interface`, `pool`, `check`, `file`, `no_file` and `data_plane = true`";

pub(super) fn check(instance: &Vrrp, findings: &mut Vec<Finding>) {
    for track in &instance.track {
        subject(track, findings);
        cost(instance, track, findings);
        host_check(track, findings);
        if let (Some(least), Written::Not) = (&track.at_least, &track.pool) {
            findings.push(idle("at_least", least.place, "no `pool` is tracked"));
        }
    }
}

/// There is one, and no more.
fn subject(track: &Track, findings: &mut Vec<Finding>) {
    if let Some(off) = track.data_plane.value().filter(|at| !at.value) {
        let message = "`data_plane = false` tracks nothing";
        let finding = Finding::error(Code::KeyConflict, off.place, message);
        findings.push(finding.expected(SUBJECTS));
    }
    let check = track.check.as_ref().map(|check| check.0.place);
    let subjects = [
        ("interface", Mention::of(&track.interface)),
        ("pool", Mention::of(&track.pool)),
        ("check", check.map_or(Mention::Not, Mention::At)),
        ("file", Mention::of(&track.file)),
        ("no_file", Mention::of(&track.no_file)),
        ("data_plane", Mention::of(&track.data_plane)),
    ];
    one_of(
        &subjects,
        track.place,
        ("tracks nothing", SUBJECTS),
        findings,
    );
}

/// Whether a key is there, whatever it holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mention {
    Not,
    Broken,
    At(Place),
}

impl Mention {
    fn of<T>(written: &Written<T>) -> Self {
        match written {
            Written::Not => Self::Not,
            Written::Broken => Self::Broken,
            Written::As(at) => Self::At(at.place),
        }
    }
}

/// Of what may be written there is one; it is said of the second, or of the table that has none.
fn one_of(
    keys: &[(&str, Mention)],
    table: Place,
    (none, expected): (&str, &str),
    findings: &mut Vec<Finding>,
) {
    if keys.iter().any(|(_, mention)| *mention == Mention::Broken) {
        return;
    }
    let mut named = keys.iter().filter_map(|(key, mention)| match mention {
        Mention::At(place) => Some((key, *place)),
        Mention::Not | Mention::Broken => None,
    });
    match (named.next(), named.next()) {
        (None, _) => {
            let message = format!("[[vrrp.track]] {none}");
            let finding = Finding::error(Code::MissingKey, table, message);
            findings.push(finding.expected(expected));
        }
        (Some((first, there)), Some((second, place))) => {
            let message = format!("`{second}` beside `{first}`");
            let finding = Finding::error(Code::KeyConflict, place, message);
            findings.push(finding.expected(expected).related(there, "the other"));
        }
        (Some(_), None) => {}
    }
}

/// There is one, which the instance can bear: an owner's priority is 255 or it is no owner.
fn cost(instance: &Vrrp, track: &Track, findings: &mut Vec<Finding>) {
    const COSTS: &str = "one of `penalty = N` and `fault = true`";
    if let Some(off) = track.fault.value().filter(|at| !at.value) {
        let finding = Finding::error(
            Code::KeyConflict,
            off.place,
            "`fault = false` costs nothing",
        );
        findings.push(finding.expected(COSTS));
    }
    let costs = [
        ("penalty", Mention::of(&track.penalty)),
        ("fault", Mention::of(&track.fault)),
    ];
    one_of(&costs, track.place, ("costs nothing", COSTS), findings);
    let owner = instance.priority.as_ref().filter(|at| at.value.0 == OWNER);
    if let (Some(penalty), Some(owner)) = (track.penalty.value(), owner) {
        let message = "`penalty` beside the priority 255";
        let finding = Finding::error(Code::KeyConflict, penalty.place, message)
            .expected("`fault = true`, or a priority of 254 at most");
        let why = "whose own the addresses are has no other priority";
        findings.push(finding.related(owner.place, why));
    }
}

/// It asks somebody, at a port if it needs one; there is no service to go through.
fn host_check(track: &Track, findings: &mut Vec<Finding>) {
    let Some(check) = track.check.as_ref().map(|check| &check.0) else {
        return;
    };
    health::one(check, findings);
    if let Some(through) = &check.through
        && through.value == Through::Service
    {
        let message = "`through = \"service\"` of a check that is no pool's";
        let finding = Finding::error(Code::KeyConflict, through.place, message);
        findings.push(finding.expected("no `through`"));
    }
    let needs = resolve::check(check).is_some_and(|check| check.probe.needs_port());
    if needs && check.port.is_none() {
        let message = "no port for the check";
        let finding = Finding::error(Code::MissingKey, check.place, message);
        findings.push(finding.expected("`port` in here: a port from 1 to 65535"));
    }
}
