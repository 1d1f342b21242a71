//! Fuzz target `vrrp`: any packet through the codec of adverts. It panics if that does, or if an advert that was read is
//! another one once it is written and read again. Checksums are put right first, by sums of our own: a fuzzer would not find
//! what lies behind them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::packet::{Advert, Checksum, PROTOCOL, Received};

/// The first byte says how the rest came.
pub fn advert(bytes: &[u8]) {
    let Some((&how, payload)) = bytes.split_first() else {
        return;
    };
    let (source, group) = match how & 1 {
        0 => (
            IpAddr::from(Ipv4Addr::new(198, 18, 0, 2)),
            IpAddr::from(Ipv4Addr::new(224, 0, 0, 18)),
        ),
        _ => (
            IpAddr::from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2)),
            IpAddr::from(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12)),
        ),
    };
    let mut payload = payload.to_vec();
    if how & 2 == 0 && payload.len() >= 8 {
        payload[6..8].fill(0);
        let ends = (how & 4 != 0 || source.is_ipv6()).then_some((source, group));
        let sum = sum(&payload, ends);
        payload[6..8].copy_from_slice(&sum.to_be_bytes());
    }
    let received = |payload| Received {
        source,
        destination: group,
        hop_limit: 255 - (how >> 7),
        payload,
    };
    let Ok((advert, checksum)) = Advert::read(&received(&payload)) else {
        return;
    };
    let written = advert.write(source, group, checksum);
    assert_eq!(
        Advert::read(&received(&written)),
        Ok((advert, again(checksum, &written)))
    );
}

/// Where the pseudo-header adds nothing, the checksum is right with and without.
fn again(checksum: Checksum, written: &[u8]) -> Checksum {
    match sum(written, None) {
        0 => Checksum::Packet,
        _ => checksum,
    }
}

fn sum(packet: &[u8], ends: Option<(IpAddr, IpAddr)>) -> u16 {
    let mut octets = packet.to_vec();
    if octets.len() % 2 == 1 {
        octets.push(0);
    }
    if let Some((source, destination)) = ends {
        for address in [source, destination] {
            match address {
                IpAddr::V4(address) => octets.extend(address.octets()),
                IpAddr::V6(address) => octets.extend(address.octets()),
            }
        }
        octets.extend((packet.len() as u32).to_be_bytes());
        octets.extend([0, 0, 0, PROTOCOL]);
    }
    let pairs = octets.chunks_exact(2);
    let total: u64 = pairs
        .map(|pair| u64::from(pair[0]) * 256 + u64::from(pair[1]))
        .sum();
    // The sum with the carries put back: what remains modulo 2^16 - 1, but that 0 is only of zeros.
    let folded = match total % 0xffff {
        0 if total > 0 => 0xffff,
        rest => rest as u16,
    };
    !folded
}
