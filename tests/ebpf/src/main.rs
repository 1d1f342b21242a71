//! BPF programs for tests, none of them a product: one program a file.
//!
//! For BPF this is an object that the harness (`sluice-tests`) carries and loads; for the host it
//! builds to an empty program, so that the whole workspace builds with one command.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
// On the host nothing calls the programs.
#![cfg_attr(not(target_arch = "bpf"), allow(dead_code))]

mod decapsulate;
mod flood;
mod floor;
mod frame;
mod pass;
mod receipt;

/// The kernel's helpers that packet programs need are for GPL-compatible programs.
#[cfg(target_arch = "bpf")]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
