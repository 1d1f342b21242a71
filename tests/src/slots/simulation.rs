//! An hour of flows through a whole table: the real scheduler, flow hash, decision and agent's
//! rules, in virtual time. Counted are the flows of which a packet reached another backend than
//! their own, which lives; and for comparison those that would be lost without any state, so that
//! it is seen that a scenario moves flows at all.

use std::fmt;

use lb_common::datapath::exceptions::{Kind, Proof, Sighting};

use super::{
    node::{HERTZ, Node},
    packets::Traffic,
    scenarios::{self, Change, Scenario},
    trace::{self, Load, Packet, Sent},
};

/// Backends at the start.
const BACKENDS: usize = 8;

/// How often the agent looks, seconds.
const ROUND: u32 = 60;

/// What became of a scenario's flows.
#[derive(Clone, Debug)]
pub struct Report {
    /// The scenario.
    pub name: String,
    /// Its flows.
    pub flows: usize,
    /// Its packets.
    pub packets: usize,
    /// Established flows that were broken.
    pub broken: usize,
    /// Flows that were broken before they were established: their SYN was sent twice, or spoofed.
    pub handshakes: usize,
    /// Flows that would be broken without state.
    pub stateless: usize,
    /// Most exceptions at a time.
    pub peak: usize,
    /// Packets that were looked up.
    pub looked_up: u64,
    /// Packets that could not be recorded.
    pub refused: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = self.looked_up as f64 / self.packets as f64 * 100.0;
        write!(
            f,
            "{:28} {:6} flows {:8} packets: broken {}, handshakes {}, stateless {}; entries at \
             peak {}, {share:.1} % looked up, {} refused",
            self.name,
            self.flows,
            self.packets,
            self.broken,
            self.handshakes,
            self.stateless,
            self.peak,
            self.refused
        )
    }
}

/// Runs every scenario under this load.
pub fn soak(load: Load) -> Vec<Report> {
    let scenarios = scenarios::all(load);
    scenarios.iter().map(|s| simulate(s, load)).collect()
}

/// Runs a scenario under this load.
pub fn simulate(scenario: &Scenario, load: Load) -> Report {
    let mut packets = trace::flows(load, scenario.sent_twice);
    let flows = packets.iter().map(|p| p.flow + 1).max().unwrap_or(0);
    if scenario.flood > 0.0 {
        trace::flood(&mut packets, scenario.flood * load.flows, flows, load.seed);
    }
    let mut hour = Hour {
        node: Node::new(scenario.settings, BACKENDS),
        kept: Ledger::new(flows, scenario.traffic),
        stateless: Ledger::new(flows, scenario.traffic),
    };
    let (mut changes, mut round) = (scenario.changes.iter().peekable(), ROUND);
    for packet in &packets {
        let now = packet.at / 1_000;
        while let Some((at, change)) = changes.next_if(|(at, _)| *at <= now) {
            hour.change(*at, *change);
        }
        while round <= now {
            hour.node.tick(round);
            round += ROUND;
        }
        hour.packet(*packet);
    }
    hour.report(&scenario.name, packets.len())
}

/// After how many packets an ICMP error or a later fragment comes.
const PEEKS: u32 = 8;

/// An hour that runs.
struct Hour {
    node: Node,
    kept: Ledger,
    stateless: Ledger,
}

impl Hour {
    fn change(&mut self, now: u32, change: Change) {
        match change {
            Change::Weight(backend, weight) => self.node.configure(backend, weight),
            Change::Up(backend) => self.node.set_alive(backend, true),
            Change::Down(backend) => {
                self.node.set_alive(backend, false);
                self.kept.lose(backend as u32 + 1);
                self.stateless.lose(backend as u32 + 1);
            }
            Change::Resize(size) => return self.node.resize(size, now),
        }
        self.node.apply(now);
    }

    fn packet(&mut self, packet: Packet) {
        let flow = packet.flow;
        let spoofed = matches!(packet.sent, Sent::SpoofedOpen(_) | Sent::SpoofedData(_));
        if spoofed || !self.kept.is_over(flow) {
            let sighting = self.kept.sighting(packet);
            let backend = self.node.handle(flow, sighting);
            let lives = self.node.lives(backend);
            if packet.sent == Sent::Data && packet.at.is_multiple_of(PEEKS) && lives {
                self.peek(flow, backend, sighting);
            }
            self.kept.learn(packet, backend, lives);
        }
        let backend = self.node.stateless(flow);
        let lives = self.node.lives(backend);
        self.stateless.learn(packet, backend, lives);
    }

    /// An ICMP error that quotes a flow's packet, or a later fragment of it, has to follow the packet.
    fn peek(&mut self, flow: u32, backend: u32, packet: Sighting) {
        let peek = Sighting {
            kind: Kind::Peek,
            proof: Proof::None,
            ..packet
        };
        if self.node.handle(flow, peek) != backend {
            self.kept.broken += 1;
        }
    }

    fn report(&self, name: &str, packets: usize) -> Report {
        Report {
            name: name.to_owned(),
            flows: self.kept.flows.len(),
            packets,
            broken: self.kept.broken,
            handshakes: self.kept.handshakes,
            stateless: self.stateless.broken + self.stateless.handshakes,
            peak: self.node.peak.get(),
            looked_up: self.node.looked_up.get(),
            refused: self.node.refused.get(),
        }
    }
}

/// What is true of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Absent,
    Opening(u32),
    Established(u32),
    Over,
}

/// What is true of every flow.
struct Ledger {
    traffic: Traffic,
    flows: Vec<Truth>,
    sequences: Vec<u32>,
    broken: usize,
    handshakes: usize,
}

impl Ledger {
    fn new(flows: u32, traffic: Traffic) -> Self {
        Self {
            traffic,
            flows: vec![Truth::Absent; flows as usize],
            sequences: (0..flows).map(|n| n.wrapping_mul(0x9e37_79b9)).collect(),
            broken: 0,
            handshakes: 0,
        }
    }

    fn is_over(&self, flow: u32) -> bool {
        self.flows[flow as usize] == Truth::Over
    }

    /// The flows of a backend are lost with it.
    fn lose(&mut self, backend: u32) {
        for flow in &mut self.flows {
            if matches!(*flow, Truth::Opening(b) | Truth::Established(b) if b == backend) {
                *flow = Truth::Over;
            }
        }
    }

    /// What the program sees of a packet. Every TCP segment carries 1,000 bytes; the second packet of
    /// a QUIC flow is its client's Handshake, and what ends one is like any other.
    fn sighting(&mut self, packet: Packet) -> Sighting {
        let traffic = self.traffic;
        let truth = self.flows.get(packet.flow as usize);
        let proof = match (traffic, packet.sent, truth) {
            (Traffic::Tcp, ..) => Proof::Sequence,
            (Traffic::Quic, Sent::Data, Some(Truth::Opening(_))) => Proof::Handshake,
            (Traffic::Udp | Traffic::Quic, ..) => Proof::None,
        };
        let mut own = |length| {
            let sequence = self.sequences[packet.flow as usize];
            self.sequences[packet.flow as usize] = sequence.wrapping_add(length);
            sequence
        };
        let (kind, sequence) = match packet.sent {
            Sent::Open => (Kind::Open, own(1)),
            Sent::OpenAgain => (Kind::Open, own(0).wrapping_sub(1)),
            Sent::Data => (Kind::Data, own(1_000)),
            Sent::Fin => (Kind::Close, own(1)),
            Sent::SpoofedOpen(number) => (Kind::Open, number),
            Sent::SpoofedData(number) => (Kind::Data, number),
        };
        let kind = match (traffic, kind) {
            (Traffic::Udp, _) | (Traffic::Quic, Kind::Close) => Kind::Data,
            (Traffic::Tcp | Traffic::Quic, kind) => kind,
        };
        Sighting {
            kind,
            proof,
            sequence,
            now: (u64::from(packet.at) * u64::from(HERTZ) / 1_000) as u32,
        }
    }

    /// What is true after this backend got a packet. Of a SYN that is sent twice, the first one's
    /// answer counts.
    fn learn(&mut self, packet: Packet, backend: u32, lives: bool) {
        let Some(flow) = self.flows.get_mut(packet.flow as usize) else {
            return;
        };
        *flow = match (packet.sent, *flow) {
            // Any packet of UDP has its answer.
            (Sent::Open, _) if lives && self.traffic == Traffic::Udp => Truth::Established(backend),
            (Sent::Open, _) if lives => Truth::Opening(backend),
            (Sent::Open, _) => Truth::Over,
            (Sent::Data | Sent::Fin, Truth::Opening(owner)) if owner != backend => {
                self.handshakes += 1;
                Truth::Over
            }
            (Sent::Data | Sent::Fin, Truth::Established(owner)) if owner != backend => {
                self.broken += 1;
                Truth::Over
            }
            (Sent::Data, Truth::Opening(owner)) => Truth::Established(owner),
            (Sent::Fin, _) => Truth::Over,
            (
                Sent::Data | Sent::OpenAgain | Sent::SpoofedOpen(_) | Sent::SpoofedData(_),
                unchanged,
            ) => unchanged,
        };
    }
}
