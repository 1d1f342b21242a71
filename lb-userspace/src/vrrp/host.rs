//! Decides whether this host can take part in an instance, and from which of its addresses. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use super::machine::OWNER;
use crate::{
    model::{Family, Vrrp, lies_in},
    net::{Device, IfIndex, Mac},
};

/// How an instance takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The device.
    pub(super) device: IfIndex,
    /// Its Ethernet address.
    pub(super) mac: Mac,
    /// Where adverts come from, of each of its families.
    pub(super) sources: BTreeMap<Family, IpAddr>,
}

/// Why it can't.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// There is no such device.
    #[error("there is no such interface")]
    NoInterface,
    /// It was taken down.
    #[error("the interface is down")]
    Down,
    /// Nothing is at the other end.
    #[error("the interface has no carrier")]
    NoCarrier,
    /// Its frames have no addresses.
    #[error("the interface is no Ethernet device")]
    NoMac,
    /// Adverts have nowhere to come from.
    #[error("the interface has no {0} address of this host's own")]
    NoAddress(Family),
    /// Adverts are to come from an address that is not there.
    #[error("the interface does not have {0}, from which adverts are to come")]
    NoSource(IpAddr),
    /// They can't be sent or heard.
    #[error("a socket can't be opened")]
    Socket,
    /// A carrier that has just come may go again: attaching a program resets some cards.
    #[error("the interface has only just come up")]
    JustUp,
    /// An operator wants this host to have no addresses.
    #[error("maintenance")]
    Maintenance,
    /// Something that is tracked is not well.
    #[error("{0}")]
    Tracked(String),
    /// Another instance of the sync group can't take part.
    #[error("{0} of the sync group can't take part")]
    Group(String),
}

impl Fault {
    /// Whether the device itself is what keeps an instance from taking part.
    pub(super) fn is_of_link(&self) -> bool {
        matches!(self, Self::NoInterface | Self::Down | Self::NoCarrier)
    }
}

/// How an instance takes part by a device, if there is one.
pub(super) fn way(config: &Vrrp, device: Option<&Device>) -> Result<Way, Fault> {
    let device = device.ok_or(Fault::NoInterface)?;
    if !device.up {
        return Err(Fault::Down);
    }
    if !device.carrier {
        return Err(Fault::NoCarrier);
    }
    let mac = device.mac.ok_or(Fault::NoMac)?;
    let source = |family| Ok((family, source(config, device, family)?));
    let sources = config.families().map(source).collect::<Result<_, _>>()?;
    let device = device.index;
    Ok(Way {
        device,
        mac,
        sources,
    })
}

/// Where adverts come from: what is configured, or what is found.
fn source(config: &Vrrp, device: &Device, family: Family) -> Result<IpAddr, Fault> {
    let Some(source) = config.source(family) else {
        return found(config, device, family).ok_or(Fault::NoAddress(family));
    };
    let mut own = device.addresses.iter();
    let is_here = own.any(|(address, _)| *address == source);
    is_here.then_some(source).ok_or(Fault::NoSource(source))
}

/// An address that stays here; in the network of a peer, if peers are named, since they know it by
/// that. Over IPv6 and to the group, a link-local one (RFC 9568, section 5.1.2.1).
fn found(config: &Vrrp, device: &Device, family: Family) -> Option<IpAddr> {
    let moves = |address: IpAddr| config.in_family(family).any(|moving| moving.ip == address);
    let own = device.addresses.iter().copied();
    let own = own.filter(|(address, _)| Family::of(*address) == family);
    let mut candidates = own.filter(|(address, _)| !moves(*address) || config.priority == OWNER);
    let is_link_local = |address: IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let Some(peer) = config.peers(family).next() else {
        return candidates
            .map(|(own, _)| own)
            .find(|own| is_link_local(*own));
    };
    let near = candidates
        .clone()
        .find(|(own, length)| lies_in(peer, (*own, *length)));
    let (source, _) =
        near.or_else(|| candidates.find(|(own, _)| is_link_local(*own) == is_link_local(peer)))?;
    Some(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::instance_tests::config;

    fn device(addresses: &[(&str, u8)]) -> Device {
        let addresses = addresses.iter();
        Device {
            index: IfIndex(7),
            mac: Some([2, 0, 0, 0, 0, 7]),
            up: true,
            carrier: true,
            addresses: addresses
                .map(|(ip, length)| (ip.parse().unwrap(), *length))
                .collect(),
        }
    }

    const OWN: [(&str, u8); 6] = [
        ("198.18.0.10", 24),
        ("198.18.0.2", 24),
        ("198.18.9.2", 24),
        ("fe80::200:5eff:fe00:233", 64),
        ("fd00:18::2", 64),
        ("fe80::2", 64),
    ];

    fn sources(config: &Vrrp, device: &Device) -> Vec<String> {
        let way = way(config, Some(device)).unwrap();
        way.sources.values().map(IpAddr::to_string).collect()
    }

    #[test]
    fn adverts_come_from_what_stays_here() {
        let mut config = config(&Family::ALL);
        assert_eq!(sources(&config, &device(&OWN)), ["198.18.0.2", "fe80::2"]);
        config.unicast_peers = vec!["198.18.9.3".parse().unwrap(), "fd00:18::3".parse().unwrap()];
        assert_eq!(
            sources(&config, &device(&OWN)),
            ["198.18.9.2", "fd00:18::2"]
        );
        config.unicast_peers[1] = "fe80::3".parse().unwrap();
        assert_eq!(sources(&config, &device(&OWN)), ["198.18.9.2", "fe80::2"]);
    }

    #[test]
    fn adverts_come_from_where_they_are_to_come_from() {
        let mut config = config(&Family::ALL);
        config.sources = vec!["198.18.9.2".parse().unwrap()];
        assert_eq!(sources(&config, &device(&OWN)), ["198.18.9.2", "fe80::2"]);
        let missing: IpAddr = "198.18.0.4".parse().unwrap();
        config.sources = vec![missing];
        let way = way(&config, Some(&device(&OWN)));
        assert_eq!(way, Err(Fault::NoSource(missing)));
    }

    #[test]
    fn an_owner_has_nothing_else_perhaps() {
        let mut config = config(&[Family::Ipv4]);
        let device = device(&OWN[..1]);
        assert_eq!(
            way(&config, Some(&device)),
            Err(Fault::NoAddress(Family::Ipv4))
        );
        config.priority = OWNER;
        assert_eq!(sources(&config, &device), ["198.18.0.10"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let config = config(&Family::ALL);
        let way = |device: &Device| super::way(&config, Some(device)).unwrap_err();
        let mut device = device(&OWN[..3]);
        assert_eq!(way(&device), Fault::NoAddress(Family::Ipv6));
        device.mac = None;
        assert_eq!(way(&device), Fault::NoMac);
        device.carrier = false;
        assert_eq!(way(&device), Fault::NoCarrier);
        device.up = false;
        assert_eq!(way(&device), Fault::Down);
        assert_eq!(super::way(&config, None), Err(Fault::NoInterface));
    }
}
