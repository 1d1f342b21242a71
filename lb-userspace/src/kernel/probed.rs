//! The ports that probes come from: which backend each is for. Written as probes begin, apart from all plans: what no
//! probe has is of no matter.

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use lb_common::abi::{BackendRef, FIRST_PROBE_PORT};

use super::{error::Error, tables::take};

/// Whom the ports of probes name.
pub struct ProbedPorts(Array<MapData, u32>);

impl ProbedPorts {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        take(ebpf, PROBED).map(Self)
    }

    /// Probes from this port are for this backend from now on.
    pub fn set(&mut self, port: u16, backend: BackendRef) -> Result<(), Error> {
        let index = port.wrapping_sub(FIRST_PROBE_PORT).into();
        let written = self.0.set(index, backend.word(), 0);
        written.map_err(|error| Error::Map { map: PROBED, error })
    }
}

const PROBED: &str = "PROBED";
