//! What services listen on, and which of them a packet is for. From the configuration's reference
//! ("Listening on more than a port").

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    model::Flow,
    site::{Mode, Service, Site, version},
};

/// What a service listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listens {
    /// Its address and port.
    Port,
    /// Ports of its address, the first and the last one.
    Range(u16, u16),
    /// The same, of every address that has so many bits in common with its own.
    Prefix(u8, u16, u16),
}

impl Listens {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Port => "a port",
            Self::Range(0, u16::MAX) => "all ports",
            Self::Range(..) => "a range",
            Self::Prefix(..) => "a prefix",
        }
    }
}

/// Whose packets of a flow are.
pub(super) enum Target {
    /// A service's.
    Service(Service),
    /// Ours: they are for one of our source addresses.
    Source,
    /// From the backend of this index, which answers for a service in `nat` mode.
    Reply(Service, u32),
    /// Nobody's.
    Nobody,
}

impl Site {
    /// Whose packets of a flow are.
    pub(super) fn target(&self, flow: Flow) -> Target {
        let address = flow.destination.ip();
        if let Some(service) = self.at_address(flow) {
            return Target::Service(service.clone());
        }
        if self.sources.contains(&address) {
            return Target::Source;
        }
        if self.own.contains(&address) {
            return Target::Nobody;
        }
        if let Some(service) = self.around_address(flow) {
            return Target::Service(service.clone());
        }
        // An address with ranges is a service's, no client's.
        if self.has_ranges(address) {
            return Target::Nobody;
        }
        let services = self.services.iter();
        let answering = services
            .filter(|s| s.mode == Mode::Nat && s.protocol == flow.protocol)
            .flat_map(|s| self.answering(s).into_iter().map(move |end| (s, end)));
        let from = flow.source;
        let mut named = answering.filter(|(_, (_, address, port))| {
            *address == from.ip() && port.is_none_or(|port| port == from.port())
        });
        match named.next() {
            Some((service, (index, ..))) => Target::Reply(service.clone(), index),
            None => Target::Nobody,
        }
    }

    /// The service that a packet is for at its very address: by its port, or by a range.
    fn at_address(&self, flow: Flow) -> Option<&Service> {
        let of_protocol = || {
            let services = self.services.iter();
            services.filter(|s| s.protocol == flow.protocol)
        };
        let port = |s: &&Service| s.listens == Listens::Port && s.end == flow.destination;
        let range = |s: &&Service| match s.listens {
            Listens::Range(first, last) => {
                s.end.ip() == flow.destination.ip()
                    && (first..=last).contains(&flow.destination.port())
            }
            Listens::Port | Listens::Prefix(..) => false,
        };
        of_protocol()
            .find(port)
            .or_else(|| of_protocol().find(range))
    }

    /// The service of the longest prefix around the packet's address that has its port.
    fn around_address(&self, flow: Flow) -> Option<&Service> {
        let services = self.services.iter();
        let fit = services.filter_map(|s| match s.listens {
            Listens::Prefix(bits, first, last) => {
                let fits = s.protocol == flow.protocol
                    && in_prefix(flow.destination.ip(), s.end.ip(), bits)
                    && (first..=last).contains(&flow.destination.port());
                fits.then_some((bits, s))
            }
            Listens::Port | Listens::Range(..) => None,
        });
        fit.max_by_key(|(bits, _)| *bits)
            .map(|(_, service)| service)
    }

    /// Whether there are services at ranges of an address.
    fn has_ranges(&self, address: IpAddr) -> bool {
        let mut services = self.services.iter();
        services.any(|s| matches!(s.listens, Listens::Range(..)) && s.end.ip() == address)
    }
}

impl Service {
    /// Where the clients of this number send to: mostly to what the service listens on, else near it.
    pub(super) fn end_for(&self, client: u8) -> SocketAddr {
        let (address, port) = (self.end.ip(), self.end.port());
        let choice = usize::from(client % 5);
        let near = |first: u16, last: u16| {
            let ports = [port, first, last, last.wrapping_add(1), port];
            ports[choice]
        };
        match self.listens {
            Listens::Port => self.end,
            Listens::Range(first, last) => SocketAddr::new(address, near(first, last)),
            Listens::Prefix(_, first, last) => {
                let hosts = [1, 254, 252, 2, 200];
                SocketAddr::new(with_host(address, hosts[choice]), near(first, last))
            }
        }
    }
}

/// Whether two addresses have their first bits in common.
fn in_prefix(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    version(one) == version(other) && first_bits(one, bits) == first_bits(other, bits)
}

/// The first bits of an address, zeros behind them.
pub(super) fn first_bits(address: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// An address with another last byte.
fn with_host(address: IpAddr, host: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            Ipv4Addr::from_bits(address.to_bits() & !0xff | u32::from(host)).into()
        }
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !0xff | u128::from(host)).into()
        }
    }
}
