//! Addresses that move between hosts, as rtnetlink messages. Each bears a mark (IFA_PROTO), by which those that an agent
//! before left behind are known.

use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{
        AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
        AddressScope,
    },
};

use crate::{model::VirtualAddress, net::resolution::IfIndex};

use std::net::IpAddr;

/// The mark: no number that the kernel or a known daemon uses. Next to that of neighbours.
const MARK: AddressProtocol = AddressProtocol::Other(83);

/// Gives a device an address, of which nobody is asked whether it is taken: another host may have it a moment longer.
pub(in crate::net) fn taken(device: IfIndex, address: VirtualAddress) -> RouteNetlinkMessage {
    let mut message = described(device, address);
    message.header.flags = AddressHeaderFlags::Nodad;
    message
        .attributes
        .push(AddressAttribute::Flags(AddressFlags::Nodad));
    message.attributes.push(AddressAttribute::Protocol(MARK));
    RouteNetlinkMessage::NewAddress(message)
}

/// Takes one from it.
pub(in crate::net) fn given_up(device: IfIndex, address: VirtualAddress) -> RouteNetlinkMessage {
    RouteNetlinkMessage::DelAddress(described(device, address))
}

/// The address that a message names and its device, if it bears the mark.
pub(in crate::net) fn marked(message: &AddressMessage) -> Option<(IfIndex, VirtualAddress)> {
    let is_mark = |attribute: &AddressAttribute| *attribute == AddressAttribute::Protocol(MARK);
    message.attributes.iter().find(|a| is_mark(a))?;
    let found = super::decode::address(message)?;
    let address = VirtualAddress {
        ip: found.address,
        length: found.prefix,
    };
    Some((found.device, address))
}

fn described(
    IfIndex(device): IfIndex,
    VirtualAddress { ip, length }: VirtualAddress,
) -> AddressMessage {
    let mut message = AddressMessage::default();
    let (family, scope) = match ip {
        IpAddr::V4(_) => (AddressFamily::Inet, AddressScope::Universe),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => (AddressFamily::Inet6, AddressScope::Link),
        IpAddr::V6(_) => (AddressFamily::Inet6, AddressScope::Universe),
    };
    message.header.family = family;
    message.header.prefix_len = length;
    message.header.index = device;
    message.header.scope = scope;
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_bears_the_mark() {
        for (ip, length) in [("198.18.0.10", 24), ("fe80::51", 64)] {
            let ip = ip.parse().unwrap();
            let address = VirtualAddress { ip, length };
            let RouteNetlinkMessage::NewAddress(message) = taken(IfIndex(7), address) else {
                panic!("no new address");
            };
            assert_eq!(marked(&message), Some((IfIndex(7), address)));
            assert_eq!(marked(&described(IfIndex(7), address)), None);
        }
    }
}
