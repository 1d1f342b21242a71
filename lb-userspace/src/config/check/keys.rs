//! Keys that exclude each other, or do nothing beside what else is written.

use humantime::format_duration;

use crate::{
    config::{
        diagnostic::{Code, Finding},
        raw::{Balancing, Pool, Service},
        resolve,
        schema::Written,
        source::{At, Place},
        value::Down,
    },
    model::{Forward, Protocol},
};

pub(super) fn check(balancing: &Balancing, findings: &mut Vec<Finding>) {
    for service in &balancing.services {
        entry_timeout(service, findings);
        udp(service, findings);
        fallback(service, findings);
        down_grace(service, findings);
        mss_clamp(service, balancing, findings);
    }
    for pool in &balancing.pools {
        if let Some(forward) = pool.forward {
            source(pool, forward, findings);
            gue(pool, forward, findings);
        }
    }
}

/// What does nothing, and why.
pub(super) fn idle(key: &str, at: Place, why: &str) -> Finding {
    let message = format!("`{key}` does nothing here: {why}");
    Finding::warning(Code::IdleKey, at, message)
}

/// An exception that went before its flow may move would let it move.
fn entry_timeout(service: &Service, findings: &mut Vec<Finding>) {
    let Some(timeout) = &service.entry_timeout else {
        return;
    };
    let unknown = match &service.settle {
        Written::Broken => true,
        Written::Not => !service.listen.whole,
        Written::As(_) => false,
    };
    let settle = resolve::settle(service);
    if unknown || timeout.value >= settle {
        return;
    }
    let settle = format_duration(settle);
    let message = format!(
        "`entry_timeout`, {}, is below `settle`, {settle}",
        format_duration(timeout.value)
    );
    let finding = Finding::error(Code::KeyConflict, timeout.place, message)
        .expected(format!("{settle} at least"));
    findings.push(match service.settle.value() {
        Some(settle) => finding.related(settle.place, "a flow may be silent for so long"),
        None => finding
            .related(service.named_at(), "it names no `settle`")
            .help("lower `settle` too"),
    });
}

/// `one_packet` and `quic` are about UDP, and exclude each other.
fn udp(service: &Service, findings: &mut Vec<Finding>) {
    let set = |key: &'static str, at: &Option<At<bool>>| {
        let at = at.as_ref().filter(|at| at.value)?;
        Some((key, at.place))
    };
    let one_packet = set("one_packet", &service.one_packet);
    let quic = set("quic", &service.quic);
    if let (Some((_, one_packet)), Some((_, quic))) = (one_packet, quic) {
        let message = "`one_packet` and `quic` exclude each other";
        let finding = Finding::error(Code::KeyConflict, one_packet.max(quic), message);
        let finding = finding.expected("one of them: QUIC has connections to keep");
        findings.push(finding.related(one_packet.min(quic), "the other one"));
    }
    let mut listens = service.listen.values();
    let Some(listen) = service.listen.place.filter(|_| service.listen.whole) else {
        return;
    };
    if listens.any(|listen| listen.protocol == Protocol::Udp) {
        return;
    }
    for (key, place) in [one_packet, quic].into_iter().flatten() {
        let message = format!("`{key}` in a service without a UDP address");
        let finding = Finding::error(Code::KeyConflict, place, message)
            .expected("an address with `/udp` in `listen`");
        findings.push(finding.related(listen, "the service listens here"));
    }
}

fn fallback(service: &Service, findings: &mut Vec<Finding>) {
    let (Some(pool), Some(fallback)) = (&service.pool, &service.fallback) else {
        return;
    };
    if pool.value == fallback.value {
        let message = format!("{} falls back to its own pool", service.title());
        let finding = Finding::error(Code::KeyConflict, fallback.place, message);
        let finding = finding.expected("another pool than `pool`");
        findings.push(finding.related(pool.place, "its pool"));
    }
}

fn down_grace(service: &Service, findings: &mut Vec<Finding>) {
    let Some(grace) = &service.down_grace else {
        return;
    };
    match &service.on_down {
        Written::Broken
        | Written::As(At {
            value: Down::Keep, ..
        }) => {}
        Written::Not | Written::As(_) => {
            let why = "only `on_down = \"keep\"` keeps flows for a while";
            findings.push(idle("down_grace", grace.place, why));
        }
    }
}

/// What one end says of segments bounds what the other one sends, so both directions must pass here.
fn mss_clamp(service: &Service, balancing: &Balancing, findings: &mut Vec<Finding>) {
    let Some(clamp) = &service.mss_clamp else {
        return;
    };
    let mut listens = service.listen.values();
    if service.listen.whole && !listens.any(|listen| listen.protocol == Protocol::Tcp) {
        findings.push(idle("mss_clamp", clamp.place, "it is about TCP alone"));
    }
    let pools = balancing.pools.iter();
    let used = pools.filter(|pool| super::named(service).any(|name| super::is_named(pool, name)));
    let forwards: Option<Vec<Forward>> = used.map(|pool| pool.forward).collect();
    if forwards.is_some_and(|forwards| !forwards.iter().any(|forward| forward.sees_answers())) {
        let why = "answers pass here in `full-nat` and `nat` alone";
        findings.push(idle("mss_clamp", clamp.place, why));
    }
}

/// Modes that leave the client's address in the packet have no other to put there; one that needs a
/// port for each flow at its source address names each address.
fn source(pool: &Pool, forward: Forward, findings: &mut Vec<Finding>) {
    let prefixes = pool.source.items.iter();
    for prefix in prefixes.filter(|source| forward.takes_ports() && source.value.entropy > 0) {
        let message = format!("source {} in {}", prefix.value, pool.title());
        let expected = format!("addresses, one by one: {forward} keeps count of each one's ports");
        let finding = Finding::error(Code::KeyConflict, prefix.place, message);
        findings.push(finding.expected(expected));
    }
    let Some(place) = pool.source.place.filter(|_| !forward.takes_source()) else {
        return;
    };
    let message = format!("`source` in {}, whose mode is {forward}", pool.title());
    let expected = format!("no `source`: {forward} keeps the client's address");
    findings.push(Finding::error(Code::KeyConflict, place, message).expected(expected));
}

fn gue(pool: &Pool, forward: Forward, findings: &mut Vec<Finding>) {
    if forward == Forward::Gue {
        return;
    }
    let keys = [
        ("gue_port", pool.gue_port.as_ref().map(|at| at.place)),
        (
            "gue_checksum",
            pool.gue_checksum.as_ref().map(|at| at.place),
        ),
    ];
    for (key, place) in keys {
        let why = format!("the pool's mode is {forward}");
        findings.extend(place.map(|place| idle(key, place, &why)));
    }
}
