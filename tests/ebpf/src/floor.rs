//! Floors: what the machine charges for a packet before any balancing, for the benchmark to set
//! Sluice beside. As small as they can be written: a slow floor would flatter Sluice.
//!
//! - `floor_drop`: nothing; what is left is the cost of a call.
//! - `floor_tx`: reads Ethernet, IPv4 or IPv6, and the ports, as any balancer must; swaps the MAC
//!   addresses; sends the frame back.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
    macros::xdp,
    programs::XdpContext,
};

use crate::frame::Frame;

/// Bytes up to the ports' end.
const IPV4: usize = 14 + 20 + 4;
/// Bytes up to the ports' end.
const IPV6: usize = 14 + 40 + 4;

#[xdp]
fn floor_drop(_: XdpContext) -> u32 {
    XDP_DROP
}

#[xdp]
fn floor_tx(context: XdpContext) -> u32 {
    send_back(&mut Frame::new(&context)).map_or(XDP_PASS, |()| XDP_TX)
}

#[inline(always)]
fn send_back(frame: &mut Frame<'_>) -> Option<()> {
    match u16::from_be_bytes(frame.read(12)?) {
        0x0800 => {
            let head = frame.head::<IPV4>()?;
            ipv4(head)?;
            swap(head);
        }
        0x86dd => {
            let head = frame.head::<IPV6>()?;
            ipv6(head)?;
            swap(head);
        }
        _ => return None,
    }
    Some(())
}

/// `None`: options, a fragment, neither TCP nor UDP, or ends that are all zeros.
#[inline(always)]
fn ipv4(head: &[u8; IPV4]) -> Option<()> {
    let fragment = u16::from_be_bytes([head[20], head[21]]) & 0x3fff;
    let readable = head[14] == 0x45 && fragment == 0 && matches!(head[23], 6 | 17);
    let ends = word(head, 26) ^ word(head, 30) ^ word(head, 34);
    (readable && ends != 0).then_some(())
}

/// `None`: neither TCP nor UDP right behind, or ends that are all zeros.
#[inline(always)]
fn ipv6(head: &[u8; IPV6]) -> Option<()> {
    let readable = head[14] >> 4 == 6 && matches!(head[20], 6 | 17);
    let source = word(head, 22) ^ word(head, 26) ^ word(head, 30) ^ word(head, 34);
    let destination = word(head, 38) ^ word(head, 42) ^ word(head, 46) ^ word(head, 50);
    let ends = source ^ destination ^ word(head, 54);
    (readable && ends != 0).then_some(())
}

/// Exchanges the MAC addresses, in words as far as the compiler can be brought to it.
#[inline(always)]
fn swap<const N: usize>(head: &mut [u8; N]) {
    let (first, second) = (word(head, 0), word(head, 6));
    head[0..4].copy_from_slice(&second.to_ne_bytes());
    head[6..10].copy_from_slice(&first.to_ne_bytes());
    head.swap(4, 10);
    head.swap(5, 11);
}

#[inline(always)]
fn word<const N: usize>(head: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}
