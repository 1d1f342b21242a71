//! While tables take the place of others: a flow without an exception may have one there, so the program of those is
//! asked, and nothing is recorded here. In rows there is none to be asked.

use lb_common::{abi::Recorded::Open as Opening, datapath::DropReason};

use super::{
    super::{case::Case, places::Flavour},
    story::{
        A, B,
        Sent::{Next, Open, Other},
        Story, mixed, moving, settled,
    },
};

pub(super) fn rows() -> Vec<Case> {
    let stories = Flavour::ALL.into_iter().flat_map(asked);
    stories.map(Story::row).collect()
}

fn asked(flavour: Flavour) -> Vec<Story> {
    let row = |what| {
        Story::new(flavour, format!("beside older tables, {what}"))
            .world(|world| world.constants.asks_older = true)
    };
    let asks = DropReason::UnknownFlow;
    vec![
        row("what is settled is asked of nobody")
            .slot(settled(B))
            .gets(Open, B)
            .gets(Other, B),
        row("moving: what goes on is asked there, and what opens stays with the one before")
            .slot(moving(B, A))
            .loses(Other, asks)
            .unrecorded(Open, A, Opening)
            .loses(Next, asks),
        row("mixed: what goes on is asked there")
            .slot(mixed(B))
            .loses(Other, asks)
            .gets(Open, B)
            .loses(Next, asks),
    ]
}
