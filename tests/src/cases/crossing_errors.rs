//! ICMP errors about flows between families: what they are where the flow's other end is.

use std::net::{IpAddr, SocketAddr};

use lb_common::{
    abi::Direction,
    datapath::{DropReason, PassReason},
};

use super::{
    case::{Case, Expected},
    crossing::{backend, near, opened, own, request, row},
    frame::Frame,
    icmp_errors::requoted,
    messages::{Kind, Message, quote},
    outputs,
    places::{
        BACK, BACKEND, Flavour, Interface, Mac, Pool, Protocol, ROUTER, UPLINK, Version, Way,
    },
    world::World,
};

const POOL: Pool = Pool::Nat;

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        for towards in [Direction::In, Direction::Out] {
            rows.extend(quotes(flavour, towards));
            rows.extend(kinds(flavour, towards));
            rows.extend(ends(flavour, towards));
            rows.push(same_family(flavour, towards));
        }
        rows.extend(strange(flavour));
    }
    rows
}

/// What an error is about, and where it goes.
struct About {
    flavour: Flavour,
    /// `In`: to the backend.
    towards: Direction,
    /// The packet as it was where the error comes from.
    left: Frame,
    /// The same where the error goes.
    there: Frame,
    /// The ends that the error gets.
    ends: [IpAddr; 2],
    /// Where it comes in, and from whom.
    from: (Interface, Mac),
    /// Where it leaves, and to whom.
    to: (Interface, Mac),
}

fn about(flavour: Flavour, towards: Direction) -> About {
    let (service, client) = (flavour.service(POOL), flavour.client(Way::Router));
    let between = |ends: [SocketAddr; 2]| {
        let frame = request(flavour).hops(62).sized(200);
        frame.ends(ends[0], ends[1]).anew()
    };
    let (here, across) = ([service, client], [backend(flavour), own(flavour)]);
    let reversed = |[a, b]: [SocketAddr; 2]| [b, a];
    let (uplink, back) = ((UPLINK, ROUTER), (BACK, BACKEND));
    let (left, there, ends, from, to) = match towards {
        Direction::In => (here, across, reversed(across), uplink, back),
        Direction::Out => (reversed(across), reversed(here), here, back, uplink),
    };
    About {
        flavour,
        towards,
        left: between(left),
        there: between(there),
        ends: ends.map(|end| end.ip()),
        from,
        to,
    }
}

impl About {
    /// The version of the end that the error comes from.
    fn version(&self) -> Version {
        match self.left.source().ip() {
            IpAddr::V4(_) => Version::V4,
            IpAddr::V6(_) => Version::V6,
        }
    }

    /// An error that quotes `bytes` bytes behind the packet's IP header.
    fn error(&self, kind: (u8, u8), rest: [u8; 4], bytes: usize) -> Message {
        let version = self.version();
        let ends = [version.link(77, 7), self.left.source().ip()];
        let body = quote(&self.left.bytes(), version.header() + bytes);
        let (interface, mac) = self.from;
        let error = Message::new(Kind::TooBig, ends, rest, &body).kind(kind.0, kind.1);
        error.arrives(mac, interface)
    }

    /// What that is where it goes.
    fn there(&self, kind: (u8, u8), rest: [u8; 4], bytes: usize) -> Message {
        let version = self.version().other();
        let body = requoted(&self.left, &self.there, self.version().header() + bytes);
        let body = quote(&body, version.header() + bytes);
        let error = Message::new(Kind::TooBig, self.ends, rest, &body).kind(kind.0, kind.1);
        let (interface, mac) = self.to;
        error.hop().link(interface.mac, mac).ours()
    }

    fn row(&self, what: impl std::fmt::Display) -> Case {
        let to = match self.towards {
            Direction::In => "backend",
            Direction::Out => "client",
        };
        let syn = request(self.flavour);
        let case = row(self.flavour, format!("an error to the {to}: {what}"));
        case.frame(&syn, opened(self.flavour, &syn))
    }

    fn relayed(&self, error: &Message, there: &Message) -> Expected {
        Expected::relayed(self.from.0, there.bytes(), self.to.0).counted_as(
            self.flavour,
            POOL,
            self.towards,
            error.ip_length(),
        )
    }
}

/// How much is quoted: the least, part of a TCP header, all of one, and more, odd and even.
fn quotes(flavour: Flavour, towards: Direction) -> Vec<Case> {
    let about = about(flavour, towards);
    let rows = [8, 16, 20, 64, 101].map(|bytes| {
        let (kind, across) = unreachable_port(about.version());
        let error = about.error(kind, [0; 4], bytes);
        let there = about.there(across, [0; 4], bytes);
        let expected = about.relayed(&error, &there);
        let case = about.row(format!("{bytes} bytes quoted"));
        case.bytes(about.from.0, error.bytes(), expected)
    });
    rows.into()
}

/// Type and code in one version, and in the other.
fn unreachable_port(version: Version) -> ((u8, u8), (u8, u8)) {
    let kind = Kind::PortUnreachable;
    (kind.of(version), kind.of(version.other()))
}

/// Type, code and what is behind the checksum.
type Said = ((u8, u8), u32);

/// What each says: RFC 7915, sections 4.2 and 5.2.
fn kinds(flavour: Flavour, towards: Direction) -> Vec<Case> {
    let about = about(flavour, towards);
    let pairs: &[(Said, Said)] = match about.version() {
        Version::V4 => &[
            (((3, 1), 0), ((1, 0), 0)),
            (((3, 2), 0), ((4, 1), 6)),
            (((3, 4), 1400), ((2, 0), 1420)),
            (((3, 4), 600), ((2, 0), 1280)),
            // The packet has 200 bytes.
            (((3, 4), 0), ((2, 0), 1280)),
            (((3, 13), 0), ((1, 1), 0)),
            (((11, 0), 0), ((3, 0), 0)),
            (((11, 1), 0xffff_ffff), ((3, 1), 0)),
            (((12, 0), 8 << 24), ((4, 0), 7)),
        ],
        Version::V6 => &[
            (((1, 0), 0), ((3, 1), 0)),
            (((1, 1), 0), ((3, 10), 0)),
            (((2, 0), 1400), ((3, 4), 1380)),
            (((2, 0), 70_000), ((3, 4), 65_515)),
            (((3, 0), 0), ((11, 0), 0)),
            (((3, 1), 0xffff_ffff), ((11, 1), 0)),
            (((4, 0), 7), ((12, 0), 8 << 24)),
            (((4, 1), 6), ((3, 2), 0)),
        ],
    };
    let mut rows: Vec<_> = pairs
        .iter()
        .map(|&((kind, rest), (across, rest_across))| {
            let error = about.error(kind, rest.to_be_bytes(), 40);
            let there = about.there(across, rest_across.to_be_bytes(), 40);
            let expected = about.relayed(&error, &there);
            let case = about.row(format!("type and code {kind:?}, {rest}"));
            case.bytes(about.from.0, error.bytes(), expected)
        })
        .collect();
    let without: &[Said] = match about.version() {
        Version::V4 => &[((3, 14), 0), ((12, 0), 4 << 24), ((12, 1), 0)],
        Version::V6 => &[((1, 5), 0), ((4, 0), 2), ((4, 2), 40)],
    };
    rows.extend(without.iter().map(|&(kind, rest)| {
        let error = about.error(kind, rest.to_be_bytes(), 40);
        about
            .row(format!("type and code {kind:?}, {rest}, of no counterpart"))
            .bytes(
                about.from.0,
                error.bytes(),
                Expected::dropped(DropReason::CrossingShape),
            )
    }));
    rows
}

/// Those that go no further.
fn ends(flavour: Flavour, towards: Direction) -> Vec<Case> {
    let about = about(flavour, towards);
    let (kind, across) = unreachable_port(about.version());
    let error = about.error(kind, [0; 4], 40);
    let there = about.there(across, [0; 4], 40);
    let mut rows = vec![about.row("its hops used up").bytes(
        about.from.0,
        error.clone().hops(1).bytes(),
        Expected::dropped(DropReason::TtlExpired),
    )];
    if towards == Direction::In {
        let mtu = |more: i64| (there.ip_length() as i64 + more) as u64;
        let narrow = move |mtu: u64| move |world: &mut World| world.set_mtu(mtu);
        let dropped = Expected::dropped(DropReason::TooBig);
        rows.push(about.row("as big as fits").world(narrow(mtu(0))).bytes(
            about.from.0,
            error.bytes(),
            about.relayed(&error, &there),
        ));
        rows.push(about.row("one byte too big").world(narrow(mtu(-1))).bytes(
            about.from.0,
            error.bytes(),
            dropped,
        ));
    }
    if flavour.protocol == Protocol::Tcp {
        let mut guess = about;
        guess.left = guess.left.sequence(0x8000_0000);
        let error = guess.error(kind, [0; 4], 40);
        rows.push(guess.row("a guess").bytes(
            guess.from.0,
            error.bytes(),
            Expected::dropped(DropReason::ErrorNumbers),
        ));
    }
    rows
}

/// About a flow whose backend has the client's family, in a pool that crosses: as about any other.
fn same_family(flavour: Flavour, towards: Direction) -> Case {
    let (service, client) = (flavour.service(POOL), flavour.client(Way::Router));
    let (backend, own) = (flavour.backend(POOL), flavour.own());
    let ((left, there), (from, to)) = match towards {
        Direction::In => (
            ([service, client], [backend, own]),
            ((UPLINK, ROUTER), (BACK, BACKEND)),
        ),
        Direction::Out => (
            ([own, backend], [client, service]),
            ((BACK, BACKEND), (UPLINK, ROUTER)),
        ),
    };
    let between = |ends: [SocketAddr; 2]| request(flavour).sized(200).ends(ends[0], ends[1]);
    let (left, there) = (between(left), between(there));
    let length = flavour.version.header() + 40;
    let ends = [flavour.version.link(77, 7), left.source().ip()];
    let body = quote(&left.bytes(), length);
    let error = Message::new(Kind::PortUnreachable, ends, [0; 4], &body).arrives(from.1, from.0);
    let output = error
        .clone()
        .ends(there.destination().ip(), there.source().ip())
        .body(&quote(&there.bytes(), length));
    let output = output.hop().link(to.0.mac, to.1);
    let expected = Expected::relayed(from.0, output.bytes(), to.0).counted_as(
        flavour,
        POOL,
        towards,
        error.ip_length(),
    );
    let syn = request(flavour);
    let made_anew = |frame: Frame| match flavour.version {
        Version::V4 => frame.anew(),
        Version::V6 => frame,
    };
    let first = made_anew(outputs::output(flavour, POOL, &syn).link(BACK.mac, BACKEND));
    let first = Expected::sent(&syn, &first, BACK)
        .counted(flavour, POOL, Direction::In, &syn)
        .opens();
    let what = format!("an error about a backend of its family, {towards:?}");
    row(flavour, what)
        .world(move |world| near(flavour, world))
        .frame(&syn, first)
        .bytes(from.0, error.bytes(), expected)
}

/// What is of no flow passes as it came.
fn strange(flavour: Flavour) -> Vec<Case> {
    let about = about(flavour, Direction::In);
    let (kind, _) = unreachable_port(about.version());
    let error = about.error(kind, [0; 4], 40);
    let passed = || Expected::passed(PassReason::Icmp);
    let unknown = row(flavour, "an error about a flow that is not recorded");
    let short = about.error(kind, [0; 4], 7);
    vec![
        unknown.bytes(about.from.0, error.bytes(), passed()),
        about
            .row("a quote cut short")
            .bytes(about.from.0, short.bytes(), passed()),
    ]
}
