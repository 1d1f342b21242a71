//! One flow from two CPUs at once: who records it first decides for both.
//!
//! Each step hands a frame of every flow to either CPU, flow by flow at the same moment, as near as two
//! threads that wait for each other can come to it.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use aya::programs::Xdp;
use lb_common::abi::{FlowTable, Miss, RecordLimits, Slot, SourcePorts};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use sluice_tests::cases::{
    frame::{ACK, Frame, SYN},
    places::{BACK, BACKEND, Flavour, Pool, Version, Way},
    world::{NEXT_HOP, World, backend_index, service_id, table},
};

use crate::{
    network::Network,
    program::{Program, run},
};

/// How many flows a test has: fewer than half of a flow table.
const FLOWS: u16 = 1500;
/// XDP's answers that send a frame on.
const SENT: [u32; 2] = [3, 4];

/// A frame for each of the two CPUs.
type Pair = [Frame; 2];
/// What came of it.
type Answer = (u32, Vec<u8>);

fn world() -> World {
    let mut world = World::default();
    world.constants.ports = SourcePorts {
        first: 20_000,
        count: 30_000,
    };
    world.constants.limits = RecordLimits {
        capacity: 8192,
        rate: 1 << 20,
    };
    world
}

/// Hands both frames of each pair to a CPU each at the same moment.
fn race(program: &Xdp, pairs: &[Pair]) -> Vec<[Answer; 2]> {
    let frames: Vec<[(u32, Vec<u8>); 2]> = pairs
        .iter()
        .map(|pair| pair.each_ref().map(|f| (f.ingress.ifindex, f.bytes())))
        .collect();
    let ready = AtomicUsize::new(0);
    let runner = |cpu: usize| {
        let (frames, ready) = (&frames, &ready);
        move || {
            let mut only = CpuSet::new();
            only.set(cpu).expect("a CPU of the set");
            sched_setaffinity(Pid::from_raw(0), &only).expect("two CPUs");
            let answers = frames.iter().enumerate().map(|(n, pair)| {
                let (ifindex, frame) = &pair[cpu];
                ready.fetch_add(1, Ordering::AcqRel);
                while ready.load(Ordering::Acquire) < 2 * (n + 1) {
                    std::hint::spin_loop();
                }
                run(program, *ifindex, frame)
            });
            answers.collect::<Vec<_>>()
        }
    };
    let [first, second] = thread::scope(|scope| {
        [0, 1]
            .map(|cpu| scope.spawn(runner(cpu)))
            .map(|thread| thread.join().expect("a CPU that runs frames"))
    });
    first.into_iter().zip(second).map(|(a, b)| [a, b]).collect()
}

/// Both of a pair came to the same, which was to be sent on.
fn same(answers: &[[Answer; 2]]) {
    for (n, [first, second]) in answers.iter().enumerate() {
        assert!(SENT.contains(&first.0), "flow {n}: {first:?}");
        assert_eq!(first, second, "flow {n}");
    }
}

fn request(flavour: Flavour, pool: Pool, number: u16) -> Frame {
    let mut client = flavour.client(Way::Router);
    client.set_port(1024 + number);
    flavour.packet(client, flavour.service(pool))
}

fn each(frame: impl Fn(u16) -> Pair) -> Vec<Pair> {
    (0..FLOWS).map(frame).collect()
}

/// How many entries a flow table has, of both families.
fn entries(program: &mut Program, table: FlowTable) -> usize {
    program.flows_v4(table).count() + program.flows_v6(table).count()
}

/// The answer of a backend to a frame that Sluice sent it.
fn reply(flavour: Flavour, sent: &[u8], flags: u8, sequence: u32) -> Frame {
    let port = match flavour.version {
        Version::V4 => [sent[34], sent[35]],
        Version::V6 => [sent[54], sent[55]],
    };
    let mut own = flavour.own();
    own.set_port(u16::from_be_bytes(port));
    let frame = flavour.packet(flavour.backend(Pool::Nat), own);
    let frame = frame.arrives(BACK).link(BACKEND, BACK.mac);
    frame.flags(flags).sequence(sequence)
}

fn flows_are_recorded_once(flavour: Flavour) {
    let network = Network::create().expect("a network namespace");
    network.run(|| {
        let world = world();
        network.change(&bare(), &world);
        let mut program = Program::load(world.constants);
        program.change(&world);

        let syn = each(|n| [(); 2].map(|()| request(flavour, Pool::Nat, n).flags(SYN).sequence(9)));
        let opened = race(program.xdp(), &syn);
        same(&opened);
        let flows = usize::from(FLOWS);
        assert_eq!(entries(&mut program, FlowTable::Young), 2 * flows);
        let ports: BTreeSet<_> = opened
            .iter()
            .map(|[(_, frame), _]| ends(flavour, frame))
            .collect();
        assert_eq!(ports.len(), flows, "two flows share a port");
        let service = service_id(flavour, Pool::Nat);
        assert_eq!(
            program.counts().services[&service].new_flows,
            u64::from(FLOWS)
        );

        let sent = |n: u16| &opened[usize::from(n)][0].1;
        let answer = each(|n| [(); 2].map(|()| reply(flavour, sent(n), SYN | ACK, 70)));
        same(&race(program.xdp(), &answer));

        // The client's third packet on one CPU, more of the backend's on the other.
        let third = each(|n| {
            let third = request(flavour, Pool::Nat, n).flags(ACK).sequence(10);
            [third.acknowledgement(71), reply(flavour, sent(n), ACK, 71)]
        });
        for (n, pair) in race(program.xdp(), &third).iter().enumerate() {
            for (action, _) in pair {
                assert!(SENT.contains(action), "flow {n}: {pair:?}");
            }
        }
        assert_eq!(entries(&mut program, FlowTable::Young), 0);
        assert_eq!(entries(&mut program, FlowTable::Committed), 2 * flows);
    });
}

/// The first ports of a frame's transport header.
fn ends(flavour: Flavour, frame: &[u8]) -> [u8; 2] {
    match flavour.version {
        Version::V4 => [frame[34], frame[35]],
        Version::V6 => [frame[54], frame[55]],
    }
}

fn bare() -> World {
    let mut bare = World::without_services();
    bare.routes.clear();
    bare.neighbours.clear();
    bare
}

/// Flows of a slot that moves, by their first packet that is seen: all of them stay with whom they are
/// sent to first.
fn exceptions_are_recorded_once(flavour: Flavour, flags: u8) {
    let network = Network::create().expect("a network namespace");
    network.run(|| {
        let mut world = world();
        let index = backend_index(flavour.version, Pool::Ipip);
        let other = index + 100;
        world.add_backend_at(other, Pool::Ipip, flavour.version.inner(77), NEXT_HOP);
        let moving = Slot::moving(other, Miss::Backend(index), 1);
        world
            .slots
            .insert(table(flavour.version, Pool::Ipip), vec![moving]);
        network.change(&bare(), &world);
        let mut program = Program::load(world.constants);
        program.change(&world);
        let syn = |n| request(flavour, Pool::Ipip, n).flags(flags).sequence(9);
        let first = each(|n| [(); 2].map(|()| syn(n)));
        let answers = race(program.xdp(), &first);
        same(&answers);
        let recorded = program.exceptions_v4().count() + program.exceptions_v6().count();
        assert_eq!(recorded, usize::from(FLOWS));
        let next = |n| request(flavour, Pool::Ipip, n).sequence(10);
        same(&race(program.xdp(), &each(|n| [(); 2].map(|()| next(n)))));
        let again = race(program.xdp(), &first);
        assert_eq!(answers, again, "a flow went elsewhere");
    });
}

#[test]
fn serial_a_flow_is_recorded_once_for_two_cpus() {
    for flavour in Flavour::TCP {
        flows_are_recorded_once(flavour);
    }
}

#[test]
fn serial_an_exception_is_recorded_once_for_two_cpus() {
    for flavour in Flavour::TCP {
        for flags in [SYN, ACK] {
            exceptions_are_recorded_once(flavour, flags);
        }
    }
}
