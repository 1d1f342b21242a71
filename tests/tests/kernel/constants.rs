//! What programs are loaded with whose packets are no matter, or few.

use lb_common::abi::{RecordLimits, ReplyLimits, Seed, SourcePorts};
use lb_userspace::kernel::{Constants, Features};

/// Small tables, and nothing that is made here.
pub(crate) fn small(features: Features) -> Constants {
    Constants {
        seed: Seed::from([7; 16]),
        salt: 0,
        ports: SourcePorts {
            first: 1024,
            count: 1024,
        },
        flows: 1024,
        backends: 1024,
        limits: RecordLimits {
            capacity: 1024,
            rate: 1,
        },
        replies: ReplyLimits {
            errors: 0,
            errors_per_source: 0,
            resets: 0,
            resets_per_source: 0,
        },
        features,
        debug: false,
    }
}
