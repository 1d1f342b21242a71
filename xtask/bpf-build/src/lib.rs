//! How this workspace's BPF objects are built: with the pinned stable compiler, a `core` of our own
//! making and a linker that lives under `target/`.
//!
//! ```text
//!            cargo xtask setup                          cargo build
//!                   │ makes, once                            │ runs build scripts
//!                   ▼                                        ▼
//!  target/tools/bin/bpf-linker  ◄──── checks ──── build_script(PRODUCT, …)
//!  target/bpf/sysroot-<commit>                               │ runs
//!                   ▲                                        ▼
//!                   └───────────── uses ───────── cargo build --target bpfel-unknown-none
//! ```
//!
//! Tools are made by `xtask` alone. A build script only checks that they are there, so that
//! `cargo build` never downloads or installs anything. Both always live under `target/` in the
//! workspace's root, also when `CARGO_TARGET_DIR` sends everything else to another place: they
//! belong to the checkout, and two programs must agree on where they are.

mod command;
mod depinfo;
mod linker;
mod object;
mod pages;
mod program;
mod sources;
mod sysroot;
mod tools;

pub use anyhow::Result;

pub use crate::{
    command::cargo,
    linker::Linker,
    object::{build_script, compile, object},
    program::{FOR_TESTS, PRODUCT, Program},
    sources::Origin,
    sysroot::Sysroot,
    tools::{NOT_SET_UP, Tools, workspace_root},
};

/// The target that BPF objects are built for.
pub const TARGET: &str = "bpfel-unknown-none";
