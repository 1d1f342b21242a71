//! What both sides of the kernel line agree on, and the packet path itself.
//!
//! - [`abi`]: keys and values of the maps, the slot word, the flow hash. A change of layout here
//!   bumps [`abi::LAYOUT`].
//! - [`net`]: headers as they lie in a frame, checksum arithmetic, the [`net::Packet`] trait.
//! - [`datapath`]: parse → service → decide → rewrite → forward, generic over a packet and the
//!   tables; the same code runs in unit tests on the host and in the kernel.
//!
//! No unsafe code, no allocation, no clock, no I/O: whoever calls brings packet and tables.

#![no_std]
#![forbid(unsafe_code)]

pub mod abi;
pub mod datapath;
pub mod net;
