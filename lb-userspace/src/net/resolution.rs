//! The answers that `net` gives: for each wanted destination a next hop, or why there is none.
//! Plain data; `machine` makes it.

use std::{collections::BTreeMap, fmt, io, net::IpAddr, sync::Arc};

use serde::{Serialize, Serializer};

/// Index of a network device in this network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct IfIndex(pub u32);

impl fmt::Display for IfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Every wanted destination with its resolution; a destination that was just added is absent until
/// the kernel has been asked.
pub type Snapshot = Arc<BTreeMap<IpAddr, Resolution>>;

/// Where a packet to a destination leaves, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NextHop {
    /// The device it leaves by.
    pub device: IfIndex,
    /// Destination of the Ethernet frame.
    #[serde(serialize_with = "mac_text")]
    pub mac: Mac,
    /// Largest packet, in bytes from the IP header on: the route's MTU where it has one, but never
    /// more than the device's.
    pub mtu: u32,
    /// The source address that the kernel prefers on this route.
    pub preferred_source: Option<IpAddr>,
}

/// What is known about a wanted destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Resolution {
    /// Packets can be sent.
    Resolved(NextHop),
    /// They can't, and why.
    Unresolved(Unresolved),
}

impl Resolution {
    /// The next hop, if there is one.
    pub fn next_hop(&self) -> Option<&NextHop> {
        match self {
            Self::Resolved(next_hop) => Some(next_hop),
            Self::Unresolved(_) => None,
        }
    }
}

/// Why a destination has no next hop. `Display` is for operators: it follows "ADDRESS: ".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Unresolved {
    /// No route matches.
    NoRoute,
    /// The route is of type `blackhole`.
    Blackhole,
    /// The route is of type `prohibit`.
    Prohibited,
    /// The route is of type `unreachable`.
    Unreachable,
    /// It is an address of this host.
    ThisHost,
    /// It is a broadcast address.
    Broadcast,
    /// It is a multicast address.
    Multicast,
    /// It is an anycast address of this host.
    Anycast,
    /// The route encapsulates (`ip route … encap`), which the data plane would skip.
    Encapsulating,
    /// The kernel refused the look-up for another reason.
    LookupFailed {
        /// The kernel's error number.
        errno: i32,
    },
    /// The route's device is not there (any more).
    DeviceGone {
        /// Its index.
        device: IfIndex,
    },
    /// The device is administratively down.
    DeviceDown {
        /// Its name.
        device: String,
    },
    /// The device has no carrier.
    NoCarrier {
        /// Its name.
        device: String,
    },
    /// The device has no Ethernet header (a tunnel, lo).
    NotEthernet {
        /// Its name.
        device: String,
    },
    /// The neighbour was asked and has not answered yet.
    Resolving {
        /// The neighbour: the gateway, or the destination itself.
        neighbour: IpAddr,
        /// Name of the device it was asked on.
        device: String,
    },
    /// The neighbour does not answer ARP or neighbour solicitations.
    NoNeighbour {
        /// The neighbour: the gateway, or the destination itself.
        neighbour: IpAddr,
        /// Name of the device it was asked on.
        device: String,
    },
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute => f.write_str("no route to it"),
            Self::Blackhole => f.write_str("its route is a blackhole"),
            Self::Prohibited => f.write_str("its route is of type prohibit"),
            Self::Unreachable => f.write_str("its route is of type unreachable"),
            Self::ThisHost => f.write_str("it is an address of this host"),
            Self::Broadcast => f.write_str("it is a broadcast address"),
            Self::Multicast => f.write_str("it is a multicast address"),
            Self::Anycast => f.write_str("it is an anycast address of this host"),
            Self::Encapsulating => f.write_str("its route encapsulates (ip route … encap)"),
            Self::LookupFailed { errno } => {
                write!(
                    f,
                    "the route look-up failed: {}",
                    io::Error::from_raw_os_error(*errno)
                )
            }
            Self::DeviceGone { device } => write!(f, "its device, index {device}, is gone"),
            Self::DeviceDown { device } => write!(f, "its device {device} is down"),
            Self::NoCarrier { device } => write!(f, "its device {device} has no carrier"),
            Self::NotEthernet { device } => write!(f, "its device {device} is not Ethernet"),
            Self::Resolving { neighbour, device } => {
                write!(
                    f,
                    "waiting for {neighbour} on {device} to answer {}",
                    question(*neighbour)
                )
            }
            Self::NoNeighbour { neighbour, device } => {
                write!(
                    f,
                    "{neighbour} on {device} does not answer {}",
                    question(*neighbour)
                )
            }
        }
    }
}

impl Unresolved {
    /// Whether it may pass by itself within seconds, so that the last next hop is worth keeping:
    /// a neighbour that is asked anew, a cable that is put back. What an operator or a routing
    /// daemon decided takes effect at once.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::NoCarrier { .. } | Self::Resolving { .. } | Self::NoNeighbour { .. } => true,
            Self::NoRoute
            | Self::Blackhole
            | Self::Prohibited
            | Self::Unreachable
            | Self::ThisHost
            | Self::Broadcast
            | Self::Multicast
            | Self::Anycast
            | Self::Encapsulating
            | Self::LookupFailed { .. }
            | Self::DeviceGone { .. }
            | Self::DeviceDown { .. }
            | Self::NotEthernet { .. } => false,
        }
    }
}

/// How a neighbour is asked for its Ethernet address (RFC 826, RFC 4861).
fn question(neighbour: IpAddr) -> &'static str {
    match neighbour {
        IpAddr::V4(_) => "ARP",
        IpAddr::V6(_) => "neighbour solicitations",
    }
}

/// `02:00:00:00:00:01`, as `ip link` writes it.
pub(super) fn mac_text<S: Serializer>(mac: &Mac, serializer: S) -> Result<S::Ok, S::Error> {
    let [a, b, c, d, e, f] = mac;
    serializer.collect_str(&format_args!(
        "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_names_state_and_reason() {
        let resolved = Resolution::Resolved(NextHop {
            device: IfIndex(3),
            mac: [2, 0, 0, 0, 0, 0xa],
            mtu: 1500,
            preferred_source: None,
        });
        assert_eq!(
            serde_json::to_string(&resolved).unwrap(),
            r#"{"state":"resolved","device":3,"mac":"02:00:00:00:00:0a","mtu":1500,"preferred_source":null}"#
        );
        let unresolved = Resolution::Unresolved(Unresolved::DeviceDown {
            device: "eth1".into(),
        });
        assert_eq!(
            serde_json::to_string(&unresolved).unwrap(),
            r#"{"state":"unresolved","reason":"device-down","device":"eth1"}"#
        );
    }

    #[test]
    fn reasons_read_well() {
        let silent = Unresolved::NoNeighbour {
            neighbour: "198.18.1.1".parse().unwrap(),
            device: "eth1".into(),
        };
        assert_eq!(silent.to_string(), "198.18.1.1 on eth1 does not answer ARP");
        assert_eq!(
            Unresolved::LookupFailed { errno: libc::EPERM }.to_string(),
            "the route look-up failed: Operation not permitted (os error 1)"
        );
    }
}
