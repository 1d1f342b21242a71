//! Who may use a service: no source that no client has, none that is on a list, and none beyond the
//! limits. From docs/access.md.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use lb_common::datapath::DropReason;

use super::{
    hashed::asks,
    listening::{Listens, first_bits},
    model::{End, Model},
    packet::Packet,
    site::{Service, version},
};

/// What a list says of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// An address in it.
    pub(super) address: IpAddr,
    /// Its length.
    pub(super) bits: u8,
    /// Whether those in it may come in.
    pub(super) allowed: bool,
}

/// How many new flows may come at once, of which one more may each second; `None`: any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// Of a source prefix of so many bits.
    pub(super) source: Option<(u8, u32)>,
    /// Of all.
    pub(super) total: Option<u32>,
}

/// Tokens that are left, and when they were counted, of a service's source, or of all of its.
pub(super) type Tokens = BTreeMap<(u32, Option<IpAddr>), (u32, u64)>;

impl Model {
    /// Whether a packet may come from where it does.
    pub(super) fn admit(&self, packet: &Packet<'_>, service: &Service) -> Result<(), End> {
        let (from, to) = (packet.flow.source.ip(), packet.flow.destination.ip());
        let mut listening = self.site.services.iter();
        let ours =
            listening.any(|s| s.end.ip() == from && !matches!(s.listens, Listens::Prefix(..)));
        let reason = if is_martian(from) {
            DropReason::MartianSource
        } else if from == to {
            DropReason::OwnDestination
        } else if ours {
            DropReason::OwnSource
        } else if denies(&self.site.access, from) {
            DropReason::Denied
        } else if denies(&service.access, from) {
            DropReason::ServiceDenied
        } else {
            return Ok(());
        };
        Err(End::Drop(reason))
    }

    /// Takes tokens for what may open a flow that is not recorded.
    pub(super) fn admit_opening(
        &mut self,
        packet: &Packet<'_>,
        service: &Service,
    ) -> Result<(), End> {
        if asks(packet, service) {
            self.admit_flow(packet, service)?;
        }
        Ok(())
    }

    /// Takes tokens for a flow.
    pub(super) fn admit_flow(&mut self, packet: &Packet<'_>, service: &Service) -> Result<(), End> {
        if let Some((bits, most)) = service.limits.source {
            let source = first_bits(packet.flow.source.ip(), bits);
            if !self.take((service.id, Some(source)), most) {
                return Err(End::Drop(DropReason::SourceLimited));
            }
        }
        match service.limits.total {
            Some(most) if !self.take((service.id, None), most) => {
                Err(End::Drop(DropReason::ServiceLimited))
            }
            _ => Ok(()),
        }
    }

    fn take(&mut self, whose: (u32, Option<IpAddr>), most: u32) -> bool {
        let now = self.now;
        let (left, since) = self.tokens.entry(whose).or_insert((most, now));
        *left = most.min(*left + (now - *since) as u32);
        *since = now;
        let taken = *left > 0;
        *left -= u32::from(taken);
        taken
    }
}

/// Whether the longest prefix that has an address keeps it out.
fn denies(rules: &[Rule], from: IpAddr) -> bool {
    let has = |rule: &&Rule| {
        version(rule.address) == version(from)
            && first_bits(from, rule.bits) == first_bits(rule.address, rule.bits)
    };
    let longest = rules.iter().filter(has).max_by_key(|rule| rule.bits);
    longest.is_some_and(|rule| !rule.allowed)
}

/// Unspecified, loopback, link-local, multicast, broadcast or reserved.
fn is_martian(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let first = v4.octets()[0];
            first == 0
                || first >= 240
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
        }
        // In ::/64 are the unspecified one, the loopback's, and those that stand for one of IPv4.
        IpAddr::V6(v6) => {
            v6.segments()[..4] == Ipv6Addr::UNSPECIFIED.segments()[..4]
                || v6.is_unicast_link_local()
                || v6.is_multicast()
        }
    }
}
