//! Runs a row in a ring, and compares.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

use lb_common::{
    abi::{Counters, Direction, Handshake, Handshakes, Recorded},
    datapath::{Egress, Outcome},
};

use super::{
    case::{Arrival, Case, Counted, Ends, Step},
    world::World,
};

/// Something that runs the packet path.
pub trait Ring {
    /// Forgets every flow and counter, and puts `world` in place.
    fn start(&mut self, world: &World);

    /// Puts another world in place, whose constants are the same; flows and counters stay.
    fn change(&mut self, world: &World);

    /// Handles a frame.
    fn handle(&mut self, arrival: &Arrival) -> Seen;

    /// Everything that was counted since the start.
    fn counts(&mut self) -> Counts;

    /// Lets time pass.
    fn advance(&mut self, seconds: u32);

    /// Removes a flow's entry or exception; whether it was there.
    fn evict(&mut self, ends: Ends) -> bool;

    /// Makes a flow's entry or exception another's, or its own again; whether it was there.
    fn recycle(&mut self, ends: Ends) -> bool;
}

/// What came of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What the driver is told.
    pub verdict: Verdict,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// The device that it leaves through, where the ring can tell.
    pub device: Option<u16>,
    /// Neighbours that the agent was asked to resolve: interface and address.
    pub wanted: Vec<(u32, IpAddr)>,
    /// What went unrecorded: services, and kinds of packets.
    pub unrecorded: Vec<(u32, Recorded)>,
}

/// What a driver can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verdict {
    Pass,
    Drop,
    Transmit,
    Redirect,
}

/// Every counter that is not 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By device and the outcome's name.
    pub outcomes: BTreeMap<(u16, &'static str), u64>,
    /// By service.
    pub services: BTreeMap<u32, Counters>,
    /// By backend.
    pub backends: BTreeMap<u32, Counters>,
    /// How connections began, by backend.
    pub handshakes: BTreeMap<u32, Handshakes>,
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Forward(Egress::Transmit) | Outcome::Answer(_) => Self::Transmit,
            Outcome::Forward(Egress::Redirect) => Self::Redirect,
            Outcome::Pass(_) => Self::Pass,
            Outcome::Drop(_) => Self::Drop,
        }
    }
}

impl Counts {
    /// Counts what has to come of a frame.
    fn expect(&mut self, arrival: &Arrival) {
        let outcome = arrival.expected.outcome.name();
        *self
            .outcomes
            .entry((arrival.ingress.device, outcome))
            .or_default() += 1;
        if let Some(counted) = arrival.expected.counted {
            count(self.services.entry(counted.service).or_default(), counted);
            count(self.backends.entry(counted.backend).or_default(), counted);
            if let Some(step) = counted.handshake {
                let handshakes = self.handshakes.entry(counted.backend).or_default();
                *place(handshakes, step) += 1;
            }
        }
    }
}

/// What `Counters::add` has to do.
fn count(counters: &mut Counters, counted: Counted) {
    let (packets, bytes) = match counted.direction {
        Direction::In => (&mut counters.packets_in, &mut counters.bytes_in),
        Direction::Out => (&mut counters.packets_out, &mut counters.bytes_out),
    };
    *packets += 1;
    *bytes += counted.bytes;
    counters.new_flows += u64::from(counted.opens);
}

/// Where `Handshakes::add` has to count a step.
fn place(handshakes: &mut Handshakes, step: Handshake) -> &mut u64 {
    match step {
        Handshake::Asked => &mut handshakes.syns,
        Handshake::Answered => &mut handshakes.answered,
        Handshake::Refused => &mut handshakes.refused,
    }
}

/// Runs a row; what is wrong with it, if anything is.
pub fn run(case: &Case, ring: &mut impl Ring) -> Result<(), String> {
    ring.start(&case.world);
    let mut counts = Counts::default();
    for (n, step) in case.steps.iter().enumerate() {
        match step {
            Step::Frame(arrival) => {
                counts.expect(arrival);
                let seen = ring.handle(arrival);
                compare(arrival, &seen, &counts, &ring.counts())
                    .map_err(|wrong| format!("{}, step {n}:\n{wrong}", case.name))?;
            }
            Step::Advance(seconds) => ring.advance(*seconds),
            Step::Evict(ends) if ring.evict(*ends) => {}
            Step::Recycle(ends) if ring.recycle(*ends) => {}
            Step::Evict(ends) | Step::Recycle(ends) => {
                return Err(format!("{}, step {n}: no entry for {ends:?}", case.name));
            }
            Step::Change(world) => ring.change(world),
        }
    }
    Ok(())
}

fn compare(
    arrival: &Arrival,
    seen: &Seen,
    counts: &Counts,
    counted: &Counts,
) -> Result<(), String> {
    let (expected, mut wrong) = (&arrival.expected, String::new());
    let mut differ = |what: &str, left: String, right: String| {
        if left != right {
            let _ = writeln!(wrong, "  {what}: expected\n    {left}\n  got\n    {right}");
        }
    };
    let verdict = Verdict::from(expected.outcome);
    differ(
        "verdict",
        format!("{verdict:?}"),
        format!("{:?}", seen.verdict),
    );
    differ("counters", format!("{counts:?}"), format!("{counted:?}"));
    let untouched = (verdict == Verdict::Pass).then_some(&arrival.bytes);
    if let Some(frame) = expected.frame.as_ref().or(untouched) {
        differ("frame", hex(frame), hex(&seen.frame));
    }
    if let (Some(device), Some(out)) = (expected.device, seen.device) {
        differ("device", device.to_string(), out.to_string());
    }
    let wanted: Vec<_> = expected.wanted.into_iter().collect();
    differ(
        "neighbours asked for",
        format!("{wanted:?}"),
        format!("{:?}", seen.wanted),
    );
    let unrecorded: Vec<_> = expected.unrecorded.into_iter().collect();
    differ(
        "unrecorded",
        format!("{unrecorded:?}"),
        format!("{:?}", seen.unrecorded),
    );
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(2)
        .map(|pair| {
            pair.iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
                + " "
        })
        .collect()
}
