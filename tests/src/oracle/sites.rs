//! The sites of stories.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use lb_common::abi::Fate;

use super::{
    admission::{Limits, Rule},
    generate::{BACKENDS, SERVICES, Source},
    listening::{Listens, first_bits},
    made::Rates,
    site::{
        Backend, Before, Mode, NextHop, Old, Scheduler, Service, Site, Slot, Timeouts, version,
    },
};
use crate::cases::places::{GUE_PORT, Protocol, Version, Way};

impl Source {
    fn seed(&mut self) -> [u8; 16] {
        let halves = [self.dice.roll(), self.dice.roll()];
        halves
            .map(u64::to_le_bytes)
            .concat()
            .try_into()
            .expect("16 bytes")
    }

    /// A site.
    pub(super) fn site(&mut self) -> Site {
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
            rates: self.rates(),
            access: self.rules(),
            services,
            backends,
        }
    }

    /// How many frames may be made: enough, few, or none.
    fn rates(&mut self) -> Rates {
        Rates {
            errors: self.pick(&[1000, 1000, 1000, 3, 0]),
            errors_per_source: self.pick(&[1000, 1000, 2, 1]),
            resets: self.pick(&[1000, 1000, 1000, 3, 0]),
            resets_per_source: self.pick(&[1000, 1000, 2, 1]),
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
            rejects: self.once_in(2),
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
            fate: self.fate(),
            weight: 1 + self.below(3),
            max_flows: self.pick(&[0, 0, 0, 2]),
        }
    }

    /// What becomes of flows.
    pub(super) fn fate(&mut self) -> Fate {
        self.pick(&[Fate::Service, Fate::Service, Fate::Reset, Fate::Drop])
    }

    /// A way to a backend.
    pub(super) fn way(&mut self) -> NextHop {
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

    /// A slot of these backends.
    pub(super) fn slot(&mut self, indices: &[u32]) -> Slot {
        let index = self.owner(indices);
        match self.below(6) {
            0 => Slot::Mixed(index),
            1 => Slot::Moving(Before::OldSlots, index),
            2 | 3 => Slot::Moving(Before::Backend(self.owner(indices)), index),
            _ => Slot::Settled(index),
        }
    }

    /// A backend, seldom none.
    pub(super) fn owner(&mut self, indices: &[u32]) -> u32 {
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
}

fn address(version: Version, host: u8) -> IpAddr {
    match version {
        Version::V4 => Ipv4Addr::new(198, 18, 1, host).into(),
        Version::V6 => Ipv6Addr::new(0xfd00, 0x18, 1, 0, 0, 0, 0, host.into()).into(),
    }
}
