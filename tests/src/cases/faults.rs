//! Tables that contradict each other. Nothing like it should ever be written; if it is, packets
//! end under a name, and nothing else happens.

use lb_common::{
    abi::{Slot, TableId, TableSize},
    datapath::DropReason,
};

use super::{
    case::{Case, Expected},
    places::{BACK, Flavour, Pool},
    world::{World, backend_index, table},
};

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        for pool in Pool::MODES {
            rows.extend(each(flavour, pool));
        }
        for pool in Pool::MODES {
            // Flows of `nat` may be recorded or not.
            if !Pool::ONE_SIDED.contains(&pool) {
                rows.push(fault(
                    flavour,
                    pool,
                    "a service that is tracked against its mode",
                    |world| world.set_tracked(flavour, pool, !pool.is_tracked()),
                ));
            }
        }
        rows.push(fault(
            flavour,
            Pool::Nat,
            "source addresses beyond the table",
            |world| {
                world.add_backend_with_sources(
                    backend_index(flavour.version, Pool::Nat),
                    flavour.version.backend(Pool::Nat),
                    (8192, 1),
                );
            },
        ));
    }
    rows
}

fn each(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let version = flavour.version;
    let id = table(version, pool);
    let row = |what, change: &dyn Fn(&mut World)| fault(flavour, pool, what, change);
    let never = TableId {
        size: TableSize::Medium,
        index: 900,
    };
    let beyond = TableId {
        size: TableSize::Large,
        index: 1 << 10,
    };
    let name = |what| format!("{pool} {flavour}: the backend's device is {what}");
    let no_device = Expected::dropped(DropReason::NoDevice);
    vec![
        row("no slot table", &|world| {
            world.use_table(flavour, pool, never)
        }),
        row("a slot table beyond the last", &|world| {
            world.use_table(flavour, pool, beyond)
        }),
        row("a backend of the other mode", &|world| {
            let other = if pool.is_tracked() {
                Pool::Ipip
            } else {
                Pool::Nat
            };
            world.give_slots(version, pool, backend_index(version, other));
        }),
        row("a backend beyond the table", &|world| {
            world.slots.insert(id, vec![Slot::settled(1 << 16)]);
        }),
        row("a backend that is not there", &|world| {
            world.give_slots(version, pool, 60_000)
        }),
        Case::new(name("no target of a redirect"))
            .world(|world| world.forbid_redirect(BACK))
            .frame(&flavour.request(pool), no_device.clone()),
        Case::new(name("not in the table of senders"))
            .world(|world| world.forget_sender(BACK))
            .frame(&flavour.request(pool), no_device),
    ]
}

fn fault(flavour: Flavour, pool: Pool, what: &str, change: impl FnOnce(&mut World)) -> Case {
    Case::new(format!("{pool} {flavour}: {what}"))
        .world(change)
        .frame(
            &flavour.request(pool),
            Expected::dropped(DropReason::Inconsistent),
        )
}
