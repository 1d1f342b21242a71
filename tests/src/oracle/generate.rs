//! Stories out of a seed: the same seed gives the same story. Most packets are what clients and
//! backends send; every rule that a packet can meet is met by some.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    vec::IntoIter,
};

use super::{
    admission::{Limits, Rule},
    listening::{Listens, first_bits},
    ping::Ping,
    site::{
        Backend, Before, Mode, NextHop, Old, Scheduler, Service, Site, Slot, Timeouts, version,
    },
    story::{CLIENTS, Change, Flaw, Kind, Sent, Shape, Step, Story},
};
use crate::{
    cases::places::{GUE_PORT, Protocol, Version, Way},
    slots::trace::Dice,
};

/// Services of a site.
const SERVICES: u32 = 4;

/// Backends of a service, at most.
const BACKENDS: u32 = 3;

/// The story of a seed.
pub(super) fn story(seed: u64, steps: usize) -> Story {
    let mut source = Source::new(seed);
    let site = source.site();
    let steps = source.steps(&site, steps);
    Story { site, steps }
}

/// A story at the site of a seed, whose steps are chosen by these bytes for as long as there are any.
pub(super) fn story_of_choices(seed: u64, bytes: Vec<u8>) -> Story {
    let mut source = Source::new(seed);
    let site = source.site();
    let most = bytes.len();
    source.choices = Some(bytes.into_iter());
    let steps = source.steps(&site, most);
    Story { site, steps }
}

/// What chooses.
struct Source {
    dice: Dice,
    /// What chooses instead; nothing once it is used up.
    choices: Option<IntoIter<u8>>,
    /// Addresses that services listen on.
    listening: Vec<IpAddr>,
}

impl Source {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            choices: None,
            listening: Vec::new(),
        }
    }

    fn below(&mut self, count: u32) -> u32 {
        let Some(choices) = &mut self.choices else {
            return self.dice.below(count);
        };
        let mut byte = || u32::from(choices.next().unwrap_or(0));
        if count <= 256 {
            byte() % count
        } else {
            (byte() << 8 | byte()) % count
        }
    }

    /// Whether there is nothing left to choose by.
    fn is_over(&self) -> bool {
        self.choices
            .as_ref()
            .is_some_and(|choices| choices.len() == 0)
    }

    /// Once in `n` times.
    fn once_in(&mut self, n: u32) -> bool {
        self.below(n) == n - 1
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }

    fn seed(&mut self) -> [u8; 16] {
        let halves = [self.dice.roll(), self.dice.roll()];
        halves
            .map(u64::to_le_bytes)
            .concat()
            .try_into()
            .expect("16 bytes")
    }

    fn site(&mut self) -> Site {
        let mut backends = BTreeMap::new();
        let crossing = self.once_in(3);
        let services = (1..=SERVICES)
            .map(|id| self.service(id, crossing, &mut backends))
            .collect::<Vec<Service>>();
        // Flows of IPv4 that may cross, and replies to our source addresses then, are recorded with
        // those of IPv6, where they meet no others of IPv4: the model has one table.
        let spoofed = services
            .iter()
            .filter(|s| !matches!(s.listens, Listens::Prefix(..)) || !crossing || s.end.is_ipv6());
        self.listening = spoofed.map(|s| s.end_for(s.id as u8).ip()).collect();
        let both = |host| Version::ALL.map(|version| version.inner(host));
        let mut sources = both(254).to_vec();
        if self.once_in(2) {
            sources.extend(both(253));
        }
        Site {
            seed: self.seed(),
            ports: (40_000, self.pick(&[1, 2, 1000])),
            sources,
            crossing,
            own: both(252).to_vec(),
            exceptions: self.pick(&[3, 8, 64]),
            rate: self.pick(&[2, 1000, 1000]),
            flows: self.pick(&[3, 12, 1000, 1000]),
            access: self.rules(),
            services,
            backends,
        }
    }

    /// A list, mostly an empty one.
    fn rules(&mut self) -> Vec<Rule> {
        if !self.once_in(6) {
            return Vec::new();
        }
        let count = 1 + self.below(4);
        (0..count).map(|_| self.rule()).collect()
    }

    /// About clients.
    fn rule(&mut self) -> Rule {
        let version = self.pick(&Version::ALL);
        let whole = version.bits();
        let host = 1 + self.below(4) as u8;
        let bits = self.pick(&[1, whole - 8, whole - 1, whole, whole]);
        Rule {
            address: first_bits(version.client_number(Way::Router, host), bits),
            bits,
            allowed: self.once_in(3),
        }
    }

    fn limits(&mut self, whole: u8) -> Limits {
        let some = |source: &mut Self| source.once_in(8).then(|| 1 + source.below(3));
        let (source, total) = (some(self), some(self));
        let bits = self.pick(&[whole, whole - 1, whole - 8]);
        Limits {
            source: source.map(|most| (bits, most)),
            total,
        }
    }

    fn service(
        &mut self,
        id: u32,
        crossing: bool,
        backends: &mut BTreeMap<u32, Backend>,
    ) -> Service {
        let version = self.pick(&Version::ALL);
        let protocol = self.pick(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp]);
        let mode = self.mode(crossing);
        let across = mode.wraps() && self.once_in(2);
        let inner = if across { version.other() } else { version };
        let count = 1 + self.below(BACKENDS);
        let indices: Vec<u32> = (0..count).map(|n| BACKENDS * (id - 1) + 1 + n).collect();
        let port = self.pick(&[None, Some(8080)]);
        for index in &indices {
            let across = mode == Mode::FullNat && crossing && self.once_in(2);
            let inner = if across { version.other() } else { inner };
            let backend = self.backend(mode, inner.inner(*index as u8), port);
            backends.insert(*index, backend);
        }
        let end = SocketAddr::new(address(version, id as u8), 80);
        let (end, listens) = self.listens(id, end);
        // Replies of more than a port don't tell whom they are for.
        let needs_record = mode == Mode::Nat && listens != Listens::Port;
        let tracked = mode == Mode::FullNat || needs_record || self.once_in(3);
        let affine = tracked && self.once_in(4);
        let bits = self.pick(if version == Version::V4 {
            &[32, 31, 8]
        } else {
            &[128, 127, 64, 65]
        });
        let hashed = self.once_in(4);
        let udp = protocol == Protocol::Udp;
        Service {
            id,
            end,
            listens,
            protocol,
            mode,
            old: self.once_in(3).then(|| self.old(&indices, bits)),
            slots: self.slots(&indices),
            prefix: if affine || hashed { bits } else { 0 },
            tracked,
            scheduler: self.pick(&[
                Scheduler::Hash,
                Scheduler::RoundRobin,
                Scheduler::LeastConnections,
            ]),
            affinity: affine.then_some(20),
            one_packet: udp && !tracked && self.once_in(6),
            quic: udp && self.once_in(2),
            resets: self.once_in(4),
            echo: self.once_in(2),
            timeouts: Timeouts {
                handshake: 30,
                established: 300,
                udp: 100,
            },
            access: self.rules(),
            limits: self.limits(version.bits()),
        }
    }

    /// What the service of a number listens on, which has this end if that is all. No two listen on the
    /// same.
    fn listens(&mut self, id: u32, end: SocketAddr) -> (SocketAddr, Listens) {
        let (first, last) = self.pick(&[(80, 80), (79, 90), (64, 127), (1, 1000), (0, u16::MAX)]);
        let version = version(end.ip());
        match self.below(8) {
            // At an address that another one may have more of.
            0 if id > 1 => {
                let near = address(version, id as u8 - 1);
                (SocketAddr::new(near, 81), Listens::Port)
            }
            1 | 2 => (end, Listens::Range(first, last)),
            3 => {
                let bits = version.bits() - 8 + id as u8;
                let all = (0, u16::MAX);
                let (first, last) = self.pick(&[(first, last), all, all]);
                // Those of the backends' network have this host's own among them.
                let net = self.pick(&[address(version, 1), version.inner(1)]);
                (SocketAddr::new(net, 80), Listens::Prefix(bits, first, last))
            }
            _ => (end, Listens::Port),
        }
    }

    /// Where flows may cross, half the services are such that they do.
    fn mode(&mut self, crossing: bool) -> Mode {
        let entropy = self.pick(&[0, 0, 1, 9, 32]);
        match self.below(if crossing { 8 } else { 5 }) {
            0 | 5.. => Mode::FullNat,
            1 => Mode::Nat,
            2 => Mode::Dsr,
            3 => Mode::Ipip { entropy },
            _ => Mode::Gue {
                entropy,
                port: GUE_PORT,
                checksum: !self.once_in(4),
            },
        }
    }

    fn backend(&mut self, mode: Mode, address: IpAddr, port: Option<u16>) -> Backend {
        Backend {
            generation: self.below(3) as u8,
            mode,
            address,
            port,
            way: self.way(),
            alive: !self.once_in(8),
            weight: 1 + self.below(3),
            max_flows: self.pick(&[0, 0, 0, 2]),
        }
    }

    fn way(&mut self) -> NextHop {
        match self.below(12) {
            0 => NextHop::Unresolved,
            1 => NextHop::Narrow,
            2 | 3 => NextHop::Uplink,
            _ => NextHop::Back,
        }
    }

    fn slots(&mut self, indices: &[u32]) -> Vec<Slot> {
        let count = 1 + self.below(3);
        (0..count).map(|_| self.slot(indices)).collect()
    }

    fn slot(&mut self, indices: &[u32]) -> Slot {
        let index = self.owner(indices);
        match self.below(6) {
            0 => Slot::Mixed(index),
            1 => Slot::Moving(Before::OldSlots, index),
            2 | 3 => Slot::Moving(Before::Backend(self.owner(indices)), index),
            _ => Slot::Settled(index),
        }
    }

    /// A backend, seldom none.
    fn owner(&mut self, indices: &[u32]) -> u32 {
        if self.once_in(20) {
            0
        } else {
            self.pick(indices)
        }
    }

    fn old(&mut self, indices: &[u32], bits: u8) -> Old {
        Old {
            seed: self.seed(),
            prefix: self.pick(&[0, bits]),
            slots: self.slots(indices),
        }
    }

    fn steps(&mut self, site: &Site, count: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        while steps.len() < count && !self.is_over() {
            match self.below(12) {
                0 => steps.extend(self.handshake(site)),
                1 => steps.extend(self.fragments(site)),
                _ => steps.push(self.step(site)),
            }
        }
        steps
    }

    /// A flow begins, and goes on for a while.
    fn handshake(&mut self, site: &Site) -> Vec<Step> {
        let mut first = self.plain();
        let mut flaw = Flaw::None;
        let spoofed = spoofed(site);
        if !spoofed.is_empty() && self.once_in(2) {
            (first.service, flaw) = self.pick(&spoofed);
        }
        let packet = |kind, offset, acknowledged| Sent {
            kind,
            offset,
            acknowledged,
            flaw: match kind {
                Kind::SynAck => Flaw::None,
                _ if acknowledged > 1 => Flaw::None,
                _ => flaw,
            },
            ..first
        };
        let mut steps = vec![
            Step::Request(packet(Kind::Syn, 0, 0)),
            Step::Reply(packet(Kind::SynAck, 0, 1)),
            Step::Request(packet(Kind::Ack, 1, 1)),
            Step::Request(packet(Kind::Push, 1, 1)),
            Step::Reply(packet(Kind::Push, 1, 41)),
            Step::Request(packet(Kind::Fin, 41, 80)),
        ];
        steps.truncate(2 + self.below(5) as usize);
        steps
    }

    /// A packet in two fragments; sometimes something happens between them.
    fn fragments(&mut self, site: &Site) -> Vec<Step> {
        let id = self.below(3) as u16;
        let first = Sent {
            shape: Shape::First(id),
            ..self.plain()
        };
        let later = Sent {
            shape: Shape::Later(id),
            ..first
        };
        let between = match self.below(6) {
            0 => Some(Step::Change(self.change(site))),
            1 => Some(Step::Advance(self.pick(&[1, 29, 30]))),
            2 => Some(Step::Forget {
                client: first.client,
                service: first.service,
                replies: self.once_in(2),
            }),
            _ => None,
        };
        let steps = [Step::Request(first)].into_iter().chain(between);
        steps.chain([Step::Request(later)]).collect()
    }

    /// A packet that goes through if any does.
    fn plain(&mut self) -> Sent {
        Sent {
            hops: 64,
            payload: 40,
            shape: Shape::Plain,
            flaw: Flaw::None,
            headroom: 256,
            ..self.sent(&[Kind::Ack])
        }
    }

    fn step(&mut self, site: &Site) -> Step {
        match self.below(40) {
            0 => Step::Advance(self.pick(&[1, 1, 5, 31, 61, 130, 301])),
            1 | 2 => Step::Change(self.change(site)),
            3 => Step::Forget {
                client: self.below(CLIENTS.into()) as u8,
                service: self.below(SERVICES) as usize,
                replies: self.once_in(2),
            },
            4 => {
                let length = self.below(80);
                Step::Bytes((0..length).map(|_| self.below(256) as u8).collect())
            }
            5 => Step::Ping(Ping {
                client: self.below(CLIENTS.into()) as u8,
                service: self.below(SERVICES) as usize,
                kind: self.pick(&[0, 0, 0, 0, 1, 2]),
                body: self.below(60) as usize,
                group: self.once_in(8),
                flaw: self.flaw(),
            }),
            6..=18 => Step::Reply(self.sent(&[
                Kind::SynAck,
                Kind::SynAck,
                Kind::Ack,
                Kind::Push,
                Kind::Fin,
                Kind::Reset,
            ])),
            _ => Step::Request(self.sent(&[
                Kind::Syn,
                Kind::Syn,
                Kind::Ack,
                Kind::Ack,
                Kind::Push,
                Kind::Fin,
                Kind::Reset,
            ])),
        }
    }

    fn change(&mut self, site: &Site) -> Change {
        let index = 1 + self.below(SERVICES * BACKENDS);
        let service = self.below(SERVICES) as usize;
        let first = BACKENDS * service as u32 + 1;
        let indices = first..first + BACKENDS;
        let indices: Vec<u32> = indices
            .filter(|index| site.backends.contains_key(index))
            .collect();
        match self.below(8) {
            0 => Change::Alive(index, false),
            1 => Change::Alive(index, true),
            2 => Change::Replace(index),
            3 => Change::Load(
                index,
                self.way(),
                1 + self.below(3),
                self.pick(&[0, 0, 1, 3]),
            ),
            4 | 5 => Change::Slot(service, self.below(3) as usize, self.slot(&indices)),
            _ => Change::Phase(service, self.owner(&indices)),
        }
    }

    fn sent(&mut self, kinds: &[Kind]) -> Sent {
        // A few clients have most of the packets, so that flows get on.
        let client = if self.once_in(3) {
            self.below(CLIENTS.into())
        } else {
            self.below(4)
        };
        Sent {
            client: client as u8,
            service: self.below(SERVICES) as usize,
            kind: self.kind(kinds),
            offset: self.offset(),
            acknowledged: self.offset(),
            payload: self.payload(),
            hops: self.pick(&[64, 64, 64, 64, 64, 64, 64, 64, 64, 255, 255, 2, 2, 2, 1, 0]),
            class: self.pick(&[0, 0, 3, 0xb8, 0xff]),
            shape: self.shape(),
            flaw: self.flaw(),
            headroom: self.pick(&[256, 256, 256, 256, 256, 256, 40, 0]),
            padding: self.pick(&[0, 0, 0, 6]),
        }
    }

    /// Bytes of payload; sometimes so many that the packet just fits its way, or just not.
    fn payload(&mut self) -> usize {
        match self.below(12) {
            0 => self.pick(&[0, 1, 1180, 1195, 1272]),
            1 | 2 => {
                let mtu = self.pick(&[1500, 1500, 1400, 1280, 600]);
                let headers = self.pick(&[28, 40, 48, 60]);
                let around = self.pick(&[0, 20, 28, 40, 48]);
                mtu - headers - around + self.below(2) as usize
            }
            _ => self.below(40) as usize,
        }
    }

    fn kind(&mut self, usual: &[Kind]) -> Kind {
        if self.once_in(12) {
            return Kind::Flags(self.below(64) as u8);
        }
        // TCP has no use for it, and acknowledges.
        if self.once_in(4) {
            let version = self.pick(&[1, 1, 0x6b33_43cf, 0xff00_001d]);
            let first = self.pick(&[0x80, 0xc0, 0xd0, 0xe0, 0xf0, 0x40]);
            return Kind::Quic(first, version);
        }
        self.pick(usual)
    }

    fn offset(&mut self) -> u32 {
        let far = [
            65_535,
            65_536,
            65_537,
            131_070,
            1 << 31,
            0u32.wrapping_sub(65_535),
        ];
        match self.below(8) {
            0 => self.pick(&far),
            1 => self.pick(&[0u32.wrapping_sub(1), 0u32.wrapping_sub(70_000), 100_000]),
            2..5 => 1,
            5 => self.below(3000),
            _ => 0,
        }
    }

    fn shape(&mut self) -> Shape {
        match self.below(12) {
            0 => Shape::Extended,
            1 => Shape::First(self.below(3) as u16),
            2 => Shape::Later(self.below(3) as u16),
            3 | 4 => Shape::Dressed,
            _ => Shape::Plain,
        }
    }

    /// From an address that a service listens on, if any does.
    fn ours(&mut self) -> Flaw {
        let count = self.listening.len() as u32;
        if count == 0 {
            return Flaw::Land;
        }
        let n = self.below(count) as usize;
        Flaw::Ours(self.listening[n])
    }

    fn flaw(&mut self) -> Flaw {
        if !self.once_in(8) {
            return Flaw::None;
        }
        match self.below(16) {
            0 | 1 => Flaw::Byte(self.below(90) as u16, self.below(256) as u8),
            2 => Flaw::Cut(self.below(120) as u16),
            3 => Flaw::Through(self.pick(&[0, 1, 2, 3, 3, 3, 3, 4])),
            4 => Flaw::OtherMac,
            5 => Flaw::EtherType(self.pick(&[0x0806, 0x8100, 0x88a8, 0x9100, 0x88cc])),
            6 => Flaw::Protocol(self.pick(&[1, 58, 47, 50, 59, 132])),
            7 => Flaw::Version(self.pick(&[0x44, 0x65, 0x55, 0x40])),
            8 | 9 => self.pick(&[Flaw::Surplus, Flaw::Transport]),
            10 => Flaw::Land,
            11 => self.ours(),
            12 | 13 => Flaw::Tag(
                self.pick(&[0x8100, 0x8100, 0x88a8, 0x9100]),
                self.pick(&[0, 0x2000, 0xe000, 1]),
            ),
            _ => self.pick(&[Flaw::Route, Flaw::Mapped]),
        }
    }
}

/// Services whose replies may be another one's flows, and the sources that have them so.
fn spoofed(site: &Site) -> Vec<(usize, Flaw)> {
    let replies = |s: &Service| s.mode == Mode::Nat && s.tracked;
    let prefixes = site.services.iter().filter(|s| {
        let across = site.crossing && s.end.is_ipv4();
        matches!(s.listens, Listens::Prefix(..)) && s.tracked && !across
    });
    let pairs = prefixes.flat_map(|prefix| {
        let others = site.services.iter().enumerate();
        let others = others.filter(move |(_, s)| replies(s) && s.protocol == prefix.protocol);
        let others = others.filter(|(_, s)| version(s.end.ip()) == version(prefix.end.ip()));
        let hosts = [0, 1, 4].map(|client| prefix.end_for(client).ip());
        others.flat_map(move |(n, _)| hosts.map(|host| (n, Flaw::Ours(host))))
    });
    pairs.collect()
}

fn address(version: Version, host: u8) -> IpAddr {
    match version {
        Version::V4 => Ipv4Addr::new(198, 18, 1, host).into(),
        Version::V6 => Ipv6Addr::new(0xfd00, 0x18, 1, 0, 0, 0, 0, host.into()).into(),
    }
}
