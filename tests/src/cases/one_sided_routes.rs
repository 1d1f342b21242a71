//! The way back to a client in `nat` mode, where nothing is remembered: each reply asks the kernel.

use lb_common::{abi::Direction, datapath::DropReason};

use super::{
    case::{Case, Expected},
    frame::Frame,
    outputs::{answer, answered},
    places::{BACK, CLOSED, Flavour, Interface, Mac, Pool, ROUTER, SIDE, SIDE_ROUTER, UPLINK, Way},
};

const POOL: Pool = Pool::OneSided;

pub(super) fn rows() -> Vec<Case> {
    let each = Flavour::ALL.into_iter();
    each.flat_map(|flavour| [answers(flavour), silent(flavour), changes(flavour)].concat())
        .collect()
}

fn row(flavour: Flavour, what: &str) -> Case {
    Case::new(format!("{POOL} {flavour}: {what}"))
}

/// A reply to a client that is routed to in this way.
fn reply(flavour: Flavour, way: Way) -> Frame {
    flavour
        .reply(POOL)
        .ends(flavour.backend(POOL), flavour.client(way))
}

/// It leaves for the client through `interface`, to this router.
fn leaves(flavour: Flavour, way: Way, input: &Frame, interface: Interface, to: Mac) -> Expected {
    let output = answer(flavour, POOL, way, input).link(interface.mac, to);
    Expected::sent(input, &output, interface).counted(flavour, POOL, Direction::Out, input)
}

/// Each answer that the kernel can give.
fn answers(flavour: Flavour) -> Vec<Case> {
    let drops = |what, way, reason| {
        row(flavour, what).frame(&reply(flavour, way), Expected::dropped(reason))
    };
    let closed = reply(flavour, Way::Router).arrives(CLOSED);
    let aside = reply(flavour, Way::Aside);
    let from_side = aside.clone().arrives(SIDE);
    let narrow = |length| reply(flavour, Way::Narrow).sized(length);
    let fits = leaves(flavour, Way::Narrow, &narrow(1400), UPLINK, ROUTER);
    let sent_aside = |input: &Frame| leaves(flavour, Way::Aside, input, SIDE, SIDE_ROUTER);
    vec![
        row(flavour, "the way back is another").frame(&aside, sent_aside(&aside)),
        row(flavour, "the way back is where it came from")
            .frame(&from_side, sent_aside(&from_side)),
        drops("no route back", Way::Nowhere, DropReason::NoRoute),
        drops(
            "an unreachable client",
            Way::Unreachable,
            DropReason::NoRoute,
        ),
        drops(
            "a way back through a foreign interface",
            Way::Foreign,
            DropReason::NoDevice,
        ),
        row(flavour, "a reply from where nothing is forwarded")
            .frame(&closed, Expected::dropped(DropReason::ForwardingDisabled)),
        row(flavour, "a way back that is no target of a redirect")
            .world(|world| world.forbid_redirect(SIDE))
            .frame(&aside, Expected::dropped(DropReason::NoDevice)),
        row(flavour, "a way back that is not in the table of senders")
            .world(|world| world.forget_sender(SIDE))
            .frame(&aside, Expected::dropped(DropReason::NoDevice)),
        row(flavour, "a reply as big as its route takes").frame(&narrow(1400), fits),
        row(flavour, "a reply one byte too big for its route")
            .frame(&narrow(1401), Expected::dropped(DropReason::TooBig)),
    ]
}

/// A gateway that is not resolved: nothing is known of the way that the client's packets come.
fn silent(flavour: Flavour) -> Vec<Case> {
    let gateway = |interface: Interface| flavour.version.link(interface.ifindex as u8, 99);
    let asks = |interface| {
        Expected::dropped(DropReason::NoNeighbour).asks_for(interface, gateway(interface))
    };
    let (uplink, side) = (
        reply(flavour, Way::Silent),
        reply(flavour, Way::SilentAside),
    );
    let large = uplink.clone().sized(1501);
    let resolved = [0x02, 0, 0, 0, 1, 0x99];
    vec![
        row(flavour, "no neighbour").frame(&uplink, asks(UPLINK)),
        row(flavour, "no neighbour on another interface").frame(&side, asks(SIDE)),
        row(flavour, "no neighbour, and too big")
            .frame(&large, Expected::dropped(DropReason::TooBig)),
        row(flavour, "a neighbour that is resolved at last")
            .frame(&uplink, asks(UPLINK))
            .world(|world| {
                let key = (UPLINK.ifindex, gateway(UPLINK));
                world.neighbours.insert(key, resolved);
            })
            .frame(
                &uplink,
                leaves(flavour, Way::Silent, &uplink, UPLINK, resolved),
            ),
    ]
}

/// No answer is kept.
fn changes(flavour: Flavour) -> Vec<Case> {
    let back = reply(flavour, Way::Router);
    let moved = [0x02, 0, 0, 0, 1, 0x55];
    let here = back.clone().arrives(BACK);
    let start = |what| row(flavour, what).frame(&here, answered(flavour, POOL, &here));
    vec![
        start("a router that becomes another")
            .world(|world| {
                let gateway = flavour.version.link(UPLINK.ifindex as u8, 1);
                world.neighbours.insert((UPLINK.ifindex, gateway), moved);
            })
            .frame(&back, leaves(flavour, Way::Router, &back, UPLINK, moved)),
        start("a route that goes")
            .world(|world| world.routes.clear())
            .frame(&back, Expected::dropped(DropReason::NoRoute)),
    ]
}
