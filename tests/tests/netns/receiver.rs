//! The receiving end of the tunnel, by itself: what the demo proves rests on its strictness.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use etherparse::{IpNumber, Ipv4Header, Ipv6Header, PacketBuilder};
use sluice_tests::{
    addresses::{BACKENDS, Family, GATEWAY_BACK, TUNNEL, WEB, client},
    decapsulator::{Decapsulator, Outcomes},
    http, link,
    network::Network,
    services::PORT,
    stage::Stage,
};

const ETHERNET: usize = 14;

fn decapsulator() -> Decapsulator {
    Decapsulator::load(&BACKENDS[0].both(), &TUNNEL.both()).unwrap()
}

/// An Ethernet header and what follows it.
fn frame(payload: &[u8]) -> Vec<u8> {
    let version = payload[0] >> 4;
    let kind: [u8; 2] = if version == 4 {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    };
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &kind, payload].concat()
}

/// A SYN from a client, as an IP packet.
fn request(to: IpAddr) -> Vec<u8> {
    let from = client(Family::of(to), 0);
    let builder = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 63),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), 63),
        _ => unreachable!("both are of one family"),
    };
    let builder = builder.tcp(40_000, 80, 7, 1000).syn();
    let mut packet = Vec::new();
    builder.write(&mut packet, b"").unwrap();
    packet
}

fn outer4(inner: &[u8], to: Ipv4Addr) -> Ipv4Header {
    let from = GATEWAY_BACK.v4.octets();
    let length = u16::try_from(inner.len()).unwrap();
    let mut outer = Ipv4Header::new(length, 64, IpNumber::IPV4, from, to.octets()).unwrap();
    outer.header_checksum = outer.calc_header_checksum();
    outer
}

fn outer6(inner: &[u8], to: Ipv6Addr) -> Ipv6Header {
    Ipv6Header {
        payload_length: u16::try_from(inner.len()).unwrap(),
        next_header: IpNumber::IPV6,
        hop_limit: 64,
        source: GATEWAY_BACK.v6.octets(),
        destination: to.octets(),
        ..Ipv6Header::default()
    }
}

fn wrapped4(outer: &Ipv4Header, inner: &[u8]) -> Vec<u8> {
    frame(&[&outer.to_bytes()[..], inner].concat())
}

fn wrapped6(outer: &Ipv6Header, inner: &[u8]) -> Vec<u8> {
    frame(&[&outer.to_bytes()[..], inner].concat())
}

fn counted(decapsulator: &Decapsulator) -> [u64; 4] {
    let Outcomes {
        decapsulated,
        refused,
        malformed,
        other,
    } = decapsulator.outcomes().unwrap();
    [decapsulated, refused, malformed, other]
}

/// The program drops each frame and counts them all under one outcome.
fn assert_dropped(frames: &[Vec<u8>], counters: [u64; 4]) {
    let mut decapsulator = decapsulator();
    for frame in frames {
        assert_eq!(decapsulator.run(frame).unwrap(), None, "{frame:02x?}");
    }
    assert_eq!(counted(&decapsulator), counters);
}

#[test]
fn the_outer_header_comes_off() {
    let mut decapsulator = decapsulator();
    let (inner4, inner6) = (request(TUNNEL.v4.into()), request(TUNNEL.v6.into()));
    let outer4 = outer4(&inner4, BACKENDS[0].v4);
    let outer6 = outer6(&inner6, BACKENDS[0].v6);
    let (frame4, frame6) = (wrapped4(&outer4, &inner4), wrapped6(&outer6, &inner6));
    assert_eq!(decapsulator.run(&frame4).unwrap(), Some(frame(&inner4)));
    assert_eq!(decapsulator.run(&frame6).unwrap(), Some(frame(&inner6)));
    assert_eq!(counted(&decapsulator), [2, 0, 0, 0]);
}

#[test]
fn a_bare_request_to_the_service_is_refused() {
    let bare = TUNNEL.both().map(|to| frame(&request(to)));
    assert_dropped(&bare, [0, 2, 0, 0]);
}

#[test]
fn a_wrapped_request_to_something_else_is_refused() {
    let (inner4, inner6) = (request(WEB.v4.into()), request(WEB.v6.into()));
    let wrapped = [
        wrapped4(&outer4(&inner4, BACKENDS[0].v4), &inner4),
        wrapped6(&outer6(&inner6, BACKENDS[0].v6), &inner6),
    ];
    assert_dropped(&wrapped, [0, 2, 0, 0]);
}

#[test]
fn an_outer_header_that_the_kernel_would_drop_is_malformed() {
    let inner = request(TUNNEL.v4.into());
    let good = wrapped4(&outer4(&inner, BACKENDS[0].v4), &inner);
    let mut wrong_checksum = good.clone();
    wrong_checksum[ETHERNET + 10] ^= 1;
    let mut wrong_length = outer4(&inner, BACKENDS[0].v4);
    wrong_length.total_len += 1;
    wrong_length.header_checksum = wrong_length.calc_header_checksum();
    let mut no_time = outer4(&inner, BACKENDS[0].v4);
    no_time.time_to_live = 0;
    no_time.header_checksum = no_time.calc_header_checksum();
    let mut fragment = outer4(&inner, BACKENDS[0].v4);
    fragment.more_fragments = true;
    fragment.header_checksum = fragment.calc_header_checksum();
    let bad = [
        wrong_checksum,
        wrapped4(&wrong_length, &inner),
        wrapped4(&no_time, &inner),
        wrapped4(&fragment, &inner),
        good[..good.len() - 1].to_vec(),
    ];
    assert_dropped(&bad, [0, 0, 5, 0]);

    let inner = request(TUNNEL.v6.into());
    let mut wrong_length = outer6(&inner, BACKENDS[0].v6);
    wrong_length.payload_length -= 1;
    let mut no_hops = outer6(&inner, BACKENDS[0].v6);
    no_hops.hop_limit = 0;
    let bad = [wrapped6(&wrong_length, &inner), wrapped6(&no_hops, &inner)];
    assert_dropped(&bad, [0, 0, 2, 0]);
}

#[test]
fn everything_else_is_left_to_the_kernel() {
    let mut decapsulator = decapsulator();
    let inner = request(TUNNEL.v4.into());
    let mut other_protocol = outer4(&inner, BACKENDS[0].v4);
    other_protocol.protocol = IpNumber::IPV6;
    other_protocol.header_checksum = other_protocol.calc_header_checksum();
    let frames = [
        frame(&request(BACKENDS[0].v4.into())),
        frame(&request(BACKENDS[0].v6.into())),
        // To another backend: not for this one to open.
        wrapped4(&outer4(&inner, BACKENDS[1].v4), &inner),
        wrapped4(&other_protocol, &inner),
    ];
    for frame in &frames {
        assert_eq!(decapsulator.run(frame).unwrap().as_ref(), Some(frame));
    }
    assert_eq!(counted(&decapsulator), [0, 0, 0, 4]);
}

#[test]
fn plain_routing_does_not_pass_for_balancing() {
    let stage = Stage::set_up("sluice-routing").unwrap();
    let network = Network::set_up(&stage).unwrap();
    network.wait_until_connected().unwrap();
    let hosts = (
        &*format!("{}/32", TUNNEL.v4),
        &*format!("{}/128", TUNNEL.v6),
    );
    link::route(&network.router, hosts, BACKENDS[0]).unwrap();
    for family in Family::ALL {
        let before = network.decapsulator(0).outcomes().unwrap().refused;
        let to = SocketAddr::new(TUNNEL.of(family), PORT);
        let connect = || {
            Ok(http::connect(
                Some(client(family, 0)),
                to,
                Duration::from_millis(500),
            ))
        };
        let error = network.client.run(connect).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{family}");
        assert!(
            network.decapsulator(0).outcomes().unwrap().refused > before,
            "{family}"
        );
    }
}
