//! Connections, and what errors of sockets mean: of the target, or of this host.

use std::io;

use nix::errno::Errno;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpSocket, TcpStream},
};

use super::clients::Clients;
use crate::{
    health::{
        advice::{Advice, shown},
        outcome::{Failure, Outcome, Phase, Unknown},
        probing::Progress,
        targets::Target,
    },
    model::Protocol,
};

/// Advice of a target that answered as it should, or what became of the run else.
pub(super) type Ran = Result<Advice, Outcome>;

/// Most bytes that are read of an answer.
pub(super) const MOST: usize = 64 * 1024;

/// Connects.
pub(super) async fn connect(
    target: Target,
    clients: &Clients,
    progress: &Progress,
) -> Result<TcpStream, Outcome> {
    progress.reached(Phase::Connecting);
    let connected = match target.service {
        None => TcpStream::connect(target.socket()).await,
        Some(service) => {
            let socket = clients.socket(target, service, Protocol::Tcp).await?;
            let socket = TcpSocket::from_std_stream(socket.into());
            // Their ports are few, and one in TIME_WAIT would be none.
            let _ = socket.set_zero_linger();
            socket.connect(target.socket()).await
        }
    };
    let stream = connected.map_err(|error| failed(&error, Phase::Connecting))?;
    // A request is one write.
    stream
        .set_nodelay(true)
        .map_err(|error| failed(&error, Phase::Connecting))?;
    Ok(stream)
}

/// What an error of a socket means.
pub(super) fn failed(error: &io::Error, phase: Phase) -> Outcome {
    let Some(number) = error.raw_os_error() else {
        return Outcome::Failed(match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted => Failure::Closed(phase),
            _ => Failure::Malformed(shown(&error.to_string())),
        });
    };
    let errno = Errno::from_raw(number);
    match errno {
        Errno::ECONNREFUSED => Outcome::Failed(Failure::Refused),
        Errno::ECONNRESET | Errno::EPIPE | Errno::ECONNABORTED => {
            Outcome::Failed(Failure::Closed(phase))
        }
        Errno::EHOSTUNREACH
        | Errno::ENETUNREACH
        | Errno::EHOSTDOWN
        | Errno::ENETDOWN
        | Errno::ENOPROTOOPT
        | Errno::EPROTO
        | Errno::ETIMEDOUT => Outcome::Failed(Failure::Unreachable(errno.desc().to_owned())),
        // Descriptors, memory, ports, permissions of ours.
        _ => local(errno.desc()),
    }
}

/// A run that this host could not make.
pub(super) fn local(words: &str) -> Outcome {
    Outcome::Unknown(Unknown::Local(shown(words)))
}

/// Reads until `enough` of what has come, the end, or the limit.
pub(super) async fn read_until(
    stream: &mut (impl AsyncRead + Unpin),
    mut enough: impl FnMut(&[u8]) -> bool,
) -> Result<Vec<u8>, Outcome> {
    let mut answer = Vec::new();
    while answer.len() < MOST && !enough(&answer) {
        match stream.read_buf(&mut answer).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Err(failed(&error, Phase::Waiting)),
        }
    }
    answer.truncate(MOST);
    Ok(answer)
}

/// Whether one text contains another.
pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}
