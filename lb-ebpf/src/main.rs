//! The object that the agent loads: entry points and licence, nothing else.
//!
//! For the host this is an empty program, so that `cargo build` covers the whole workspace.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod entry {
    use aya_ebpf::{macros::xdp, programs::XdpContext};

    /// The packet program.
    #[xdp(frags)]
    fn sluice(ctx: XdpContext) -> u32 {
        lb_ebpf::handle(&ctx)
    }

    /// The program for packets with VLAN tags; by tail call.
    #[xdp(frags)]
    fn tagged(ctx: XdpContext) -> u32 {
        lb_ebpf::handle_tagged(&ctx)
    }

    /// The program for packets that are not plain; by tail call.
    #[xdp(frags)]
    fn uncommon(ctx: XdpContext) -> u32 {
        lb_ebpf::handle_uncommon(&ctx)
    }

    /// The program for packets that are answered here, and for ICMP; by tail call.
    #[xdp(frags)]
    fn aside(ctx: XdpContext) -> u32 {
        lb_ebpf::handle_aside(&ctx)
    }

    /// The program for flows whose ends are of both families; by tail call.
    #[xdp(frags)]
    fn crossing(ctx: XdpContext) -> u32 {
        lb_ebpf::handle_crossing(&ctx)
    }

    /// The program for ICMP, which goes on to `aside` unless it is about such flows; by tail call.
    #[xdp(frags)]
    fn errors(ctx: XdpContext) -> u32 {
        lb_ebpf::handle_errors(&ctx)
    }

    /// The program on the device that the agent's probes come from.
    #[xdp(frags)]
    fn probe(ctx: XdpContext) -> u32 {
        lb_ebpf::handle_probe(&ctx)
    }

    /// The program for probes of flows whose ends are of both families; by tail call.
    #[xdp(frags)]
    fn probe_crossing(ctx: XdpContext) -> u32 {
        lb_ebpf::handle_probe_crossing(&ctx)
    }

    /// Answers with the low half of the kernel's jiffies, for the agent to learn HZ and the age of
    /// entries from. Run by `BPF_PROG_TEST_RUN` alone.
    #[xdp]
    fn clock(_: XdpContext) -> u32 {
        lb_ebpf::jiffies()
    }

    /// The helpers are for programs under a licence compatible with the GPL.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        // The verifier admits no path that panics.
        loop {}
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
