//! Recorded flows: which of them have been silent for too long, and how many each backend and each
//! service has. Pure: `kernel::FlowTables` reads and deletes.
//!
//! A flow whose answers come back through this host has two entries. It is as silent as the one that
//! was heard last, and both go together; but its source port stays reserved for a backend's TIME_WAIT
//! after it was closed, so the answers' entry stays as long.

use std::collections::{BTreeMap, HashMap};

use lb_common::{
    abi::{Address, Direction, FlowEntry, FlowKey, FlowState, Timeouts},
    datapath::CLOSING_SECONDS,
};

use crate::model::Protocol;

/// What is known beside the flows.
#[derive(Clone, Copy, Debug)]
pub struct Clock<'a> {
    /// The kernel's clock now, jiffies.
    pub now: u32,
    /// Jiffies in a second.
    pub hertz: u32,
    /// How long flows of each service may be silent.
    pub timeouts: &'a BTreeMap<u32, Timeouts>,
}

/// What there is, and what of it is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged<A> {
    /// Entries to delete, each with the time of its last packet, as it was when it was judged.
    pub expired: Vec<(FlowKey<A>, u32)>,
    /// Flows that go on, by the index of their backend.
    pub active: BTreeMap<u32, u64>,
    /// Flows that go on, by the number of their service.
    pub of_services: BTreeMap<u32, u64>,
}

/// Judges all flows of a family.
pub fn judge<A: Address>(flows: &[(FlowKey<A>, FlowEntry<A>)], clock: Clock<'_>) -> Judged<A> {
    let by_key: HashMap<FlowKey<A>, &FlowEntry<A>> = flows.iter().map(|(k, e)| (*k, e)).collect();
    let mut judged = Judged {
        expired: Vec::new(),
        active: BTreeMap::new(),
        of_services: BTreeMap::new(),
    };
    for (key, entry) in flows {
        let twin = by_key.get(&entry.rewrite().answer(key.protocol));
        // The ends of the twin's packets are this one's, seen from the other side.
        let twin = twin.filter(|twin| twin.rewrite() == key.reply());
        let idle = |entry: &FlowEntry<A>| clock.now.wrapping_sub(entry.last_seen) as i32;
        let silent = twin.map_or(idle(entry), |twin| idle(entry).min(idle(twin)));
        if silent >= 0 && silent as u32 >= limit(key, entry, clock) {
            judged.expired.push((*key, entry.last_seen));
        } else if entry.direction() == Direction::In && entry.state().is_active() {
            *judged.active.entry(entry.backend().index()).or_default() += 1;
            *judged.of_services.entry(entry.service).or_default() += 1;
        }
    }
    judged
}

/// How long an entry may be silent, jiffies. One of a service that is gone goes at once.
fn limit<A: Address>(key: &FlowKey<A>, entry: &FlowEntry<A>, clock: Clock<'_>) -> u32 {
    let Some(timeouts) = clock.timeouts.get(&entry.service) else {
        return 0;
    };
    if key.protocol == Protocol::Udp.number() {
        return timeouts.udp;
    }
    let limit = match entry.state() {
        FlowState::Opening | FlowState::Answered => timeouts.handshake,
        FlowState::Established => timeouts.established,
        FlowState::Closing => timeouts.closing,
        FlowState::Reset => timeouts.reset,
    };
    let reserves = entry.direction() == Direction::Out && !entry.state().is_active();
    if reserves {
        limit.max(CLOSING_SECONDS * clock.hertz)
    } else {
        limit
    }
}

#[cfg(test)]
mod tests {
    use lb_common::abi::{BackendRef, FlowSpec, HopWord, Ipv4Address, Rewrite};

    use super::*;

    const HERTZ: u32 = 100;
    const BACKEND: u32 = 7;
    const SERVICE: u32 = 3;

    type Flow = (FlowKey<Ipv4Address>, FlowEntry<Ipv4Address>);

    fn ip(host: u8) -> Ipv4Address {
        std::net::Ipv4Addr::new(198, 18, 0, host).into()
    }

    /// Both entries of a TCP flow: the client's, heard at `client`, and the answers'.
    fn flow(protocol: Protocol, state: FlowState, client: u32, answers: u32) -> [Flow; 2] {
        let port = |n: u16| n.to_be_bytes();
        let protocol = protocol.number();
        let key = FlowKey::new(ip(1), ip(2), port(1000), port(80), protocol);
        let ends = Rewrite {
            source: ip(3),
            destination: ip(4),
            source_port: port(2000),
            destination_port: port(8080),
        };
        let twin = ends.answer(protocol);
        let entry = |key, ends, direction, seen| {
            let mut entry: FlowEntry<Ipv4Address> = zerocopy::FromZeros::new_zeroed();
            let spec = FlowSpec {
                key,
                ends,
                direction,
                service: SERVICE,
                backend: BackendRef::new(BACKEND, 1),
                route: HopWord::NONE,
                sequence: 1,
            };
            entry.fill(spec, seen, seen);
            entry.set_state(state);
            entry
        };
        [
            (key, entry(&key, ends, Direction::In, client)),
            (twin, entry(&twin, key.reply(), Direction::Out, answers)),
        ]
    }

    /// How many of a flow's entries go, and how many flows its backend has then.
    fn judged(flows: &[Flow], now: u32) -> (usize, u64) {
        let timeouts = Timeouts {
            handshake: 60 * HERTZ,
            established: 7800 * HERTZ,
            closing: 120 * HERTZ,
            reset: 10 * HERTZ,
            udp: 120 * HERTZ,
            affinity: 0,
        };
        let clock = Clock {
            now,
            hertz: HERTZ,
            timeouts: &[(SERVICE, timeouts)].into(),
        };
        let judged = judge(flows, clock);
        assert_eq!(
            judged.active.get(&BACKEND),
            judged.of_services.get(&SERVICE)
        );
        let active = judged.active.get(&BACKEND).copied().unwrap_or(0);
        (judged.expired.len(), active)
    }

    #[test]
    fn each_state_has_its_time_and_both_entries_go_together() {
        for (protocol, state, seconds, active) in [
            (Protocol::Tcp, FlowState::Opening, 60, 1),
            (Protocol::Tcp, FlowState::Answered, 60, 1),
            (Protocol::Tcp, FlowState::Established, 7800, 1),
            (Protocol::Tcp, FlowState::Closing, 120, 0),
            (Protocol::Udp, FlowState::Established, 120, 1),
        ] {
            let flow = flow(protocol, state, 1000, 1000);
            let end = 1000 + seconds * HERTZ;
            assert_eq!(judged(&flow, end - 1), (0, active), "{state:?}");
            assert_eq!(judged(&flow, end), (2, 0), "{state:?}");
        }
    }

    #[test]
    fn either_side_keeps_a_flow() {
        let (early, late) = (1000, 1000 + 30 * HERTZ);
        for (client, answers) in [(early, late), (late, early)] {
            let flow = flow(Protocol::Tcp, FlowState::Opening, client, answers);
            assert_eq!(judged(&flow, early + 60 * HERTZ), (0, 1));
            assert_eq!(judged(&flow, late + 60 * HERTZ), (2, 0));
        }
    }

    #[test]
    fn the_port_of_a_flow_that_was_reset_stays_reserved() {
        let flow = flow(Protocol::Tcp, FlowState::Reset, 1000, 1000);
        assert_eq!(
            judged(&flow, 1000 + 10 * HERTZ),
            (1, 0),
            "the client's goes"
        );
        assert_eq!(judged(&flow, 1000 + 59 * HERTZ), (1, 0));
        assert_eq!(judged(&flow, 1000 + 60 * HERTZ), (2, 0));
    }

    #[test]
    fn an_entry_without_its_twin_is_judged_alone() {
        let [client, answers] = flow(Protocol::Tcp, FlowState::Established, 1000, 500);
        assert_eq!(judged(&[client], 2000), (0, 1));
        assert_eq!(judged(&[answers], 500 + 7800 * HERTZ), (1, 0));
    }

    #[test]
    fn the_clock_comes_round_and_packets_arrive_while_it_is_read() {
        let flow = flow(Protocol::Tcp, FlowState::Opening, u32::MAX, 5);
        assert_eq!(judged(&flow, 3), (0, 1), "heard after the clock was read");
        assert_eq!(judged(&flow, 5 + 60 * HERTZ), (2, 0));
    }

    #[test]
    fn flows_of_a_service_that_is_gone_go() {
        let flow = flow(Protocol::Tcp, FlowState::Established, 1000, 1000);
        let none = BTreeMap::new();
        let clock = Clock {
            now: 1000,
            hertz: HERTZ,
            timeouts: &none,
        };
        assert_eq!(judge(&flow, clock).expired.len(), 2);
    }
}
