//! Frames for the properties: any bytes, valid packets of all kinds, and valid packets spoiled.

use std::net::SocketAddr;

use proptest::{collection::vec, prelude::*, sample::select};
use sluice_tests::cases::{
    frame::Frame,
    places::{BACK, Flavour, INTERFACES, Interface, Pool, Protocol, UPLINK, Way},
};

/// A frame that comes in.
pub(crate) type Incoming = (Interface, Vec<u8>);

/// Any bytes, through any interface.
pub(crate) fn bytes() -> impl Strategy<Value = Incoming> {
    (select(&INTERFACES[..]), vec(any::<u8>(), 0..200))
}

/// A valid packet from a client, to a service more often than not.
pub(crate) fn request() -> impl Strategy<Value = (Flavour, Frame)> {
    let ends = (
        select(&Flavour::ALL[..]),
        select(&Pool::ALL[..]),
        any::<u16>(),
        0..4u8,
    );
    ends.prop_flat_map(|(flavour, pool, port, number)| {
        let client = flavour.version.client_number(Way::Router, number);
        let client = SocketAddr::new(client, port);
        let frame = flavour.packet(client, flavour.service(pool));
        dressed(flavour, frame).prop_map(move |frame| (flavour, frame))
    })
}

/// A valid packet from a backend.
pub(crate) fn reply() -> impl Strategy<Value = (Flavour, Frame)> {
    let pools = [Pool::TRACKED, Pool::ONE_SIDED].concat();
    let ends = (select(&Flavour::ALL[..]), select(pools));
    ends.prop_flat_map(|(flavour, pool)| {
        dressed(flavour, flavour.reply(pool)).prop_map(move |frame| (flavour, frame))
    })
}

/// The packet with other flags, payload, hops, class, padding, and through another interface.
fn dressed(flavour: Flavour, frame: Frame) -> impl Strategy<Value = Frame> {
    let header = (any::<u8>(), any::<u8>(), any::<u8>(), any::<bool>());
    let rest = (vec(any::<u8>(), 0..1480), 0..20usize, any::<bool>());
    (header, rest, select(&[UPLINK, BACK][..])).prop_map(move |(header, rest, ingress)| {
        let (flags, hops, class, options) = header;
        let (payload, padding, whole) = rest;
        let mut frame = frame
            .clone()
            .flags(flags)
            .hops(hops)
            .class(class)
            .payload(&payload);
        if options {
            frame = frame.tcp_options().dont_fragment();
        }
        if !whole && flavour.protocol == Protocol::Udp {
            frame = frame.unchecked();
        }
        frame.padded(padding).arrives(ingress)
    })
}

/// A valid packet of which some bytes are others, or which ends early.
pub(crate) fn spoiled() -> impl Strategy<Value = Incoming> {
    let frame = prop_oneof![request(), reply()];
    let changes = vec((0..80usize, any::<u8>()), 0..4);
    (frame, changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |((_, frame), changes, end, cut)| {
            let mut bytes = frame.bytes();
            let length = bytes.len();
            for (place, byte) in changes {
                bytes[place % length] = byte;
            }
            if cut {
                bytes.truncate(end.index(length + 1));
            }
            (frame.ingress, bytes)
        },
    )
}

/// Any of these.
pub(crate) fn incoming() -> impl Strategy<Value = Incoming> {
    let valid = prop_oneof![request(), reply()];
    prop_oneof![
        bytes(),
        spoiled(),
        valid.prop_map(|(_, frame)| (frame.ingress, frame.bytes())),
    ]
}
