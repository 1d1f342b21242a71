//! Ring 0: the packet path on the host, over plain collections. Needs nothing of the kernel.
//!
//! [`HostTables`] behave as the kernel's maps do where that shows: an array has every index below
//! its size, zeros where nothing was written; scratch room holds rubbish; jiffies wrap.

mod exceptions;
mod flows;
mod packet;
mod routes;
mod tables;

pub use flows::Key;
pub use packet::HostPacket;
pub use tables::HostTables;

use lb_common::datapath;

use crate::cases::{
    case::{Arrival, Ends},
    ring::{Counts, Ring, Seen},
    world::World,
};

/// The packet path on the host, for rows.
#[derive(Default)]
pub struct HostRing {
    tables: HostTables,
}

impl Ring for HostRing {
    fn start(&mut self, world: &World) {
        self.tables = HostTables::new(world.clone());
    }

    fn change(&mut self, world: &World) {
        self.tables.set_world(world.clone());
    }

    fn handle(&mut self, arrival: &Arrival) -> Seen {
        let mut packet = HostPacket::new(&arrival.bytes, arrival.headroom);
        self.tables.arrive(arrival.ingress.ifindex);
        let outcome = datapath::handle(&mut packet, &self.tables);
        Seen {
            verdict: outcome.into(),
            frame: packet.frame().to_vec(),
            device: self.tables.leaves(outcome),
            wanted: self.tables.take_wanted(),
            unrecorded: self.tables.take_unrecorded(),
        }
    }

    fn counts(&mut self) -> Counts {
        self.tables.counts()
    }

    fn advance(&mut self, seconds: u32) {
        self.tables.advance(seconds);
    }

    fn evict(&mut self, ends: Ends) -> bool {
        self.tables.evict(ends)
    }

    fn recycle(&mut self, ends: Ends) -> bool {
        self.tables.recycle(ends)
    }
}
