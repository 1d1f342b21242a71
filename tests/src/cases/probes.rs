//! Probes that take clients' way: whose backend their port names, whatever slots, lists and health say; and what
//! backends answer to them.

use std::net::{IpAddr, SocketAddr};

use lb_common::{
    abi::{
        BackendRef, Direction, FIRST_PROBE_PORT, HopWord, Ipv4Address, Ipv6Address, MacAddress,
        NextHop, Service, Verdict,
    },
    datapath::{DropReason, PassReason},
};

use super::{
    case::{Case, Expected},
    edits::place_at,
    frame::{ACK, Frame, RST, SYN},
    outputs::{forwarded, opened, output},
    places::{BACK, BACKEND, CLOSED, Flavour, PROBE, PROBER, Pool, UPLINK, Version},
    world::{MTU, NEXT_HOP, Route, World, backend_index},
};

/// One of each mode.
const MODES: [Pool; 5] = [Pool::Ipip, Pool::Gue, Pool::Dsr, Pool::OneSided, Pool::Nat];
/// Those whose backends answer past this host's services.
const ONE_WAY: [Pool; 3] = [Pool::Ipip, Pool::Gue, Pool::Dsr];

/// Index of the backend that probes are for.
const PROBED: u32 = 500;
/// Index of another one at the same address.
const OTHER: u32 = 501;
/// The next hop towards probes.
const PROBE_HOP: u32 = 9;
/// Of the port that names [`PROBED`].
const PORT: u32 = 3;

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        for pool in MODES {
            rows.extend(there(flavour, pool));
            rows.extend(nowhere(flavour, pool));
            rows.extend(unheeded(flavour, pool));
        }
        for pool in ONE_WAY {
            rows.extend(answers(flavour, pool));
        }
        rows.extend(translated(flavour));
        rows.extend(not_ours(flavour));
    }
    for flavour in Flavour::TCP {
        rows.push(another(flavour));
    }
    rows
}

fn row(flavour: Flavour, pool: Pool, what: impl std::fmt::Display) -> Case {
    let case = Case::new(format!("probes, {pool} {flavour}: {what}"));
    case.world(|world| {
        world.add_probes();
        world.add_backend(PROBED, pool, flavour.version);
        world.name(PORT, PROBED, 0);
        world.give_slots(flavour.version, pool, 0);
    })
}

/// Where probes come from.
fn prober(version: Version) -> IpAddr {
    version.inner(250)
}

/// A probe's end.
fn end(flavour: Flavour, port: u32) -> SocketAddr {
    let port = FIRST_PROBE_PORT + port as u16;
    SocketAddr::new(prober(flavour.version), port)
}

/// A probe from a port.
fn probe(flavour: Flavour, pool: Pool, port: u32) -> Frame {
    let frame = flavour.packet(end(flavour, port), flavour.service(pool));
    frame.arrives(PROBE).link(PROBER, PROBE.mac)
}

/// It goes to the backend that its port names.
fn sent(flavour: Flavour, pool: Pool, frame: &Frame) -> Expected {
    forwarded(flavour, pool, frame).backend(PROBED)
}

impl World {
    /// The device of probes, the way there, and a mark for where they come from.
    fn add_probes(&mut self) {
        let salt = self.constants.salt;
        let hop = HopWord::new(MacAddress(PROBER), PROBE.device);
        let mtu = MTU.into();
        self.ingress.insert(PROBE.ifindex, PROBE.hop());
        self.devices.insert(PROBE.device, PROBE.sender());
        self.redirect.insert(PROBE.device, PROBE.ifindex);
        self.next_hops.insert(PROBE_HOP, NextHop { hop, mtu });
        for version in Version::ALL {
            let (address, behind) = (prober(version), version.link(PROBE.ifindex as u8, 1));
            let route = Route::Via {
                gateway: behind,
                ifindex: PROBE.ifindex,
                mtu: None,
            };
            self.routes.insert((address, version.bits()), route);
            self.neighbours.insert((PROBE.ifindex, behind), PROBER);
            match address {
                IpAddr::V4(address) => {
                    let mark = Service::<Ipv4Address>::probe(address.into(), PROBE_HOP);
                    place_at(&mut self.services_v4, mark.key().positions(salt)[0], mark);
                }
                IpAddr::V6(address) => {
                    let mark = Service::<Ipv6Address>::probe(address.into(), PROBE_HOP);
                    place_at(&mut self.services_v6, mark.key().positions(salt)[0], mark);
                }
            }
        }
    }

    /// Has a port name a backend.
    fn name(&mut self, port: u32, backend: u32, generation: u8) {
        let named = BackendRef::new(backend, generation);
        self.probed.insert(port, named.word());
    }
}

/// Nobody's slots, and a backend that no slot has.
fn there(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let frame = probe(flavour, pool, PORT);
    let syn = frame.clone().flags(SYN);
    let recorded = pool.is_tracked();
    let first = |frame: &Frame| match recorded || frame.asks() {
        true => sent(flavour, pool, frame).opens(),
        false => sent(flavour, pool, frame),
    };
    let mut rows = vec![
        row(flavour, pool, "to the backend of its port")
            .frame(&syn, first(&syn))
            .frame(&frame, sent(flavour, pool, &frame)),
        row(flavour, pool, "the largest port")
            .world(|world| world.name((1 << 14) - 1, PROBED, 0))
            .frame(&probe(flavour, pool, (1 << 14) - 1), {
                let frame = probe(flavour, pool, (1 << 14) - 1);
                first(&frame)
            }),
    ];
    if Flavour::TCP.contains(&flavour) && !recorded {
        let reset = frame.clone().flags(RST | ACK);
        let case = row(flavour, pool, "a reset").frame(&reset, sent(flavour, pool, &reset));
        rows.push(case);
    }
    rows
}

/// No backend that lives.
fn nowhere(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let frame = probe(flavour, pool, PORT).flags(SYN);
    let unnamed = probe(flavour, pool, PORT + 1).flags(SYN);
    let drops = |case: Case, frame: &Frame, reason| case.frame(frame, Expected::dropped(reason));
    let other = FIRST_PROBE_PORT - 1;
    let below = flavour
        .packet(
            SocketAddr::new(prober(flavour.version), other),
            flavour.service(pool),
        )
        .arrives(PROBE)
        .link(PROBER, PROBE.mac);
    vec![
        drops(
            row(flavour, pool, "of no backend"),
            &unnamed,
            DropReason::Inconsistent,
        ),
        drops(
            row(flavour, pool, "from no port of probes"),
            &below,
            DropReason::Inconsistent,
        ),
        drops(
            row(flavour, pool, "of a backend whose index is another's")
                .world(|world| world.name(PORT, PROBED, 1)),
            &frame,
            DropReason::NoNextHop,
        ),
        drops(
            row(flavour, pool, "of a backend that is not there")
                .world(|world| world.kill_backend(PROBED)),
            &frame,
            DropReason::NoNextHop,
        ),
        drops(
            row(flavour, pool, "no next hop")
                .world(|world| world.next_hops.retain(|n, _| *n != NEXT_HOP)),
            &frame,
            DropReason::NoNextHop,
        ),
    ]
}

/// What is asked of clients' packets, and not of these.
fn unheeded(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let frame = probe(flavour, pool, PORT).flags(SYN);
    let client = frame.clone().arrives(UPLINK).link(PROBER, UPLINK.mac);
    let first = match pool.is_tracked() || frame.asks() {
        true => sent(flavour, pool, &frame).opens(),
        false => sent(flavour, pool, &frame),
    };
    let from = (prober(flavour.version), flavour.version.bits());
    let denies = |world: &mut World| world.list(flavour, pool, from, Verdict::Deny);
    vec![
        row(flavour, pool, "from whom an access list keeps out")
            .world(denies)
            .frame(&client, Expected::dropped(DropReason::Denied))
            .frame(&frame, first),
    ]
}

/// What a backend answers itself.
fn answers(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let answer = flavour
        .packet(flavour.service(pool), end(flavour, PORT))
        .arrives(BACK)
        .link(BACKEND, BACK.mac);
    let to_prober = |frame: &Frame| {
        let output = frame.clone().hop().link(PROBE.mac, PROBER);
        Expected::sent(frame, &output, PROBE)
    };
    let aside = answer.clone().arrives(CLOSED);
    let last = answer.clone().hops(1);
    let large = answer.clone().sized(usize::from(MTU) + 1);
    vec![
        row(flavour, pool, "an answer").frame(&answer, to_prober(&answer)),
        row(flavour, pool, "an answer from where nothing is forwarded")
            .frame(&aside, to_prober(&aside)),
        row(flavour, pool, "an answer whose hops are used up")
            .frame(&last, Expected::dropped(DropReason::TtlExpired)),
        row(flavour, pool, "an answer that is too big")
            .frame(&large, Expected::dropped(DropReason::TooBig)),
        row(flavour, pool, "an answer, and no way to the prober")
            .world(|world| world.next_hops.retain(|n, _| *n != PROBE_HOP))
            .frame(&answer, Expected::dropped(DropReason::NoNextHop)),
        row(flavour, pool, "an answer where nobody probes")
            .world(|world| world.constants.probes = false)
            .frame(&answer, Expected::passed(PassReason::NoService)),
    ]
}

/// What a backend answers that has to be rewritten first.
fn translated(flavour: Flavour) -> Vec<Case> {
    let service = |pool| flavour.service(pool);
    let (one_sided, nat) = (Pool::OneSided, Pool::Nat);
    let back = |from: SocketAddr, to: SocketAddr| {
        let answer = flavour.packet(from, to);
        answer.arrives(BACK).link(BACKEND, BACK.mac)
    };
    let to_prober = |frame: &Frame, pool| {
        let ends = frame.clone().ends(service(pool), end(flavour, PORT));
        let output = ends.hop().link(PROBE.mac, PROBER);
        Expected::sent(frame, &output, PROBE).counted(flavour, pool, Direction::Out, frame)
    };
    let of_nat = back(flavour.backend(one_sided), end(flavour, PORT));
    let syn = probe(flavour, nat, PORT).flags(SYN);
    let of_full_nat = back(flavour.backend(nat), flavour.own());
    vec![
        // The port that answers says whose it is, before the mark says where it goes.
        row(flavour, one_sided, "an answer").frame(&of_nat, to_prober(&of_nat, one_sided)),
        row(flavour, nat, "an answer")
            .frame(&syn, sent(flavour, nat, &syn).opens())
            .frame(&of_full_nat, to_prober(&of_full_nat, nat).backend(PROBED)),
    ]
}

/// What else comes from the device.
fn not_ours(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::Ipip;
    let nobody = SocketAddr::new(flavour.version.inner(99), 80);
    let stray = flavour
        .packet(end(flavour, PORT), nobody)
        .arrives(PROBE)
        .link(PROBER, PROBE.mac);
    let flooded = probe(flavour, pool, PORT).link(PROBER, BACK.mac);
    vec![
        row(flavour, pool, "to no service").frame(&stray, Expected::passed(PassReason::NoService)),
        row(flavour, pool, "to another MAC address")
            .frame(&flooded, Expected::passed(PassReason::OtherMac)),
    ]
}

/// A port goes round: what is recorded of it is not the next probe's.
fn another(flavour: Flavour) -> Case {
    let pool = Pool::Nat;
    let syn = probe(flavour, pool, PORT).flags(SYN);
    let more = probe(flavour, pool, PORT);
    let usual = backend_index(flavour.version, pool);
    let again = opened(flavour, pool, &syn).backend(OTHER);
    row(flavour, pool, "a port that names another backend now")
        .frame(&syn, sent(flavour, pool, &syn).opens())
        .world(|world| {
            world.add_backend(OTHER, pool, flavour.version);
            world.name(PORT, OTHER, 0);
        })
        .frame(&syn, again)
        .frame(&more, forwarded(flavour, pool, &more).backend(OTHER))
        .world(|world| world.give_slots(flavour.version, pool, usual))
        .frame(&more, {
            let output = output(flavour, pool, &more).link(BACK.mac, BACKEND);
            Expected::sent(&more, &output, BACK)
                .counted(flavour, pool, Direction::In, &more)
                .backend(OTHER)
        })
}
