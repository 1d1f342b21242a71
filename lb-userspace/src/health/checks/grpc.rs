//! The call `grpc.health.v1.Health/Check`: HTTP/2, a message of one string out and one of one number
//! back. Both are written and read here: as protobuf they are a few bytes.

use std::{future::Future, pin::pin};

use bytes::{BufMut, Bytes, BytesMut};
use h2::{RecvStream, client};
use hyper::{HeaderMap, Request, Uri, header::HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    clients::Clients,
    stream::{self, MOST, Ran, failed},
    tls::Connector,
};
use crate::{
    health::{
        advice::{Advice, shown},
        outcome::{Failure, Outcome, Phase, Serving},
        probing::Progress,
        targets::Target,
    },
    model::probe::Grpc,
};

const PATH: &str = "/grpc.health.v1.Health/Check";

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    message: Bytes,
    host: Option<String>,
    tls: Option<Connector>,
}

impl Call {
    pub(super) fn new(Grpc { service, host, tls }: Grpc) -> Self {
        Self {
            message: encode(&service),
            host,
            tls: tls.map(|tls| Connector::new(tls, b"h2")),
        }
    }

    pub(super) async fn run(&self, target: Target, clients: &Clients, progress: &Progress) -> Ran {
        let stream = stream::connect(target, clients, progress).await?;
        match &self.tls {
            Some(tls) => {
                let stream = tls.connect(stream, target, progress).await?;
                self.exchange(stream, target, progress).await
            }
            None => self.exchange(stream, target, progress).await,
        }
    }

    async fn exchange<S>(&self, stream: S, target: Target, progress: &Progress) -> Ran
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        progress.reached(Phase::Waiting);
        let request = self.request(target)?;
        let made = client::handshake(stream).await;
        let (sender, connection) = made.map_err(|error| broken(&error))?;
        let asked = self.ask(sender, request);
        // The connection is driven beside what is asked on it, and goes with it.
        beside(asked, connection).await
    }

    fn request(&self, target: Target) -> Result<Request<()>, Outcome> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let authority = match &self.host {
            Some(host) => host.clone(),
            None => target.socket().to_string(),
        };
        let uri = Uri::builder().scheme(scheme).authority(authority);
        let uri = uri.path_and_query(PATH).build();
        let request = uri.and_then(|uri| {
            Request::post(uri)
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header("user-agent", "sluice-health")
                .body(())
        });
        request.map_err(|error| stream::local(&error.to_string()))
    }

    async fn ask(&self, sender: client::SendRequest<Bytes>, request: Request<()>) -> Ran {
        let broken = |error: h2::Error| broken(&error);
        let mut sender = sender.ready().await.map_err(broken)?;
        let (response, mut body) = sender.send_request(request, false).map_err(broken)?;
        body.send_data(self.message.clone(), true).map_err(broken)?;
        let (head, mut body) = response.await.map_err(broken)?.into_parts();
        if head.status != 200 {
            return Err(Outcome::Failed(Failure::Status(head.status.as_u16())));
        }
        // A call that fails at once has its status among the first headers.
        if let Some(status) = status(&head.headers) {
            ok(status)?;
        }
        let message = read(&mut body).await?;
        let trailers = body.trailers().await.map_err(broken)?;
        ok(trailers.as_ref().and_then(status).unwrap_or(2))?;
        serving(&message)
    }
}

/// What comes of the first, while the other one is driven too.
async fn beside<T>(first: impl Future<Output = T>, other: impl Future) -> T {
    let mut first = pin!(first);
    tokio::select! {
        done = &mut first => done,
        _ = other => first.await,
    }
}

/// HealthCheckRequest { string service = 1; }, behind what gRPC puts before each message: whether it is
/// compressed, and its length.
fn encode(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        varint(&mut message, service.len());
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    // Names in configurations are far shorter.
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put(message);
    framed.freeze()
}

fn varint(to: &mut BytesMut, mut number: usize) {
    while number > 0x7f {
        to.put_u8((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    to.put_u8(number as u8);
}

async fn read(body: &mut RecvStream) -> Result<Vec<u8>, Outcome> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| broken(&error))?;
        // Nobody sends more than the window without this.
        let _ = body.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
        if bytes.len() > MOST {
            return Err(Outcome::Failed(Failure::Malformed("it is too long".into())));
        }
    }
    Ok(bytes)
}

/// `grpc-status`.
fn status(headers: &HeaderMap<HeaderValue>) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn ok(status: u32) -> Result<(), Outcome> {
    match status {
        0 => Ok(()),
        status => Err(Outcome::Failed(Failure::GrpcStatus(status))),
    }
}

/// HealthCheckResponse { ServingStatus status = 1; }
fn serving(bytes: &[u8]) -> Ran {
    let malformed = || Outcome::Failed(Failure::Malformed("no HealthCheckResponse".into()));
    let message = unframe(bytes).ok_or_else(malformed)?;
    let status = first_number(message).ok_or_else(malformed)?;
    let says = match status {
        1 => return Ok(Advice::NONE),
        0 => Serving::Unknown,
        2 => Serving::NotServing,
        3 => Serving::ServiceUnknown,
        other => Serving::Other(other),
    };
    Err(Outcome::Failed(Failure::NotServing(says)))
}

/// The one message, uncompressed.
fn unframe(bytes: &[u8]) -> Option<&[u8]> {
    let (head, rest) = bytes.split_first_chunk::<5>()?;
    let [0, length @ ..] = *head else {
        return None;
    };
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    rest.get(..length)
}

/// The number in field 1, 0 where it is left out; other fields are passed over (protobuf, "Encoding").
fn first_number(mut bytes: &[u8]) -> Option<u64> {
    let mut found = 0;
    while !bytes.is_empty() {
        let tag = number(&mut bytes)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => found = number(&mut bytes)?,
            (_, 0) => drop(number(&mut bytes)?),
            (_, 1) => bytes = bytes.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(number(&mut bytes)?).ok()?;
                bytes = bytes.get(length..)?;
            }
            (_, 5) => bytes = bytes.get(4..)?,
            _ => return None,
        }
    }
    Some(found)
}

/// A varint at the beginning, of ten bytes at most.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for n in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(7 * n)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// What an error of a connection means.
fn broken(error: &h2::Error) -> Outcome {
    match error.get_io() {
        Some(error) => failed(error, Phase::Waiting),
        None => Outcome::Failed(Failure::Malformed(shown(&error.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn says(bytes: &[u8]) -> Outcome {
        serving(bytes).map_or_else(|outcome| outcome, Outcome::Passed)
    }

    #[test]
    fn messages_are_as_protobuf_has_them() {
        assert_eq!(&encode("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&encode("ab")[..], b"\0\0\0\0\x04\x0a\x02ab");
        let long = encode(&"x".repeat(300));
        assert_eq!(&long[..8], b"\0\0\0\x01\x2f\x0a\xac\x02");
        assert_eq!(says(b"\0\0\0\0\x02\x08\x01"), Outcome::PASSED);
        // An unknown field of each kind before it.
        let fields = b"\x10\x05\x1a\x01x\x25abcd\x29abcdefgh\x08\x01";
        let framed = [&[0, 0, 0, 0, fields.len() as u8][..], fields].concat();
        assert_eq!(says(&framed), Outcome::PASSED);
        let not = |serving| Outcome::Failed(Failure::NotServing(serving));
        assert_eq!(says(b"\0\0\0\0\x02\x08\x02"), not(Serving::NotServing));
        assert_eq!(says(b"\0\0\0\0\0"), not(Serving::Unknown));
        assert_eq!(says(b"\0\0\0\0\x02\x08\x09"), not(Serving::Other(9)));
    }

    proptest! {
        #[test]
        fn any_message(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = says(&bytes);
            let _ = says(&[&[0, 0, 0, 0, bytes.len() as u8], &bytes[..]].concat());
        }
    }
}
