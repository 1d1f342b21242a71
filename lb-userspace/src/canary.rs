//! Decides which packet the agent runs through the loaded program to see whether it forwards, and what must come out by
//! what the tables say. Pure: who runs it is left to others.
//!
//! ```text
//!  service                                  canary                 what must come out
//!  TCP, whose flows the hash determines     a reset of no flow     sent to the next hop of the slot's backend
//!  any, whose address answers echo          an echo request        its reply, back to the sender
//! ```
//!
//! Neither records a flow, nor does a limit count it. Its client has an address that nobody has. Of services where the
//! tables leave something open (slots that move, access lists, no backend) nothing is asked.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use etherparse::{IpHeaders, IpNumber, PacketBuilder, PacketBuilderStep, ip_number};
use lb_common::abi::{
    Address, Device, FlowKey, MacAddress, Seed, Service, ServiceKind, ServiceTraits, Slot, TableId,
};

use crate::plan::Tables;

/// The dummy address (RFC 7600, section 4.8): no host has it.
const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// Of the prefix whose packets are discarded (RFC 6666).
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1);

/// What the client is called on its network: a locally administered address.
const CLIENT_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

/// `XDP_TX` and `XDP_REDIRECT` (`enum xdp_action`, include/uapi/linux/bpf.h).
const LEAVES: [u32; 2] = [3, 4];

/// A packet for a service, and what the program must do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// What it is, for people.
    what: String,
    /// The frame.
    pub frame: Vec<u8>,
    /// The kernel's number of the device that it comes in by.
    pub ifindex: u32,
    /// The MAC address that it must be sent to.
    to: MacAddress,
}

impl Canary {
    /// The one of this turn, by tables that the kernel has: each turn is another service's, and another flow's. It comes
    /// in by one of the devices that the program is attached to.
    pub fn of_turn(
        tables: &Tables,
        attached: &BTreeSet<u32>,
        seed: Seed,
        turn: usize,
    ) -> Option<Self> {
        let mut devices = tables.devices.values();
        let device = devices.find(|device| attached.contains(&device.ifindex))?;
        let way = Way {
            tables,
            device,
            seed,
            turn,
        };
        let (ipv4, ipv6) = (&tables.services.ipv4, &tables.services.ipv6);
        let count = ipv4.len() + ipv6.len();
        let first = turn.checked_rem(count)?;
        let of_ipv4 = ipv4.values().map(OneOf::Ipv4);
        let all: Vec<_> = of_ipv4.chain(ipv6.values().map(OneOf::Ipv6)).collect();
        let (before, after) = all.split_at(first);
        after
            .iter()
            .chain(before)
            .find_map(|service| match service {
                OneOf::Ipv4(service) => way.canary(service, CLIENT_V4.into()),
                OneOf::Ipv6(service) => way.canary(service, CLIENT_V6.into()),
            })
    }

    /// What is wrong with what the program made of it, if anything: its verdict and the frame afterwards.
    pub fn trouble(&self, verdict: u32, frame: &[u8]) -> Option<String> {
        let Self { what, to, .. } = self;
        if !LEAVES.contains(&verdict) {
            let became = match verdict {
                0 => "was aborted",
                1 => "was dropped",
                _ => "was passed to the kernel",
            };
            return Some(format!("{what} {became}"));
        }
        let is_there = frame.starts_with(&to.0);
        (!is_there).then(|| format!("{what} went to another MAC address than it should"))
    }
}

/// A service's entry, of either family.
enum OneOf<'a> {
    Ipv4(&'a Service<lb_common::abi::Ipv4Address>),
    Ipv6(&'a Service<lb_common::abi::Ipv6Address>),
}

/// How a canary comes in, and what there is behind it.
struct Way<'a> {
    tables: &'a Tables,
    device: &'a Device,
    seed: Seed,
    turn: usize,
}

impl Way<'_> {
    fn canary<A>(&self, service: &Service<A>, client: A) -> Option<Canary>
    where
        A: Address + Into<IpAddr>,
    {
        let guarded = [ServiceTraits::ALL_LISTED, ServiceTraits::LISTED];
        let is_guarded = guarded.iter().any(|list| service.traits().has(*list));
        if service.kind() != ServiceKind::Service || service.is_removed() || is_guarded {
            return None;
        }
        let key = service.key();
        match IpNumber(key.protocol()) {
            ip_number::TCP if !service.tracked() && !service.crosses() => {
                self.reset(service, client)
            }
            ip_number::ICMP | ip_number::IPV6_ICMP => self.echo(service, client),
            _ => None,
        }
    }

    /// A reset of a flow that there is none of, each turn from another port.
    fn reset<A>(&self, service: &Service<A>, client: A) -> Option<Canary>
    where
        A: Address + Into<IpAddr>,
    {
        let key = service.key();
        let from = u16::try_from(1 + self.turn % 0xffff).ok()?;
        let port = from.to_be_bytes();
        let flow = FlowKey::new(client, key.address(), port, key.port(), key.protocol());
        let table = service.table();
        let hash = service.hash(&flow, self.seed);
        let slot = self.slot(table, hash.below(table.size.slots()))?;
        let backend = self.tables.backends.get(&slot.current())?;
        if !backend.is_alive() || backend.forward().is_none() {
            return None;
        }
        let next = self.tables.next_hops.get(&backend.next_hop())?;
        if next.hop.device() == 0 {
            return None;
        }
        let (ip, to) = (key.address().into(), u16::from_be_bytes(key.port()));
        let builder = self.ip(client.into(), ip)?.tcp(from, to, 1, 0).rst();
        let mut frame = Vec::new();
        builder.write(&mut frame, &[]).ok()?;
        Some(Canary {
            what: format!("a TCP reset for {ip} port {to}"),
            frame,
            ifindex: self.device.ifindex,
            to: next.hop.mac(),
        })
    }

    /// An echo request for a service's address.
    fn echo<A>(&self, service: &Service<A>, client: A) -> Option<Canary>
    where
        A: Address + Into<IpAddr>,
    {
        let first = self.slot(service.table(), 0)?;
        self.tables.backends.get(&first.current())?;
        let ip: IpAddr = service.key().address().into();
        let builder = self.ip(client.into(), ip)?;
        let mut frame = Vec::new();
        match ip {
            IpAddr::V4(_) => builder.icmpv4_echo_request(0, 0).write(&mut frame, &[]),
            IpAddr::V6(_) => builder.icmpv6_echo_request(0, 0).write(&mut frame, &[]),
        }
        .ok()?;
        Some(Canary {
            what: format!("an echo request for {ip}"),
            frame,
            ifindex: self.device.ifindex,
            to: CLIENT_MAC,
        })
    }

    /// A slot that is settled, and somebody's.
    fn slot(&self, table: TableId, slot: u32) -> Option<Slot> {
        let slots = self.tables.slots.get(&table)?;
        let slot = slots.get(usize::try_from(slot).ok()?)?;
        (slot.is_settled() && slot.current() != 0).then_some(*slot)
    }

    fn ip(&self, source: IpAddr, destination: IpAddr) -> Option<PacketBuilderStep<IpHeaders>> {
        let builder = PacketBuilder::ethernet2(CLIENT_MAC.0, self.device.hop.mac().0);
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Some(builder.ipv4(source.octets(), destination.octets(), 64))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Some(builder.ipv6(source.octets(), destination.octets(), 64))
            }
            _ => None,
        }
    }
}
