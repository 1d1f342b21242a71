//! The way back to a client: what the kernel's routes say, and for how long that is believed.

use lb_common::{abi::Direction, datapath::DropReason};

use super::{
    case::{Case, Expected},
    frame::Frame,
    outputs::{answer, answered, opened},
    places::{
        BACK, BACKEND, CLOSED, Flavour, Interface, Mac, Pool, ROUTER, SIDE, SIDE_ROUTER, UPLINK,
        Version, Way,
    },
    world::Route,
};

const POOL: Pool = Pool::Nat;

/// Bytes that any link takes: what a way that was never looked up is trusted with.
const MIN_MTU: usize = 1280;

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        rows.extend(answers(flavour));
        rows.extend(silent(flavour));
        rows.extend(cached(flavour));
        rows.extend(narrow(flavour));
    }
    rows
}

/// A row in which a client that is routed in this way has opened a flow, through `interface`.
fn flow(flavour: Flavour, way: Way, interface: Interface, what: &str) -> Case {
    let request = flavour
        .packet(flavour.client(way), flavour.service(POOL))
        .arrives(interface);
    Case::new(format!("{POOL} {flavour}: {what}")).frame(&request, opened(flavour, POOL, &request))
}

/// The reply leaves for the client through `interface`, to this router.
fn leaves(flavour: Flavour, way: Way, input: &Frame, interface: Interface, to: Mac) -> Expected {
    let output = answer(flavour, POOL, way, input).link(interface.mac, to);
    Expected::sent(input, &output, interface).counted(flavour, POOL, Direction::Out, input)
}

/// Each answer that the kernel can give.
fn answers(flavour: Flavour) -> Vec<Case> {
    let reply = flavour.reply(POOL);
    let closed = reply.clone().arrives(CLOSED);
    let drops = |reason| Expected::dropped(reason);
    let aside = leaves(flavour, Way::Aside, &reply, SIDE, SIDE_ROUTER);
    vec![
        flow(flavour, Way::Aside, UPLINK, "the way back is another").frame(&reply, aside),
        flow(flavour, Way::Nowhere, UPLINK, "no route back")
            .frame(&reply, drops(DropReason::NoRoute))
            .frame(&reply, drops(DropReason::NoRoute)),
        flow(flavour, Way::Unreachable, UPLINK, "an unreachable client")
            .frame(&reply, drops(DropReason::NoRoute)),
        flow(
            flavour,
            Way::Foreign,
            UPLINK,
            "a way back through a foreign interface",
        )
        .frame(&reply, drops(DropReason::NoDevice)),
        flow(
            flavour,
            Way::Router,
            UPLINK,
            "a reply from where nothing is forwarded",
        )
        .frame(&closed, drops(DropReason::ForwardingDisabled))
        .frame(&reply, answered(flavour, POOL, &reply))
        .frame(&closed, answered(flavour, POOL, &closed)),
        flow(
            flavour,
            Way::Aside,
            UPLINK,
            "a way back that is no target of a redirect",
        )
        .world(|world| world.forbid_redirect(SIDE))
        .frame(&reply, drops(DropReason::NoDevice)),
        flow(
            flavour,
            Way::Nowhere,
            UPLINK,
            "a route back that comes late",
        )
        .frame(&reply, drops(DropReason::NoRoute))
        .world(|world| {
            let to = flavour.version.client(Way::Nowhere);
            world
                .routes
                .insert((to, host(flavour.version)), router(flavour.version));
        })
        .frame(
            &reply,
            leaves(flavour, Way::Nowhere, &reply, UPLINK, ROUTER),
        ),
    ]
}

/// A gateway that is not resolved.
fn silent(flavour: Flavour) -> Vec<Case> {
    let reply = flavour.reply(POOL);
    let gateway = |interface: Interface| flavour.version.link(interface.ifindex as u8, 99);
    let back = |input: &Frame| leaves(flavour, Way::Silent, input, UPLINK, ROUTER);
    let none = |interface| {
        Expected::dropped(DropReason::NoNeighbour).asks_for(interface, gateway(interface))
    };
    let asked = |input: &Frame| back(input).asks_for(UPLINK, gateway(UPLINK));
    let small = reply.clone().sized(MIN_MTU);
    let large = reply.clone().sized(MIN_MTU + 1);
    let silent = |what| flow(flavour, Way::Silent, UPLINK, what);
    let resolved = [0x02, 0, 0, 0, 1, 0x99];
    let grouped = flavour
        .packet(flavour.client(Way::Silent), flavour.service(POOL))
        .arrives(UPLINK)
        .link([0x03, 0, 0, 0, 0, 7], UPLINK.mac);
    vec![
        silent("no neighbour: back the way that the client's packet came")
            .frame(&reply, asked(&reply)),
        silent("no neighbour: asked for once a second")
            .frame(&reply, asked(&reply))
            .frame(&reply, back(&reply))
            .advance(1)
            .frame(&reply, asked(&reply)),
        silent("no neighbour: what any link takes").frame(&small, asked(&small)),
        silent("no neighbour: a larger packet is asked for anew, then known")
            .frame(&small, asked(&small))
            .frame(&large, asked(&large))
            .frame(&large, back(&large)),
        Case::new(format!(
            "{POOL} {flavour}: no neighbour: no way back to a group of stations"
        ))
        .frame(&grouped, opened(flavour, POOL, &grouped))
        .frame(&reply, none(UPLINK)),
        silent("a neighbour that is resolved at last")
            .frame(&reply, asked(&reply))
            .world(|world| {
                world
                    .neighbours
                    .insert((UPLINK.ifindex, gateway(UPLINK)), resolved);
            })
            .frame(&reply, back(&reply))
            .advance(1)
            .frame(
                &reply,
                leaves(flavour, Way::Silent, &reply, UPLINK, resolved),
            ),
        flow(
            flavour,
            Way::SilentAside,
            UPLINK,
            "no neighbour on another interface",
        )
        .frame(&reply, none(SIDE))
        .frame(&reply, none(SIDE)),
        flow(
            flavour,
            Way::SilentAside,
            SIDE,
            "no neighbour on the interface of arrival",
        )
        .frame(
            &reply,
            leaves(flavour, Way::SilentAside, &reply, SIDE, ROUTER).asks_for(SIDE, gateway(SIDE)),
        ),
    ]
}

/// An answer is good for a second.
fn cached(flavour: Flavour) -> Vec<Case> {
    let reply = flavour.reply(POOL);
    let moved = [0x02, 0, 0, 0, 1, 0x55];
    let move_router = |world: &mut super::world::World| {
        let gateway = flavour.version.link(UPLINK.ifindex as u8, 1);
        world.neighbours.insert((UPLINK.ifindex, gateway), moved);
    };
    let start = |what| {
        flow(flavour, Way::Router, UPLINK, what).frame(&reply, answered(flavour, POOL, &reply))
    };
    let later = |input: &Frame| leaves(flavour, Way::Router, input, UPLINK, moved);
    vec![
        start("an answer is believed for less than a second")
            .world(move_router)
            .frame(&reply, answered(flavour, POOL, &reply)),
        start("an answer is not believed for a second")
            .world(move_router)
            .advance(1)
            .frame(&reply, later(&reply))
            .frame(&reply, later(&reply)),
        start("a route that goes")
            .world(|world| world.routes.clear())
            .frame(&reply, answered(flavour, POOL, &reply))
            .advance(1)
            .frame(&reply, Expected::dropped(DropReason::NoRoute)),
        start("a client that asks again does not change it")
            .frame(
                &flavour.request(POOL).link(BACKEND, UPLINK.mac),
                super::outputs::forwarded(flavour, POOL, &flavour.request(POOL)),
            )
            .frame(&reply, answered(flavour, POOL, &reply)),
    ]
}

/// A route has an MTU of its own.
fn narrow(flavour: Flavour) -> Vec<Case> {
    let reply = flavour.reply(POOL);
    let (fits, more) = (reply.clone().sized(1400), reply.clone().sized(1401));
    let start = |what| flow(flavour, Way::Narrow, UPLINK, what);
    let back = |input: &Frame| leaves(flavour, Way::Narrow, input, UPLINK, ROUTER);
    vec![
        start("a reply as big as its route takes").frame(&fits, back(&fits)),
        start("a reply one byte too big for its route")
            .frame(&more, Expected::dropped(DropReason::TooBig)),
        start("a reply one byte too big for its cached route")
            .frame(&reply, back(&reply))
            .frame(&fits, back(&fits))
            .frame(&more, Expected::dropped(DropReason::TooBig)),
        start("a reply from the backends' own interface").frame(
            &reply.clone().arrives(BACK),
            back(&reply.clone().arrives(BACK)),
        ),
    ]
}

fn host(version: Version) -> u8 {
    match version {
        Version::V4 => 32,
        Version::V6 => 128,
    }
}

fn router(version: Version) -> Route {
    Route::Via {
        gateway: version.link(UPLINK.ifindex as u8, 1),
        ifindex: UPLINK.ifindex,
        mtu: None,
    }
}
