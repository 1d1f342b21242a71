//! Ring 0: the packet path on the host, over plain collections. Needs nothing of the kernel.
//!
//! [`HostTables`] behave as the kernel's maps do where that shows: an array has every index below
//! its size, zeros where nothing was written; scratch room holds rubbish; jiffies wrap.

mod exceptions;
mod flows;
mod fragments;
mod packet;
mod routes;
mod tables;
mod window;

pub use flows::Key;
pub use packet::HostPacket;
pub use tables::HostTables;
use tables::HostView;
pub use window::HostWindow;

use lb_common::datapath::{self, Handled, Outcome, Question};

use crate::cases::{
    case::{Arrival, Ends},
    ring::{Counts, Ring, Seen},
    world::World,
};

/// What becomes of a packet, and the frame afterwards: as the programs of the device decide that it came from, one
/// after the other.
pub fn decide(packet: HostPacket, tables: &HostTables) -> (Outcome, Vec<u8>) {
    match tables.probes() {
        true => decide_in(packet, &HostView::<true>(tables)),
        false => decide_in(packet, &HostView::<false>(tables)),
    }
}

fn decide_in<const PROBES: bool>(
    mut packet: HostPacket,
    tables: &HostView<'_, PROBES>,
) -> (Outcome, Vec<u8>) {
    let mut handled = datapath::handle(&mut packet, tables);
    if handled == Handled::Tagged {
        handled = match datapath::handle_tagged(&mut packet, tables) {
            Some(outcome) => Handled::Done(outcome),
            None => datapath::handle(&mut packet, tables),
        };
    }
    if handled == Handled::Crossing {
        handled = datapath::handle_crossing(&mut packet, tables);
    }
    let outcome = match handled {
        Handled::Done(outcome) => outcome,
        Handled::Crossing => datapath::leave_uncrossed(&mut packet, tables),
        Handled::Tagged => datapath::leave_unread(&mut packet, tables),
        Handled::Uncommon => return decide_uncommon(packet, &HostView(tables)),
        Handled::Older => unasked(&mut packet, tables),
        Handled::Aside(Question::Icmp) => datapath::handle_errors(&mut packet, tables)
            .unwrap_or_else(|| datapath::handle_aside(&mut packet, tables, Question::Icmp)),
        Handled::Aside(question) => datapath::handle_aside(&mut packet, tables, question),
    };
    (outcome, packet.frame().to_vec())
}

/// The same program for packets from the wire and probes.
fn decide_uncommon(packet: HostPacket, tables: &HostView<'_, false>) -> (Outcome, Vec<u8>) {
    let mut window = HostWindow::new(packet);
    let outcome = datapath::handle_uncommon(&mut window, tables);
    let outcome = outcome.unwrap_or_else(|| datapath::leave_unasked(tables));
    (outcome, window.frame().to_vec())
}

/// As where there is no program to be asked.
fn unasked<const PROBES: bool>(packet: &mut HostPacket, tables: &HostView<'_, PROBES>) -> Outcome {
    datapath::give_back(packet, tables);
    datapath::leave_unasked(tables)
}

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
        self.tables.arrive(arrival.ingress.ifindex);
        let packet = HostPacket::new(&arrival.bytes, arrival.headroom);
        let (outcome, frame) = decide(packet, &self.tables);
        Seen {
            verdict: outcome.into(),
            frame,
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
