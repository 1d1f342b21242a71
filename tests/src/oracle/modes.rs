//! Names of the modes, phases and shapes that a run has to meet.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    errors, made,
    model::Model,
    site::{Backend, Service, version},
};
use crate::cases::places::Version;

impl Model {
    pub(super) fn meet(&mut self, service: &Service, backend: &Backend) {
        let inner = digit(service.end.ip());
        let mode = service.mode.name();
        if self.crosses(service) {
            let outer = digit(backend.address);
            self.met.push(format!("{mode} {inner} to {outer}"));
        }
        self.met.push(if service.mode.wraps() {
            format!("{mode} {inner} in {}", digit(backend.address))
        } else {
            format!("{mode} {inner}")
        });
        self.met
            .push(format!("listens on {}", service.listens.name()));
        if service.tracked {
            self.met.push(format!("{mode}, tracked"));
        }
    }
}

/// The version of an address.
pub(super) fn digit(address: IpAddr) -> u8 {
    match version(address) {
        Version::V4 => 4,
        Version::V6 => 6,
    }
}

/// All that has to be met of modes.
pub(super) fn modes() -> BTreeMap<String, u64> {
    let mut modes = Vec::new();
    for inner in [4, 6] {
        for mode in ["full-nat", "nat", "dsr"] {
            modes.push(format!("{mode} {inner}"));
        }
        for outer in [4, 6] {
            modes.push(format!("full-nat {inner} to {outer}"));
            for mode in ["ipip", "gue"] {
                modes.push(format!("{mode} {inner} in {outer}"));
            }
        }
    }
    for mode in ["full-nat", "nat", "dsr", "ipip", "gue"] {
        modes.push(format!("{mode}, tracked"));
    }
    for mode in ["full-nat", "nat"] {
        modes.push(format!("{mode}, replies"));
    }
    modes.push("nat, tracked, replies".into());
    for phase in ["settled", "moving", "mixed"] {
        for kind in ["opens", "goes on", "closes", "only looks"] {
            modes.push(format!("{phase}: {kind}"));
        }
    }
    for listens in ["a port", "a range", "all ports", "a prefix"] {
        modes.push(format!("listens on {listens}"));
    }
    modes.push("one packet".into());
    modes.push("another's replies".into());
    modes.push("a priority's tag".into());
    modes.extend(errors::kinds());
    modes.extend(made::kinds());
    modes.into_iter().map(|mode| (mode, 0)).collect()
}
