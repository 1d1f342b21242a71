//! The packets of an hour: flows that come evenly and live by Pareto's law, so that a few of them
//! are there at every change; and a flood in others' names. The same seed gives the same packets.

use lb_common::{
    abi::{FlowKey, Ipv4Address},
    net::TcpHeader,
};

/// A random source that gives the same numbers everywhere: SplitMix64 (Steele, Lea, Flood).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Numbers from this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `count`.
    pub fn below(&mut self, count: u32) -> u32 {
        (((self.roll() >> 32) * u64::from(count)) >> 32) as u32
    }

    /// A number in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A time until the next event of many, which come once in `mean`.
    fn until(&mut self, mean: f64) -> f64 {
        -(1.0 - self.unit()).ln() * mean
    }

    /// A life that is at least `least`: Pareto's law, of index 1.2.
    fn life(&mut self, least: f64) -> f64 {
        (1.0 - self.unit()).powf(-1.0 / 1.2) * least
    }
}

/// What a packet of a trace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sent {
    /// The flow's SYN.
    Open,
    /// Its SYN once more, since the answer was late.
    OpenAgain,
    /// It goes on.
    Data,
    /// It ends.
    Fin,
    /// A SYN in its name, of this sequence number.
    SpoofedOpen(u32),
    /// A segment in its name, of this sequence number.
    SpoofedData(u32),
}

/// A packet of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    /// When, milliseconds from the start.
    pub at: u32,
    /// The flow's number.
    pub flow: u32,
    /// What it is.
    pub sent: Sent,
}

/// How much there is to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// New flows in a second.
    pub flows: f64,
    /// What all that is random comes from.
    pub seed: u64,
}

impl Load {
    /// For every build: some 4,300 flows, 100,000 packets.
    pub const SMALL: Self = Self {
        flows: 1.2,
        seed: 1,
    };

    /// For a soak run: some 43,000 flows, 1,000,000 packets.
    pub const FULL: Self = Self {
        flows: 12.0,
        seed: 1,
    };
}

/// How long a trace is, seconds.
pub const HOUR: f64 = 3_600.0;

/// How long a flow is silent between two packets, in the mean, seconds.
const SILENCE: f64 = 4.0;

/// How long every flow lives at least, seconds.
const LIFE: f64 = 20.0;

/// How late a first SYN's answer is where it is sent again, seconds.
const RETRY: f64 = 1.0;

/// The packets of flows, in the order of time. This share of them sends its SYN twice.
pub fn flows(load: Load, sent_twice: f64) -> Vec<Packet> {
    let mut dice = Dice::new(load.seed);
    let (mut packets, mut start) = (Vec::new(), 0.0);
    for flow in 0.. {
        start += dice.until(1.0 / load.flows);
        if start >= HOUR {
            break;
        }
        one(
            flow,
            start,
            dice.unit() < sent_twice,
            &mut dice,
            &mut packets,
        );
    }
    packets.sort_unstable();
    packets
}

/// The packets of one flow.
fn one(flow: u32, start: f64, twice: bool, dice: &mut Dice, packets: &mut Vec<Packet>) {
    let mut push = |at: f64, sent| {
        let at = (at * 1_000.0) as u32;
        packets.push(Packet { at, flow, sent });
    };
    push(start, Sent::Open);
    let mut at = start;
    if twice {
        push(start + RETRY, Sent::OpenAgain);
        at += RETRY;
    }
    let end = at + dice.life(LIFE);
    at += 0.05;
    while at < end && at < HOUR {
        push(at, Sent::Data);
        at += dice.until(SILENCE);
    }
    if end < HOUR {
        push(end, Sent::Fin);
    }
}

/// A flood of `rate` packets a second from 700 s to 1,300 s: half of them in the names of flows
/// that are not there, the rest in those of the first `flows` ones. It is added to `packets`.
pub fn flood(packets: &mut Vec<Packet>, rate: f64, flows: u32, seed: u64) {
    let mut dice = Dice::new(seed);
    for n in 0..(600.0 * rate) as u32 {
        let stranger = n % 2 == 0;
        let flow = if stranger {
            flows + n
        } else {
            dice.below(flows)
        };
        let number = dice.roll() as u32;
        let sent = match n / 2 % 2 {
            0 => Sent::SpoofedOpen(number),
            _ => Sent::SpoofedData(number),
        };
        let at = 700_000 + (f64::from(n) * 1_000.0 / rate) as u32;
        packets.push(Packet { at, flow, sent });
    }
    packets.sort_unstable();
}

/// The addresses and ports of a flow.
pub fn key(flow: u32) -> FlowKey<Ipv4Address> {
    let client = (0x0a00_0000 + flow / 1_000).to_be_bytes();
    let port = (20_000 + (flow % 1_000) as u16).to_be_bytes();
    FlowKey::new(
        Ipv4Address::from_bytes(client),
        Ipv4Address::from_bytes([192, 0, 2, 1]),
        port,
        443u16.to_be_bytes(),
        TcpHeader::PROTOCOL,
    )
}
