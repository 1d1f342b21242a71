//! HTTP/1.1 as little as the tests need: one request, one answer, one connection, from an address
//! of the caller's choice. Blocking, with a timeout on every step.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

/// A request to be sent.
pub struct Request<'a> {
    /// `GET`, `PUT`, …
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// What follows the header.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// A request without a body.
    pub fn get(path: &'a str) -> Self {
        Self {
            method: "GET",
            path,
            body: &[],
        }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    head: String,
    /// What followed the header.
    pub body: String,
}

impl Response {
    /// A header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        let fields = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        let mut values = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().map_or("", |(_, value)| value.trim())
    }
}

/// Opens a connection from `from` (any port) or from wherever the route says.
pub fn connect(from: Option<IpAddr>, to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(from) = from {
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    socket.connect_timeout(&to.into(), limit)?;
    socket.set_read_timeout(Some(limit))?;
    socket.set_write_timeout(Some(limit))?;
    Ok(socket.into())
}

/// Sends `request` over a connection of its own and reads the answer to its very end.
pub fn exchange(
    from: Option<IpAddr>,
    to: SocketAddr,
    request: &Request<'_>,
    limit: Duration,
) -> Result<Response> {
    let stream = connect(from, to, limit).context("no connection")?;
    exchange_over(stream, &to.to_string(), request)
}

/// The same over a connection that is there already, with `host` in the header.
pub fn exchange_over(
    mut stream: impl Read + Write,
    host: &str,
    request: &Request<'_>,
) -> Result<Response> {
    let Request { method, path, body } = request;
    let mut message = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    message.extend_from_slice(body);
    stream
        .write_all(&message)
        .context("the request did not go out")?;
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .context("the answer broke off")?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<Response> {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        bail!("no whole header in {} bytes of answer", answer.len());
    };
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let response = Response {
        status: status.context("no status line")?,
        head: head.to_owned(),
        body: body.to_owned(),
    };
    let length = response.header("content-length");
    let whole = length.is_empty() || length.parse().ok() == Some(body.len());
    ensure!(whole, "the answer has {} of {length} bytes", body.len());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let response = parse(b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        assert_eq!((response.status, response.header("x-a")), (200, "b"));
        assert_eq!(response.body, "hi");
    }

    #[test]
    fn half_an_answer_is_an_error() {
        assert!(parse(b"").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Le").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi").is_err());
    }
}
