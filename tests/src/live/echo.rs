//! The process of one backend: answers every number with itself and the backend's name.

use std::{io, net::SocketAddr};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime,
};

use super::messages::{ANSWER, QUESTION, padded};

/// Connections that may wait to be taken.
const BACKLOG: i32 = 4096;

/// Serves at `addresses` as `name` until the process is ended.
pub fn run(name: &str, addresses: &[SocketAddr]) -> Result<()> {
    let name = padded(name)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")?;
    runtime.block_on(async {
        let mut listeners = Vec::new();
        for address in addresses {
            let listener = listen(*address);
            let listener = listener.with_context(|| format!("could not listen on {address}"))?;
            listeners.push(tokio::spawn(serve(listener, name)));
        }
        for listener in listeners {
            listener.await.context("a listener panicked")??;
        }
        Ok(())
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn serve(listener: TcpListener, name: [u8; ANSWER - QUESTION]) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await.context("could not accept")?;
        // A connection that ends, however that happens, is the client's to judge.
        tokio::spawn(answer(stream, name));
    }
}

async fn answer(mut stream: TcpStream, name: [u8; ANSWER - QUESTION]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut answer = [0; ANSWER];
    answer[QUESTION..].copy_from_slice(&name);
    loop {
        stream.read_exact(&mut answer[..QUESTION]).await?;
        stream.write_all(&answer).await?;
    }
}
