//! Which types go over the kernel line as they are.

use aya::Pod;
use zerocopy::{FromBytes, Immutable};

/// A map key or value of `lb_common::abi`, for aya.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Wire<T>(pub T);

// SAFETY: `FromBytes` says that any bytes are a valid `T`. That all of its bytes are set, so that
// they may be read, holds for the types of `lb_common::abi`, which have no padding: their sizes
// are pinned there to the sum of their fields'. Nothing else is put into a `Wire`.
unsafe impl<T: Copy + FromBytes + Immutable + 'static> Pod for Wire<T> {}
