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

use aya_ebpf::{bindings::xdp_action, programs::XdpContext};
use lb_common::datapath::{self, Egress, Outcome};

pub use helpers::jiffies;
use packet::XdpPacket;
use tables::KernelTables;

/// Handles one packet; the answer is an XDP action.
#[inline(always)]
pub fn handle(ctx: &XdpContext) -> u32 {
    let tables = KernelTables::new(ctx);
    let outcome = datapath::handle(&mut XdpPacket::new(ctx), &tables);
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
