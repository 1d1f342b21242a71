//! Takes the measurements: rounds in which every case has its turn, each turn checked.

use std::fmt::Debug;

use anyhow::{Context, Result, ensure};
use lb_common::abi::Counters;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use super::{
    cases::{Case, Expected, FLOWS, Program, Traffic},
    figures::Figures,
    frame::{self, Ends, Segment},
    site::{self, Mode, Service},
    target::{Answer, Counts, Target},
};

/// Rounds, in each of which every case has a turn. Few and long: a case with many flows finds them
/// in no cache at first, where its own traffic would have put them.
const ROUNDS: u32 = 10;

/// Packets of a turn that are timed, `packets` being asked for.
fn turn(packets: u32) -> u32 {
    packets.div_ceil(ROUNDS)
}

/// Packets that are timed for each case.
pub(super) fn timed(packets: u32) -> u32 {
    turn(packets) * ROUNDS
}

/// Packets that are sent for a case.
pub(super) fn sent(case: &Case, packets: u32) -> u32 {
    (warm_up(case, turn(packets)) + turn(packets)) * ROUNDS
}

/// Packets at the start of a turn that are not timed: one of each flow, if those are not too many.
/// New flows that are recorded stay, so there are few.
fn warm_up(case: &Case, turn: u32) -> u32 {
    if case.opens_flows() {
        turn / 10
    } else {
        case.flows.clamp(turn / 10, turn * 7)
    }
}

/// The figures of each case.
pub(super) fn measure(target: &mut Target, cases: &[Case], packets: u32) -> Result<Vec<Figures>> {
    stay_on_one_core()?;
    let mut runner = Runner {
        flows: Flows::open(target)?,
        target,
        frame: Vec::new(),
    };
    let mut runs: Vec<Run<'_>> = cases.iter().map(Run::new).collect();
    for _ in 0..ROUNDS {
        for run in &mut runs {
            let Case { name, flows, .. } = run.case;
            runner
                .turn(run, turn(packets))
                .with_context(|| format!("{name}, {flows} flows, packet {}", run.sent))?;
        }
    }
    runner.settle_accounts()?;
    Ok(runs.iter().map(|run| Figures::of(&run.turns)).collect())
}

/// A case under way.
struct Run<'a> {
    case: &'a Case,
    expected: Expected,
    /// Packets sent so far.
    sent: u32,
    /// Durations, turn by turn.
    turns: Vec<Vec<u32>>,
}

impl<'a> Run<'a> {
    fn new(case: &'a Case) -> Self {
        Self {
            case,
            expected: case.expected(),
            sent: 0,
            turns: Vec::new(),
        }
    }
}

struct Runner<'a> {
    target: &'a mut Target,
    flows: Flows,
    frame: Vec<u8>,
}

impl Runner<'_> {
    fn turn(&mut self, run: &mut Run<'_>, timed: u32) -> Result<()> {
        let before = self.target.counts()?;
        let mut bytes = 0;
        let untimed = warm_up(run.case, timed);
        let mut durations = Vec::with_capacity(timed as usize);
        for n in 0..untimed + timed {
            self.flows.write(&mut self.frame, run.case, run.sent)?;
            run.sent += 1;
            bytes += self.frame.len() as u64 - 14;
            let answer = self.target.send(run.case.program, &self.frame)?;
            check(&answer, &run.expected, &self.frame)?;
            if n >= untimed {
                durations.push(answer.nanoseconds);
            }
        }
        run.turns.push(durations);
        let counted = self.target.counts()?;
        same(
            "counted",
            &counted,
            &after(before, &run.expected, untimed + timed, bytes),
        )
    }

    /// What was counted for services was counted for backends.
    fn settle_accounts(&self) -> Result<()> {
        let mut services = Counters::default();
        for counters in self.target.counts()?.services {
            services += counters;
        }
        same("counted for backends", &self.target.backends()?, &services)
    }
}

/// The flows of tracked services, by number.
struct Flows {
    /// The ends of their replies, by service.
    replies: [Vec<Ends>; Service::ALL.len()],
}

impl Flows {
    /// Opens [`FLOWS`] flows of each tracked service: with all of a handshake, so that they are
    /// committed.
    fn open(target: &mut Target) -> Result<Self> {
        let mut replies = [const { Vec::new() }; Service::ALL.len()];
        let tracked = Service::ALL
            .into_iter()
            .filter(|service| service.mode() == Mode::FullNat);
        for service in tracked {
            let mut frame = Vec::new();
            let mut send = |ends, segment, traffic: Traffic| {
                frame::tcp(&mut frame, ends, segment)?;
                let answer = target.send(Program::Sluice, &frame)?;
                check(&answer, &traffic.expected(), &frame)?;
                frame::answer(answer.frame)
            };
            for n in 0..FLOWS {
                let client = ends(service, n);
                let backend = send(client, Segment::Syn, Traffic::New(service))?;
                send(backend, Segment::SynAck, Traffic::Reply(service))?;
                send(client, Segment::Ack, Traffic::Established(service))?;
                replies[service as usize].push(backend);
            }
        }
        Ok(Self { replies })
    }

    /// Writes packet number `n` of a case.
    fn write(&self, frame: &mut Vec<u8>, case: &Case, n: u32) -> Result<()> {
        let flow = scattered(n, case.flows);
        let ends = match case.traffic {
            Traffic::Established(service) => ends(service, flow),
            Traffic::New(service) => ends(service, FLOWS + n),
            Traffic::Reply(service) => self.replies[service as usize][flow as usize],
            Traffic::NoService => {
                let source = frame::client(flow, true);
                Ends {
                    source,
                    destination: site::nobody(),
                }
            }
            Traffic::Arp => {
                return frame::arp(frame, [198, 18, 2, 1].into(), [198, 18, 2, 2].into());
            }
        };
        frame::tcp(frame, ends, case.traffic.segment())
    }
}

fn ends(service: Service, flow: u32) -> Ends {
    let source = frame::client(flow, service.is_ipv4());
    Ends {
        source,
        destination: service.address(),
    }
}

/// Every flow once, then again, in an order that no prefetcher follows: entries of flows that
/// were opened one after the other lie side by side. `flows` is a power of two.
fn scattered(n: u32, flows: u32) -> u32 {
    n.wrapping_mul(0x9e37_79b1) & (flows - 1)
}

fn check(answer: &Answer<'_>, expected: &Expected, sent: &[u8]) -> Result<()> {
    same("program's answer", &answer.action, &expected.action)?;
    same(
        "length of the frame",
        &answer.frame.len(),
        &(sent.len() + expected.growth),
    )?;
    let towards = &answer.frame[..expected.towards.len()];
    same("start of the next hop", &towards, &expected.towards)
}

/// The counters after `packets` packets of `bytes` bytes went the expected way.
fn after(before: Counts, expected: &Expected, packets: u32, bytes: u64) -> Counts {
    let mut counts = before;
    let packets = u64::from(packets);
    if let Some(outcome) = expected.outcome {
        counts.outcomes[outcome.code() as usize] += packets;
    }
    if let Some((service, each)) = expected.counted {
        counts.services[service.id() as usize] += Counters {
            packets_in: each.packets_in * packets,
            bytes_in: each.packets_in * bytes,
            packets_out: each.packets_out * packets,
            bytes_out: each.packets_out * bytes,
            new_flows: each.new_flows * packets,
        };
    }
    counts
}

fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Result<()> {
    ensure!(
        found == expected,
        "{what}: {found:?} instead of {expected:?}"
    );
    Ok(())
}

/// Keeps this thread on the last core that it may use, which interrupts favour least.
fn stay_on_one_core() -> Result<()> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let core = (0..CpuSet::count())
        .rev()
        .find(|&core| allowed.is_set(core) == Ok(true));
    let mut one = CpuSet::new();
    one.set(core.context("no core to run on")?)?;
    Ok(sched_setaffinity(this, &one)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_flow_has_its_turn() {
        for flows in [1, 1024, FLOWS] {
            let seen: BTreeSet<u32> = (0..flows).map(|n| scattered(n, flows)).collect();
            assert_eq!(seen.len(), flows as usize);
        }
    }
}
