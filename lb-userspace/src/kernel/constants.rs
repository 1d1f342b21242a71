//! What a program is told when it is loaded: the verifier takes it for granted, and leaves out what it rules out.

use std::hash::Hasher as _;

use lb_common::abi::{RecordLimits, ReplyLimits, Seed, SourcePorts};
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::program::OBJECT;

/// What is fixed when the program is loaded: the verifier removes what they rule out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Constants {
    /// Key of the flow hash.
    pub seed: Seed,
    /// The service table's salt.
    pub salt: u64,
    /// The ports that our flows use at source addresses.
    pub ports: SourcePorts,
    /// Entries of each family's flow table.
    pub flows: u32,
    /// Backends that there is room for, index 0 included.
    pub backends: u32,
    /// Exceptions that may be recorded.
    pub limits: RecordLimits,
    /// Frames that may be made here.
    pub replies: ReplyLimits,
    /// What there is at all.
    pub features: Features,
    /// Whether every packet's outcome is logged.
    pub debug: bool,
}

/// What costs nothing where there is none of it. A program that knows of more than there is does the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// Whether any service is in `nat` mode.
    pub nat: bool,
    /// Whether any service in `nat` mode listens on more than single ports.
    pub nat_ranges: bool,
    /// Whether any service listens on a whole prefix.
    pub prefixes: bool,
    /// Whether flows of any service may have ends of both families.
    #[serde(default)]
    pub crossing: bool,
    /// Whether any of our devices is a VLAN device.
    pub vlans: bool,
    /// Whether any check goes through a service.
    #[serde(default)]
    pub probes: bool,
}

impl Features {
    /// What there is of either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            nat: self.nat || other.nat,
            nat_ranges: self.nat_ranges || other.nat_ranges,
            prefixes: self.prefixes || other.prefixes,
            crossing: self.crossing || other.crossing,
            vlans: self.vlans || other.vlans,
            probes: self.probes || other.probes,
        }
    }
}

impl Constants {
    /// The sizes of its tables.
    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            flows: self.flows,
            backends: self.backends,
            exceptions: self.limits.capacity,
        }
    }
}

/// What a set's sizes are that a configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Entries of each family's flow table.
    pub flows: u32,
    /// Entries of the table of backends.
    pub backends: u32,
    /// Entries of each family's table of exceptions.
    pub exceptions: u32,
}

impl Sizes {
    /// Entries of each map whose size follows from these.
    pub(super) fn of_maps(self) -> [(&'static str, u32); 16] {
        let Self {
            flows,
            backends,
            exceptions,
        } = self;
        let few = (flows / 4).max(1024);
        [
            ("BACKENDS", backends),
            ("LOADS", backends),
            ("ACTIVE", backends),
            ("BACKEND_COUNTERS", backends),
            ("HANDSHAKES", backends),
            ("NEXT_HOPS", backends),
            ("REVERSES_V4", backends),
            ("REVERSES_V6", backends),
            ("EXCEPTIONS_V4", exceptions),
            ("EXCEPTIONS_V6", exceptions),
            ("FLOWS_V4", flows),
            ("FLOWS_V6", flows),
            ("YOUNG_V4", few),
            ("YOUNG_V6", few),
            ("AFFINITIES_V4", few),
            ("AFFINITIES_V6", few),
        ]
    }
}

/// The object's global variables, by name.
pub(super) struct Globals(Vec<(&'static str, Vec<u8>)>);

impl Globals {
    /// Those that say this. `hertz` are the jiffies in a second; `asks_older`: whether another program is asked about
    /// flows that these tables do not know.
    pub(super) fn new(constants: &Constants, hertz: u32, asks_older: bool) -> Self {
        let Constants {
            seed,
            salt,
            ports,
            limits,
            replies,
            features,
            debug,
            // Sizes of maps.
            flows: _,
            backends: _,
        } = constants;
        let Features {
            nat,
            nat_ranges,
            prefixes,
            crossing,
            vlans,
            probes,
        } = *features;
        let switch = |on| vec![u8::from(on)];
        let number = |number: u32| number.to_ne_bytes().to_vec();
        Self(vec![
            ("SEED_0", seed.k0.to_ne_bytes().to_vec()),
            ("SEED_1", seed.k1.to_ne_bytes().to_vec()),
            ("SERVICE_SALT", salt.to_ne_bytes().to_vec()),
            ("HERTZ", number(hertz)),
            ("FIRST_PORT", ports.first.to_ne_bytes().to_vec()),
            ("PORT_COUNT", ports.count.to_ne_bytes().to_vec()),
            ("EXCEPTION_CAPACITY", number(limits.capacity)),
            ("EXCEPTION_RATE", number(limits.rate)),
            ("ERROR_RATE", number(replies.errors)),
            ("ERROR_RATE_PER_SOURCE", number(replies.errors_per_source)),
            ("RESET_RATE", number(replies.resets)),
            ("RESET_RATE_PER_SOURCE", number(replies.resets_per_source)),
            ("HAS_NAT", switch(nat)),
            ("HAS_NAT_RANGES", switch(nat_ranges)),
            ("HAS_PREFIXES", switch(prefixes)),
            ("HAS_CROSSING", switch(crossing)),
            ("HAS_VLANS", switch(vlans)),
            ("HAS_PROBES", switch(probes)),
            ("ASKS_OLDER", switch(asks_older)),
            ("DEBUG", switch(*debug)),
        ])
    }

    /// Name and bytes of each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.0.iter().map(|(name, bytes)| (*name, bytes.as_slice()))
    }

    /// What tells programs of this build's object with these from all others.
    pub(super) fn fingerprint(&self) -> [u64; 2] {
        let mut hasher = SipHasher13::new();
        hasher.write(OBJECT);
        for (name, bytes) in self.iter() {
            hasher.write(name.as_bytes());
            hasher.write(bytes);
        }
        let hash = hasher.finish128();
        [hash.h1, hash.h2]
    }
}
