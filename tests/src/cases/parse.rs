//! What is for a service and what is not: everything that a frame can say before a backend is
//! chosen.

use lb_common::datapath::{DropReason, PassReason};

use super::{
    case::{Case, Expected},
    frame::{Frame, IP},
    outputs::joined,
    places::{FOREIGN, Flavour, Pool, Protocol, ROUTER, UPLINK, Version, Way},
};

pub(super) fn rows() -> Vec<Case> {
    let mut rows = links();
    rows.extend(ipv4_first_byte());
    rows.extend(ipv6_version());
    rows.extend(protocols());
    rows.extend(fragments());
    for pool in Pool::MODES {
        for flavour in Flavour::ALL {
            rows.extend(not_served(flavour, pool));
            rows.extend(ip_lengths(flavour, pool));
            rows.extend(hops(flavour, pool));
        }
        Flavour::TCP
            .into_iter()
            .for_each(|flavour| rows.extend(data_offsets(flavour, pool)));
        Flavour::UDP
            .into_iter()
            .for_each(|flavour| rows.extend(udp_lengths(flavour, pool)));
    }
    rows
}

fn passes(name: impl Into<String>, frame: &Frame, reason: PassReason) -> Case {
    Case::new(name).frame(frame, Expected::passed(reason))
}

fn drops(name: impl Into<String>, frame: &Frame, reason: DropReason) -> Case {
    Case::new(name).frame(frame, Expected::dropped(reason))
}

/// Ethernet.
fn links() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        let frame = flavour.request(Pool::Ipip);
        for (whom, mac) in [
            ("another host", [0x02, 0, 0, 0, 1, 0x02]),
            (
                "one that differs in the first byte",
                [0x06, 0, 0, 0, 1, 0x01],
            ),
            ("everyone", [0xff; 6]),
            ("a group", [0x01, 0, 0x5e, 0, 0, 0x12]),
            ("an IPv6 group", [0x33, 0x33, 0, 0, 0, 0x12]),
            ("another of our interfaces", [0x02, 0, 0, 0, 2, 0x01]),
        ] {
            let name = format!("{flavour}: the frame is for {whom}");
            rows.push(passes(
                name,
                &frame.clone().link(ROUTER, mac),
                PassReason::OtherMac,
            ));
        }
        let name = format!("{flavour}: an interface that is not the agent's");
        rows.push(passes(
            name,
            &frame.clone().arrives(FOREIGN),
            PassReason::UnknownInterface,
        ));
        for (ethertype, reason) in [
            (0x0806, PassReason::Arp),
            (0x8100, PassReason::Vlan),
            (0x88a8, PassReason::Vlan),
            (0x9100, PassReason::Vlan),
            (0x0000, PassReason::OtherEthertype),
            (0x05dc, PassReason::OtherEthertype),
            (0x0801, PassReason::OtherEthertype),
            (0x86de, PassReason::OtherEthertype),
            (0x8847, PassReason::OtherEthertype),
            (0x8864, PassReason::OtherEthertype),
            (0x88cc, PassReason::OtherEthertype),
            (0xffff, PassReason::OtherEthertype),
        ] {
            let name = format!("{flavour}: Ethernet type {ethertype:04x}");
            let frame = frame.clone().patch(12, &u16::to_be_bytes(ethertype));
            let everyone = frame.clone().link(ROUTER, [0xff; 6]);
            rows.push(passes(format!("{name} to everyone"), &everyone, reason));
            rows.push(passes(name, &frame, reason));
        }
    }
    rows.push(crossed(Flavour::ALL[0], 0x86dd));
    rows.push(crossed(Flavour::ALL[2], 0x0800));
    rows.push(arp());
    rows
}

/// A packet of one family under the other's Ethernet type.
fn crossed(flavour: Flavour, ethertype: u16) -> Case {
    let frame = flavour
        .request(Pool::Ipip)
        .sized(100)
        .patch(12, &ethertype.to_be_bytes());
    passes(
        format!("{flavour} under {ethertype:04x}"),
        &frame,
        PassReason::BadVersion,
    )
}

/// Who has 192.0.11.254? Tell 192.0.11.1.
fn arp() -> Case {
    let question = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 1, 0xfe, 0x08, 0x06, 0, 1, 8, 0, 6, 4,
        0, 1, 0x02, 0, 0, 0, 1, 0xfe, 192, 0, 11, 1, 0, 0, 0, 0, 0, 0, 192, 0, 11, 254,
    ];
    let expected = Expected::passed(PassReason::Arp);
    Case::new("an ARP question").bytes(UPLINK, question.to_vec(), expected)
}

/// Version and header length.
fn ipv4_first_byte() -> impl Iterator<Item = Case> {
    let bytes = (0..=u8::MAX).filter(|byte| *byte != 0x45);
    bytes.map(|byte| {
        let reason = match byte {
            0x40..=0x44 => PassReason::BadHeaderLength,
            // What is an option then, the client's port, says that it is longer than any header.
            0x46..=0x4f => PassReason::IpOptions,
            _ => PassReason::BadVersion,
        };
        let frame = Flavour::ALL[0]
            .request(Pool::Ipip)
            .sized(80)
            .patch(IP, &[byte]);
        passes(format!("IPv4 that starts with {byte:02x}"), &frame, reason)
    })
}

fn ipv6_version() -> impl Iterator<Item = Case> {
    (0..16).filter(|version| *version != 6).map(|version| {
        let frame = Flavour::ALL[2]
            .request(Pool::Ipip)
            .patch(IP, &[version << 4]);
        passes(
            format!("IPv6 of version {version}"),
            &frame,
            PassReason::BadVersion,
        )
    })
}

/// Every number but TCP's and UDP's.
fn protocols() -> Vec<Case> {
    let others = (0..=u8::MAX).filter(|number| ![6, 17].contains(number));
    let rows = others.flat_map(|number| {
        let ipv4 = if number == 1 {
            PassReason::Icmp
        } else {
            PassReason::OtherProtocol
        };
        let ipv6 = match number {
            0 | 43 | 50 | 51 | 59 | 60 | 135 | 139 | 140 => PassReason::ExtensionHeader,
            44 => PassReason::FragmentWithoutFirst,
            58 => PassReason::Icmp,
            _ => PassReason::OtherProtocol,
        };
        let v4 = Flavour::ALL[0].request(Pool::Ipip).patch(IP + 9, &[number]);
        let v6 = Flavour::ALL[2].request(Pool::Ipip).patch(IP + 6, &[number]);
        [
            passes(format!("IPv4 protocol {number}"), &v4, ipv4),
            passes(format!("IPv6 next header {number}"), &v6, ipv6),
        ]
    });
    rows.collect()
}

/// IPv4 flags and offset.
fn fragments() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in [Flavour::ALL[0], Flavour::ALL[1]] {
        for pool in Pool::MODES {
            for (what, field) in [
                ("middle fragment", 0x2001_u16),
                ("last fragment", 0x0001),
                ("fragment far back", 0x1fff),
                ("fragment with DF", 0x4001),
            ] {
                let frame = flavour.request(pool).patch(IP + 6, &field.to_be_bytes());
                let name = format!("{pool} {flavour}: {what}");
                rows.push(passes(name, &frame, PassReason::FragmentWithoutFirst));
            }
            let frame = flavour.request(pool).dont_fragment();
            let name = format!("{pool} {flavour}: DF alone is no fragment");
            rows.push(Case::new(name).frame(&frame, joined(flavour, pool, &frame)));
        }
    }
    rows
}

/// What misses a service by one of address, port and protocol.
fn not_served(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let (client, service) = (flavour.client(Way::Router), flavour.service(pool));
    let mut address = service;
    address.set_ip(flavour.version.link(200, 1));
    let mut port = service;
    port.set_port(service.port() + 1);
    let mut swapped = service;
    swapped.set_port(service.port().swap_bytes());
    let to = |end| flavour.packet(client, end);
    let other = match flavour.protocol {
        Protocol::Tcp => Frame::udp(client, service),
        Protocol::Udp => Frame::tcp(client, service),
    };
    let back = flavour.packet(service, client);
    [
        ("another address", to(address)),
        ("another port", to(port)),
        ("the port's bytes swapped", to(swapped)),
        ("the other protocol", other),
        ("from a service", back),
    ]
    .into_iter()
    .map(|(what, frame)| {
        passes(
            format!("{pool} {flavour}: {what}"),
            &frame,
            PassReason::NoService,
        )
    })
    .collect()
}

/// The IP header's length against the frame's.
fn ip_lengths(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let frame = flavour.request(pool);
    let right = frame.ip_length();
    let mut rows = Vec::new();
    for length in [right + 1, 1500, 65_535] {
        let frame = frame.clone().says_ip_length(length);
        let name = format!("{pool} {flavour}: {right} bytes say that they are {length}");
        rows.push(drops(name, &frame, DropReason::BadIpLength));
    }
    if flavour.version == Version::V4 {
        for length in [0, 1, 19] {
            let frame = frame.clone().says_ip_length(length);
            let name = format!("{pool} {flavour}: says that it is {length} bytes long");
            rows.push(drops(name, &frame, DropReason::BadIpLength));
        }
    }
    for padding in [1, 6, 18, 100] {
        let frame = frame.clone().padded(padding);
        let name = format!("{pool} {flavour}: {padding} bytes of padding stay");
        rows.push(Case::new(name).frame(&frame, joined(flavour, pool, &frame)));
    }
    let short = frame.clone().payload(b"").padded(9);
    let name = format!("{pool} {flavour}: no payload, padding stays");
    rows.push(Case::new(name).frame(&short, joined(flavour, pool, &short)));
    rows
}

fn hops(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let with = |hops| flavour.request(pool).hops(hops);
    let mut rows = Vec::new();
    for hops in [0, 1] {
        let name = format!("{pool} {flavour}: {hops} hops left");
        rows.push(drops(name, &with(hops), DropReason::TtlExpired));
    }
    for hops in [2, 128, 255] {
        let name = format!("{pool} {flavour}: {hops} hops left");
        rows.push(Case::new(name).frame(&with(hops), joined(flavour, pool, &with(hops))));
    }
    rows
}

/// TCP's data offset, in words of four bytes, in a segment of 24 bytes.
fn data_offsets(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let segment = flavour.request(pool);
    let place = segment.transport() + 12;
    let wrong = (0..5).chain(7..16).map(|words: u8| {
        let name = format!("{pool} {flavour}: data offset {words}");
        let frame = segment.clone().patch(place, &[words << 4]);
        drops(name, &frame, DropReason::BadTcpHeader)
    });
    let options = segment.clone().tcp_options();
    let all_options = options.clone().payload(b"");
    let right = [("options", options), ("options and no data", all_options)];
    let right = right.into_iter().map(|(what, frame)| {
        let name = format!("{pool} {flavour}: {what}");
        Case::new(name).frame(&frame, joined(flavour, pool, &frame))
    });
    wrong.chain(right).collect()
}

/// UDP's length, in a datagram of 12 bytes.
fn udp_lengths(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let datagram = flavour.request(pool);
    let place = datagram.transport() + 4;
    let wrong = (0..8).chain([13, 1500, 65_535]).map(|length: u16| {
        let name = format!("{pool} {flavour}: UDP length {length}");
        let frame = datagram.clone().patch(place, &length.to_be_bytes());
        drops(name, &frame, DropReason::BadUdpLength)
    });
    let empty = datagram.clone().payload(b"");
    let name = format!("{pool} {flavour}: an empty datagram");
    let empty = Case::new(name).frame(&empty, joined(flavour, pool, &empty));
    wrong.chain([empty]).collect()
}
