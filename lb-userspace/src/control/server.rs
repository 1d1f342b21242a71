//! The agent's end of the control socket.

use std::{future::Future, sync::Arc};

use hyper::{Response, StatusCode, http::HeaderValue};
use serde::Serialize;

use super::{
    api::{self, Body, Failure, Pools, Resource, Services, Status, VERSION, VERSION_HEADER},
    socket::Socket,
};
use crate::{
    http::{self, Question},
    stats::{Snapshot, Source},
};

/// Answers clients until `stop` is done; then removes the socket.
pub async fn serve(socket: Socket, source: Arc<dyn Source>, stop: impl Future<Output = ()> + Send) {
    let answer = move |question: &Question| answer(question, &*source);
    http::serve(socket, answer, stop).await;
}

fn answer(question: &Question, source: &dyn Source) -> Response<String> {
    let mut response = match api::resource(&question.path) {
        Err(error) => json(StatusCode::NOT_FOUND, Failure { error }),
        Ok(_) if !question.reads => {
            let error = "only GET and HEAD are served here".to_owned();
            json(StatusCode::METHOD_NOT_ALLOWED, Failure { error })
        }
        Ok(resource) => found(resource, source.snapshot()),
    };
    let headers = response.headers_mut();
    headers.insert(VERSION_HEADER, HeaderValue::from_static(VERSION));
    response
}

fn found(resource: Resource, snapshot: Snapshot) -> Response<String> {
    match resource {
        Resource::Status => json(StatusCode::OK, Status::from(snapshot)),
        Resource::Services => json(StatusCode::OK, Services::from(snapshot)),
        Resource::Backends => json(StatusCode::OK, Pools::from(snapshot)),
    }
}

fn json(status: StatusCode, content: impl Serialize) -> Response<String> {
    match serde_json::to_string(&Body::new(content)) {
        Ok(body) => http::response(status, "application/json", body + "\n"),
        Err(error) => {
            let body = format!("this answer can't be written as JSON: {error}\n");
            http::response(StatusCode::INTERNAL_SERVER_ERROR, http::TEXT, body)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sample::{self, Fixed};

    fn ask(path: &str, reads: bool) -> Response<String> {
        let path = path.into();
        answer(&Question { path, reads }, &Fixed(sample::troubled()))
    }

    /// The form of a body is a snapshot, and that is what the path answers.
    fn assert_json(name: &str, path: &str, content: impl Serialize) {
        let body = Body::new(content);
        let text = serde_json::to_string_pretty(&body).unwrap();
        insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(name, text);
        });
        let response = ask(path, true);
        assert_eq!(response.status(), StatusCode::OK);
        let answered: serde_json::Value = serde_json::from_str(response.body()).unwrap();
        assert_eq!(answered, serde_json::to_value(&body).unwrap());
    }

    #[test]
    fn every_resource_has_its_form() {
        let snapshot = sample::troubled;
        assert_json("status", "/api/v1/status", Status::from(snapshot()));
        assert_json("services", "/api/v1/services", Services::from(snapshot()));
        assert_json("backends", "/api/v1/backends", Pools::from(snapshot()));
    }

    #[test]
    fn another_version_gets_an_error_that_any_client_can_read() {
        let response = ask("/api/v2/status", true);
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[VERSION_HEADER], VERSION);
        let any: api::Any = serde_json::from_str(response.body()).unwrap();
        assert_eq!(any.api, api::API);
        assert!(any.error.is_some());
    }

    #[test]
    fn nothing_can_be_changed_yet() {
        let response = ask("/api/v1/status", false);
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[VERSION_HEADER], VERSION);
    }
}
