//! A request over HTTP/1.1, plain or over TLS: its status, its body, and what an agent says in either a
//! header `Weight` or the first line of the body.
//!
//! A connection of its own for each run: one that is kept says nothing of whether new ones are taken.

use http_body_util::{BodyExt, Empty};
use hyper::{
    Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{CONNECTION, HOST, HeaderMap, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use regex::bytes::Regex;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    clients::Clients,
    stream::{self, MOST, Ran, failed},
    tls::Connector,
};
use crate::{
    health::{
        advice::{self, Advice, Said, shown},
        outcome::{Failure, Outcome, Phase},
        probing::Progress,
        targets::Target,
    },
    model::probe::{Http, StatusRange},
};

/// What an agent may say its weight in.
const WEIGHT: &str = "weight";

/// A request, and what the answer must be.
#[derive(Debug)]
pub(super) struct Request {
    method: hyper::Method,
    path: Uri,
    host: Option<HeaderValue>,
    status: Vec<StatusRange>,
    /// What the body must have, each with its words.
    body: Vec<(Regex, String)>,
    tls: Option<Connector>,
    agent: bool,
}

impl Request {
    /// Prepares it; says what can't be.
    pub(super) fn new(http: &Http) -> Result<Self, String> {
        let method = http.method.parse().map_err(|_| http.method.clone())?;
        let path = http.path.parse().map_err(|_| http.path.clone())?;
        let host = http.host.as_ref().map(|host| host.parse());
        let host = host.transpose().map_err(|_| "the host".to_owned())?;
        let regex = |pattern: &str| Regex::new(pattern).map_err(|error| error.to_string());
        let mut body = Vec::new();
        if let Some(text) = &http.body {
            body.push((regex(&regex::escape(text))?, format!("lacks \"{text}\"")));
        }
        if let Some(pattern) = &http.body_regex {
            body.push((regex(pattern)?, format!("does not match \"{pattern}\"")));
        }
        let tls = http.tls.clone();
        Ok(Self {
            method,
            path,
            host,
            status: http.status.clone(),
            body,
            tls: tls.map(|tls| Connector::new(tls, b"http/1.1")),
            agent: http.agent,
        })
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
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        progress.reached(Phase::Waiting);
        let request = self.request(target)?;
        let made = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = made.map_err(|error| broken(&error))?;
        let asked = async {
            let response = sender.send_request(request).await;
            self.judge(response.map_err(|error| broken(&error))?).await
        };
        // The connection is driven beside what is asked on it, and goes with it.
        tokio::pin!(asked);
        tokio::select! {
            ran = &mut asked => ran,
            _ = connection => asked.await,
        }
    }

    fn request(&self, target: Target) -> Result<hyper::Request<Empty<Bytes>>, Outcome> {
        let impossible = |error: &dyn std::fmt::Display| stream::local(&error.to_string());
        let host = match &self.host {
            Some(host) => host.clone(),
            None => HeaderValue::try_from(self.host_of(target)).map_err(|e| impossible(&e))?,
        };
        let mut request = hyper::Request::new(Empty::new());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, HeaderValue::from_static("sluice-health"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(request)
    }

    /// The address, with a port that is not the scheme's own.
    fn host_of(&self, target: Target) -> String {
        let usual = if self.tls.is_some() { 443 } else { 80 };
        let address = target.socket().to_string();
        match target.socket().port() {
            port if port == usual => {
                let port = format!(":{port}");
                address.strip_suffix(&port).unwrap_or(&address).to_owned()
            }
            _ => address,
        }
    }

    async fn judge(&self, response: Response<Incoming>) -> Ran {
        let status = response.status();
        if !self
            .status
            .iter()
            .any(|range| range.contains(status.as_u16()))
        {
            return Err(self.not_expected(status, response.headers()));
        }
        let from_header = self.agent.then(|| said(response.headers())).flatten();
        if self.body.is_empty() && (!self.agent || from_header.is_some()) {
            return advise(from_header);
        }
        let body = body(response.into_body()).await?;
        if let Some((_, words)) = self.body.iter().find(|(regex, _)| !regex.is_match(&body)) {
            return Err(Outcome::Failed(Failure::Body(words.clone())));
        }
        let from_body = || advice::read(&String::from_utf8_lossy(&body));
        advise(from_header.or_else(|| self.agent.then(from_body).flatten()))
    }

    /// A status that fails; an agent that says it is down beside it is taken at its word.
    fn not_expected(&self, status: StatusCode, headers: &HeaderMap) -> Outcome {
        let down = self.agent.then(|| said(headers)).flatten();
        Outcome::Failed(match down {
            Some(Said::Down(words)) => Failure::Agent(words),
            Some(Said::Advice(_)) | None => Failure::Status(status.as_u16()),
        })
    }
}

/// What an agent says in a header.
fn said(headers: &HeaderMap) -> Option<Said> {
    let value = headers.get(WEIGHT)?.to_str().ok()?;
    advice::read_header(value)
}

/// A page that says nothing of weights is none the worse for it.
fn advise(said: Option<Said>) -> Ran {
    match said {
        Some(Said::Advice(advice)) => Ok(advice),
        Some(Said::Down(words)) => Err(Outcome::Failed(Failure::Agent(words))),
        None => Ok(Advice::NONE),
    }
}

/// The first bytes of a body, as many as are looked at.
async fn body(mut body: Incoming) -> Result<Vec<u8>, Outcome> {
    let mut bytes = Vec::new();
    while bytes.len() < MOST {
        let Some(frame) = body.frame().await else {
            break;
        };
        let frame = frame.map_err(|error| broken(&error))?;
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
    }
    bytes.truncate(MOST);
    Ok(bytes)
}

/// What an error of a connection means.
fn broken(error: &hyper::Error) -> Outcome {
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return Outcome::Failed(Failure::Closed(Phase::Waiting));
    }
    let source = std::error::Error::source(error);
    match source.and_then(|source| source.downcast_ref::<std::io::Error>()) {
        Some(error) => failed(error, Phase::Waiting),
        None => Outcome::Failed(Failure::Malformed(shown(&error.to_string()))),
    }
}
