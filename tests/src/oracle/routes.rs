//! The kernel's routes to clients, as the places of the cases have them.

use std::net::IpAddr;

use lb_common::datapath::DropReason;

use super::{
    model::{End, Model},
    site::version,
};
use crate::cases::places::{
    CLOSED, FOREIGN, Interface, Mac, ROUTER, SIDE, SIDE_ROUTER, UPLINK, Way,
};

/// How the kernel leads to a client.
pub(super) enum Back {
    /// Through this interface, to this MAC address, packets up to this length.
    Resolved(Interface, Mac, usize),
    /// Through this interface, to a gateway that is not resolved.
    Silent(Interface, IpAddr),
}

impl Model {
    /// The kernel's route to a client for a packet so long that came in here.
    pub(super) fn way_back(
        &self,
        ingress: Interface,
        length: usize,
        client: IpAddr,
    ) -> Result<Back, End> {
        if ingress == CLOSED {
            return Err(End::Drop(DropReason::ForwardingDisabled));
        }
        let version = version(client);
        let gateway = |interface: Interface, host| version.link(interface.ifindex as u8, host);
        let (back, mtu) = match way_of(client) {
            None | Some(Way::Nowhere | Way::Unreachable) => {
                return Err(End::Drop(DropReason::NoRoute));
            }
            Some(Way::Router) => (Back::Resolved(UPLINK, ROUTER, 1500), 1500),
            Some(Way::Narrow) => (Back::Resolved(UPLINK, ROUTER, 1400), 1400),
            Some(Way::Aside) => (Back::Resolved(SIDE, SIDE_ROUTER, 1500), 1500),
            Some(Way::Silent) => (Back::Silent(UPLINK, gateway(UPLINK, 99)), 1500),
            Some(Way::SilentAside) => (Back::Silent(SIDE, gateway(SIDE, 99)), 1500),
            Some(Way::Foreign) => (Back::Resolved(FOREIGN, ROUTER, 1500), 1500),
        };
        match back {
            _ if length > mtu => Err(End::TooBig(mtu)),
            Back::Resolved(FOREIGN, ..) => Err(End::Drop(DropReason::NoDevice)),
            back => Ok(back),
        }
    }

    /// A way whose gateway has to be resolved, which is asked for if it is not.
    pub(super) fn resolved(&mut self, back: Back) -> Result<(Interface, Mac, usize), End> {
        match back {
            Back::Resolved(through, mac, mtu) => Ok((through, mac, mtu)),
            Back::Silent(through, gateway) => {
                self.wanted.push((through.ifindex, gateway));
                Err(End::Drop(DropReason::NoNeighbour))
            }
        }
    }
}

/// How the kernel routes to a client, if it does.
fn way_of(client: IpAddr) -> Option<Way> {
    let ways = [
        Way::Router,
        Way::Nowhere,
        Way::Silent,
        Way::SilentAside,
        Way::Aside,
        Way::Foreign,
        Way::Narrow,
        Way::Unreachable,
    ];
    let net = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits() >> 8),
        IpAddr::V6(address) => address.to_bits() >> 64,
    };
    let version = version(client);
    ways.into_iter()
        .find(|way| net(version.client_number(*way, 0)) == net(client))
}
