//! Runs rows in the kernel: the maps hold the row's world, the namespace its routes.
//!
//! Time passes by making every flow and every budget older. Between frames of a row nothing else
//! ages: the program is told that a second has [`HERTZ`] jiffies, which takes the kernel minutes.

use lb_common::abi::{Address, Affinity, FlowEntry, FlowTable, Fragmented};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use sluice_tests::{
    cases::{
        case::{Arrival, Ends},
        ring::{Counts, Ring, Seen, Verdict},
        world::{HERTZ, World},
    },
    host::Key,
};

use crate::{network::Network, program::Program};

/// The packet path in the kernel, for rows.
pub(crate) struct KernelRing<'a> {
    network: &'a Network,
    routed: World,
    programs: Vec<Program>,
    /// The one of the row.
    current: usize,
    /// Bytes of every frame in the first part of its buffer.
    first_part: usize,
}

impl<'a> KernelRing<'a> {
    /// With nothing loaded yet. Its frames are all handled on one CPU, so that there is one budget.
    pub(crate) fn new(network: &'a Network) -> Self {
        stay_on_one_cpu();
        let mut routed = World::without_services();
        routed.routes.clear();
        routed.neighbours.clear();
        Self {
            network,
            routed,
            programs: Vec::new(),
            current: 0,
            first_part: usize::MAX,
        }
    }

    /// Has only so many bytes of every frame lie in the first part of its buffer.
    pub(crate) fn set_first_part(&mut self, bytes: usize) {
        self.first_part = bytes;
    }

    fn program(&mut self) -> &mut Program {
        &mut self.programs[self.current]
    }
}

impl Ring for KernelRing<'_> {
    fn start(&mut self, world: &World) {
        let of_constants = |program: &Program| program.constants() == world.constants;
        self.current = self
            .programs
            .iter()
            .position(of_constants)
            .unwrap_or_else(|| {
                self.programs.push(Program::load(world.constants));
                self.programs.len() - 1
            });
        self.program().clear();
        self.change(world);
    }

    fn change(&mut self, world: &World) {
        self.program().change(world);
        self.network.change(&self.routed, world);
        self.routed = world.clone();
    }

    fn handle(&mut self, arrival: &Arrival) -> Seen {
        let first_part = self.first_part;
        let program = self.program();
        program.first_part = first_part;
        let (action, frame) = program.run(arrival.ingress.ifindex, &arrival.bytes);
        let verdict = match action {
            1 => Verdict::Drop,
            2 => Verdict::Pass,
            3 => Verdict::Transmit,
            4 => Verdict::Redirect,
            other => panic!("XDP action {other}"),
        };
        Seen {
            verdict,
            frame,
            device: None,
            wanted: program.wanted(),
            unrecorded: program.unrecorded(),
        }
    }

    fn counts(&mut self) -> Counts {
        self.program().counts()
    }

    fn advance(&mut self, seconds: u32) {
        let program = self.program();
        for table in FlowTable::ALL {
            program
                .flows_v4(table)
                .update_all(|entry| age(entry, seconds));
            program
                .flows_v6(table)
                .update_all(|entry| age(entry, seconds));
        }
        let age = |affinity: &mut Affinity| before(&mut affinity.last_seen, seconds);
        program.affinities_v4().update_all(age);
        program.affinities_v6().update_all(age);
        let age = |first: &mut Fragmented| before(&mut first.seen, seconds);
        program.fragmented_v4().update_all(age);
        program.fragmented_v6().update_all(age);
        program.age_budgets(seconds);
    }

    fn evict(&mut self, ends: Ends) -> bool {
        let program = self.program();
        let key = ends.into();
        let flows = FlowTable::ALL.map(|table| match key {
            Key::V4(key) => program.flows_v4(table).remove(key),
            Key::V6(key) => program.flows_v6(table).remove(key),
        });
        let exception = match key {
            Key::V4(key) => program.sweep_v4(key),
            Key::V6(key) => program.sweep_v6(key),
        };
        exception || flows.contains(&true)
    }

    fn recycle(&mut self, ends: Ends) -> bool {
        let program = self.program();
        let key = ends.into();
        let flows = FlowTable::ALL.map(|table| match key {
            Key::V4(key) => program.flows_v4(table).update(key, |e| e.fingerprint ^= 1),
            Key::V6(key) => program.flows_v6(table).update(key, |e| e.fingerprint ^= 1),
        });
        let exception = match key {
            Key::V4(key) => program.exceptions_v4().update(key, |e| e.fingerprint ^= 1),
            Key::V6(key) => program.exceptions_v6().update(key, |e| e.fingerprint ^= 1),
        };
        exception || flows.contains(&true)
    }
}

fn age<A: Address>(entry: &mut FlowEntry<A>, seconds: u32) {
    before(&mut entry.last_seen, seconds);
    before(&mut entry.route_seen, seconds);
}

fn before(time: &mut u32, seconds: u32) {
    *time = time.wrapping_sub(seconds * HERTZ);
}

/// Keeps this thread on one of the CPUs that it may use.
fn stay_on_one_cpu() {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).expect("the CPUs that there are");
    let cpu = (0..CpuSet::count()).find(|&cpu| allowed.is_set(cpu) == Ok(true));
    let mut one = CpuSet::new();
    one.set(cpu.expect("a CPU to run on"))
        .expect("a CPU of the set");
    sched_setaffinity(this, &one).expect("a CPU that is allowed");
}
