//! The same of what is written about health.

use std::time::Duration;

use super::or;
use crate::{
    config::{
        probe::{EnvVar, Text},
        raw::health as raw,
        schema::Written,
        source::At,
    },
    model::{
        Check, FlapDamping, Health, Pace, Probe,
        probe::{Dns, Exec, Grpc, Http, StatusRange, Tcp, Tls, Udp},
    },
};

pub(super) fn health(written: &raw::Health) -> Option<Health> {
    Some(Health {
        slow_start: written.slow_start.as_ref().map(|at| at.value),
        panic_threshold: written.panic_threshold.as_ref().map_or(0, |at| at.value.0),
        min_healthy: written.min_healthy.as_ref().map_or(0, |at| at.value.0),
        flap_damping: match &written.flap_damping {
            Some(written) => Some(flap_damping(written)?),
            None => None,
        },
        passive: written.passive.as_ref().is_some_and(|at| at.value),
    })
}

fn flap_damping(written: &raw::FlapDamping) -> Option<FlapDamping> {
    Some(FlapDamping {
        downs: written.downs.as_ref()?.value.0,
        within: written.within.as_ref()?.value,
        hold: written.hold.as_ref()?.value,
    })
}

/// A check, if all of it could be read.
pub(in crate::config) fn check(written: &raw::Check) -> Option<Check> {
    Some(Check {
        probe: probe(written.probe.as_ref()?)?,
        address: written.address.as_ref().map(|at| at.value.0),
        port: written.port.as_ref().map(|at| at.value.0),
        through: or(&written.through, Default::default()),
        pace: pace(written)?,
    })
}

/// How often a check runs, if its interval could be read.
pub(in crate::config) fn pace(written: &raw::Check) -> Option<Pace> {
    let interval = match &written.interval {
        Written::Not => Pace::DEFAULT_INTERVAL,
        Written::Broken => return None,
        Written::As(at) => at.value,
    };
    let jitter = written.jitter.as_ref().map(|at| at.value.0);
    Some(Pace {
        interval,
        jitter: jitter.unwrap_or(Pace::default_jitter(interval)),
        timeout: or(
            &written.timeout,
            Duration::min(Pace::DEFAULT_TIMEOUT, interval),
        ),
        rise: written
            .rise
            .as_ref()
            .map_or(Pace::DEFAULT_RISE, |at| at.value.0),
        fall: written
            .fall
            .as_ref()
            .map_or(Pace::DEFAULT_FALL, |at| at.value.0),
        initial: or(&written.initial, Default::default()),
    })
}

fn probe(written: &raw::Probe) -> Option<Probe> {
    Some(match written {
        raw::Probe::Tcp(tcp) => Probe::Tcp(Tcp {
            send: value(&tcp.send),
            expect: value(&tcp.expect),
            agent: or(&tcp.agent, false),
        }),
        raw::Probe::Http(written) => Probe::Http(Box::new(http(written, None)?)),
        raw::Probe::Https(written, keys) => Probe::Http(Box::new(http(written, Some(tls(keys)))?)),
        raw::Probe::Grpc(grpc) => Probe::Grpc(Grpc {
            service: text(&grpc.service).unwrap_or_default(),
            host: grpc.host.as_ref().map(|at| at.value.0.clone()),
            tls: or(&grpc.tls, false).then(|| tls(&grpc.keys)),
        }),
        raw::Probe::Udp(udp) => Probe::Udp(Udp {
            send: value(&udp.send)?,
            expect: value(&udp.expect),
        }),
        raw::Probe::Dns(dns) => Probe::Dns(self::dns(dns)?),
        raw::Probe::Icmp => Probe::Icmp,
        raw::Probe::Exec(exec) => Probe::Exec(self::exec(exec)?),
    })
}

fn http(written: &raw::Http, tls: Option<Tls>) -> Option<Http> {
    let method = written.method.as_ref().map(|at| at.value.0.clone());
    let path = written.path.as_ref().map(|at| at.value.0.clone());
    Some(Http {
        method: method.unwrap_or_else(|| "GET".to_owned()),
        path: path.unwrap_or_else(|| "/".to_owned()),
        host: written.host.as_ref().map(|at| at.value.0.clone()),
        status: match &written.status {
            Some(list) if list.whole => list.values().copied().collect(),
            Some(_) => return None,
            None => vec![StatusRange::DEFAULT],
        },
        body: text(&written.body),
        body_regex: written.body_regex.as_ref().map(|at| at.value.0.clone()),
        tls,
        agent: or(&written.agent, false),
    })
}

fn tls(written: &raw::Tls) -> Tls {
    Tls {
        verify: or(&written.verify, true),
        sni: written.sni.as_ref().map(|at| at.value.0.clone()),
        ca_file: written.ca_file.as_ref().map(|at| at.value.0.clone()),
    }
}

fn dns(written: &raw::Dns) -> Option<Dns> {
    let expect = written.expect.iter().flat_map(|list| list.values());
    Some(Dns {
        query: written.query.as_ref()?.value.0.clone(),
        record: or(&written.record, Default::default()),
        expect: expect.map(|text| text.0.clone()).collect(),
    })
}

fn exec(written: &raw::Exec) -> Option<Exec> {
    let mut words = written.command.values().map(|word| word.0.clone());
    let variable = |EnvVar { name, value }: &EnvVar| (name.clone(), value.clone());
    Some(Exec {
        program: words.next()?.into(),
        arguments: words.collect(),
        environment: written.environment.values().map(variable).collect(),
        agent: or(&written.agent, false),
    })
}

fn value<T: Clone>(written: &Option<At<T>>) -> Option<T> {
    written.as_ref().map(|at| at.value.clone())
}

fn text(written: &Option<At<Text>>) -> Option<String> {
    written.as_ref().map(|at| at.value.0.clone())
}
