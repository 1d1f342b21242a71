//! The tables about health as they are written: `[pool.health]` and `[[pool.check]]`.
//!
//! Which keys a check has depends on its `type`. Where that can't be read, all keys are known, so that none
//! is called unknown that may be right.

use std::time::Duration;

use crate::{
    config::{
        number::{Count, Percent, Port, Times},
        probe::{
            Argument, CheckAddress, CheckType, DnsName, EnvVar, Host, HttpPath, Jitter, Method,
            RegexText, Text,
        },
        read::Fields,
        schema::{List, Table, Written},
        source::{At, Place},
        value::AbsolutePath,
    },
    model::{
        Initial, Through,
        probe::{Payload, RecordType, StatusRange},
    },
};

/// All may be left out.
pub(in crate::config) struct Health {
    pub place: Place,
    pub slow_start: Option<At<Duration>>,
    pub panic_threshold: Option<At<Percent>>,
    pub min_healthy: Option<At<Count>>,
    pub flap_damping: Option<FlapDamping>,
    pub passive: Option<At<bool>>,
}

pub(in crate::config) struct FlapDamping {
    pub downs: Option<At<Times>>,
    pub within: Option<At<Duration>>,
    pub hold: Option<At<Duration>>,
}

/// All but the type may be left out.
pub(in crate::config) struct Check {
    pub place: Place,
    pub address: Option<At<CheckAddress>>,
    pub port: Option<At<Port>>,
    pub through: Option<At<Through>>,
    pub interval: Written<Duration>,
    pub jitter: Option<At<Jitter>>,
    pub timeout: Option<At<Duration>>,
    pub rise: Option<At<Times>>,
    pub fall: Option<At<Times>>,
    pub initial: Option<At<Initial>>,
    pub probe: Option<Probe>,
}

/// The keys of each type.
pub(in crate::config) enum Probe {
    Tcp(Tcp),
    Http(Http),
    Https(Http, Tls),
    Grpc(Grpc),
    Udp(Udp),
    Dns(Dns),
    Icmp,
    Exec(Exec),
}

pub(in crate::config) struct Tcp {
    pub send: Option<At<Payload>>,
    pub expect: Option<At<Payload>>,
    pub agent: Option<At<bool>>,
}

pub(in crate::config) struct Http {
    pub method: Option<At<Method>>,
    pub path: Option<At<HttpPath>>,
    pub host: Option<At<Host>>,
    /// May be left out.
    pub status: Option<List<StatusRange>>,
    pub body: Option<At<Text>>,
    pub body_regex: Option<At<RegexText>>,
    pub agent: Option<At<bool>>,
}

pub(in crate::config) struct Tls {
    pub verify: Option<At<bool>>,
    pub sni: Option<At<DnsName>>,
    pub ca_file: Option<At<AbsolutePath>>,
}

pub(in crate::config) struct Grpc {
    pub service: Option<At<Text>>,
    pub host: Option<At<Host>>,
    pub tls: Option<At<bool>>,
    pub keys: Tls,
}

pub(in crate::config) struct Udp {
    pub send: Option<At<Payload>>,
    /// May be left out.
    pub expect: Option<At<Payload>>,
}

pub(in crate::config) struct Dns {
    pub query: Option<At<DnsName>>,
    /// May be left out.
    pub record: Option<At<RecordType>>,
    /// May be left out.
    pub expect: Option<List<Text>>,
}

pub(in crate::config) struct Exec {
    pub command: List<Argument>,
    pub environment: List<EnvVar>,
    pub agent: Option<At<bool>>,
}

impl Table for Health {
    const HEADER: &'static str = "[pool.health]";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            place: fields.place(),
            slow_start: fields.optional("slow_start"),
            panic_threshold: fields.optional("panic_threshold"),
            min_healthy: fields.optional("min_healthy"),
            flap_damping: fields.optional_table("flap_damping"),
            passive: fields.optional("passive"),
        }
    }
}

impl Table for FlapDamping {
    const HEADER: &'static str = "flap_damping = { … }";

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            downs: fields.required("downs"),
            within: fields.required("within"),
            hold: fields.required("hold"),
        }
    }
}

impl Table for Check {
    const HEADER: &'static str = "[[pool.check]]";

    fn read(fields: &mut Fields<'_>) -> Self {
        let kind: Option<At<CheckType>> = fields.required("type");
        Self {
            place: fields.place(),
            address: fields.optional("address"),
            port: fields.optional("port"),
            through: fields.optional("through"),
            interval: fields.written("interval"),
            jitter: fields.optional("jitter"),
            timeout: fields.optional("timeout"),
            rise: fields.optional("rise"),
            fall: fields.optional("fall"),
            initial: fields.optional("initial"),
            probe: match kind {
                Some(kind) => Some(probe(kind.value, fields)),
                None => {
                    fields.know(&EVERY_KEY);
                    None
                }
            },
        }
    }
}

/// The keys of all types.
const EVERY_KEY: [&str; 18] = [
    "agent",
    "body",
    "body_regex",
    "ca_file",
    "command",
    "environment",
    "expect",
    "host",
    "method",
    "path",
    "query",
    "record",
    "send",
    "service",
    "sni",
    "status",
    "tls",
    "verify",
];

fn probe(kind: CheckType, fields: &mut Fields<'_>) -> Probe {
    match kind {
        CheckType::Tcp => {
            fields.headed("a check of type `tcp`");
            Probe::Tcp(Tcp {
                send: fields.optional("send"),
                expect: fields.optional("expect"),
                agent: fields.optional("agent"),
            })
        }
        CheckType::Http => {
            fields.headed("a check of type `http`");
            Probe::Http(http(fields))
        }
        CheckType::Https => {
            fields.headed("a check of type `https`");
            Probe::Https(http(fields), tls(fields))
        }
        CheckType::Grpc => {
            fields.headed("a check of type `grpc`");
            Probe::Grpc(Grpc {
                service: fields.optional("service"),
                host: fields.optional("host"),
                tls: fields.optional("tls"),
                keys: tls(fields),
            })
        }
        CheckType::Udp => {
            fields.headed("a check of type `udp`");
            Probe::Udp(Udp {
                send: fields.required("send"),
                expect: fields.optional("expect"),
            })
        }
        CheckType::Dns => {
            fields.headed("a check of type `dns`");
            Probe::Dns(Dns {
                query: fields.required("query"),
                record: fields.optional("record"),
                expect: fields.optional_one_or_more("expect"),
            })
        }
        CheckType::Icmp => {
            fields.headed("a check of type `icmp`");
            Probe::Icmp
        }
        CheckType::Exec => {
            fields.headed("a check of type `exec`");
            Probe::Exec(Exec {
                command: fields.required_list("command"),
                environment: fields.list("environment"),
                agent: fields.optional("agent"),
            })
        }
    }
}

fn http(fields: &mut Fields<'_>) -> Http {
    Http {
        method: fields.optional("method"),
        path: fields.optional("path"),
        host: fields.optional("host"),
        status: fields.optional_one_or_more("status"),
        body: fields.optional("body"),
        body_regex: fields.optional("body_regex"),
        agent: fields.optional("agent"),
    }
}

fn tls(fields: &mut Fields<'_>) -> Tls {
    Tls {
        verify: fields.optional("verify"),
        sni: fields.optional("sni"),
        ca_file: fields.optional("ca_file"),
    }
}
