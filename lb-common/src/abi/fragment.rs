//! The fragments of packets: what the first one of a packet says, for those that follow.
//!
//! Their key has the shape of a flow's, with the number that the fragments have in common in the
//! place of the ports.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{address::Address, flow::FlowKey};

/// How long a packet's fragments follow the first one, seconds: as long as Linux waits for all of
/// them (net.ipv4.ipfrag_time).
pub const FRAGMENT_SECONDS: u32 = 30;

/// Packets in fragments that are remembered, of each family.
pub const MAX_FRAGMENTED: u32 = 1 << 14;

/// Packets in fragments of one source that are remembered in a second, so that no source alone
/// pushes the others' out before they are complete.
pub const FRAGMENTED_PER_SOURCE: u32 = 1024;

/// Sources of each family whose packets in fragments are counted.
pub const MAX_FRAGMENT_SOURCES: u32 = 1 << 12;

/// What the first fragment of a packet says for the others.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Fragmented {
    /// [`FlowKey::fingerprint`] of the entry's key.
    pub fingerprint: u64,
    /// When it came, jiffies.
    pub seen: u32,
    /// Source port, network order.
    pub source_port: [u8; 2],
    /// Destination port, network order.
    pub destination_port: [u8; 2],
    /// Protocol number.
    pub protocol: u8,
    padding: u8,
    more_padding: u16,
    even_more_padding: u32,
}

impl Fragmented {
    /// What the first fragment of a flow's packet says at the time `now`; `id` is what the packet's
    /// fragments have in common.
    #[inline(always)]
    pub fn new<A: Address>(id: &FlowKey<A>, flow: &FlowKey<A>, now: u32) -> Self {
        Self {
            fingerprint: id.fingerprint(),
            seen: now,
            source_port: flow.source_port,
            destination_port: flow.destination_port,
            protocol: flow.protocol,
            padding: 0,
            more_padding: 0,
            even_more_padding: 0,
        }
    }

    /// Whether others may still follow it.
    #[inline(always)]
    pub fn is_current(&self, now: u32, hertz: u32) -> bool {
        now.wrapping_sub(self.seen) < FRAGMENT_SECONDS * hertz
    }
}

impl<A: Address> FlowKey<A> {
    /// What the fragments of a packet have in common: its addresses, its number and, if they all
    /// have one, its protocol.
    #[inline(always)]
    pub fn of_fragments(source: A, destination: A, id: u32, protocol: u8) -> Self {
        let [a, b, c, d] = id.to_ne_bytes();
        Self::new(source, destination, [a, b], [c, d], protocol)
    }
}

/// How many packets in fragments a source has had remembered in the second that runs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct FragmentBudget {
    /// Start of the second, jiffies.
    pub since: u32,
    /// How many.
    pub taken: u32,
}

impl FragmentBudget {
    /// Takes one; `false` if there is none to have. CPUs that take at once may count one only once.
    #[inline(always)]
    pub fn take(&mut self, now: u32, hertz: u32) -> bool {
        if now.wrapping_sub(self.since) >= hertz {
            (self.since, self.taken) = (now, 0);
        }
        if self.taken >= FRAGMENTED_PER_SOURCE {
            return false;
        }
        self.taken += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_a_budget_each_second() {
        let mut budget = FragmentBudget::default();
        let now = 7_u32.wrapping_sub(100);
        let taken = (0..2 * FRAGMENTED_PER_SOURCE).filter(|_| budget.take(now, 100));
        assert_eq!(taken.count() as u32, FRAGMENTED_PER_SOURCE);
        assert!(!budget.take(now.wrapping_add(99), 100));
        assert!(budget.take(now.wrapping_add(100), 100));
    }
}
