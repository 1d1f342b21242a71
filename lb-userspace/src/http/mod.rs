//! A small HTTP/1.1 server, over TCP or a Unix socket: what the stats endpoint and the control socket
//! share. It guards itself against slow and greedy clients; what a path answers is its caller's.

mod listener;
mod patience;
mod server;

use std::{convert::Infallible, time::Duration};

use futures_util::{Stream, StreamExt};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Response, StatusCode,
    body::{Bytes, Frame},
    header,
    http::HeaderValue,
};

pub(crate) use listener::Listener;
pub(crate) use server::serve;

/// The content type of words for people.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// The path, without a query.
    pub(crate) path: String,
    /// What is after the question mark, as it was sent.
    pub(crate) query: String,
    /// What it wants done there.
    pub(crate) method: Method,
    /// What it sends along: nothing, but with POST.
    pub(crate) body: Result<Bytes, Unread>,
}

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a body; of 0, none is read.
    pub(crate) body: usize,
    /// Of a connection. After that no further request is taken on it. An answer that goes on may end later.
    pub(crate) lifetime: Duration,
}

/// Why a body was not read to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unread {
    /// It has more bytes than it may.
    #[error("a body has {0} bytes at most")]
    TooLong(usize),
    /// The client broke off, or sent nonsense.
    #[error("the body can't be read: {0}")]
    Broken(String),
}

impl Unread {
    /// What to answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// What a client wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// GET or HEAD: it only reads.
    Read,
    /// POST.
    Post,
    /// Anything else.
    Other,
}

/// A response whose content type is known.
pub(crate) fn response<T>(status: StatusCode, content_type: &'static str, body: T) -> Response<T> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a response says: a text, or what goes on for as long as there is something to say and the client reads.
pub(crate) type Content = UnsyncBoxBody<Bytes, Infallible>;

/// A text.
pub(crate) fn whole(text: String) -> Content {
    Full::from(text).boxed_unsync()
}

/// What goes on, part by part.
pub(crate) fn parts(parts: impl Stream<Item = String> + Send + 'static) -> Content {
    let frames = parts.map(|part| Ok(Frame::data(Bytes::from(part))));
    StreamBody::new(frames).boxed_unsync()
}

/// A response with the methods that its path takes.
pub(crate) fn allowing(mut response: Response<String>, methods: &'static str) -> Response<String> {
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}
