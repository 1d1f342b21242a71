//! The packet path of [`lb_common::datapath`] on the kernel's packets and maps. Decides nothing:
//! it reads and writes what it is told, and turns outcomes into XDP actions.
//!
//! A library, so that other objects (benchmarks) can call the same function.

#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod helpers;
mod log;
mod packet;
mod tables;
mod window;

use aya_ebpf::{bindings::xdp_action, programs::XdpContext};
use lb_common::{
    abi::{ASIDE, CROSSING, OLDER, PACKET, PROBE_CROSSING, TAGGED, UNCOMMON},
    datapath::{self, Egress, Handled, Outcome, Question, Tables as _},
};

pub use helpers::jiffies;

use packet::XdpPacket;
use tables::{KernelTables, PacketTables, ProbeTables};
use window::XdpWindow;

/// Handles one packet; the answer is an XDP action. One that is not plain goes on to the program of
/// [`handle_uncommon`].
#[inline(always)]
pub fn handle(ctx: &XdpContext) -> u32 {
    let tables = PacketTables::new(ctx);
    let handled = datapath::handle(&mut XdpPacket::new(ctx), &tables);
    go_on(ctx, &tables, handled)
}

/// Takes the tags of one packet off and goes on with it, if it is of a VLAN of ours; the answer is an XDP
/// action.
#[inline(always)]
pub fn handle_tagged(ctx: &XdpContext) -> u32 {
    let (tables, mut packet) = (PacketTables::new(ctx), XdpPacket::new(ctx));
    let outcome = match datapath::handle_tagged(&mut packet, &tables) {
        Some(outcome) => outcome,
        None => {
            tables::go_on(ctx, PACKET);
            datapath::leave_unread(&mut packet, &tables)
        }
    };
    action(ctx, outcome)
}

/// Handles one packet of a flow whose ends may be of both families; the answer is an XDP action.
#[inline(always)]
pub fn handle_crossing(ctx: &XdpContext) -> u32 {
    let tables = PacketTables::new(ctx);
    let handled = datapath::handle_crossing(&mut XdpPacket::new(ctx), &tables);
    go_on(ctx, &tables, handled)
}

/// Handles one frame from the device of probes; the answer is an XDP action.
#[inline(always)]
pub fn handle_probe(ctx: &XdpContext) -> u32 {
    let tables = ProbeTables::new(ctx);
    let handled = datapath::handle(&mut XdpPacket::new(ctx), &tables);
    go_on(ctx, &tables, handled)
}

/// Handles one probe of a flow whose ends may be of both families; the answer is an XDP action.
#[inline(always)]
pub fn handle_probe_crossing(ctx: &XdpContext) -> u32 {
    let tables = ProbeTables::new(ctx);
    let handled = datapath::handle_crossing(&mut XdpPacket::new(ctx), &tables);
    go_on(ctx, &tables, handled)
}

/// Goes on to the program that decides, if one was not enough.
#[inline(always)]
fn go_on<const PROBES: bool>(
    ctx: &XdpContext,
    tables: &KernelTables<'_, PROBES>,
    handled: Handled,
) -> u32 {
    // After a tail call: there is no such program.
    let mut packet = XdpPacket::new(ctx);
    // Before all else, so that the verifier leaves it out where nobody is asked.
    let older = tables.asks_older() && handled == Handled::Older;
    if older && datapath::give_back(&mut packet, tables) {
        tables::go_on(ctx, OLDER);
    }
    let outcome = match handled {
        Handled::Done(outcome) => outcome,
        Handled::Tagged => {
            tables::go_on(ctx, TAGGED);
            datapath::leave_unread(&mut packet, tables)
        }
        Handled::Uncommon => {
            tables::go_on(ctx, UNCOMMON);
            datapath::leave_unread(&mut packet, tables)
        }
        Handled::Crossing => {
            tables::go_on(ctx, if PROBES { PROBE_CROSSING } else { CROSSING });
            datapath::leave_uncrossed(&mut packet, tables)
        }
        Handled::Older => datapath::leave_unasked(tables),
        Handled::Aside(question) => {
            tables::ask(question);
            tables::go_on(ctx, question.program(tables));
            datapath::leave_unanswered(&mut packet, tables, question)
        }
    };
    action(ctx, outcome)
}

/// Handles one packet of any shape; the answer is an XDP action.
#[inline(always)]
pub fn handle_uncommon(ctx: &XdpContext) -> u32 {
    let tables = PacketTables::new(ctx);
    let outcome = match XdpWindow::new(ctx) {
        Some(mut window) => datapath::handle_uncommon(&mut window, &tables),
        None => Some(datapath::leave_unread(&mut XdpPacket::new(ctx), &tables)),
    };
    let outcome = match outcome {
        Some(outcome) => outcome,
        None => {
            tables::go_on(ctx, OLDER);
            datapath::leave_unasked(&tables)
        }
    };
    action(ctx, outcome)
}

/// Handles one packet that [`handle`] has left aside; the answer is an XDP action.
#[inline(always)]
pub fn handle_aside(ctx: &XdpContext) -> u32 {
    let tables = PacketTables::new(ctx);
    let question = tables::asked().unwrap_or(Question::Icmp);
    let outcome = datapath::handle_aside(&mut XdpPacket::new(ctx), &tables, question);
    action(ctx, outcome)
}

/// Handles one ICMP message, if it is about a flow whose ends may be of both families; the answer is an
/// XDP action.
#[inline(always)]
pub fn handle_errors(ctx: &XdpContext) -> u32 {
    let (tables, mut packet) = (PacketTables::new(ctx), XdpPacket::new(ctx));
    let outcome = match datapath::handle_errors(&mut packet, &tables) {
        Some(outcome) => outcome,
        None => {
            tables::go_on(ctx, ASIDE);
            datapath::leave_unanswered(&mut packet, &tables, Question::Icmp)
        }
    };
    action(ctx, outcome)
}

/// The XDP action for an outcome.
#[inline(always)]
fn action(ctx: &XdpContext, outcome: Outcome) -> u32 {
    if tables::DEBUG.load() != 0 {
        log::outcome(helpers::ingress_ifindex(ctx), outcome);
    }
    match outcome {
        Outcome::Forward(Egress::Transmit) | Outcome::Answer(_) => xdp_action::XDP_TX,
        Outcome::Forward(Egress::Redirect) => xdp_action::XDP_REDIRECT,
        Outcome::Pass(_) => xdp_action::XDP_PASS,
        Outcome::Drop(_) => xdp_action::XDP_DROP,
    }
}
