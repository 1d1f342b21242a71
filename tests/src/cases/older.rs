//! While tables take the place of others: packets of flows that only those may know are asked there, as they came.
//! In rows there is none to be asked, so they are dropped, and nothing is recorded here. (Slots that move:
//! `unsettled`.)

use lb_common::{abi::ServiceTraits, datapath::DropReason};

use super::{
    case::{Case, Expected},
    frame::{ACK, SYN},
    outputs::{answered, forwarded, opened},
    places::{Flavour, Pool, Protocol, Version},
};

pub(super) fn rows() -> Vec<Case> {
    let all = Flavour::ALL.into_iter();
    all.flat_map(|flavour| [rewritten(flavour), steered(flavour)].concat())
        .collect()
}

fn asked() -> Expected {
    Expected::dropped(DropReason::UnknownFlow)
}

fn row(flavour: Flavour, pool: Pool, what: &str) -> Case {
    Case::new(format!("beside older tables, {pool} {flavour}: {what}"))
        .world(|world| world.constants.asks_older = true)
}

fn rewritten(flavour: Flavour) -> Vec<Case> {
    const POOL: Pool = Pool::Nat;
    let (there, back) = (flavour.request(POOL), flavour.reply(POOL));
    let row = |what| row(flavour, POOL, what);
    let mut rows = vec![row("a reply").frame(&back, asked()).frame(&back, asked())];
    match flavour.protocol {
        Protocol::Tcp => {
            let (opening, going_on) = (there.clone().flags(SYN), there.flags(ACK));
            rows.push(
                row("what goes on")
                    .frame(&going_on, asked())
                    .frame(&going_on, asked()),
            );
            rows.push(
                row("what opens is recorded here")
                    .frame(&opening, opened(flavour, POOL, &opening))
                    .frame(&back, answered(flavour, POOL, &back))
                    .frame(&going_on, forwarded(flavour, POOL, &going_on)),
            );
            if flavour.version == Version::V4 {
                let odd = going_on.ip_options(&[1, 1, 1, 0]);
                rows.push(row("options").frame(&odd, asked()));
            }
        }
        Protocol::Udp => rows.push(
            row("a datagram")
                .frame(&there, asked())
                .frame(&there, asked()),
        ),
    }
    rows
}

fn steered(flavour: Flavour) -> Vec<Case> {
    const POOL: Pool = Pool::Dsr;
    let there = flavour.request(POOL);
    let row = |what| {
        let traits = ServiceTraits::TRACKED.and(ServiceTraits::STEERED);
        row(flavour, POOL, what).world(|world| world.set_traits(flavour, POOL, traits))
    };
    match flavour.protocol {
        Protocol::Tcp => {
            let (opening, going_on) = (there.clone().flags(SYN), there.flags(ACK));
            vec![
                row("what goes on")
                    .frame(&going_on, asked())
                    .frame(&going_on, asked()),
                row("what opens is recorded here")
                    .frame(&opening, opened(flavour, POOL, &opening))
                    .frame(&going_on, forwarded(flavour, POOL, &going_on)),
            ]
        }
        Protocol::Udp => vec![
            row("a datagram")
                .frame(&there, asked())
                .frame(&there, asked()),
        ],
    }
}
