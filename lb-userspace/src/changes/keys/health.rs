//! The same of what a pool says about health. A check is one entry of a list, with all of its keys.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::{Keys, Value, one, option, time};
use crate::model::{
    Check, FlapDamping, Health, Pace, Probe, Through,
    probe::{Dns, Exec, Grpc, Http, Tcp, Tls, Udp},
};

/// `[pool.health]`.
pub(super) fn health(health: &Health) -> Keys {
    let Health {
        slow_start,
        panic_threshold,
        min_healthy,
        flap_damping,
        passive,
    } = health;
    let damping = flap_damping.map(
        |FlapDamping {
             downs,
             within,
             hold,
         }| { format!("{downs} within {}, held for {}", time(within), time(hold)) },
    );
    vec![
        ("health.slow_start", option(slow_start.map(time))),
        ("health.panic_threshold", one(format!("{panic_threshold}%"))),
        ("health.min_healthy", one(min_healthy)),
        ("health.flap_damping", option(damping)),
        ("health.passive", one(passive)),
    ]
}

/// All `[[pool.check]]`.
pub(super) fn checks(checks: &[Check]) -> Value {
    Value::List(checks.iter().map(check).collect())
}

fn check(check: &Check) -> String {
    let Check {
        probe,
        address,
        port,
        through,
        pace,
    } = check;
    let Pace {
        interval,
        jitter,
        timeout,
        rise,
        fall,
        initial,
    } = pace;
    let mut words = vec![probe.kind().to_owned()];
    words.extend(self::probe(probe));
    words.extend(address.map(|address| format!("address {address}")));
    words.extend(port.map(|port| format!("port {port}")));
    words.extend((*through != Through::Backend).then(|| format!("through {through}")));
    words.extend([
        format!("interval {}", time(*interval)),
        format!("jitter {}", time(*jitter)),
        format!("timeout {}", time(*timeout)),
        format!("rise {rise}"),
        format!("fall {fall}"),
        format!("initial {initial}"),
    ]);
    words.join(" ")
}

fn probe(probe: &Probe) -> Vec<String> {
    match probe {
        Probe::Tcp(tcp) => self::tcp(tcp),
        Probe::Http(http) => self::http(http),
        Probe::Grpc(Grpc { service, host, tls }) => {
            let mut words = vec![format!("service \"{service}\"")];
            words.extend(named("host", host.as_ref()));
            words.extend(tls.iter().flat_map(self::tls));
            words
        }
        Probe::Udp(Udp { send, expect }) => {
            let mut words = vec![format!("send {send}")];
            words.extend(named("expect", expect.as_ref()));
            words
        }
        Probe::Dns(Dns {
            query,
            record,
            expect,
        }) => {
            let mut words = vec![format!("query {query} record {record}")];
            words.extend(expect.iter().map(|data| format!("expect \"{data}\"")));
            words
        }
        Probe::Icmp => Vec::new(),
        Probe::Exec(exec) => self::exec(exec),
    }
}

fn tcp(
    Tcp {
        send,
        expect,
        agent,
    }: &Tcp,
) -> Vec<String> {
    let mut words: Vec<String> = named("send", send.as_ref()).into_iter().collect();
    words.extend(named("expect", expect.as_ref()));
    words.extend(agent.then(|| "agent".to_owned()));
    words
}

fn http(http: &Http) -> Vec<String> {
    let Http {
        method,
        path,
        host,
        status,
        body,
        body_regex,
        tls,
        agent,
    } = http;
    let mut words = vec![format!("{method} {path}")];
    words.extend(named("host", host.as_ref()));
    words.extend(status.iter().map(|range| format!("status {range}")));
    words.extend(body.iter().map(|text| format!("body \"{text}\"")));
    words.extend(
        body_regex
            .iter()
            .map(|text| format!("body_regex \"{text}\"")),
    );
    words.extend(tls.iter().flat_map(self::tls));
    words.extend(agent.then(|| "agent".to_owned()));
    words
}

fn tls(tls: &Tls) -> Vec<String> {
    let Tls {
        verify,
        sni,
        ca_file,
    } = tls;
    let mut words = vec![format!("tls verify {verify}")];
    words.extend(named("sni", sni.as_ref()));
    words.extend(named(
        "ca_file",
        ca_file.as_ref().map(|file| file.display()),
    ));
    words
}

fn exec(exec: &Exec) -> Vec<String> {
    let Exec {
        program,
        arguments,
        environment,
        agent,
    } = exec;
    let mut words = vec![program.display().to_string()];
    words.extend(arguments.iter().map(|word| format!("\"{word}\"")));
    let variable = |(name, value): &(String, String)| format!("{name}={}", disguised(value));
    words.extend(environment.iter().map(variable));
    words.extend(agent.then(|| "agent".to_owned()));
    words
}

fn named(key: &str, value: Option<impl std::fmt::Display>) -> Option<String> {
    value.map(|value| format!("{key} {value}"))
}

/// Perhaps a password, so nothing is shown but whether it is another one.
fn disguised(value: &str) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(value.as_bytes());
    format!("…{:04x}", hasher.finish() & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_shows_that_it_changed_and_not_what_it_is() {
        let exec = |secret: &str| {
            Probe::Exec(Exec {
                program: "/bin/true".into(),
                arguments: vec!["a b".into()],
                environment: vec![("PASSWORD".into(), secret.into())],
                agent: false,
            })
        };
        let shown = |secret: &str| probe(&exec(secret)).join(" ");
        assert_ne!(shown("hunter2"), shown("hunter3"));
        assert!(shown("hunter2").starts_with("/bin/true \"a b\" PASSWORD=…"));
        assert!(!shown("hunter2").contains("hunter"));
    }
}
