//! What holds for every frame, in whatever state the flows are.

use std::collections::BTreeMap;

use lb_common::{
    abi::SourcePorts,
    datapath::{Egress, Outcome},
};
use proptest::{collection::vec, prelude::*};
use sluice_tests::{
    cases::{case::HEADROOM, world::World},
    host::{HostPacket, HostTables, decide},
};

use crate::{
    arbitrary::{Incoming, incoming, reply, request},
    checksums::assert_sound,
};

/// The usual world with enough source ports for anything.
fn tables() -> HostTables {
    let mut world = World::default();
    world.constants.ports = SourcePorts {
        first: 1024,
        count: 64_512,
    };
    HostTables::new(world)
}

/// Handles a frame: what becomes of it, and how it looks afterwards.
fn handle(tables: &mut HostTables, (ingress, bytes): &Incoming) -> (Outcome, Vec<u8>) {
    tables.arrive(ingress.ifindex);
    let (outcome, frame) = decide(HostPacket::new(bytes, HEADROOM), tables);
    if let Outcome::Forward(Egress::Transmit | Egress::Redirect) = outcome {
        assert!(frame.len() >= bytes.len(), "a frame got shorter");
    }
    (outcome, frame)
}

proptest! {
    #[test]
    fn what_passes_is_untouched(frames in vec(incoming(), 1..20)) {
        let mut tables = HostTables::default();
        for frame in &frames {
            let (outcome, after) = handle(&mut tables, frame);
            if let Outcome::Pass(_) = outcome {
                prop_assert_eq!(&after, &frame.1);
            }
        }
    }

    #[test]
    fn what_is_sent_is_sound(frames in vec(prop_oneof![request(), reply()], 1..20)) {
        let (mut wide, mut narrow) = (tables(), HostTables::default());
        for (_, frame) in &frames {
            for tables in [&mut wide, &mut narrow] {
                let (outcome, after) = handle(tables, &(frame.ingress, frame.bytes()));
                if let Outcome::Forward(_) = outcome {
                    assert_sound(&after);
                }
            }
        }
    }

    #[test]
    fn every_frame_is_counted_once(frames in vec(incoming(), 1..40)) {
        let mut tables = HostTables::default();
        let mut outcomes = BTreeMap::new();
        for frame in &frames {
            let (outcome, _) = handle(&mut tables, frame);
            *outcomes.entry((frame.0.device, outcome.name())).or_default() += 1;
        }
        let counts = tables.counts();
        prop_assert_eq!(counts.outcomes.values().sum::<u64>(), frames.len() as u64);
        prop_assert_eq!(&counts.outcomes, &outcomes);
        let forwarded: u64 =
            outcomes.iter().filter(|((_, name), _)| *name == "forwarded").map(|(_, n)| n).sum();
        for counters in [&counts.services, &counts.backends] {
            let packets: u64 = counters.values().map(|c| c.packets_in + c.packets_out).sum();
            prop_assert_eq!(packets, forwarded);
        }
    }

    #[test]
    fn time_and_eviction_never_hurt(
        frames in vec((incoming(), 0..200u32), 1..40),
        capacity in 0..6usize,
    ) {
        let world = World { flow_capacity: capacity, ..World::default() };
        let mut tables = HostTables::new(world);
        for (frame, seconds) in &frames {
            let (outcome, after) = handle(&mut tables, frame);
            if let Outcome::Pass(_) = outcome {
                prop_assert_eq!(&after, &frame.1);
            }
            prop_assert!(tables.flow_count() <= 2 * capacity);
            tables.advance(*seconds);
        }
    }
}
