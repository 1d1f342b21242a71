//! The numbers that keys take, each within bounds of its own.

use std::num::NonZeroU16;

use lb_common::abi::MAX_BACKENDS;

use super::schema::Value;
use crate::model::{ServerIds, TableSize, Weight};

impl Value for Weight {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 0 to 10000";

    fn read(number: i64) -> Result<Self, String> {
        let weight = u16::try_from(number).ok().and_then(Self::new);
        weight.ok_or_else(|| format!("{number} is not a weight"))
    }
}

impl Value for TableSize {
    type Form = i64;
    const EXPECTED: &'static str = "1021, 16381 or 65537";

    fn read(number: i64) -> Result<Self, String> {
        let size = Self::ALL
            .into_iter()
            .find(|size| i64::from(size.slots()) == number);
        size.ok_or_else(|| format!("{number} is not a table size"))
    }
}

/// Entries of a flow table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flows(pub u32);

impl Value for Flows {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 1024 to 16777216";

    fn read(number: i64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(n @ 1024..=16_777_216) => Ok(Self(n)),
            _ => Err(format!("{number} flow entries can't be")),
        }
    }
}

/// Backends that the tables have room for, the index of none included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backends(pub u32);

impl Value for Backends {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 1024 to 16777215";

    fn read(number: i64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(n @ 1024..=MAX_BACKENDS) => Ok(Self(n)),
            _ => Err(format!("room for {number} backends can't be")),
        }
    }
}

/// Entries of a table of exceptions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exceptions(pub u32);

impl Value for Exceptions {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 64 to 16777216";

    fn read(number: i64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(n @ 64..=16_777_216) => Ok(Self(n)),
            _ => Err(format!("{number} exceptions can't be")),
        }
    }
}

/// Exceptions that a CPU records in a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExceptionRate(pub u32);

impl Value for ExceptionRate {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 1 to 10000000";

    fn read(number: i64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(n @ 1..=10_000_000) => Ok(Self(n)),
            _ => Err(format!("{number} exceptions a second can't be")),
        }
    }
}

/// Frames made here in a second; 0: none at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplyRate(pub u32);

impl Value for ReplyRate {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 0 to 10000000";

    fn read(number: i64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(n @ 0..=10_000_000) => Ok(Self(n)),
            _ => Err(format!("{number} packets a second can't be")),
        }
    }
}

/// The most live flows of a backend.
#[derive(Clone, Copy, Debug)]
pub(super) struct MaxFlows(pub u32);

impl Value for MaxFlows {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 1 to 16777216";

    fn read(number: i64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(n @ 1..=16_777_216) => Ok(Self(n)),
            Ok(0) => Err("no flow at all: that is what `weight = 0` is for".to_owned()),
            _ => Err(format!("{number} flows can't be")),
        }
    }
}

/// New flows at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst(pub u32);

impl Value for Burst {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 1 to 1000000";

    fn read(number: i64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(n @ 1..=1_000_000) => Ok(Self(n)),
            _ => Err(format!("{number} flows at once can't be")),
        }
    }
}

/// A tier of backends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Priority(pub u8);

impl Value for Priority {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 0, which comes first, to 255";

    fn read(number: i64) -> Result<Self, String> {
        match u8::try_from(number) {
            Ok(n) => Ok(Self(n)),
            Err(_) => Err(format!("{number} is not a priority")),
        }
    }
}

/// A port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port(pub u16);

impl Value for Port {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 1 to 65535";

    fn read(number: i64) -> Result<Self, String> {
        match u16::try_from(number) {
            Ok(n @ 1..) => Ok(Self(n)),
            _ => Err(format!("{number} is not a port")),
        }
    }
}

/// The length of an IPv4 prefix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ipv4Length(pub u8);

impl Value for Ipv4Length {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 1 to 32";

    fn read(number: i64) -> Result<Self, String> {
        match u8::try_from(number) {
            Ok(n @ 1..=32) => Ok(Self(n)),
            _ => Err(format!("{number} is not the length of a prefix")),
        }
    }
}

/// The length of an IPv6 prefix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ipv6Length(pub u8);

impl Value for Ipv6Length {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 1 to 128";

    fn read(number: i64) -> Result<Self, String> {
        match u8::try_from(number) {
            Ok(n @ 1..=128) => Ok(Self(n)),
            _ => Err(format!("{number} is not the length of a prefix")),
        }
    }
}

/// What fits a TCP segment, bytes (RFC 9293, section 3.7.1: the least is the default over IPv4).
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentSize(pub u16);

impl Value for SegmentSize {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 536 to 65495";

    fn read(number: i64) -> Result<Self, String> {
        match u16::try_from(number) {
            Ok(n @ 536..=65_495) => Ok(Self(n)),
            _ => Err(format!("{number} is not the size of a segment")),
        }
    }
}

/// The number of a QUIC-LB configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConfigId(pub u8);

impl Value for ConfigId {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 0 to 6";

    fn read(number: i64) -> Result<Self, String> {
        match u8::try_from(number) {
            Ok(n @ 0..=ServerIds::MAX_CONFIGURATION) => Ok(Self(n)),
            Ok(7) => Err("7 marks connection ids that name no server".to_owned()),
            _ => Err(format!("{number} is not the number of a configuration")),
        }
    }
}

/// Octets of a server's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerIdLength(pub u8);

impl Value for ServerIdLength {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 1 to 15";

    fn read(number: i64) -> Result<Self, String> {
        match u8::try_from(number) {
            Ok(n @ 1..=15) => Ok(Self(n)),
            _ => Err(format!("{number} is not the length of a server id")),
        }
    }
}

/// A share in percent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Percent(pub u8);

impl Value for Percent {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 0 to 100, percent";

    fn read(number: i64) -> Result<Self, String> {
        match u8::try_from(number) {
            Ok(n @ 0..=100) => Ok(Self(n)),
            _ => Err(format!("{number} is not a share in percent")),
        }
    }
}

/// Backends of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count(pub u32);

impl Value for Count {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 0 to 100000";

    fn read(number: i64) -> Result<Self, String> {
        match u32::try_from(number) {
            Ok(n @ 0..=100_000) => Ok(Self(n)),
            _ => Err(format!("{number} backends can't be")),
        }
    }
}

/// How often something must happen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times(pub NonZeroU16);

impl Value for Times {
    type Form = i64;
    const EXPECTED: &'static str = "a whole number from 1 to 100";

    fn read(number: i64) -> Result<Self, String> {
        let times = u16::try_from(number).ok().filter(|n| *n <= 100);
        let times = times.and_then(NonZeroU16::new).map(Self);
        times.ok_or_else(|| format!("{number} times can't be"))
    }
}
