//! Where services listen on more than one address and port: ranges of ports, all ports, and whole
//! prefixes; and whose the connection ids are that name their server. Tries of the kernel
//! (`BPF_MAP_TYPE_LPM_TRIE`), in which the longest prefix wins:
//!
//! ```text
//!   address ──► mark, or longest prefix ──► group ──► (group, protocol, port) ──► number of a service
//! ```
//! A group is what one address or prefix answers at. Its ranges of ports are held as blocks, each
//! the ports that begin with the same bits; so each change is one element, which the kernel puts in
//! place at once.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::address::Address;

/// A key of a trie of addresses: those of one scope that begin with the same bits.
///
/// Whole words, as [`PortKey`] is: a key lies on the kernel's stack, where the verifier takes no
/// misaligned store, and the compiler joins smaller fields to such ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct PrefixKey {
    /// The length in bits, which counts the scope's, and the scope.
    head: u64,
    low: u64,
    high: u64,
}

/// What a [`PrefixKey`] compares, bit by bit: scope and address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PrefixData([u32; 5]);

/// Bits of a [`PrefixData`] in front of the address.
const SCOPE_BITS: u32 = 32;

impl PrefixKey {
    /// The addresses of `scope` whose first `bits` bits are those of `address`, the others of which
    /// are zeros.
    #[inline(always)]
    pub fn new<A: Address>(scope: u32, address: A, bits: u8) -> Self {
        let (low, high) = address.words();
        Self {
            head: pair(SCOPE_BITS + u32::from(bits), scope),
            low: low.to_le(),
            high: high.to_le(),
        }
    }

    /// Bytes that are compared, the scope's left out.
    pub const BYTES: usize = 16;

    /// The connection ids of `scope` that begin with the same configuration and server id as this one.
    /// `octets`: as many of them are compared, the first one included, of which the lower five bits say
    /// nothing (draft-ietf-quic-load-balancers-21, section 3.4).
    #[inline(always)]
    pub fn server(scope: u32, id: &[u8; Self::BYTES], octets: u8) -> Self {
        let [first, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *id;
        let configuration = first & !0x1f;
        Self {
            head: pair(SCOPE_BITS + 8 * u32::from(octets.min(16)), scope),
            low: u64::from_ne_bytes([configuration, b, c, d, e, f, g, h]),
            high: u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
        }
    }

    /// What looks an address up.
    #[inline(always)]
    pub fn lookup<A: Address>(scope: u32, address: A) -> Self {
        Self::new(scope, address, 128)
    }

    /// Bits that count, the scope's included.
    pub fn length(&self) -> u32 {
        halves(self.head).0
    }

    /// What is compared.
    pub fn data(&self) -> PrefixData {
        let (_, scope) = halves(self.head);
        let ((a, b), (c, d)) = (halves(self.low), halves(self.high));
        PrefixData([scope, a, b, c, d])
    }

    /// The key that a trie holds as these words: its length, then what is compared.
    pub fn from_words([length, scope, a, b, c, d]: [u32; 6]) -> Self {
        Self {
            head: pair(length, scope),
            low: pair(a, b),
            high: pair(c, d),
        }
    }

    /// Whether an address that is looked up by `other` begins like this.
    pub fn covers(&self, other: &Self) -> bool {
        let pairs = self.data().0.into_iter().zip(other.data().0);
        pairs.zip((0u32..).step_by(32)).all(|((one, two), start)| {
            let counted = self.length().saturating_sub(start).min(32);
            let differ = u32::from_be(one ^ two);
            differ.checked_shr(32 - counted).unwrap_or(0) == 0
        })
    }
}

/// A word that holds these two in memory, one after the other.
#[inline(always)]
fn pair(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// What [`pair`] made one of.
fn halves(word: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    (
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
    )
}

/// The addresses of services that listen on whole prefixes; the value is a group.
#[inline(always)]
pub fn listening_scope<A: Address>() -> u32 {
    u32::from(A::VERSION)
}

/// The addresses that services listen on alone.
#[inline(always)]
pub fn own_scope<A: Address>() -> u32 {
    0x100 | u32::from(A::VERSION)
}

/// The connection ids of a service's packets of one family.
#[inline(always)]
pub fn server_scope<A: Address>(service: u32) -> u32 {
    service << 4 | u32::from(A::VERSION)
}

/// A key of a trie of ports: a block of those of one group and protocol. The map's key is its first
/// 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct PortKey {
    /// The length in bits, which counts group and protocol, and the group.
    head: u64,
    /// Protocol and port, as [`PortData`] has them, and zeros.
    tail: u64,
}

/// What a [`PortKey`] compares, bit by bit: the group; the protocol in two bytes, the first zero,
/// and the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct PortData([u32; 2]);

/// Bits of a [`PortData`] in front of the port.
const GROUP_BITS: u32 = 48;

impl PortKey {
    /// The ports of a group and protocol whose first `bits` bits are those of `port` (network
    /// order), the others of which are zeros.
    #[inline(always)]
    pub fn new(group: u32, protocol: u8, port: [u8; 2], bits: u8) -> Self {
        let [high, low] = port;
        Self {
            head: pair(GROUP_BITS + u32::from(bits), group),
            tail: pair(u32::from_ne_bytes([0, protocol, high, low]), 0),
        }
    }

    /// What looks a port up.
    #[inline(always)]
    pub fn lookup(group: u32, protocol: u8, port: [u8; 2]) -> Self {
        Self::new(group, protocol, port, 16)
    }

    /// Bits that count, group and protocol included.
    pub fn length(&self) -> u32 {
        halves(self.head).0
    }

    /// What is compared.
    pub fn data(&self) -> PortData {
        PortData([halves(self.head).1, halves(self.tail).0])
    }

    /// The key that a trie holds as these words: its length, then what is compared.
    pub fn from_words([length, group, end]: [u32; 3]) -> Self {
        Self {
            head: pair(length, group),
            tail: pair(end, 0),
        }
    }

    /// Whether a port that is looked up by `other` is in this block.
    pub fn covers(&self, other: &Self) -> bool {
        let (PortData([group, end]), PortData([other_group, other_end])) =
            (self.data(), other.data());
        // The protocol is always compared.
        let ignored = (GROUP_BITS + 16).saturating_sub(self.length()).min(16);
        group == other_group && u32::from_be(end ^ other_end) >> ignored == 0
    }
}

/// A range of ports as blocks: at most 30, in ascending order. Each is its first port, and the
/// bits that its ports have in common.
pub fn port_blocks(first: u16, last: u16) -> impl Iterator<Item = (u16, u8)> {
    let (mut next, end) = (u32::from(first), u32::from(last) + 1);
    core::iter::from_fn(move || {
        let left = end.checked_sub(next).filter(|left| *left > 0)?;
        // The largest that starts here, and does not go too far.
        let aligned = next.trailing_zeros().min(16);
        let ignored = aligned.min(left.ilog2());
        let block = (next as u16, 16 - ignored as u8);
        next += 1 << ignored;
        Some(block)
    })
}

#[cfg(test)]
mod tests {
    use super::{super::address::Ipv4Address, *};

    #[test]
    fn keys_come_back_from_the_words_of_a_trie() {
        let prefix = PrefixKey::new(
            7,
            Ipv4Address::from(core::net::Ipv4Addr::new(198, 18, 4, 0)),
            24,
        );
        let PrefixData([scope, a, b, c, d]) = prefix.data();
        let words = [prefix.length(), scope, a, b, c, d];
        assert_eq!(PrefixKey::from_words(words), prefix);
        let ports = PortKey::new(3, 17, [0x1f, 0x40], 12);
        let PortData([group, end]) = ports.data();
        assert_eq!(PortKey::from_words([ports.length(), group, end]), ports);
    }

    #[test]
    fn blocks_are_the_range() {
        for (first, last) in [
            (0, 65_535),
            (1, 65_535),
            (80, 80),
            (8000, 8099),
            (1, 65_534),
            (65_535, 65_535),
        ] {
            let ports = port_blocks(first, last).flat_map(|(port, bits)| {
                let start = u32::from(port);
                start..start + (1 << (16 - u32::from(bits)))
            });
            assert!(
                ports.eq(u32::from(first)..=u32::from(last)),
                "{first}-{last}"
            );
            assert!(port_blocks(first, last).count() <= 30, "{first}-{last}");
        }
        assert_eq!(port_blocks(0, 65_535).count(), 1);
    }

    #[test]
    fn a_block_covers_its_ports() {
        let block = PortKey::new(3, 6, 8000u16.to_be_bytes(), 12);
        let covers = |group, protocol, port: u16| {
            block.covers(&PortKey::lookup(group, protocol, port.to_be_bytes()))
        };
        assert!(covers(3, 6, 8000) && covers(3, 6, 8015));
        assert!(!covers(3, 6, 8016) && !covers(3, 6, 7999));
        assert!(!covers(4, 6, 8000) && !covers(3, 17, 8000));
    }

    #[test]
    fn a_server_covers_its_connection_ids() {
        let of = |octets: [u8; 5]| {
            let mut id = [0x5c; 16];
            id[..5].copy_from_slice(&octets);
            id
        };
        let mut alone = [0; 16];
        alone[..4].copy_from_slice(&[0x40, 1, 2, 3]);
        let server = PrefixKey::server(0x14, &alone, 4);
        let covers =
            |scope, octets, long| server.covers(&PrefixKey::server(scope, &of(octets), long));
        assert_eq!(server.length(), 64);
        assert!(covers(0x14, [0x40, 1, 2, 3, 4], 16) && covers(0x14, [0x5f, 1, 2, 3, 0xff], 16));
        assert!(!covers(0x14, [0x20, 1, 2, 3, 4], 16) && !covers(0x14, [0x60, 1, 2, 3, 4], 16));
        assert!(!covers(0x14, [0x40, 1, 2, 4, 4], 16) && !covers(0x16, [0x40, 1, 2, 3, 4], 16));
    }

    #[test]
    fn a_prefix_covers_its_addresses() {
        let of = |bytes| Ipv4Address::from_bytes(bytes);
        let prefix = PrefixKey::new(4, of([198, 18, 4, 0]), 23);
        let covers = |scope, bytes| prefix.covers(&PrefixKey::lookup(scope, of(bytes)));
        assert!(covers(4, [198, 18, 4, 0]) && covers(4, [198, 18, 5, 255]));
        assert!(!covers(4, [198, 18, 6, 0]) && !covers(4, [198, 18, 3, 255]));
        assert!(!covers(6, [198, 18, 4, 0]));
        let all = PrefixKey::new(4, of([0; 4]), 0);
        assert!(all.covers(&PrefixKey::lookup(4, of([9; 4]))));
    }
}
