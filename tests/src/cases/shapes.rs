//! Packets whose transport header is not where it usually is: behind IPv4 options, behind IPv6
//! extension headers. They are forwarded as any, and what is in between stays as it is.

use lb_common::datapath::{DropReason, PassReason};

use super::{
    case::{Case, Expected},
    frame::{Frame, IP},
    outputs::{answered, joined},
    places::{Flavour, Pool, Protocol, Version},
};

/// An extension header: its number and what is behind its next header.
type Extension<'a> = (u8, &'a [u8]);

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// Eight bytes of options: all padding (RFC 8200, section 4.2).
const PADDING: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
/// Sixteen.
const LONG_PADDING: &[u8] = &[1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// A routing header of type 2 (RFC 6275, section 6.4) that has done its work.
const ROUTED: &[u8] = &[
    2, 2, 0, 0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9,
];
/// A fragment header of a packet that is all there.
const ATOMIC: &[u8] = &[0, 0, 0, 1, 2, 3, 4];

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        for pool in Pool::ALL {
            for (what, dress) in shapes(flavour.version) {
                rows.extend(served(flavour, pool, what, dress));
            }
        }
        rows.extend(unsound(flavour));
    }
    rows.extend(options_that_pass());
    rows.extend(extensions_that_pass());
    rows.push(longest_walk());
    rows
}

type Dress = fn(Frame) -> Frame;

fn shapes(version: Version) -> Vec<(&'static str, Dress)> {
    match version {
        Version::V4 => vec![
            ("no operation", |frame| frame.ip_options(&[1, 1, 1, 0])),
            ("router alert", |frame| frame.ip_options(&[148, 4, 0, 0])),
            ("a list that ends early", |frame| {
                frame.ip_options(&[0, 131, 131, 131])
            }),
            ("options of all lengths", |frame| {
                let mut options = [1; 40];
                options[..11].copy_from_slice(&[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
                options[12..16].copy_from_slice(&[68, 4, 5, 0]);
                frame.ip_options(&options)
            }),
        ],
        Version::V6 => vec![
            ("hop-by-hop options", |frame| {
                frame.extensions(&[(HOP_BY_HOP, PADDING)])
            }),
            ("destination options", |frame| {
                frame.extensions(&[(DESTINATION, LONG_PADDING)])
            }),
            ("routing, at its end", |frame| {
                frame.extensions(&[(ROUTING, ROUTED)])
            }),
            ("an atomic fragment", |frame| {
                frame.extensions(&[(FRAGMENT, ATOMIC)])
            }),
            ("one of each", |frame| frame.extensions(&one_of_each())),
        ],
    }
}

fn one_of_each() -> [Extension<'static>; 5] {
    [
        (HOP_BY_HOP, PADDING),
        (DESTINATION, PADDING),
        (ROUTING, ROUTED),
        (FRAGMENT, ATOMIC),
        (DESTINATION, LONG_PADDING),
    ]
}

/// Both ways, as far as there are two.
fn served(flavour: Flavour, pool: Pool, what: &str, dress: Dress) -> Vec<Case> {
    let request = dress(flavour.request(pool));
    let name = format!("{pool} {flavour}: {what}");
    let there = Case::new(&name).frame(&request, joined(flavour, pool, &request));
    let long = request.clone().sized(1200);
    let big = Case::new(format!("{name}, 1,200 bytes"));
    let mut rows = vec![big.frame(&long, joined(flavour, pool, &long))];
    let reply = dress(flavour.reply(pool));
    rows.push(if pool.is_tracked() || Pool::ONE_SIDED.contains(&pool) {
        there.frame(&reply, answered(flavour, pool, &reply))
    } else {
        there
    });
    rows
}

/// What is wrong with a plain packet is wrong with these.
fn unsound(flavour: Flavour) -> Vec<Case> {
    let (_, dress) = shapes(flavour.version)[0];
    let frame = dress(flavour.request(Pool::Ipip));
    let (ports, length) = (frame.transport() + 4, frame.bytes().len());
    let cut = (IP..length).map(|end| {
        let reason = if end < ports {
            Expected::passed(PassReason::Truncated)
        } else {
            Expected::dropped(DropReason::BadIpLength)
        };
        let name = format!("{flavour}: not plain, cut to {end} of {length} bytes");
        Case::new(name).frame(&frame.clone().cut(end), reason)
    });
    let drops = |what: &str, frame: &Frame, reason| {
        let name = format!("{flavour}: not plain, {what}");
        Case::new(name).frame(frame, Expected::dropped(reason))
    };
    let header = match flavour.protocol {
        Protocol::Tcp => (frame.transport() + 12, DropReason::BadTcpHeader),
        Protocol::Udp => (frame.transport() + 4, DropReason::BadUdpLength),
    };
    let used_up = frame.clone().hops(1);
    let wrong = frame.clone().patch(header.0, &[0x40]);
    cut.chain([
        drops("hops used up", &used_up, DropReason::TtlExpired),
        drops("a transport header that is wrong", &wrong, header.1),
    ])
    .collect()
}

fn options_that_pass() -> Vec<Case> {
    let request = Flavour::ALL[0].request(Pool::Ipip);
    [
        ("loose source route", &[131, 7, 4, 10, 9, 9, 9, 0][..]),
        ("strict source route", &[1, 137, 7, 4, 10, 9, 9, 9]),
        ("an option without length", &[148, 0, 0, 0]),
        ("an option of length 1", &[148, 1, 0, 0]),
        ("an option that runs past the header", &[148, 5, 0, 0]),
        ("one behind others", &[1, 7, 3, 4, 1, 1, 68, 255]),
        ("an option whose length is past the header", &[1, 1, 1, 148]),
    ]
    .into_iter()
    .map(|(what, options)| {
        let frame = request.clone().ip_options(options);
        Case::new(format!("IPv4 options: {what}"))
            .frame(&frame, Expected::passed(PassReason::IpOptions))
    })
    .collect()
}

fn extensions_that_pass() -> Vec<Case> {
    let request = Flavour::ALL[2].request(Pool::Ipip);
    let mut under_way = ROUTED.to_vec();
    under_way[2] = 1;
    let mut far = [0; 8 * 17 - 1];
    far[0] = 16;
    let many = [(DESTINATION, PADDING); 9];
    let passes = |what: &str, headers: &[Extension<'_>], reason| {
        let frame = request.clone().extensions(headers);
        Case::new(format!("IPv6 extension headers: {what}")).frame(&frame, Expected::passed(reason))
    };
    let extension = PassReason::ExtensionHeader;
    vec![
        passes("routing, under way", &[(ROUTING, &under_way)], extension),
        passes(
            "hop-by-hop options behind others",
            &[(DESTINATION, PADDING), (HOP_BY_HOP, PADDING)],
            extension,
        ),
        passes("136 bytes", &[(DESTINATION, &far)], extension),
        passes("nine", &many, extension),
        passes(
            "ESP behind options",
            &[(DESTINATION, PADDING), (50, PADDING)],
            extension,
        ),
        passes(
            "ICMPv6 behind options",
            &[(DESTINATION, PADDING), (58, PADDING)],
            PassReason::Icmp,
        ),
        passes(
            "an unknown protocol behind options",
            &[(DESTINATION, PADDING), (253, PADDING)],
            PassReason::OtherProtocol,
        ),
    ]
}

/// The most that is walked: eight headers, 128 bytes.
fn longest_walk() -> Case {
    let (flavour, mut last) = (Flavour::ALL[2], [0; 71]);
    last[0] = 8;
    let headers = [
        (HOP_BY_HOP, PADDING),
        (DESTINATION, PADDING),
        (DESTINATION, PADDING),
        (DESTINATION, PADDING),
        (DESTINATION, PADDING),
        (DESTINATION, PADDING),
        (DESTINATION, PADDING),
        (DESTINATION, &last),
    ];
    let frame = flavour.request(Pool::Ipip).extensions(&headers);
    let expected = joined(flavour, Pool::Ipip, &frame);
    Case::new("IPv6 extension headers: 128 bytes").frame(&frame, expected)
}
