//! `pass`: hands every frame to the kernel.
//!
//! For the ends of veth pairs: what a program sends out of a veth (XDP_TX, XDP_REDIRECT) arrives
//! only if the other end has a program too. Frames may be in several parts.

use aya_ebpf::{bindings::xdp_action::XDP_PASS, macros::xdp, programs::XdpContext};

#[xdp(frags)]
fn pass(_: XdpContext) -> u32 {
    XDP_PASS
}
