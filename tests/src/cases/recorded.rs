//! Services whose flows are recorded though their mode does not need it, or for what only records
//! know: schedulers, caps, affinity, and what becomes of the flows of a backend that is gone. (Flows
//! that are rewritten: `flows`, `full_nat`.) Most rows use `dsr`, where backends look the same from
//! outside: what tells them apart is for whom a packet is counted.

use std::net::SocketAddr;

use lb_common::{
    abi::{Direction, Fate, Load, Scheduler, ServiceTraits, Slot},
    datapath::{DropReason, PassReason},
};

use super::{
    case::{Case, Ends, Expected},
    fragments::pieces,
    frame::{ACK, FIN, Frame, RST, SYN},
    messages::{Kind, Message, quote},
    outputs::{forwarded, opened},
    places::{BACK, BACKEND, Flavour, Pool, UPLINK, Way},
    world::{NEXT_HOP, World, backend_index, table},
};

const POOL: Pool = Pool::Dsr;

/// A second backend of the pool.
const OTHER: u32 = 200;

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        for pool in [Pool::Ipip, Pool::Dsr, Pool::Gue, Pool::IpipAcross] {
            rows.push(recorded(flavour, pool, ServiceTraits::STEERED));
            rows.push(pieced(flavour, pool, ServiceTraits::STEERED));
        }
        rows.push(recorded(flavour, Pool::OneSided, ServiceTraits::NONE));
        rows.extend(removed(flavour, POOL, ServiceTraits::STEERED));
        rows.extend(removed(flavour, Pool::OneSided, ServiceTraits::NONE));
        rows.extend(removed(flavour, Pool::Nat, ServiceTraits::NONE));
        rows.push(pieced(flavour, Pool::OneSided, ServiceTraits::NONE));
        rows.extend(fragmented(flavour));
        rows.extend(errors(flavour));
        rows.extend(kept(flavour));
        rows.extend(gone(flavour));
        rows.extend(scheduled(flavour));
        rows.extend(capped(flavour));
        rows.extend(affine(flavour));
    }
    for flavour in Flavour::TCP {
        rows.extend(tcp(flavour));
        rows.extend(numbers(flavour));
    }
    rows
}

fn recorded(flavour: Flavour, pool: Pool, traits: ServiceTraits) -> Case {
    let frame = flavour.request(pool);
    let traits = ServiceTraits::TRACKED.and(traits);
    Case::new(format!("{pool} {flavour}, recorded: a flow opens once"))
        .world(|world| world.set_traits(flavour, pool, traits))
        .frame(&frame, opened(flavour, pool, &frame))
        .frame(&frame, forwarded(flavour, pool, &frame))
        .frame(&frame, forwarded(flavour, pool, &frame))
}

/// Later fragments follow the first one, and record nothing.
fn pieced(flavour: Flavour, pool: Pool, traits: ServiceTraits) -> Case {
    let [first, middle, last] = pieces(&flavour.request(pool), 7);
    let flow = Ends::request(flavour, pool, flavour.client(Way::Router));
    let traits = ServiceTraits::TRACKED.and(traits);
    Case::new(format!("{pool} {flavour}, recorded: fragments"))
        .world(|world| world.set_traits(flavour, pool, traits))
        .frame(&first, opened(flavour, pool, &first))
        .frame(&middle, forwarded(flavour, pool, &middle))
        .frame(&last, forwarded(flavour, pool, &last))
        .evict(flow)
        .frame(&middle, Expected::dropped(DropReason::FlowEvicted))
        .frame(&first, opened(flavour, pool, &first))
        .frame(&middle, forwarded(flavour, pool, &middle))
}

/// The service is in the configuration no more: its flows go on or are reset, and no others begin.
fn removed(flavour: Flavour, pool: Pool, traits: ServiceTraits) -> Vec<Case> {
    let (a, b) = (flavour.request(pool), another_of(flavour, pool));
    let index = backend_index(flavour.version, pool);
    let traits = ServiceTraits::TRACKED.and(traits);
    let row = |what: &str, more: ServiceTraits| {
        Case::new(format!("{pool} {flavour}, recorded: {what}"))
            .world(move |world| world.set_traits(flavour, pool, traits))
            .frame(&a, opened(flavour, pool, &a))
            .world(move |world| world.set_traits(flavour, pool, traits.and(more)))
    };
    let nobodys = || Expected::passed(PassReason::NoService);
    vec![
        row("the service is removed", ServiceTraits::REMOVED)
            .frame(&a, forwarded(flavour, pool, &a))
            .frame(&b, nobodys())
            .frame(&a, forwarded(flavour, pool, &a))
            .world(move |world| world.kill_backend(index))
            .frame(&a, nobodys()),
        row(
            "the service is removed, its flows reset",
            ServiceTraits::ENDED,
        )
        .frame(&a, Expected::dropped(DropReason::BackendGone))
        .frame(&b, nobodys())
        .frame(&a, Expected::dropped(DropReason::BackendGone)),
    ]
}

/// A row whose pool has a second backend, which takes no new flows at first.
fn row(flavour: Flavour, what: &str, scheduler: Scheduler, traits: ServiceTraits) -> Case {
    let traits = ServiceTraits::TRACKED
        .and(ServiceTraits::STEERED)
        .and(traits);
    Case::new(format!("{POOL} {flavour}, recorded: {what}")).world(|world| {
        world.record_flows(flavour, POOL, traits, scheduler);
        world.add_backend_at(OTHER, POOL, flavour.version.inner(200), NEXT_HOP);
    })
}

fn plain(flavour: Flavour, what: &str) -> Case {
    row(flavour, what, Scheduler::Hash, ServiceTraits::NONE)
}

/// A packet of another client.
fn another(flavour: Flavour) -> Frame {
    another_of(flavour, POOL)
}

fn another_of(flavour: Flavour, pool: Pool) -> Frame {
    let client = SocketAddr::new(flavour.version.client_number(Way::Router, 8), 50_008);
    flavour.packet(client, flavour.service(pool))
}

/// A packet of the usual client, from its next port.
fn again(flavour: Flavour) -> Frame {
    let mut client = flavour.client(Way::Router);
    client.set_port(client.port() + 1);
    flavour.packet(client, flavour.service(POOL))
}

fn first(flavour: Flavour) -> u32 {
    backend_index(flavour.version, POOL)
}

/// The frame opens a flow to a backend.
fn opens(flavour: Flavour, frame: &Frame, backend: u32) -> Expected {
    opened(flavour, POOL, frame).backend(backend)
}

/// The frame is of a flow that a backend has.
fn goes_on(flavour: Flavour, frame: &Frame, backend: u32) -> Expected {
    forwarded(flavour, POOL, frame).backend(backend)
}

fn give(world: &mut World, flavour: Flavour, backends: &[u32]) {
    let slots = backends.iter().map(|&index| Slot::settled(index));
    let slots = slots.collect();
    world.slots.insert(table(flavour.version, POOL), slots);
}

/// A flow stays where it is, whatever its slot says.
fn kept(flavour: Flavour) -> Vec<Case> {
    let (a, b) = (flavour.request(POOL), another(flavour));
    vec![
        plain(flavour, "a change of slots moves new flows alone")
            .frame(&a, opens(flavour, &a, first(flavour)))
            .world(|world| give(world, flavour, &[OTHER]))
            .frame(&a, goes_on(flavour, &a, first(flavour)))
            .frame(&b, opens(flavour, &b, OTHER))
            .world(|world| give(world, flavour, &[first(flavour)]))
            .frame(&b, goes_on(flavour, &b, OTHER)),
    ]
}

/// The flow's backend is gone.
fn gone(flavour: Flavour) -> Vec<Case> {
    let a = flavour.request(POOL);
    let dies = |world: &mut World| {
        world.kill_backend(first(flavour));
        give(world, flavour, &[OTHER]);
    };
    let ends = move |world: &mut World, fate| {
        world.end_backend(first(flavour), fate);
        give(world, flavour, &[OTHER]);
    };
    let resets = ServiceTraits::RESETS;
    vec![
        plain(
            flavour,
            "the flow of a backend that is gone opens elsewhere",
        )
        .frame(&a, opens(flavour, &a, first(flavour)))
        .world(dies)
        .frame(&a, opens(flavour, &a, OTHER))
        .frame(&a, goes_on(flavour, &a, OTHER)),
        row(
            flavour,
            "the flow of a backend that is gone is reset",
            Scheduler::Hash,
            resets,
        )
        .frame(&a, opens(flavour, &a, first(flavour)))
        .world(dies)
        .frame(&a, Expected::dropped(DropReason::BackendGone)),
        plain(flavour, "the flow of a backend whose flows are reset")
            .frame(&a, opens(flavour, &a, first(flavour)))
            .world(move |world| ends(world, Fate::Reset))
            .frame(&a, Expected::dropped(DropReason::BackendGone)),
        row(
            flavour,
            "the flow of a backend whose flows are dropped, whatever its service says",
            Scheduler::Hash,
            resets,
        )
        .frame(&a, opens(flavour, &a, first(flavour)))
        .world(move |world| ends(world, Fate::Drop))
        .frame(&a, Expected::dropped(DropReason::BackendGone))
        .world(move |world| ends(world, Fate::Service)),
        plain(flavour, "no slot has a backend that lives")
            .world(|world| world.kill_backend(first(flavour)))
            .frame(&a, Expected::dropped(DropReason::NoBackend)),
        plain(
            flavour,
            "the backend of another slot takes the flow of a dead one",
        )
        .world(|world| {
            world.kill_backend(first(flavour));
            let slots = [first(flavour), OTHER, OTHER, OTHER, OTHER];
            give(world, flavour, &slots);
        })
        .frame(&a, opens(flavour, &a, OTHER)),
    ]
}

/// Later fragments go where their flow goes, which they do not change.
fn fragmented(flavour: Flavour) -> Vec<Case> {
    let [a, its_middle, its_last] = pieces(&flavour.request(POOL), 7);
    let home = first(flavour);
    vec![
        plain(flavour, "fragments stay where their flow is")
            .frame(&a, opens(flavour, &a, home))
            .world(|world| give(world, flavour, &[OTHER]))
            .frame(&its_middle, goes_on(flavour, &its_middle, home))
            .frame(&its_last, goes_on(flavour, &its_last, home)),
        plain(flavour, "a later fragment whose backend is gone")
            .frame(&a, opens(flavour, &a, home))
            .world(|world| {
                world.kill_backend(home);
                give(world, flavour, &[OTHER]);
            })
            .frame(&its_middle, Expected::dropped(DropReason::FlowEvicted))
            .frame(&a, opens(flavour, &a, OTHER))
            .frame(&its_middle, goes_on(flavour, &its_middle, OTHER)),
    ]
}

/// An ICMP error goes where the flow goes that it quotes, and records nothing.
fn errors(flavour: Flavour) -> Vec<Case> {
    let (version, home) = (flavour.version, first(flavour));
    let request = flavour.request(POOL);
    let answer = flavour
        .packet(flavour.service(POOL), flavour.client(Way::Router))
        .acknowledgement(NEXT)
        .sized(200);
    let ends = [version.link(77, 7), flavour.service(POOL).ip()];
    let body = quote(&answer.bytes(), version.header() + 20);
    let error = Message::new(Kind::TooBig, ends, [0, 0, 0x05, 0x78], &body);
    let output = error.clone().hop().link(BACK.mac, BACKEND);
    let there = Expected::relayed(UPLINK, output.bytes(), BACK)
        .counted_as(flavour, POOL, Direction::In, error.ip_length())
        .backend(home);
    vec![
        plain(flavour, "an error follows its flow")
            .frame(&request, opens(flavour, &request, home))
            .world(|world| give(world, flavour, &[OTHER]))
            .bytes(UPLINK, error.bytes(), there),
        plain(flavour, "an error about no flow")
            .bytes(UPLINK, error.bytes(), Expected::passed(PassReason::Icmp))
            .frame(&request, opens(flavour, &request, home)),
    ]
}

/// What the usual client's next segment has.
const NEXT: u32 = 0x0102_0304 + 4;

/// Errors that quote a segment with what it acknowledges: near the client's numbers, or a guess.
fn numbers(flavour: Flavour) -> Vec<Case> {
    let (version, home) = (flavour.version, first(flavour));
    let request = flavour.request(POOL);
    let answer = flavour
        .packet(flavour.service(POOL), flavour.client(Way::Router))
        .sized(200);
    let ends = [version.link(77, 7), flavour.service(POOL).ip()];
    let seen = 0x0102_0304_u32;
    let row = |what: &str, answer: Frame, quoted: usize, there: bool| {
        let body = quote(&answer.bytes(), version.header() + quoted);
        let error = Message::new(Kind::TooBig, ends, [0, 0, 0x05, 0x78], &body);
        let output = error.clone().hop().link(BACK.mac, BACKEND);
        let expected = if there {
            Expected::relayed(UPLINK, output.bytes(), BACK)
                .counted_as(flavour, POOL, Direction::In, error.ip_length())
                .backend(home)
        } else {
            Expected::dropped(DropReason::ErrorNumbers)
        };
        plain(flavour, &format!("an error that acknowledges {what}"))
            .frame(&request, opens(flavour, &request, home))
            .bytes(UPLINK, error.bytes(), expected)
    };
    let at = |number: u32| answer.clone().acknowledgement(number);
    vec![
        row("the last that counts", at(seen + 0xf_ffff), 20, true),
        row("the first that counts", at(seen - 0xf_ffff), 20, true),
        row("more than was sent", at(seen + 0x10_0000), 20, false),
        row("what was long ago", at(seen - 0x10_0000), 20, false),
        row("a guess", at(seen ^ 0x8000_0000), 20, false),
        row("what is not quoted", at(seen ^ 0x8000_0000), 19, true),
        row("nothing", at(seen ^ 0x8000_0000).flags(RST), 20, true),
    ]
}

fn scheduled(flavour: Flavour) -> Vec<Case> {
    let (a, b, c) = (flavour.request(POOL), another(flavour), again(flavour));
    let none = ServiceTraits::NONE;
    let both = |world: &mut World| give(world, flavour, &[first(flavour), OTHER]);
    let weighs = |world: &mut World, index, weight| {
        let max_flows = 0;
        world.loads.insert(index, Load { weight, max_flows });
    };
    vec![
        row(flavour, "in turn", Scheduler::RoundRobin, none)
            .world(both)
            .frame(&a, opens(flavour, &a, first(flavour)))
            .frame(&b, opens(flavour, &b, OTHER))
            .frame(&a, goes_on(flavour, &a, first(flavour)))
            .frame(&c, opens(flavour, &c, first(flavour))),
        row(flavour, "in turn, one dead", Scheduler::RoundRobin, none)
            .world(both)
            .world(|world| world.kill_backend(first(flavour)))
            .frame(&a, opens(flavour, &a, OTHER))
            .frame(&b, opens(flavour, &b, OTHER)),
        row(
            flavour,
            "the less loaded",
            Scheduler::LeastConnections,
            none,
        )
        .world(both)
        .world(|world| weighs(world, OTHER, 3))
        .frame(&a, opens(flavour, &a, OTHER))
        .frame(&b, opens(flavour, &b, OTHER))
        .world(|world| weighs(world, OTHER, 1))
        .frame(&c, opens(flavour, &c, first(flavour))),
        row(
            flavour,
            "the less loaded where there is one",
            Scheduler::LeastConnections,
            none,
        )
        .frame(&a, opens(flavour, &a, first(flavour)))
        .frame(&b, opens(flavour, &b, first(flavour))),
    ]
}

fn capped(flavour: Flavour) -> Vec<Case> {
    let (a, b) = (flavour.request(POOL), another(flavour));
    let one = |world: &mut World, index| {
        let load = Load {
            weight: 1,
            max_flows: 1,
        };
        world.loads.insert(index, load);
    };
    let none = ServiceTraits::NONE;
    vec![
        plain(flavour, "no more flows than the cap")
            .world(|world| one(world, first(flavour)))
            .frame(&a, opens(flavour, &a, first(flavour)))
            .frame(&a, goes_on(flavour, &a, first(flavour)))
            .frame(&b, Expected::dropped(DropReason::MaxFlows)),
        row(
            flavour,
            "a capped backend is passed over",
            Scheduler::RoundRobin,
            none,
        )
        .world(|world| {
            give(world, flavour, &[first(flavour), first(flavour), OTHER]);
            one(world, first(flavour));
        })
        .frame(&a, opens(flavour, &a, first(flavour)))
        .frame(&b, opens(flavour, &b, OTHER)),
    ]
}

fn affine(flavour: Flavour) -> Vec<Case> {
    const SECONDS: u32 = 100;
    let (a, b, c) = (flavour.request(POOL), another(flavour), again(flavour));
    let start = |what| {
        row(flavour, what, Scheduler::Hash, ServiceTraits::AFFINITY)
            .world(|world| world.set_affinity(flavour, POOL, SECONDS))
            .frame(&a, opens(flavour, &a, first(flavour)))
            .world(|world| give(world, flavour, &[OTHER]))
    };
    vec![
        start("a client keeps its backend, another does not")
            .frame(&c, opens(flavour, &c, first(flavour)))
            .frame(&b, opens(flavour, &b, OTHER)),
        start("a client keeps its backend for a while")
            .advance(SECONDS - 1)
            .frame(&c, opens(flavour, &c, first(flavour))),
        start("a client comes back too late")
            .advance(SECONDS)
            .frame(&c, opens(flavour, &c, OTHER)),
        start("a client's backend is gone")
            .world(|world| world.kill_backend(first(flavour)))
            .frame(&c, opens(flavour, &c, OTHER)),
        start("a client's backend is drained")
            .world(|world| {
                world.loads.insert(first(flavour), Load::default());
            })
            .frame(&c, opens(flavour, &c, OTHER)),
    ]
}

fn tcp(flavour: Flavour) -> Vec<Case> {
    let ack = flavour.request(POOL);
    let with = |flags| ack.clone().flags(flags);
    let (syn, fin, rst) = (with(SYN), with(FIN | ACK), with(RST));
    let home = first(flavour);
    let cap = |world: &mut World| {
        let load = Load {
            weight: 1,
            max_flows: 1,
        };
        world.loads.insert(home, load);
    };
    let b = another(flavour);
    let there = ack.clone().sequence(0x7000_0000);
    let [piece, its_middle, _] = pieces(&there, 7);
    let end = there.flags(FIN | ACK);
    let mut rows = vec![
        plain(flavour, "a RST of no flow")
            .frame(&rst, Expected::dropped(DropReason::ResetWithoutFlow)),
        plain(flavour, "a SYN opens a closing flow once more")
            .frame(&syn, opens(flavour, &syn, home))
            .frame(&fin, goes_on(flavour, &fin, home))
            .frame(&syn, opens(flavour, &syn, home))
            .frame(&syn, goes_on(flavour, &syn, home)),
        // A later fragment has no sequence number for FIN to be far from.
        plain(flavour, "FIN ends a flow behind fragments")
            .world(cap)
            .frame(&piece, opens(flavour, &piece, home))
            .frame(&its_middle, goes_on(flavour, &its_middle, home))
            .frame(&end, goes_on(flavour, &end, home))
            .frame(&b, opens(flavour, &b, home)),
    ];
    for (name, end) in [("FIN", &fin), ("RST", &rst)] {
        rows.push(
            plain(flavour, &format!("{name} makes room below a cap"))
                .world(cap)
                .frame(&syn, opens(flavour, &syn, home))
                .frame(end, goes_on(flavour, end, home))
                .frame(&b, opens(flavour, &b, home)),
        );
        let afar = end.clone().sequence(0x7000_0000);
        rows.push(
            plain(flavour, &format!("{name} from afar ends nothing"))
                .world(cap)
                .frame(&syn, opens(flavour, &syn, home))
                .frame(&afar, goes_on(flavour, &afar, home))
                .frame(&b, Expected::dropped(DropReason::MaxFlows)),
        );
    }
    rows
}
