//! The stats endpoint: read-only, for monitoring.

use std::{future::Future, sync::Arc, time::Duration};

use hyper::{Response, StatusCode};
use tokio::net::TcpListener;

use super::{
    metrics,
    snapshot::{Readiness, Source},
};
use crate::http::{self, Limits, Method, Question};

const LIMITS: Limits = Limits {
    // Nothing is to be said here.
    body: 0,
    lifetime: Duration::from_secs(60),
};

/// Serves `/metrics`, `/healthz` and `/readyz` until `stop` is done.
pub async fn serve(
    listener: TcpListener,
    source: Arc<dyn Source>,
    stop: impl Future<Output = ()> + Send,
) {
    let answer = move |question: &Question| answer(question, &*source).map(http::whole);
    http::serve(listener, LIMITS, answer, stop).await;
}

fn answer(question: &Question, source: &dyn Source) -> Response<String> {
    if question.method != Method::Read {
        let refusal = "this endpoint is read-only\n".to_owned();
        let refusal = text(StatusCode::METHOD_NOT_ALLOWED, refusal);
        return http::allowing(refusal, "GET, HEAD");
    }
    match question.path.as_str() {
        "/metrics" => {
            const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
            http::response(StatusCode::OK, FORMAT, metrics::text(&source.snapshot()))
        }
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => match source.snapshot().readiness {
            Readiness::Ready => text(StatusCode::OK, "ready\n".to_owned()),
            Readiness::NotReady { reason } => text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not ready: {reason}\n"),
            ),
        },
        _ => {
            let known = "not found; there are /metrics, /healthz and /readyz\n";
            text(StatusCode::NOT_FOUND, known.to_owned())
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<String> {
    http::response(status, http::TEXT, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Bytes;

    use crate::stats::sample::{self, Fixed};

    fn question(path: &str, method: Method) -> Question {
        Question {
            path: path.into(),
            query: String::new(),
            method,
            body: Ok(Bytes::new()),
        }
    }

    fn ask(path: &str, source: &Fixed) -> (u16, String) {
        let response = answer(&question(path, Method::Read), source);
        (response.status().as_u16(), response.into_body())
    }

    #[test]
    fn each_path_has_its_answer() {
        let source = Fixed(sample::healthy());
        assert_eq!(ask("/healthz", &source), (200, "ok\n".into()));
        assert_eq!(ask("/readyz", &source), (200, "ready\n".into()));
        let (status, page) = ask("/metrics", &source);
        assert_eq!(status, 200);
        assert!(page.contains(
            "\nsluice_build_info{version=\"0.1.0\",commit=\"abc1234\",layout=\"1\"} 1\n"
        ));
        assert_eq!(ask("/", &source).0, 404);
    }

    #[test]
    fn an_agent_that_is_not_ready_says_why() {
        let (status, body) = ask("/readyz", &Fixed(sample::troubled()));
        assert_eq!(status, 503);
        assert_eq!(body, "not ready: the program is not attached to eth1\n");
    }

    #[test]
    fn it_is_read_only() {
        let posted = question("/metrics", Method::Post);
        let response = answer(&posted, &Fixed(sample::healthy()));
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()["allow"], "GET, HEAD");
    }
}
