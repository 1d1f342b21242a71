//! Every kind of check against small servers on loopback: what passes, and each way to fail by its
//! name.

mod clients;
mod dns;
mod exec;
mod grpc;
mod http;
mod icmp;
mod tcp;
mod tls;
mod udp;

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::Prober;
use crate::{
    health::{Failure, Outcome, Phase, Probing, Progress, Target},
    model::Probe,
};

/// Far above what anything here takes.
const LONG: Duration = Duration::from_secs(20);
/// Enough for what is to time out.
const SHORT: Duration = Duration::from_millis(300);

/// One run that may take so long.
async fn run_within(limit: Duration, probe: &Probe, address: SocketAddr) -> Outcome {
    let prober = Prober::default();
    let prepared = Arc::new(prober.prepare(probe));
    let progress = Arc::<Progress>::default();
    let target = Target {
        service: None,
        ip: address.ip(),
        port: Some(address.port()),
    };
    let run = prober.run(prepared, target, Arc::clone(&progress));
    let outcome = timeout(limit, run).await;
    outcome.unwrap_or_else(|_| Outcome::Failed(Failure::TimedOut(progress.phase(), limit)))
}

async fn run(probe: &Probe, address: SocketAddr) -> Outcome {
    run_within(LONG, probe, address).await
}

/// The failure that a run comes to.
async fn failure(probe: &Probe, address: SocketAddr) -> Failure {
    match run(probe, address).await {
        Outcome::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// A server that deals with each connection like this, until the test ends.
async fn server<F, W>(deal: F) -> SocketAddr
where
    F: Fn(TcpStream) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(deal(stream));
        }
    });
    address
}

/// A server that reads what comes first, answers with this, and closes.
async fn answering(answer: &'static [u8]) -> SocketAddr {
    server(move |mut stream| async move {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
        // Closed with something unread, it would be a reset.
        while let Ok(1..) = stream.read(&mut request).await {}
    })
    .await
}

/// A server that accepts and says nothing.
async fn silent() -> SocketAddr {
    server(|stream| async move {
        tokio::time::sleep(LONG).await;
        drop(stream);
    })
    .await
}

/// An address where nobody listens.
async fn closed() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap()
}

const WAITING: Outcome = Outcome::Failed(Failure::TimedOut(Phase::Waiting, SHORT));
