//! A small HTTP/1.1 server for read-only answers, over TCP or a Unix socket: what the stats
//! endpoint and the control socket share. It guards itself against slow and greedy clients; what a
//! path answers is its caller's.

mod listener;
mod server;

use hyper::{Response, StatusCode, header, http::HeaderValue};

pub(crate) use listener::Listener;
pub(crate) use server::serve;

/// The content type of words for people.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// The path, without a query.
    pub(crate) path: String,
    /// Whether it only wants to read (GET or HEAD).
    pub(crate) reads: bool,
}

/// A response whose content type is known.
pub(crate) fn response(
    status: StatusCode,
    content_type: &'static str,
    body: String,
) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
