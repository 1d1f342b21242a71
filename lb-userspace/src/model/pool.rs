//! A pool: backends, and how packets reach them.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
};

use serde::{Deserialize, Serialize};

use super::{Check, Family, Health, TableSize, whole};

/// `[[pool]]`: backends, and how packets reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Unique among pools.
    pub name: String,
    /// The forwarding mode.
    pub forward: Forward,
    /// Where `full-nat` connects from, and what `ipip` and `gue` put outside; unique. None in the
    /// other modes.
    pub source: Vec<Source>,
    /// What `gue` puts around packets.
    pub gue: Gue,
    /// Size of its slot tables.
    pub slots: TableSize,
    /// Backends in the order of the files; names are unique within the pool.
    pub backends: Vec<Backend>,
    /// What follows from how many of them are up.
    pub health: Health,
    /// What is asked of each: all must be up for a backend to be. None: all backends are.
    pub checks: Vec<Check>,
}

impl Pool {
    /// The backends that a service of `family` can reach in this pool's mode, each with the
    /// address that it is reached at.
    pub fn reachable(&self, family: Family) -> impl Iterator<Item = (&Backend, BackendAddress)> {
        self.backends.iter().filter_map(move |backend| {
            let address = self.forward.address(family, &backend.addresses)?;
            Some((backend, *address))
        })
    }
}

/// An address that packets to backends come from, or a prefix whose other bits each flow has of its
/// own: so that what spreads by addresses spreads flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The address, or the first one of the prefix.
    pub ip: IpAddr,
    /// How many of its last bits come out of the flow's hash, up to [`Source::MAX_ENTROPY`].
    pub entropy: u8,
}

impl Source {
    /// As many bits as the packet program has room for.
    pub const MAX_ENTROPY: u8 = 32;
}

/// One address.
impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Self {
        Self { ip, entropy: 0 }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ip, entropy } = self;
        match entropy {
            0 => write!(f, "{ip}"),
            bits => write!(f, "{ip}/{}", whole(*ip) - bits),
        }
    }
}

/// How packets travel to a pool's backends.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Forward {
    /// Both ends of the packet are rewritten; the backend sees one of the pool's `source` addresses.
    #[default]
    FullNat,
    /// The destination is rewritten; the backend's way to the client leads back through this host.
    Nat,
    /// The packet goes as it is to the backend's MAC address; the backend answers the client itself.
    Dsr,
    /// The packet travels whole inside another IP header; the backend answers the client itself.
    Ipip,
    /// The packet travels whole inside UDP (Generic UDP Encapsulation); the backend answers the
    /// client itself.
    Gue,
}

impl Forward {
    /// Whether each flow takes a source port of its own, and must be recorded for that.
    pub fn takes_ports(self) -> bool {
        match self {
            Self::FullNat => true,
            Self::Nat | Self::Dsr | Self::Ipip | Self::Gue => false,
        }
    }

    /// Whether what backends answer passes here, too.
    pub fn sees_answers(self) -> bool {
        match self {
            Self::FullNat | Self::Nat => true,
            Self::Dsr | Self::Ipip | Self::Gue => false,
        }
    }

    /// Whether a backend may have a port that differs from the service's.
    pub fn maps_ports(self) -> bool {
        match self {
            Self::FullNat | Self::Nat => true,
            Self::Dsr | Self::Ipip | Self::Gue => false,
        }
    }

    /// Whether a backend may have an address of another family than the client's.
    pub fn crosses_families(self) -> bool {
        match self {
            Self::FullNat | Self::Ipip | Self::Gue => true,
            Self::Nat | Self::Dsr => false,
        }
    }

    /// Whether packets leave with a source address that the pool can name.
    pub fn takes_source(self) -> bool {
        match self {
            Self::FullNat | Self::Ipip | Self::Gue => true,
            Self::Nat | Self::Dsr => false,
        }
    }

    /// Whether the backends' replies come back through this host.
    pub fn replies_return(self) -> bool {
        match self {
            Self::FullNat | Self::Nat => true,
            Self::Dsr | Self::Ipip | Self::Gue => false,
        }
    }

    /// Which of a backend's addresses a service of `family` uses: that of the same family, else the
    /// other one where this mode crosses families.
    pub fn address<'a>(
        self,
        family: Family,
        addresses: impl IntoIterator<Item = &'a BackendAddress>,
    ) -> Option<&'a BackendAddress> {
        let mut other = None;
        for address in addresses {
            if Family::of(address.ip) == family {
                return Some(address);
            }
            other = other.or(Some(address));
        }
        other.filter(|_| self.crosses_families())
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FullNat => "full-nat",
            Self::Nat => "nat",
            Self::Dsr => "dsr",
            Self::Ipip => "ipip",
            Self::Gue => "gue",
        })
    }
}

/// What `gue` puts around packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gue {
    /// The UDP port that backends unpack at, not 0.
    pub port: u16,
    /// Whether the outer UDP header has a checksum over IPv6; over IPv4 it never needs one.
    pub checksum: bool,
}

impl Gue {
    /// GUE's registered port (IANA, draft-ietf-intarea-gue), and the checksum that RFC 8200 asks
    /// of UDP over IPv6.
    pub const DEFAULT: Self = Self {
        port: 6080,
        checksum: true,
    };
}

/// `[[pool.backend]]`: a server, with one address of each family at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Unique in its pool.
    pub name: String,
    /// One or two addresses, of different families.
    pub addresses: Vec<BackendAddress>,
    /// Share of new flows, relative to the pool's other backends; 0 takes none.
    pub weight: Weight,
    /// Its tier: backends take new flows only while no one of a lower number is live.
    pub priority: u8,
    /// Live flows that it has at most, not 0; absent: no limit.
    pub max_flows: Option<u32>,
    /// What names it in the connection ids that it gives out.
    pub server_id: Option<ServerId>,
}

/// What names a QUIC server in connection ids, 1 to [`ServerId::MAX_LEN`] octets
/// (draft-ietf-quic-load-balancers-21, section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId {
    /// Zeros behind the last one.
    octets: [u8; Self::MAX_LEN],
    len: u8,
}

impl ServerId {
    /// A connection id has 20 octets at most: one before this one, and four behind it.
    pub const MAX_LEN: usize = 15;

    /// An id of these octets, if they are as many as one can have.
    pub fn new(id: &[u8]) -> Option<Self> {
        let mut octets = [0; Self::MAX_LEN];
        octets.get_mut(..id.len())?.copy_from_slice(id);
        let len = u8::try_from(id.len()).ok().filter(|len| *len > 0)?;
        Some(Self { octets, len })
    }

    /// How many octets it has.
    pub fn len(&self) -> u8 {
        self.len
    }

    /// Never: an id has an octet at least.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its octets, and zeros behind them.
    pub fn octets(&self) -> &[u8; Self::MAX_LEN] {
        &self.octets
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.octets.iter().take(self.len.into());
        octets
            .into_iter()
            .try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// Where a backend listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendAddress {
    /// Its address.
    pub ip: IpAddr,
    /// Its port; absent: the service's.
    pub port: Option<u16>,
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// A backend's share of new flows, 0 to [`Weight::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16")]
pub struct Weight(u16);

impl Weight {
    /// The largest weight (as HAProxy and IPVS users would expect to be plenty).
    pub const MAX: u16 = 10_000;
    /// The weight of a backend that names none.
    pub const DEFAULT: Self = Self(100);

    /// A weight, if `value` is not above [`Weight::MAX`].
    pub fn new(value: u16) -> Option<Self> {
        (value <= Self::MAX).then_some(Self(value))
    }

    /// The weight that takes nothing.
    pub const ZERO: Self = Self(0);

    /// So many parts of this weight out of `whole`, and at least 1 where it is not 0 itself; at most
    /// [`Weight::MAX`].
    pub fn share(self, parts: u32, whole: NonZeroU32) -> Self {
        let share = (u64::from(self.0) * u64::from(parts)).div_ceil(u64::from(whole.get()));
        let share = u16::try_from(share).unwrap_or(Self::MAX).min(Self::MAX);
        Self(share.max(self.0.min(1)))
    }

    /// Its value.
    pub fn value(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Weight {
    type Error = WeightError;

    fn try_from(value: u16) -> Result<Self, WeightError> {
        Self::new(value).ok_or(WeightError)
    }
}

/// A weight above [`Weight::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a weight is at most {}", Weight::MAX)]
pub struct WeightError;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ip: &str) -> BackendAddress {
        BackendAddress {
            ip: ip.parse().unwrap(),
            port: None,
        }
    }

    #[test]
    fn a_service_uses_the_address_of_its_family_first_and_another_where_the_mode_can() {
        let both = [address("fd00::1"), address("198.18.1.1")];
        let [v6, v4] = both;
        for mode in [
            Forward::FullNat,
            Forward::Nat,
            Forward::Dsr,
            Forward::Ipip,
            Forward::Gue,
        ] {
            assert_eq!(mode.address(Family::Ipv4, &both), Some(&v4));
            assert_eq!(mode.address(Family::Ipv6, &both), Some(&v6));
            let other = Some(&v6).filter(|_| !matches!(mode, Forward::Nat | Forward::Dsr));
            assert_eq!(mode.address(Family::Ipv4, &[v6]), other, "{mode}");
            assert_eq!(mode.address(Family::Ipv4, &[]), None);
        }
    }
}
