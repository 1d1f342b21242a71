//! A table that takes the place of another one, by another seed, of another size, or by another
//! part of the packet. Which slot is whose is worked out anew (see `hashes`).

use std::net::SocketAddr;

use lb_common::abi::{Slot, TableId, TableSize};

use super::{
    super::{
        case::Case,
        places::{Flavour, Version, Way},
        world::{SEED, World},
    },
    story::{
        A, B, C, NOBODY,
        Sent::{Next, Open, Other},
        Story, mixed, moving, settled,
    },
    tables::{Finds, NEW, from_old, replace},
};

pub(super) fn rows() -> Vec<Case> {
    let mut stories = Vec::new();
    for flavour in Flavour::ALL {
        stories.extend(old_tables(flavour));
        stories.extend(old_phases(flavour));
        stories.extend(old_backends(flavour));
        stories.extend(no_old_table(flavour));
    }
    stories.into_iter().map(Story::row).collect()
}

/// The slots of [`NEW`] become this one.
fn new_slot(story: Story, slot: Slot) -> Story {
    story.world(|world| drop(world.slots.insert(NEW, vec![slot])))
}

fn client(flavour: Flavour, number: u8) -> SocketAddr {
    let address = flavour.version.client_number(Way::Router, number);
    SocketAddr::new(address, 2_000 + 331 * u16::from(number))
}

/// The flow's slot in the old table decides.
fn old_tables(flavour: Flavour) -> Vec<Story> {
    let sized = |size, index| Finds {
        id: TableId { size, index },
        ..Finds::USUAL
    };
    let bits = if flavour.version == Version::V4 {
        30
    } else {
        126
    };
    let all = [
        ("another seed", Finds::USUAL),
        ("the same size", sized(TableSize::Medium, 41)),
        ("larger before", sized(TableSize::Large, 42)),
        (
            "the same seed",
            Finds {
                seed: SEED,
                ..Finds::USUAL
            },
        ),
        (
            "source-hash before",
            Finds {
                prefix: bits,
                ..Finds::USUAL
            },
        ),
    ];
    let owners = [A, C, A, A, C];
    all.map(|(what, old)| {
        let story = Story::new(flavour, format!("resize, {what}")).world(|world| {
            let slots = owners.map(settled).to_vec();
            world.slots.insert(old.id, slots);
            replace(world, flavour, old, B);
        });
        let owner = |number| owners[old.slot(flavour, client(flavour, number)) % owners.len()];
        let story = (1..=12).fold(story, |story, number| {
            story
                .from(client(flavour, number))
                .gets(Other, owner(number))
        });
        let story = (13..=24).fold(story, |story, number| {
            story.from(client(flavour, number)).gets(Open, B)
        });
        // Each was recorded, and so was each one's fallback.
        (1..=24).fold(new_slot(story, mixed(B)), |story, number| {
            story
                .from(client(flavour, number))
                .gets(Other, owner(number))
        })
    })
    .to_vec()
}

/// The phase of the flow's slot in the old table.
fn old_phases(flavour: Flavour) -> Vec<Story> {
    let all = [
        ("settled", settled(A), A),
        ("moving", moving(C, A), A),
        ("mixed", mixed(A), A),
    ];
    all.map(|(what, slot, owner)| {
        let story = Story::new(flavour, format!("resize, {what} before")).world(|world| {
            world.slots.insert(Finds::USUAL.id, vec![slot]);
            replace(world, flavour, Finds::USUAL, B);
        });
        let story = story.client(1).gets(Other, owner).client(2).gets(Open, B);
        new_slot(story, mixed(C))
            .gets(Next, B)
            .client(1)
            .gets(Other, owner)
    })
    .to_vec()
}

/// What becomes of the backends that the old table names.
fn old_backends(flavour: Flavour) -> Vec<Story> {
    let row = |what, slot| {
        Story::new(flavour, format!("resize, {what}")).world(|world| {
            world.slots.insert(Finds::USUAL.id, vec![slot]);
            replace(world, flavour, Finds::USUAL, B);
        })
    };
    let dead = |what| row(what, settled(A)).dies(A);
    vec![
        dead("the one before is dead, what goes on").gets(Other, B),
        dead("the one before is dead, what opens")
            .gets(Open, B)
            .gets(Next, B),
        // It lives, and sends; so it has to stay, whatever moves next.
        new_slot(
            dead("the one before is dead, and a flow that opens then stays").gets(Open, B),
            from_old(C),
        )
        .gets(Next, B),
        new_slot(
            dead("the one before is dead, and a flow that goes on then stays").gets(Other, B),
            from_old(C),
        )
        .gets(Other, B),
        row("nobody before, what goes on", settled(NOBODY)).gets(Other, B),
        row("nobody before, what opens", settled(NOBODY))
            .gets(Open, B)
            .gets(Next, B),
        row("the one before dies later", settled(A))
            .gets(Other, A)
            .dies(A)
            .gets(Other, B)
            .gets(Other, B),
        new_slot(
            row("current dies", settled(A))
                .gets(Open, B)
                .gets(Next, B)
                .dies(B),
            from_old(C),
        )
        .gets(Next, C)
        .client(9)
        .gets(Other, A),
    ]
}

/// A slot that refers to an old table where there is none.
fn no_old_table(flavour: Flavour) -> Vec<Story> {
    let row = |what, change: fn(&mut World)| {
        Story::new(flavour, format!("resize, {what}")).world(|world| {
            world.slots.insert(Finds::USUAL.id, vec![settled(A)]);
            replace(world, flavour, Finds::USUAL, B);
            change(world);
        })
    };
    let gone: fn(&mut World) = |world| {
        world.old_tables.remove(&NEW);
    };
    let elsewhere: fn(&mut World) = |world| {
        let mut old = Finds::USUAL.old();
        old.index = 900;
        world.old_tables.insert(NEW, old);
    };
    let absent: fn(&mut World) = |world| {
        let mut old = Finds::USUAL.old();
        old.present = 0;
        world.old_tables.insert(NEW, old);
    };
    let others: fn(&mut World) = |world| {
        world.old_tables.remove(&NEW);
        let size = TableSize::Small;
        let index = NEW.index;
        world
            .old_tables
            .insert(TableId { size, index }, Finds::USUAL.old());
    };
    vec![
        row("no old table", gone).gets(Other, B).gets(Open, B),
        row("an old table that is marked absent", absent).gets(Other, B),
        row("an old table that is not there", elsewhere).gets(Other, B),
        row("an old table of another one", others).gets(Other, B),
    ]
}
