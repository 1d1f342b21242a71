//! grpc.health.v1, against an HTTP/2 server of a few lines.

use bytes::Bytes;
use h2::server;
use hyper::{HeaderMap, Response};

use super::{server as listening, *};
use crate::{health::Serving, model::probe::Grpc};

/// What a server answers a call with.
#[derive(Clone, Copy)]
struct Answer {
    message: &'static [u8],
    /// `grpc-status` after the message, if it comes so far.
    status: Option<&'static str>,
    /// `grpc-status` before any message.
    at_once: Option<&'static str>,
    http: u16,
}

const SERVING: Answer = Answer {
    message: b"\0\0\0\0\x02\x08\x01",
    status: Some("0"),
    at_once: None,
    http: 200,
};

async fn grpc_server(answer: Answer) -> SocketAddr {
    listening(move |stream| async move {
        let Ok(mut connection) = server::handshake(stream).await else {
            return;
        };
        while let Some(Ok((request, respond))) = connection.accept().await {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            assert_eq!(request.headers()["te"], "trailers");
            reply(answer, respond);
        }
    })
    .await
}

fn reply(answer: Answer, mut respond: server::SendResponse<Bytes>) {
    let mut response = Response::builder().status(answer.http);
    if let Some(status) = answer.at_once {
        response = response.header("grpc-status", status);
    }
    let end = answer.at_once.is_some();
    let Ok(mut body) = respond.send_response(response.body(()).unwrap(), end) else {
        return;
    };
    if end {
        return;
    }
    let last = answer.status.is_none();
    let _ = body.send_data(Bytes::from_static(answer.message), last);
    if let Some(status) = answer.status {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        let _ = body.send_trailers(trailers);
    }
}

fn grpc() -> Probe {
    Probe::Grpc(Grpc {
        service: "shop.Cart".into(),
        host: None,
        tls: None,
    })
}

async fn fails(answer: Answer) -> Failure {
    failure(&grpc(), grpc_server(answer).await).await
}

#[tokio::test]
async fn serving_passes_and_all_else_says_why() {
    let server = grpc_server(SERVING).await;
    assert_eq!(run(&grpc(), server).await, Outcome::PASSED);
    assert_eq!(run(&grpc(), server).await, Outcome::PASSED, "once more");
    let not_serving = Answer {
        message: b"\0\0\0\0\x02\x08\x02",
        ..SERVING
    };
    assert_eq!(
        fails(not_serving).await,
        Failure::NotServing(Serving::NotServing)
    );
    // A service that is not known: NOT_FOUND.
    let not_found = Answer {
        at_once: Some("5"),
        ..SERVING
    };
    assert_eq!(fails(not_found).await, Failure::GrpcStatus(5));
    let failed_later = Answer {
        status: Some("14"),
        ..SERVING
    };
    assert_eq!(fails(failed_later).await, Failure::GrpcStatus(14));
    let without_status = Answer {
        status: None,
        ..SERVING
    };
    assert_eq!(fails(without_status).await, Failure::GrpcStatus(2));
    let proxy = Answer {
        http: 502,
        ..SERVING
    };
    assert_eq!(fails(proxy).await, Failure::Status(502));
}

#[tokio::test]
async fn what_is_no_answer_is_malformed() {
    for message in [
        &b""[..],
        b"\0\0\0\0\x09\x08",
        b"\x01\0\0\0\x02\x08\x01",
        b"\0\0\0\0\x01\xff",
    ] {
        let found = fails(Answer { message, ..SERVING }).await;
        assert!(
            matches!(found, Failure::Malformed(_)),
            "{message:?}: {found:?}"
        );
    }
}

#[tokio::test]
async fn servers_that_speak_no_http_2_fail() {
    assert_eq!(failure(&grpc(), closed().await).await, Failure::Refused);
    let http_1 = answering(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
    let found = failure(&grpc(), http_1).await;
    assert!(matches!(found, Failure::Malformed(_)), "{found:?}");
    let closing = failure(&grpc(), answering(b"").await).await;
    assert_eq!(closing, Failure::Closed(Phase::Waiting));
    assert_eq!(run_within(SHORT, &grpc(), silent().await).await, WAITING);
}
