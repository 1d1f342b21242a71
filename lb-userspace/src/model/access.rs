//! Who may use a service, and how many new flows are let in.

use super::Network;

/// An access list: the longest prefix decides. Addresses in none come in, unless any are allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Prefixes whose addresses may come in; others may not then.
    pub allow: Vec<Network>,
    /// Prefixes whose addresses may not.
    pub deny: Vec<Network>,
}

/// Limits on new flows of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewFlows {
    /// Of each source prefix.
    pub per_source: Option<FlowRate>,
    /// Of all together.
    pub total: Option<FlowRate>,
    /// Bits of an IPv4 source that count.
    pub ipv4_bits: u8,
    /// Bits of an IPv6 source that count.
    pub ipv6_bits: u8,
}

/// So many flows a second, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRate {
    /// In a second.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}
