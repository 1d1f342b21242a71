//! `full-nat` between families where a reload made a pool begin to have such flows: what was recorded
//! before goes on as it began, over IPv4 alone.

use lb_common::{abi::Direction, datapath::DropReason};

use super::{
    case::{Case, Expected},
    crossing::{opened, other_client, reply, request},
    messages::{Kind, Message, quote},
    outputs,
    places::{BACK, BACKEND, Flavour, Pool, ROUTER, UPLINK, Version},
    world::{World, backend_index},
};

const POOL: Pool = Pool::Nat;

/// Index of a backend at the other family, for services that had one of their own.
const FAR: u32 = 90;

pub(super) fn rows() -> Vec<Case> {
    let over_ipv4 = [Flavour::TCP[0], Flavour::UDP[0]];
    let beside = Flavour::ALL.into_iter().flat_map(begun_before);
    beside
        .chain(over_ipv4.into_iter().flat_map(begun_before_over_ipv4))
        .collect()
}

/// A flow that was recorded before its pool's flows began to cross.
fn begun(flavour: Flavour, what: impl std::fmt::Display) -> Case {
    let there = request(flavour);
    Case::new(format!("across, begun before, {flavour}: {what}"))
        .frame(&there, outputs::opened(flavour, POOL, &there))
        .world(|world| world.begin_to_cross(POOL))
}

/// Gives the slots of a version's services to a backend at the other one.
fn lead_far(world: &mut World, version: Version) {
    let other = version.other();
    world.add_backend_with_sources(FAR, other.backend(POOL), (1 + other as u32, 1));
    world.give_slots(version, POOL, FAR);
}

/// What was recorded before goes on as it began, beside what crosses.
fn begun_before(flavour: Flavour) -> Vec<Case> {
    let (there, back) = (request(flavour), flavour.reply(POOL));
    let new = flavour.packet(other_client(flavour), flavour.service(POOL));
    let new_back = reply(flavour);
    let output = new_back
        .clone()
        .ends(flavour.service(POOL), other_client(flavour));
    let output = output.hop().anew().link(UPLINK.mac, ROUTER);
    let new_answered = Expected::sent(&new_back, &output, UPLINK)
        .counted(flavour, POOL, Direction::Out, &new_back)
        .backend(FAR);
    let to_other = flavour.other().request(POOL);
    vec![
        begun(flavour, "a conversation")
            .frame(&back, outputs::answered(flavour, POOL, &back))
            .frame(&there, outputs::forwarded(flavour, POOL, &there))
            .frame(&back, outputs::answered(flavour, POOL, &back)),
        begun(flavour, "a new flow goes elsewhere")
            .world(|world| lead_far(world, flavour.version))
            .frame(&new, opened(flavour, &new).backend(FAR))
            .frame(&there, outputs::forwarded(flavour, POOL, &there))
            .frame(&new_back, new_answered)
            .frame(&back, outputs::answered(flavour, POOL, &back)),
        begun(flavour, "its source port stays its own")
            .frame(&new, Expected::dropped(DropReason::NoSourcePort))
            .frame(&back, outputs::answered(flavour, POOL, &back)),
        begun(
            flavour,
            "its source port stays its own before the other family's clients",
        )
        .world(|world| {
            let (index, other) = (
                backend_index(flavour.version, POOL),
                flavour.version.other(),
            );
            world.give_slots(other, POOL, index);
        })
        .frame(&to_other, Expected::dropped(DropReason::NoSourcePort))
        .frame(&back, outputs::answered(flavour, POOL, &back)),
    ]
}

/// Packets of such flows are not bound by what goes across.
fn begun_before_over_ipv4(flavour: Flavour) -> Vec<Case> {
    let there = request(flavour);
    let odd = there.clone().ip_options(&[1, 1, 1, 0]);
    let cut = there.clone().says_ip_length(2000);
    let came = there.clone().hops(62).sized(200);
    let left = came.clone().ends(flavour.own(), flavour.backend(POOL));
    let quoted = Version::V4.header() + 20;
    let router = Version::V4.link(77, 7);
    let error = Message::new(
        Kind::PortUnreachable,
        [router, left.source().ip()],
        [0; 4],
        &quote(&left.bytes(), quoted),
    )
    .arrives(BACKEND, BACK);
    let told = error
        .clone()
        .ends(flavour.service(POOL).ip(), came.source().ip())
        .body(&quote(&came.bytes(), quoted))
        .hop()
        .link(UPLINK.mac, ROUTER);
    let relayed = Expected::relayed(BACK, told.bytes(), UPLINK).counted_as(
        flavour,
        POOL,
        Direction::Out,
        error.ip_length(),
    );
    vec![
        begun(flavour, "options").frame(&odd, outputs::forwarded(flavour, POOL, &odd)),
        begun(flavour, "malformed").frame(&cut, Expected::dropped(DropReason::BadIpLength)),
        begun(flavour, "an error").bytes(BACK, error.bytes(), relayed),
        begun(flavour, "its backend is gone")
            .world(|world| {
                lead_far(world, flavour.version);
                world.kill_backend(backend_index(flavour.version, POOL));
            })
            .frame(&there, opened(flavour, &there).backend(FAR)),
    ]
}
