//! UDP that is not QUIC: nothing opens a flow, and some services have none.

use lb_common::{abi::ServiceTraits, datapath::DropReason};

use super::{
    super::{case::Case, places::Flavour},
    story::{
        A, B, C, NOBODY,
        Sent::{Next, Open, Other},
        Story, mixed, moving, settled,
    },
};

pub(super) fn rows() -> Vec<Case> {
    let mut stories = Vec::new();
    for flavour in Flavour::UDP {
        stories.extend(one_packet(flavour));
        stories.extend(datagrams(flavour));
    }
    stories.into_iter().map(Story::row).collect()
}

/// Services of which every packet is a flow of its own.
fn one_packet(flavour: Flavour) -> Vec<Story> {
    let row = |what| {
        let traits = ServiceTraits::ONE_PACKET;
        Story::plain(flavour, format!("one packet, {what}")).traits(traits)
    };
    vec![
        row("always to current")
            .slot(settled(A))
            .gets(Other, A)
            .slot(moving(B, A))
            .gets(Other, B)
            .slot(mixed(C))
            .gets(Other, C)
            .slot(moving(A, C))
            .gets(Other, A),
        row("nothing is remembered")
            .slot(moving(B, A))
            .gets(Other, B)
            .slot(mixed(C))
            .traits(ServiceTraits::NONE)
            .gets(Other, C),
        row("no exception is looked up")
            .traits(ServiceTraits::NONE)
            .slot(moving(B, A))
            .gets(Other, A)
            .traits(ServiceTraits::ONE_PACKET)
            .gets(Other, B)
            .slot(mixed(C))
            .gets(Other, C),
        row("nobody")
            .slot(moving(NOBODY, A))
            .loses(Other, DropReason::NoBackend),
    ]
}

/// Where UDP is not QUIC, nothing opens a flow.
fn datagrams(flavour: Flavour) -> Vec<Story> {
    let row = |what| Story::plain(flavour, format!("datagrams, {what}"));
    vec![
        row("what looks like an Initial opens nothing")
            .slot(moving(B, A))
            .gets(Open, A)
            .slot(mixed(B))
            .gets(Other, A)
            .gets(Next, A),
        row("everything goes on, and is committed to")
            .slot(moving(B, A))
            .gets(Other, A)
            .slot(mixed(B))
            .gets(Open, A)
            .dies(A)
            .gets(Open, B)
            .slot(mixed(C))
            .gets(Other, B),
    ]
}
