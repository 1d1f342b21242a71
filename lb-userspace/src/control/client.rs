//! The commands' end of the control socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
    http::request::Builder,
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, time::timeout};

use super::api::{
    API, Any, DrainBody, EventLine, Happened, Maintained, MaintenanceBody, Overridden, PlanBody,
    Planned, Pools, ResignBody, Resigned, Resource, Services, Status, VERSION, VERSION_HEADER,
    Vrrp, WeightBody, Who,
};
use crate::config::Diagnostic;

/// For a whole exchange.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where the agent has something to do: a configuration of many backends takes it seconds, and flows are counted
/// for a minute.
const PATIENCE_FOR_ACTIONS: Duration = Duration::from_secs(120);
/// Bytes of a body. (A backend with its counters takes some 500.)
const MOST_BODY: usize = 256 << 20;

/// Asks the agent behind a control socket.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

/// Why the agent could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("no agent answers at {}: {}", .path.display(), hint(.error, .path))]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// What connecting to it gave.
        error: io::Error,
    },
    /// Somebody listens, but the exchange failed.
    #[error("what listens at {} gave no answer: {source}", .path.display())]
    Exchange {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody listens and says nothing.
    #[error("the agent at {} did not answer within {} s", .path.display(), .patience.as_secs())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The agent speaks another version.
    #[error(
        "this sluice ({VERSION}) speaks API {API}, the agent at {} ({version}) speaks {theirs}: \
         use the same version",
        .path.display()
    )]
    WrongVersion {
        /// The socket.
        path: PathBuf,
        /// The version of the agent's binary.
        version: String,
        /// The API that it speaks.
        theirs: u32,
    },
    /// The agent's answer can't be understood.
    #[error(
        "the agent at {} (sluice {version}) gives an answer that sluice {VERSION} doesn't \
         understand: {source}",
        .path.display()
    )]
    Misunderstood {
        /// The socket.
        path: PathBuf,
        /// The version of the agent's binary.
        version: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Somebody else answers.
    #[error("what answers at {} is no sluice agent", .path.display())]
    NotAnAgent {
        /// The socket.
        path: PathBuf,
    },
    /// The agent refused.
    #[error("the agent at {} says: {message}", .path.display())]
    Refused {
        /// The socket.
        path: PathBuf,
        /// In its words.
        message: String,
        /// What is wrong with a configuration, if that is why.
        diagnostics: Vec<Diagnostic>,
    },
}

impl Client {
    /// A client of the agent at that socket.
    pub fn new(path: &Path) -> Self {
        let path = path.to_owned();
        Self { path }
    }

    /// Is anything wrong, and what.
    pub async fn status(&self) -> Result<Status, Error> {
        self.ask(Resource::Status).await
    }

    /// All services.
    pub async fn services(&self) -> Result<Services, Error> {
        self.ask(Resource::Services).await
    }

    /// All pools with their backends.
    pub async fn pools(&self) -> Result<Pools, Error> {
        self.ask(Resource::Backends).await
    }

    /// All addresses that move between hosts.
    pub async fn vrrp(&self) -> Result<Vrrp, Error> {
        self.ask(Resource::Vrrp).await
    }

    /// What happened after that event, as far as it is kept.
    pub async fn events(&self, since: u64) -> Result<Happened, Error> {
        let path = format!("{}?since={since}", Resource::Events.path());
        self.exchange(Request::get(path), String::new(), PATIENCE)
            .await
    }

    /// Hands on what happens, or what happened after that event first, until the agent ends or `each` wants no more.
    pub async fn follow(
        &self,
        since: Option<u64>,
        each: impl FnMut(EventLine) -> bool,
    ) -> Result<(), Error> {
        let since = since.map(|since| format!("&since={since}"));
        let path = Resource::Events.path();
        let path = format!("{path}?follow=true{}", since.unwrap_or_default());
        let (sender, connection) = http1::handshake(TokioIo::new(self.connect().await?))
            .await
            .map_err(|error| self.failed(error))?;
        // It ends once the sender and the response are gone.
        let followed = async {
            let mut sender = sender;
            let request = Request::get(path).header(header::HOST, "sluice");
            let request = request.body(String::new());
            let request = request.map_err(|error| self.failed(error))?;
            let asked = timeout(PATIENCE, sender.send_request(request)).await;
            let asked = asked.map_err(|_| Error::Silent {
                path: self.path.clone(),
                patience: PATIENCE,
            })?;
            self.lines(asked.map_err(|error| self.failed(error))?, each)
                .await
        };
        let (ended, _) = tokio::join!(followed, connection);
        ended
    }

    /// Hands on the lines of an answer that goes on.
    async fn lines(
        &self,
        response: Response<Incoming>,
        mut each: impl FnMut(EventLine) -> bool,
    ) -> Result<(), Error> {
        let version = version(&response);
        let is_followed = version.is_some() && response.status() == StatusCode::OK;
        let mut body = response.into_body();
        if !is_followed {
            let body = Limited::new(body, MOST_BODY).collect().await;
            let body = body.map_err(|error| self.failed(error))?.to_bytes();
            return self.understand::<Any>(version, &body).map(drop);
        }
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.failed(error))?;
            read.extend(frame.into_data().unwrap_or_default());
            while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = read.drain(..=end).collect();
                let line = serde_json::from_slice(&line);
                let line = line.map_err(|source| Error::Misunderstood {
                    path: self.path.clone(),
                    version: version.clone().unwrap_or_default(),
                    source,
                })?;
                if !each(line) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Has the agent take its configuration's files as they are now.
    pub async fn reload(&self) -> Result<Planned, Error> {
        self.post(Resource::Reload, String::new()).await
    }

    /// Has the agent go back to the configuration before.
    pub async fn rollback(&self) -> Result<Planned, Error> {
        self.post(Resource::Rollback, String::new()).await
    }

    /// What a configuration would change.
    pub async fn plan(&self, body: &PlanBody) -> Result<Planned, Error> {
        self.post_json(Resource::Plan, body).await
    }

    /// Has the agent drain backends.
    pub async fn drain(&self, body: &DrainBody) -> Result<Overridden, Error> {
        self.post_json(Resource::Drain, body).await
    }

    /// Has the agent drain them no more.
    pub async fn undrain(&self, who: &Who) -> Result<Overridden, Error> {
        self.post_json(Resource::Undrain, who).await
    }

    /// Has the agent give backends another weight.
    pub async fn weigh(&self, body: &WeightBody) -> Result<Overridden, Error> {
        self.post_json(Resource::Weight, body).await
    }

    /// Has the agent give all floating IPs up and take none, or take part again.
    pub async fn maintain(&self, on: bool) -> Result<Maintained, Error> {
        self.post_json(Resource::Maintenance, &MaintenanceBody { on })
            .await
    }

    /// Has an instance give its floating IPs up.
    pub async fn resign(&self, instance: &str) -> Result<Resigned, Error> {
        let instance = instance.to_owned();
        self.post_json(Resource::Resign, &ResignBody { instance })
            .await
    }

    async fn post_json<T: DeserializeOwned>(
        &self,
        resource: Resource,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_string(body).map_err(|source| Error::Exchange {
            path: self.path.clone(),
            source: source.into(),
        })?;
        self.post(resource, body).await
    }

    async fn ask<T: DeserializeOwned>(&self, resource: Resource) -> Result<T, Error> {
        self.exchange(Request::get(resource.path()), String::new(), PATIENCE)
            .await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        resource: Resource,
        body: String,
    ) -> Result<T, Error> {
        let request = Request::post(resource.path());
        self.exchange(request, body, PATIENCE_FOR_ACTIONS).await
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        request: Builder,
        body: String,
        patience: Duration,
    ) -> Result<T, Error> {
        let stream = self.connect().await?;
        let answered = timeout(patience, exchange(stream, request, body)).await;
        let (version, body) = answered
            .map_err(|_| Error::Silent {
                path: self.path.clone(),
                patience,
            })?
            .map_err(|error| self.failed(error))?;
        self.understand(version, &body)
    }

    async fn connect(&self) -> Result<UnixStream, Error> {
        let connected = UnixStream::connect(&self.path).await;
        connected.map_err(|error| Error::NoAgent {
            path: self.path.clone(),
            error,
        })
    }

    fn failed(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Exchange {
            path: self.path.clone(),
            source: why.into(),
        }
    }

    /// Versions first: what follows can be judged only if they are the same.
    fn understand<T: DeserializeOwned>(
        &self,
        version: Option<String>,
        body: &[u8],
    ) -> Result<T, Error> {
        let path = self.path.clone();
        let Some(version) = version else {
            return Err(Error::NotAnAgent { path });
        };
        let misunderstood = |source| Error::Misunderstood {
            path: self.path.clone(),
            version: version.clone(),
            source,
        };
        let any: Any = serde_json::from_slice(body).map_err(misunderstood)?;
        if any.api != API {
            return Err(Error::WrongVersion {
                path,
                version,
                theirs: any.api,
            });
        }
        if let Some(message) = any.error {
            return Err(Error::Refused {
                path,
                message,
                diagnostics: any.diagnostics,
            });
        }
        serde_json::from_slice(body).map_err(misunderstood)
    }
}

/// One request; the version of who answered, if that is an agent, and the body.
async fn exchange(
    stream: UnixStream,
    request: Builder,
    body: String,
) -> Result<(Option<String>, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = request
        .header(header::HOST, "sluice")
        .header(header::CONNECTION, "close")
        .body(body)?;
    let answered = async move {
        let mut sender = sender;
        let response = sender.send_request(request).await?;
        let version = version(&response);
        let body = Limited::new(response.into_body(), MOST_BODY)
            .collect()
            .await?;
        Ok((version, body.to_bytes()))
    };
    // The connection does the reading and writing; it ends once the sender is gone.
    let (answer, _) = tokio::join!(answered, connection);
    answer
}

fn version(response: &Response<Incoming>) -> Option<String> {
    let header = response.headers().get(VERSION_HEADER)?;
    header.to_str().ok().map(str::to_owned)
}

/// What an operator can do about a socket that can't be connected to.
fn hint(error: &io::Error, path: &Path) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such socket; is `sluice run` running? (--control or SLUICE_CONTROL names \
             another socket)"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => format!(
            "permission denied; try as root, or as a member of the group that `ls -l {}` shows",
            path.display()
        ),
        io::ErrorKind::ConnectionRefused => {
            "connection refused, so the agent that made this socket is gone; is `sluice run` \
             running?"
                .to_owned()
        }
        _ => format!("{error}; is `sluice run` running?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_tell_the_cases_apart() {
        let path = Path::new("/run/sluice/control.sock");
        let error = |kind: io::ErrorKind| Error::NoAgent {
            path: path.to_owned(),
            error: kind.into(),
        };
        assert_eq!(
            error(io::ErrorKind::PermissionDenied).to_string(),
            "no agent answers at /run/sluice/control.sock: permission denied; try as root, or as \
             a member of the group that `ls -l /run/sluice/control.sock` shows"
        );
        let message = error(io::ErrorKind::ConnectionRefused).to_string();
        assert!(message.contains("the agent that made this socket is gone"));
        let message = error(io::ErrorKind::NotFound).to_string();
        assert!(message.contains("there is no such socket"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_says_nothing_is_not_waited_for_forever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let _listener = tokio::net::UnixListener::bind(&path).unwrap();
        let asked = Client::new(&path).status().await;
        assert!(matches!(asked, Err(Error::Silent { .. })), "{asked:?}");
    }
}
