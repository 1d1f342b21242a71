//! Canaries through the loaded program: those of tables that it has come out as they should, those of others do not.

use std::{collections::BTreeSet, path::Path};

use lb_common::abi::{HopWord, MacAddress, Slot};
use lb_userspace::{
    canary::Canary,
    kernel::{DataPlane, FakeTables, Pins},
    plan::Tables,
    reconcile::Reconciler,
};
use sluice_tests::plans::{CLIENTS, Host, Mode, Site, everything_at_once};

use super::plans::{constants, scene};

/// Some of each service.
const TURNS: usize = 200;

/// The canaries of some turns, by what tables say.
fn canaries(tables: &Tables) -> Vec<Canary> {
    let attached = BTreeSet::from([CLIENTS.ifindex]);
    let seed = constants().seed;
    let turns = 0..TURNS;
    turns
        .filter_map(|turn| Canary::of_turn(tables, &attached, seed, turn))
        .collect()
}

/// What is wrong with what the program makes of them: what each says, but for the address.
fn troubles(plane: &mut DataPlane, canaries: &[Canary]) -> BTreeSet<String> {
    let mut troubles = BTreeSet::new();
    for canary in canaries {
        let tried = plane.program().try_frame(canary.ifindex, &canary.frame);
        let (verdict, frame) = tried.unwrap();
        troubles.extend(canary.trouble(verdict, &frame));
    }
    let words = troubles.iter().map(|trouble| {
        let (what, became) = trouble.split_once(" for ").unwrap();
        let (_, became) = became.rsplit_once(|c: char| c.is_ascii_digit()).unwrap();
        format!("{what}{became}")
    });
    words.collect()
}

/// The tables of a site in every mode, of the same with all of it another, and of that once nothing moves.
fn wanted(folder: &Path) -> [Tables; 3] {
    let keys = (constants().seed, constants().salt);
    let mut host = Host::new(FakeTables::default(), keys, folder);
    let mut site = Site::new(&Mode::ALL);
    host.take(&site).unwrap();
    let first = host.tables().clone();
    everything_at_once(&mut site);
    host.take(&site).unwrap();
    let moving = host.tables().clone();
    host.advance(&site).unwrap();
    [first, moving, host.tables().clone()]
}

/// A way in which tables go wrong, and what canaries then say of resets and of echo requests.
type Fault = (fn(&mut Tables), [Option<&'static str>; 2]);

fn faults() -> Vec<Fault> {
    const DROPPED: Option<&str> = Some("was dropped");
    const PASSED: Option<&str> = Some("was passed to the kernel");
    const ELSEWHERE: Option<&str> = Some("went to another MAC address than it should");
    vec![
        (
            |tables| {
                tables.services.ipv4.clear();
                tables.services.ipv6.clear();
            },
            [PASSED, PASSED],
        ),
        (|tables| tables.next_hops.clear(), [DROPPED, None]),
        (
            |tables| {
                for next in tables.next_hops.values_mut() {
                    next.hop = HopWord::new(MacAddress([2; 6]), next.hop.device());
                }
            },
            [ELSEWHERE, None],
        ),
        (
            |tables| {
                for slots in tables.slots.values_mut() {
                    slots.fill(Slot::settled(0));
                }
            },
            [DROPPED, DROPPED],
        ),
    ]
}

#[test]
fn canaries_tell_whether_the_program_does_what_tables_say() {
    let (stage, namespace) = scene("sluice-canary");
    let lengths = namespace.run(|| {
        let mut plane = DataPlane::begin(Pins::open(&stage.pin())?, &constants())?;
        let mut reconciler = Reconciler::new(plane.program().take_tables()?);
        let mut lengths = BTreeSet::new();
        let all = wanted(&stage.folder().join("slots"));
        for tables in &all {
            reconciler.reconcile(tables)?;
            let canaries = canaries(tables);
            assert!(canaries.len() > 100, "{}", canaries.len());
            assert_eq!(troubles(&mut plane, &canaries), BTreeSet::new());
            lengths.extend(canaries.iter().map(|canary| canary.frame.len()));
        }
        let [tables, ..] = &all;
        let canaries = canaries(tables);
        for (fault, [reset, echo]) in faults() {
            let mut wrong = tables.clone();
            fault(&mut wrong);
            reconciler.reconcile(&wrong)?;
            let reset = reset.map(|became| format!("a TCP reset {became}"));
            let echo = echo.map(|became| format!("an echo request {became}"));
            let expected: BTreeSet<_> = reset.into_iter().chain(echo).collect();
            assert_eq!(troubles(&mut plane, &canaries), expected);
        }
        Ok(lengths)
    });
    // Echo request and reset over IPv4, and over IPv6.
    assert_eq!(lengths.unwrap(), BTreeSet::from([42, 54, 62, 74]));
}
