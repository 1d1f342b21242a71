//! A datagram, and an answer to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::net::UdpSocket;

use super::{
    clients::Clients,
    stream::{Ran, failed},
    tcp::expect,
};
use crate::{
    health::{
        advice::Advice,
        outcome::{Outcome, Phase},
        probing::Progress,
        targets::Target,
    },
    model::{
        Protocol,
        probe::{Payload, Udp},
    },
};

/// As long as a datagram can be.
pub(super) const LONGEST: usize = 65_535;

pub(super) async fn run(udp: &Udp, target: Target, clients: &Clients, progress: &Progress) -> Ran {
    let socket = socket(target, clients, progress).await?;
    let outcome = |error| failed(&error, Phase::Waiting);
    socket.send(&udp.send.0).await.map_err(outcome)?;
    let mut answer = Vec::with_capacity(LONGEST);
    socket.recv_buf(&mut answer).await.map_err(outcome)?;
    if let Some(Payload(expected)) = &udp.expect {
        expect(&answer, expected)?;
    }
    Ok(Advice::NONE)
}

/// A socket for this target alone: so that the kernel tells of a closed port, and nobody else's answer
/// is taken for its.
pub(super) async fn socket(
    target: Target,
    clients: &Clients,
    progress: &Progress,
) -> Result<UdpSocket, Outcome> {
    progress.reached(Phase::Connecting);
    let outcome = |error| failed(&error, Phase::Connecting);
    let any: IpAddr = match target.ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = match target.service {
        None => UdpSocket::bind((any, 0)).await.map_err(outcome)?,
        Some(service) => {
            let socket = clients.socket(target, service, Protocol::Udp).await?;
            UdpSocket::from_std(socket.into()).map_err(outcome)?
        }
    };
    socket.connect(target.socket()).await.map_err(outcome)?;
    progress.reached(Phase::Waiting);
    Ok(socket)
}
