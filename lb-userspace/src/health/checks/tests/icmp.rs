//! Echo requests: to this host itself, where this process may send any.

use std::net::{IpAddr, Ipv6Addr};

use socket2::{Domain, Protocol, Socket, Type};

use super::*;
use crate::health::Unknown;

/// What a run should come to here.
fn expected(ip: IpAddr) -> Outcome {
    let (domain, protocol) = match ip {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    match Socket::new(domain, Type::RAW, Some(protocol)) {
        Ok(_) => Outcome::PASSED,
        Err(error) => Outcome::Unknown(Unknown::Local(format!("a raw socket: {error}"))),
    }
}

#[tokio::test]
async fn many_at_once_get_their_own_answers_or_all_lack_the_permission() {
    let prober = Prober::default();
    let prepared = Arc::new(prober.prepare(&Probe::Icmp));
    // Every address of 127.0.0.0/8 answers.
    let addresses = (1..=200).map(|n| IpAddr::V4(Ipv4Addr::new(127, 0, 1, n)));
    let runs = addresses.map(|ip| {
        let target = Target {
            ip,
            port: None,
            service: None,
        };
        let run = prober.run(Arc::clone(&prepared), target, Arc::default());
        tokio::spawn(async move { (ip, timeout(LONG, run).await) })
    });
    for run in runs.collect::<Vec<_>>() {
        let (ip, outcome) = run.await.unwrap();
        assert_eq!(outcome.unwrap(), expected(ip), "{ip}");
    }
}

#[tokio::test]
async fn ipv6_answers_where_there_is_any() {
    let ip = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if TcpListener::bind((ip, 0)).await.is_ok() {
        let outcome = run(&Probe::Icmp, SocketAddr::new(ip, 0)).await;
        assert_eq!(outcome, expected(ip));
    }
}
