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
    abi::UNCOMMON,
    datapath::{self, Egress, Outcome},
};

pub use helpers::jiffies;

use packet::XdpPacket;
use tables::{KernelTables, PROGRAMS};
use window::XdpWindow;

/// Handles one packet; the answer is an XDP action. One that is not plain goes on to the program of
/// [`handle_uncommon`].
#[inline(always)]
pub fn handle(ctx: &XdpContext) -> u32 {
    let tables = KernelTables::new(ctx);
    if let Some(outcome) = datapath::handle(&mut XdpPacket::new(ctx), &tables) {
        return answer(ctx, outcome);
    }
    // SAFETY: nothing here has to be dropped. If the call succeeds it does not return.
    unsafe { PROGRAMS.tail_call(ctx, UNCOMMON) };
    answer(ctx, datapath::leave_unread(&tables))
}

/// Handles one packet of any shape; the answer is an XDP action.
#[inline(always)]
pub fn handle_uncommon(ctx: &XdpContext) -> u32 {
    let tables = KernelTables::new(ctx);
    let outcome = match XdpWindow::new(ctx) {
        Some(mut window) => datapath::handle_uncommon(&mut window, &tables),
        None => datapath::leave_unread(&tables),
    };
    answer(ctx, outcome)
}

/// The XDP action for an outcome.
#[inline(always)]
fn answer(ctx: &XdpContext, outcome: Outcome) -> u32 {
    if tables::DEBUG.load() != 0 {
        log::outcome(helpers::ingress_ifindex(ctx), outcome);
    }
    match outcome {
        Outcome::Forward(Egress::Transmit) => xdp_action::XDP_TX,
        Outcome::Forward(Egress::Redirect) => xdp_action::XDP_REDIRECT,
        Outcome::Pass(_) => xdp_action::XDP_PASS,
        Outcome::Drop(_) => xdp_action::XDP_DROP,
    }
}
