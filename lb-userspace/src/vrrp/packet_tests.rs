//! Adverts that are written and read, and packets that are none.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use proptest::prelude::*;

use super::packet::{Advert, Checksum, HOP_LIMIT, Malformed, Received, Version};

const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
const GROUP_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn advert() -> Advert {
    Advert {
        version: Version::V3,
        vrid: 51,
        priority: 150,
        interval: Duration::from_millis(100),
        addresses: vec![ip("198.18.0.10")],
        password: None,
    }
}

/// The Internet checksum (RFC 1071), written once more.
fn sum(packet: &[u8]) -> u16 {
    let pairs = packet.chunks(2);
    let words = pairs.map(|pair| u32::from(pair[0]) * 256 + u32::from(*pair.get(1).unwrap_or(&0)));
    let total: u32 = words.sum();
    let folded = (total & 0xffff) + (total >> 16);
    !(folded as u16 + (folded >> 16) as u16)
}

fn received<'a>(source: &str, destination: IpAddr, payload: &'a [u8]) -> Received<'a> {
    Received {
        source: ip(source),
        destination,
        hop_limit: HOP_LIMIT,
        payload,
    }
}

#[test]
fn version_3_as_the_rfc_draws_it() {
    let source = ip("198.18.0.2");
    let packet = advert().write(source, GROUP, Checksum::Packet);
    assert_eq!(packet[..6], [0x31, 51, 150, 1, 0, 10]);
    assert_eq!(packet[8..], [198, 18, 0, 10]);
    let read = Advert::read(&received("198.18.0.2", GROUP, &packet));
    assert_eq!(read, Ok((advert(), Checksum::Packet)));
}

#[test]
fn version_2_has_seconds_and_a_password() {
    let mut secret = [0; 8];
    secret[..6].copy_from_slice(b"secret");
    let old = Advert {
        version: Version::V2,
        interval: Duration::from_secs(3),
        password: Some(secret),
        ..advert()
    };
    let packet = old.write(ip("198.18.0.2"), GROUP, Checksum::PseudoHeader);
    assert_eq!(packet[..6], [0x21, 51, 150, 1, 1, 3]);
    assert_eq!(packet[12..], secret);
    // There is no pseudo-header in version 2.
    let read = Advert::read(&received("198.18.9.9", GROUP, &packet));
    assert_eq!(read, Ok((old, Checksum::Packet)));
}

#[test]
fn the_pseudo_header_that_keepalived_puts_in_is_told() {
    let (source, plain) = (ip("198.18.0.3"), advert());
    let packet = plain.write(source, GROUP, Checksum::PseudoHeader);
    let read = Advert::read(&received("198.18.0.3", GROUP, &packet));
    assert_eq!(read, Ok((plain, Checksum::PseudoHeader)));
    let other = Advert::read(&received("198.18.0.4", GROUP, &packet));
    assert_eq!(other, Err(Malformed::Checksum));
}

#[test]
fn ipv6_has_a_pseudo_header_in_any_case() {
    let six = Advert {
        addresses: vec![ip("fe80::51"), ip("fd00:18::10")],
        ..advert()
    };
    for checksum in [Checksum::Packet, Checksum::PseudoHeader] {
        let packet = six.write(ip("fe80::1"), GROUP_V6, checksum);
        let read = Advert::read(&received("fe80::1", GROUP_V6, &packet));
        assert_eq!(read, Ok((six.clone(), Checksum::Packet)));
        let other = Advert::read(&received("fe80::2", GROUP_V6, &packet));
        assert_eq!(other, Err(Malformed::Checksum));
    }
}

#[test]
fn what_is_none_says_why() {
    let source = ip("198.18.0.2");
    let sound = advert().write(source, GROUP, Checksum::Packet);
    // What is changed is summed up anew.
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = sound.clone();
        change(&mut packet);
        packet[6..8].fill(0);
        let sum = sum(&packet);
        packet[6..8].copy_from_slice(&sum.to_be_bytes());
        packet
    };
    let why = |packet: &[u8]| Advert::read(&received("198.18.0.2", GROUP, packet)).unwrap_err();
    assert_eq!(why(&sound[..7]), Malformed::Length);
    assert_eq!(why(&sound[..11]), Malformed::Length);
    assert_eq!(why(&changed(&|p| p.push(0))), Malformed::Length);
    assert_eq!(why(&changed(&|p| p[0] = 0x41)), Malformed::Version);
    assert_eq!(why(&changed(&|p| p[0] = 0x32)), Malformed::Type);
    assert_eq!(why(&changed(&|p| p[1] = 0)), Malformed::Vrid);
    assert_eq!(why(&changed(&|p| p[5] = 0)), Malformed::Interval);
    let nobody = changed(&|p| {
        p[3] = 0;
        p.truncate(8);
    });
    assert_eq!(why(&nobody), Malformed::NoAddress);
    let old = Advert {
        version: Version::V2,
        ..advert()
    };
    let mut old = old.write(source, GROUP, Checksum::Packet);
    old[4] = 2;
    assert_eq!(why(&old), Malformed::Authentication);
    let mut damaged = sound.clone();
    damaged[2] += 1;
    assert_eq!(why(&damaged), Malformed::Checksum);
}

#[test]
fn only_what_is_to_the_group_needs_the_hop_limit() {
    let (source, peer) = (ip("198.18.0.2"), ip("198.18.0.3"));
    let read = |destination, hop_limit| {
        let packet = advert().write(source, destination, Checksum::Packet);
        let received = Received {
            hop_limit,
            ..received("198.18.0.2", destination, &packet)
        };
        Advert::read(&received).map(drop)
    };
    assert_eq!(read(GROUP, 254), Err(Malformed::HopLimit));
    assert_eq!(read(GROUP, 255), Ok(()));
    assert_eq!(read(peer, 64), Ok(()));
}

#[test]
fn intervals_are_what_the_wire_can_say() {
    for (version, asked, heard) in [
        (Version::V3, 100, 100),
        (Version::V3, 14, 10),
        (Version::V3, 15, 20),
        (Version::V3, 1, 10),
        (Version::V3, 60_000, 40_950),
        (Version::V2, 100, 1000),
        (Version::V2, 1_500, 2_000),
        (Version::V2, 300_000, 255_000),
    ] {
        let wire = version.on_wire(Duration::from_millis(asked));
        assert_eq!(wire, Duration::from_millis(heard), "{version:?} {asked}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        (version, six) in prop_oneof![
            Just((Version::V2, false)), Just((Version::V3, false)), Just((Version::V3, true))
        ],
        vrid in 1u8..,
        priority: u8,
        units in 1u16..256,
        hosts in prop::collection::vec(any::<u32>(), 1..256),
        password: Option<[u8; 8]>,
        pseudo: bool,
    ) {
        let address = |host: u32| match six {
            true => IpAddr::from(Ipv6Addr::from(u128::from(host))),
            false => IpAddr::from(Ipv4Addr::from(host)),
        };
        let advert = Advert {
            version,
            vrid,
            priority,
            interval: version.on_wire(match version {
                Version::V2 => Duration::from_secs(units.into()),
                Version::V3 => Duration::from_millis(10 * u64::from(units)),
            }),
            addresses: hosts.iter().map(|&host| address(host)).collect(),
            password: password.filter(|_| version == Version::V2),
        };
        let checksum = if pseudo { Checksum::PseudoHeader } else { Checksum::Packet };
        let source = if six { "fe80::1" } else { "198.18.0.2" };
        let group = if six { GROUP_V6 } else { GROUP };
        let packet = advert.write(ip(source), group, checksum);
        let (read, _) = Advert::read(&received(source, group, &packet)).unwrap();
        prop_assert_eq!(read, advert);
    }

    #[test]
    fn nothing_makes_it_panic(
        payload in prop::collection::vec(any::<u8>(), 0..64),
        hop_limit: u8,
        six: bool,
    ) {
        let (source, group) = if six { ("fe80::1", GROUP_V6) } else { ("198.18.0.2", GROUP) };
        let received = Received { hop_limit, ..received(source, group, &payload) };
        let _ = Advert::read(&received);
    }
}
