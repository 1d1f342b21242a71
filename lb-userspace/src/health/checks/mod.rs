//! How each kind of check is run: one file a kind. What comes back of a run is one of the [`Outcome`]s;
//! how long it may take is not decided here.
//!
//! Peers are not trusted: what is read of them has a limit, and what makes no sense is a failure with a
//! name.

pub mod clients;
mod dns;
mod exec;
mod grpc;
mod http;
mod icmp;
mod stream;
mod tcp;
mod tls;
mod udp;

use std::{future::Future, sync::Arc};

use clients::Clients;

use super::{
    outcome::Outcome,
    probing::{Probing, Progress},
    targets::Target,
};
use crate::model::Probe;

/// Runs the checks of all kinds.
#[derive(Debug, Default)]
pub struct Prober {
    pinger: Arc<icmp::Pinger>,
    clients: Arc<Clients>,
}

impl Prober {
    /// Whose probes through services are sent as these clients'.
    pub fn new(clients: Arc<Clients>) -> Self {
        Self {
            pinger: Arc::default(),
            clients,
        }
    }
}

/// A probe, with what it needs that can be had before it runs.
#[derive(Debug)]
pub struct Prepared {
    kind: Kind,
    clients: Arc<Clients>,
}

#[derive(Debug)]
enum Kind {
    Tcp(crate::model::probe::Tcp),
    Http(Box<http::Request>),
    Grpc(grpc::Call),
    Udp(crate::model::probe::Udp),
    Dns(dns::Query),
    Icmp(Arc<icmp::Pinger>),
    Exec(crate::model::probe::Exec),
    /// The configuration takes no such thing.
    Impossible(String),
}

impl Probing for Prober {
    type Prepared = Prepared;

    fn prepare(&self, probe: &Probe) -> Prepared {
        let kind = match probe.clone() {
            Probe::Tcp(tcp) => Ok(Kind::Tcp(tcp)),
            Probe::Http(http) => http::Request::new(&http).map(Box::new).map(Kind::Http),
            Probe::Grpc(grpc) => Ok(Kind::Grpc(grpc::Call::new(grpc))),
            Probe::Udp(udp) => Ok(Kind::Udp(udp)),
            Probe::Dns(dns) => dns::Query::new(dns).map(Kind::Dns),
            Probe::Icmp => Ok(Kind::Icmp(Arc::clone(&self.pinger))),
            Probe::Exec(exec) => Ok(Kind::Exec(exec)),
        };
        Prepared {
            kind: kind.unwrap_or_else(Kind::Impossible),
            clients: Arc::clone(&self.clients),
        }
    }

    fn run(
        &self,
        prepared: Arc<Prepared>,
        target: Target,
        progress: Arc<Progress>,
    ) -> impl Future<Output = Outcome> + Send + 'static {
        run(prepared, target, progress)
    }
}

async fn run(prepared: Arc<Prepared>, target: Target, progress: Arc<Progress>) -> Outcome {
    let clients = &prepared.clients;
    let ran = match &prepared.kind {
        Kind::Tcp(tcp) => tcp::run(tcp, target, clients, &progress).await,
        Kind::Http(request) => request.run(target, clients, &progress).await,
        Kind::Grpc(call) => call.run(target, clients, &progress).await,
        Kind::Udp(udp) => udp::run(udp, target, clients, &progress).await,
        Kind::Dns(query) => query.run(target, clients, &progress).await,
        Kind::Icmp(pinger) => pinger.run(target, &progress).await,
        Kind::Exec(exec) => exec::run(exec, target, &progress).await,
        Kind::Impossible(words) => Err(stream::local(words)),
    };
    ran.map_or_else(|outcome| outcome, Outcome::Passed)
}

#[cfg(test)]
mod tests;
