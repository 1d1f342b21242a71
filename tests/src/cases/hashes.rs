//! The hashes of flows, by the siphasher crate (SipHash-1-3), and the slots that they name.

use std::{
    hash::Hasher as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use siphasher::sip::SipHasher13;

use super::{case::Ends, places::Protocol};

/// The hash of a flow: addresses, ports, protocol.
pub(crate) fn flow_hash(seed: [u8; 16], ends: Ends) -> u64 {
    let mut hasher = SipHasher13::new_with_key(&seed);
    for end in [ends.source, ends.destination] {
        match end.ip() {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()),
        }
    }
    hasher.write(&ends.source.port().to_be_bytes());
    hasher.write(&ends.destination.port().to_be_bytes());
    let number = match ends.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    hasher.write(&[number]);
    hasher.finish()
}

/// The hash of the first `bits` bits of a client's address: as 16 bytes, zeros behind them.
pub(crate) fn source_hash(seed: [u8; 16], client: IpAddr, bits: u8) -> u64 {
    let whole = match client {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    let mask = u128::MAX << (128 - u32::from(bits));
    let mut hasher = SipHasher13::new_with_key(&seed);
    hasher.write(&(whole & mask).to_be_bytes());
    hasher.finish()
}

/// The UDP source port around a flow's packets: one of the dynamic ones (RFC 6335, section 6).
pub(crate) fn outer_port(hash: u64) -> u16 {
    49_152 + (hash % 16_384) as u16
}

/// An address whose last `bits` bits come from a hash: from its low half, as a little-endian number
/// takes them in IPv4, and as a big-endian one in IPv6.
pub(crate) fn outer_source(address: IpAddr, bits: u8, hash: u64) -> IpAddr {
    let mask = ((1u64 << bits) - 1) as u32;
    let low = hash as u32;
    match address {
        IpAddr::V4(address) => {
            let entropy = u32::from_be_bytes(low.to_le_bytes()) & mask;
            Ipv4Addr::from_bits(address.to_bits() & !mask | entropy).into()
        }
        IpAddr::V6(address) => {
            let entropy = u128::from(low & mask);
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(mask) | entropy).into()
        }
    }
}

/// The slot that a hash names in a table of so many.
pub(crate) fn slot(hash: u64, slots: usize) -> usize {
    scaled(hash >> 32, slots as u64) as usize
}

/// A number of 32 bits as a number below `count`.
pub(crate) fn scaled(number: u64, count: u64) -> u64 {
    (number * count) >> 32
}
