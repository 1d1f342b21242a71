//! Adverts as they are on the wire, of VRRP version 2 (RFC 3768) and version 3 (RFC 9568), and why one that was received is
//! none. Wire units (seconds, centiseconds, checksums) are known here alone. Whether an advert is for a router of this
//! host, and what it makes of it, is decided elsewhere.
//!
//! ```text
//!   0                   1                   2                   3
//!  |version| type=1|     VRID      |   priority    |     count     |
//!  version 3:  |  0    |  interval, 1/100 s    |          checksum             |
//!  version 2:  |  auth type    | interval, s   |          checksum             |
//!  |  count addresses, 4 or 16 octets each                         |
//!  version 2:  |  authentication data, 8 octets                    |
//! ```

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

/// The protocol's number in IP headers (RFC 9568, section 5.1).
pub const PROTOCOL: u8 = 112;

/// What the hop limit of an advert has to be, so that none comes from another network (RFC 9568, section 5.1.1.3).
pub const HOP_LIMIT: u8 = 255;

/// Octets before the addresses.
const HEADER: usize = 8;

/// Octets of authentication data behind them, in version 2.
const AUTHENTICATION: usize = 8;

/// The one type of packet that there is.
const ADVERTISEMENT: u8 = 1;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Of old peers: IPv4 alone, intervals of whole seconds.
    V2,
    /// Both families, intervals of hundredths of a second.
    V3,
}

/// What a router says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// In which version.
    pub version: Version,
    /// The virtual router, 1 to 255.
    pub vrid: u8,
    /// Its priority: 255 if the addresses are its own, 0 if it gives them up.
    pub priority: u8,
    /// How often it says so; what the wire can't say exactly is rounded to what it can, see [`Version::on_wire`].
    pub interval: Duration,
    /// The virtual router's addresses, all of one family; the first one of IPv6 is link-local.
    pub addresses: Vec<IpAddr>,
    /// Version 2: the password in plain text, if there is one, filled up with zeros.
    pub password: Option<[u8; AUTHENTICATION]>,
}

/// What the checksum of an advert of version 3 over IPv4 is about. RFC 9568, section 5.2.8, has the packet alone; keepalived's
/// default is what RFC 5798 was mostly read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The packet.
    Packet,
    /// The packet, and a pseudo-header with the IP header's ends.
    PseudoHeader,
}

/// An IP packet of this protocol, as it was received.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Whom it is from.
    pub source: IpAddr,
    /// Whom it is to: the group, or this host.
    pub destination: IpAddr,
    /// Its TTL or hop limit.
    pub hop_limit: u8,
    /// What is behind its IP header.
    pub payload: &'a [u8],
}

/// Why a packet that was received is no advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Malformed {
    /// It may come from another network: adverts to the group have the hop limit 255.
    #[error("a hop limit below 255")]
    HopLimit,
    /// It is cut off, or has more octets than it says.
    #[error("a length that does not fit")]
    Length,
    /// A version that there is not, or version 2 over IPv6.
    #[error("an unknown version")]
    Version,
    /// No advert.
    #[error("an unknown type")]
    Type,
    /// No virtual router has this number.
    #[error("the virtual router number 0")]
    Vrid,
    /// It names no address.
    #[error("no address")]
    NoAddress,
    /// It says that it comes at no interval.
    #[error("an interval of 0")]
    Interval,
    /// Version 2: neither no authentication nor a plain password.
    #[error("an unknown kind of authentication")]
    Authentication,
    /// It was damaged.
    #[error("a wrong checksum")]
    Checksum,
}

impl Malformed {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::HopLimit,
        Self::Length,
        Self::Version,
        Self::Type,
        Self::Vrid,
        Self::NoAddress,
        Self::Interval,
        Self::Authentication,
        Self::Checksum,
    ];

    /// Its name in metrics: stable.
    pub fn name(self) -> &'static str {
        match self {
            Self::HopLimit => "hop_limit",
            Self::Length => "length",
            Self::Version => "version",
            Self::Type => "type",
            Self::Vrid => "vrid",
            Self::NoAddress => "no_address",
            Self::Interval => "interval",
            Self::Authentication => "authentication",
            Self::Checksum => "checksum",
        }
    }
}

impl Version {
    /// The interval that peers hear: the nearest one that the wire has, and not 0.
    pub fn on_wire(self, interval: Duration) -> Duration {
        self.duration(self.units(interval))
    }

    fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// How many units an interval is; as many as the field holds, if it is longer.
    fn units(self, interval: Duration) -> u16 {
        let (unit, most) = match self {
            Self::V2 => (SECOND, u16::from(u8::MAX)),
            Self::V3 => (CENTISECOND, 0x0fff),
        };
        let units = (interval + unit / 2).as_nanos() / unit.as_nanos();
        u16::try_from(units).map_or(most, |units| units.clamp(1, most))
    }

    fn duration(self, units: u16) -> Duration {
        match self {
            Self::V2 => SECOND * units.into(),
            Self::V3 => CENTISECOND * units.into(),
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const CENTISECOND: Duration = Duration::from_millis(10);

impl Advert {
    /// The packet behind the IP header, which is from `source` to `destination`. At most 255 addresses are named.
    pub fn write(&self, source: IpAddr, destination: IpAddr, checksum: Checksum) -> Vec<u8> {
        let named = &self.addresses[..self.addresses.len().min(u8::MAX.into())];
        let units = self.version.units(self.interval);
        let [high, low] = units.to_be_bytes();
        let fifth = match (self.version, self.password) {
            (Version::V2, None) => 0,
            (Version::V2, Some(_)) => PLAIN_PASSWORD,
            (Version::V3, _) => high,
        };
        let first = self.version.number() << 4 | ADVERTISEMENT;
        let count = named.len() as u8;
        let mut packet = vec![first, self.vrid, self.priority, count, fifth, low, 0, 0];
        for address in named {
            match address {
                IpAddr::V4(address) => packet.extend(address.octets()),
                IpAddr::V6(address) => packet.extend(address.octets()),
            }
        }
        if self.version == Version::V2 {
            packet.extend(self.password.unwrap_or_default());
        }
        let ends = Ends::of(self.version, source, destination, checksum);
        let sum = sum(&packet, ends);
        packet[6..8].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    /// The advert that a packet is, and what its checksum is about: both are taken, whatever is configured.
    pub fn read(received: &Received<'_>) -> Result<(Self, Checksum), Malformed> {
        let is_group = |address: IpAddr| address.is_multicast();
        if received.hop_limit != HOP_LIMIT && is_group(received.destination) {
            return Err(Malformed::HopLimit);
        }
        let packet = received.payload;
        let Some((&[first, vrid, priority, count, fifth, sixth, _, _], rest)) =
            packet.split_first_chunk::<HEADER>()
        else {
            return Err(Malformed::Length);
        };
        let version = match (first >> 4, received.source) {
            (2, IpAddr::V4(_)) => Version::V2,
            (3, _) => Version::V3,
            _ => return Err(Malformed::Version),
        };
        if first & 0x0f != ADVERTISEMENT {
            return Err(Malformed::Type);
        }
        let (addresses, data) = addresses(received.source, count, rest).ok_or(Malformed::Length)?;
        let password = match version {
            Version::V2 => password(fifth, data)?,
            Version::V3 if data.is_empty() => None,
            Version::V3 => return Err(Malformed::Length),
        };
        let checksum = checked(version, received).ok_or(Malformed::Checksum)?;
        let units = match version {
            Version::V2 => sixth.into(),
            // The upper half of the fifth octet is reserved, and ignored (RFC 9568, section 5.2.6).
            Version::V3 => u16::from_be_bytes([fifth & 0x0f, sixth]),
        };
        let advert = Self {
            version,
            vrid,
            priority,
            interval: version.duration(units),
            addresses,
            password,
        };
        advert.checked().map(|advert| (advert, checksum))
    }

    fn checked(self) -> Result<Self, Malformed> {
        if self.vrid == 0 {
            return Err(Malformed::Vrid);
        }
        if self.addresses.is_empty() {
            return Err(Malformed::NoAddress);
        }
        if self.interval.is_zero() {
            return Err(Malformed::Interval);
        }
        Ok(self)
    }
}

/// The authentication type of a plain password (RFC 2338, section 5.3.6; RFC 3768 has withdrawn it, and old peers have it).
const PLAIN_PASSWORD: u8 = 1;

/// As many addresses of the source's family, and what is behind them; `None` if there are fewer.
fn addresses(source: IpAddr, count: u8, from: &[u8]) -> Option<(Vec<IpAddr>, &[u8])> {
    let width = match source {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 16,
    };
    let (list, rest) = from.split_at_checked(width * usize::from(count))?;
    let address = |octets: &[u8]| match (<[u8; 4]>::try_from(octets), <[u8; 16]>::try_from(octets))
    {
        (Ok(octets), _) => Some(IpAddr::from(Ipv4Addr::from(octets))),
        (_, Ok(octets)) => Some(IpAddr::from(Ipv6Addr::from(octets))),
        (Err(_), Err(_)) => None,
    };
    Some((list.chunks(width).filter_map(address).collect(), rest))
}

fn password(kind: u8, data: &[u8]) -> Result<Option<[u8; AUTHENTICATION]>, Malformed> {
    let data = data.try_into().map_err(|_| Malformed::Length)?;
    match kind {
        0 => Ok(None),
        PLAIN_PASSWORD => Ok(Some(data)),
        _ => Err(Malformed::Authentication),
    }
}

/// What the checksum of a packet is about, if it is right.
fn checked(version: Version, received: &Received<'_>) -> Option<Checksum> {
    let Received {
        source,
        destination,
        payload,
        ..
    } = *received;
    let mut kinds = [Checksum::Packet, Checksum::PseudoHeader].into_iter();
    kinds.find(|&kind| {
        let ends = Ends::of(version, source, destination, kind);
        // Over a packet that has its checksum, the sum of all words is all ones.
        sum(payload, ends) == 0
    })
}

/// The part of a pseudo-header that is not always the same.
struct Ends {
    source: IpAddr,
    destination: IpAddr,
}

impl Ends {
    /// Those that a checksum is about: always over IPv6 (RFC 9568, section 5.2.8), never in version 2.
    fn of(
        version: Version,
        source: IpAddr,
        destination: IpAddr,
        checksum: Checksum,
    ) -> Option<Self> {
        let ends = Self {
            source,
            destination,
        };
        match (version, source, checksum) {
            (Version::V2, _, _) => None,
            (Version::V3, IpAddr::V4(_), Checksum::Packet) => None,
            (Version::V3, IpAddr::V4(_), Checksum::PseudoHeader) => Some(ends),
            (Version::V3, IpAddr::V6(_), _) => Some(ends),
        }
    }
}

/// The Internet checksum (RFC 1071) of a packet, and of a pseudo-header with these ends.
fn sum(packet: &[u8], ends: Option<Ends>) -> u16 {
    let mut total = words(packet);
    if let Some(Ends {
        source,
        destination,
    }) = ends
    {
        let address = |address| match address {
            IpAddr::V4(address) => words(&Ipv4Addr::octets(&address)),
            IpAddr::V6(address) => words(&Ipv6Addr::octets(&address)),
        };
        total += address(source) + address(destination);
        total += u64::from(PROTOCOL) + packet.len() as u64;
    }
    while total > u64::from(u16::MAX) {
        total = (total >> 16) + (total & 0xffff);
    }
    !(total as u16)
}

fn words(octets: &[u8]) -> u64 {
    let word = |pair: &[u8]| match *pair {
        [high, low] => u16::from_be_bytes([high, low]).into(),
        [high] => u64::from(high) << 8,
        _ => 0,
    };
    octets.chunks(2).map(word).sum()
}
