//! The slot machine: what is promised of established flows holds in every order of events and in
//! simulated hours; and what breaks it if a rule is left out, or if more happens than is promised.

use lb_common::abi::Phase;
use sluice_tests::slots::{
    checker::{check, check_from, is_possible, play},
    events::{
        Event::{self, Dies, Mixed, Owner, Refused, Resized, Sent, Settled, Unwatched, Watched},
        Setup,
    },
    faults::{Fault, Limit},
    packets::{
        Packet::{Data, Fin, Handshake, Open, Peek, SpoofedData, SpoofedFin, SpoofedOpen},
        Traffic,
    },
    scenarios,
    simulation::simulate,
    state::{Flow, State},
    trace::Load,
};

const TCP: Setup = Setup::all(Traffic::Tcp);
const UDP: Setup = Setup::all(Traffic::Udp);
const QUIC: Setup = Setup::all(Traffic::Quic);

fn holds(setup: Setup, starts: &[State]) {
    let checked = check_from(&setup, starts);
    println!("{setup:?}\n{checked}");
    assert!(checked.broken.is_none(), "{checked}");
    assert!(checked.states > 500, "few states: {checked}");
}

#[test]
fn tcp_flows_stay() {
    holds(TCP, &[State::START]);
}

#[test]
fn udp_flows_stay() {
    holds(UDP, &[State::START]);
}

#[test]
fn quic_flows_stay() {
    holds(QUIC, &[State::START]);
}

/// Where flows whose backend is gone are reset, the others stay as well.
#[test]
fn flows_stay_beside_those_that_are_reset() {
    for setup in [TCP, UDP, QUIC] {
        let resets = Setup {
            resets: true,
            ..setup
        };
        holds(resets, &[State::START]);
    }
}

#[test]
fn flows_stay_in_a_resize() {
    holds(Setup::resized(Traffic::Tcp), &[State::START]);
}

#[test]
fn udp_and_quic_flows_stay_in_a_resize() {
    holds(Setup::resized(Traffic::Udp), &[State::START]);
    holds(Setup::resized(Traffic::Quic), &[State::START]);
}

/// Two flows of one slot that had different ones in the table before.
#[test]
fn flows_of_different_old_slots_stay() {
    let old = Setup {
        resizes: false,
        ..Setup::resized(Traffic::Tcp)
    };
    let mut starts = Vec::new();
    for owner in 1..=3 {
        for flows in [
            [Flow::Absent; 2],
            [Flow::Established(1), Flow::Absent],
            [Flow::Absent, Flow::Established(2)],
            [Flow::Established(1), Flow::Established(2)],
        ] {
            starts.push(State {
                flows,
                ..State::resized(owner, [1, 2])
            });
        }
    }
    holds(old, &starts);
}

/// The events after which a flow is broken, if a check finds any.
fn broken(setup: Setup) -> Option<Vec<Event>> {
    let checked = check(&setup);
    println!("{:?} {:?}: {checked}", setup.fault, setup.limit);
    checked.broken.map(|example| example.events)
}

#[test]
fn no_rule_can_be_left_out() {
    for fault in Fault::ALL {
        assert!(
            broken(TCP.without(fault)).is_some(),
            "{fault:?} goes unseen"
        );
    }
}

/// What is not promised, and why. A row that holds from now on moves into the promise.
#[test]
fn what_is_beyond_the_promise_breaks_flows() {
    let resized = Setup::resized(Traffic::Tcp);
    for (setup, limit) in [
        (TCP, Limit::Silence),
        (TCP, Limit::FalseAlarm),
        (TCP, Limit::FirstAnswerCounts),
        (TCP, Limit::SpoofedPair),
        (TCP, Limit::OnlyFin),
        (TCP, Limit::SilentHalf),
        (TCP, Limit::HastyReturn),
        (resized, Limit::DeathInResize),
        (QUIC, Limit::FirstAnswerCounts),
        (QUIC, Limit::SpoofedPair),
        (QUIC, Limit::CoalescedHandshake),
    ] {
        assert!(broken(setup.beyond(limit)).is_some(), "{limit:?} holds");
    }
}

/// What the rules alone would break, and the code holds: a packet between a death and the change
/// that follows from it, a QUIC packet that proves nothing.
#[test]
fn what_happens_between_two_steps_of_the_agent_breaks_nothing() {
    let all_recorded = |setup: Setup| Setup {
        refusals: false,
        ..setup
    };
    let resized = all_recorded(Setup::resized(Traffic::Tcp));
    for (setup, limit) in [
        (TCP, Limit::DeathWithChange),
        (QUIC, Limit::LostHandshake),
        (all_recorded(TCP), Limit::HastyReturn),
        (resized, Limit::DeathInResize),
    ] {
        let broken = broken(setup.beyond(limit));
        assert!(broken.is_none(), "{limit:?}: {broken:?}");
    }
}

/// What broke an earlier wording: the events, and whose flow 0 is after them.
fn keeps(events: &[Event], owner: u32) {
    keeps_of(&TCP, events, owner);
}

/// The same of flows of any kind.
fn keeps_of(setup: &Setup, events: &[Event], owner: u32) {
    match play(setup, events) {
        Ok(state) => assert_eq!(state.flows[0], Flow::Established(owner)),
        Err(broken) => panic!("{broken}"),
    }
}

#[test]
fn flows_are_counted() {
    let counted = [Sent(0, Open), Watched, Sent(0, Data)];
    keeps(&counted, 1);
    keeps(&[&counted[..], &[Unwatched, Sent(0, Data)]].concat(), 1);
    keeps(
        &[
            &counted[..],
            &[Owner(2), Sent(0, Data), Mixed, Sent(0, Data)],
        ]
        .concat(),
        1,
    );
    let opened = [Watched, Sent(0, Open), Unwatched, Owner(2), Sent(0, Data)];
    keeps(&opened, 1);
}

#[test]
fn there_and_back() {
    let there = [Owner(2), Sent(0, Open), Owner(1), Sent(0, Data)];
    keeps(&there, 2);
    let old = [
        Sent(0, Open),
        Owner(2),
        Sent(1, Open),
        Owner(1),
        Sent(0, Data),
    ];
    keeps(&old, 1);
}

#[test]
fn a_change_while_mixed() {
    keeps(
        &[Owner(2), Mixed, Sent(0, Open), Owner(1), Sent(0, Data)],
        2,
    );
}

#[test]
fn the_current_owner_dies_while_moving() {
    keeps(
        &[Sent(0, Open), Owner(2), Dies(2), Owner(3), Sent(0, Data)],
        1,
    );
}

#[test]
fn a_spoofed_syn_of_an_established_flow() {
    let silent = [Sent(0, Open), Sent(0, Data), Owner(2), Sent(0, SpoofedOpen)];
    keeps(&[&silent[..], &[Sent(0, Data)]].concat(), 1);
    keeps(
        &[&silent[..], &[Sent(0, SpoofedData), Sent(0, Data)]].concat(),
        1,
    );
    let recorded = [Owner(2), Sent(0, Open), Sent(0, Data), Sent(0, SpoofedOpen)];
    keeps(&[&recorded[..], &[Sent(0, Data)]].concat(), 2);
}

#[test]
fn a_spoofed_fin_then_a_syn() {
    let recorded = [Owner(2), Sent(0, Open), Sent(0, Data), Owner(3)];
    let spoofed = [Sent(0, SpoofedFin), Sent(0, SpoofedOpen), Sent(0, Data)];
    keeps(
        &[
            recorded,
            [
                Sent(0, SpoofedFin),
                Sent(0, Data),
                Sent(0, Fin),
                Sent(0, Data),
            ],
        ]
        .concat(),
        2,
    );
    keeps(&[&recorded[..], &spoofed].concat(), 2);
}

#[test]
fn a_refused_packet_keeps_the_slot_moving() {
    let refused = [Sent(0, Open), Owner(2), Refused(0, Data)];
    let Ok(state) = play(&TCP, &refused) else {
        panic!("broken")
    };
    assert!(!is_possible(&TCP, &state, Mixed));
    keeps(
        &[&refused[..], &[Sent(0, Data), Mixed, Sent(0, Data)]].concat(),
        1,
    );
}

#[test]
fn a_full_table_refuses_and_forgets_nothing() {
    let full = [Owner(2), Sent(0, Open), Refused(1, Open)];
    keeps(&[&full[..], &[Sent(1, Data), Sent(0, Data)]].concat(), 2);
    let Ok(state) = play(&TCP, &full) else {
        panic!("broken")
    };
    assert_eq!(state.flows, [Flow::Opening(2), Flow::Opening(1)]);
    assert!(state.entries[0].is_some() && state.entries[1].is_none());
}

/// The same as above, of flows of which no packet has a number.
#[test]
fn datagrams_stay_where_segments_do() {
    // There and back.
    let opened = [Owner(2), Sent(0, Open), Sent(0, Handshake)];
    keeps_of(
        &QUIC,
        &[&opened[..], &[Owner(1), Sent(0, Data)]].concat(),
        2,
    );
    let old = [Sent(0, Open), Owner(2), Sent(1, Open), Owner(1)];
    keeps_of(&UDP, &[&old[..], &[Sent(0, Data)]].concat(), 1);
    // A change while mixed.
    let mixed = [Owner(2), Mixed, Sent(0, Open), Sent(0, Handshake), Owner(1)];
    keeps_of(&QUIC, &[&mixed[..], &[Sent(0, Data)]].concat(), 2);
    let mixed = [Owner(2), Mixed, Sent(0, Open), Owner(1), Sent(0, Data)];
    keeps_of(&UDP, &mixed, 2);
    // The current owner dies while moving.
    let moving = [Owner(2), Dies(2), Owner(3), Sent(0, Data)];
    keeps_of(&UDP, &[&[Sent(0, Open)], &moving[..]].concat(), 1);
    let silent = [Sent(0, Open), Sent(0, Handshake)];
    keeps_of(&QUIC, &[&silent[..], &moving[..]].concat(), 1);
    // An Initial in another's name.
    let spoofed = [Owner(2), Sent(0, SpoofedOpen), Sent(0, Data)];
    keeps_of(&QUIC, &[&silent[..], &spoofed[..]].concat(), 1);
    let recorded = [Owner(2), Sent(0, Open), Sent(0, Handshake)];
    keeps_of(&QUIC, &[&recorded[..], &spoofed[1..]].concat(), 2);
}

/// A packet that can't be recorded keeps the slot moving, whatever it is of.
#[test]
fn a_refused_datagram_keeps_the_slot_moving() {
    for (setup, opening) in [
        (UDP, &[Sent(0, Open)][..]),
        (QUIC, &[Sent(0, Open), Sent(0, Handshake)]),
    ] {
        let refused = [opening, &[Owner(2), Refused(0, Data)]].concat();
        let Ok(state) = play(&setup, &refused) else {
            panic!("broken")
        };
        assert!(!is_possible(&setup, &state, Mixed), "{setup:?}");
        let later = [Sent(0, Data), Mixed, Sent(0, Data)];
        keeps_of(&setup, &[&refused[..], &later[..]].concat(), 1);
    }
}

/// An ICMP error, or a later fragment, goes where the flow's packets go, and leaves no trace.
#[test]
fn what_only_looks_follows_its_flow() {
    for (setup, opening) in [
        (TCP, &[Sent(0, Open), Sent(0, Data)][..]),
        (UDP, &[Sent(0, Open), Sent(0, Data)]),
        (QUIC, &[Sent(0, Open), Sent(0, Handshake)]),
    ] {
        let moving = [opening, &[Owner(2), Sent(0, Peek)]].concat();
        let Ok(state) = play(&setup, &moving) else {
            panic!("broken: {setup:?}")
        };
        assert!(state.entries[0].is_none(), "{setup:?}");
        let later = [
            Sent(0, Data),
            Sent(0, Peek),
            Owner(3),
            Sent(0, Peek),
            Mixed,
            Sent(0, Peek),
        ];
        keeps_of(&setup, &[&moving[..], &later[..]].concat(), 1);
        let resized = Setup::resized(setup.traffic);
        let moving = [
            Resized(2),
            Sent(0, Peek),
            Sent(0, Data),
            Mixed,
            Sent(0, Peek),
        ];
        keeps_of(&resized, &[opening, &moving[..]].concat(), 1);
    }
}

#[test]
fn a_slot_settles_when_nothing_is_left_to_tell() {
    let events = [
        Owner(2),
        Sent(0, Open),
        Sent(0, Data),
        Mixed,
        Settled,
        Sent(0, Data),
    ];
    match play(&TCP, &events) {
        Ok(state) => assert_eq!(state.slot.phase(), Phase::Settled),
        Err(broken) => panic!("{broken}"),
    }
}

#[test]
fn every_scenario_keeps_its_flows() {
    for scenario in scenarios::all(Load::SMALL) {
        let report = simulate(&scenario, Load::SMALL);
        println!("{report}");
        assert_eq!(report.broken, 0, "{report}");
        assert!(
            report.stateless > 0 && report.peak > 0,
            "nothing moves: {report}"
        );
    }
}

/// The simulation sees flows break.
#[test]
fn exceptions_that_go_too_soon_break_flows() {
    let mut scenarios = scenarios::all(Load::SMALL);
    scenarios[0].settings.timeout = 5;
    let report = simulate(&scenarios[0], Load::SMALL);
    assert!(report.broken > 0, "{report}");
}
