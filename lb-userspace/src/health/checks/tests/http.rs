//! Requests over HTTP/1.1.

use super::*;
use crate::{
    health::{Advice, Share},
    model::{
        Weight,
        probe::{Http, StatusRange},
    },
};

pub(super) fn get() -> Http {
    Http {
        method: "GET".into(),
        path: "/healthz".into(),
        host: None,
        status: vec![StatusRange::DEFAULT],
        body: None,
        body_regex: None,
        tls: None,
        agent: false,
    }
}

fn probe(http: Http) -> Probe {
    Probe::Http(Box::new(http))
}

fn agent() -> Probe {
    probe(Http {
        agent: true,
        ..get()
    })
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";

#[tokio::test]
async fn the_status_must_be_expected() {
    let ok = answering(OK).await;
    assert_eq!(run(&probe(get()), ok).await, Outcome::PASSED);
    let moved = answering(b"HTTP/1.0 301 Moved\r\n\r\n").await;
    assert_eq!(run(&probe(get()), moved).await, Outcome::PASSED);
    let broken = answering(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(failure(&probe(get()), broken).await, Failure::Status(503));
    let first = |first, last| StatusRange { first, last };
    let only = probe(Http {
        status: vec![first(204, 204), first(500, 599)],
        ..get()
    });
    assert_eq!(failure(&only, ok).await, Failure::Status(200));
    assert_eq!(run(&only, broken).await, Outcome::PASSED);
}

#[tokio::test]
async fn the_body_must_have_its_text_and_match() {
    let with = |body: Option<&str>, regex: Option<&str>| {
        probe(Http {
            body: body.map(str::to_owned),
            body_regex: regex.map(str::to_owned),
            ..get()
        })
    };
    let ok = answering(OK).await;
    assert_eq!(
        run(&with(Some("ok"), Some("^o.\n$")), ok).await,
        Outcome::PASSED
    );
    let lacks = Failure::Body("lacks \"o.\"".into());
    assert_eq!(failure(&with(Some("o."), None), ok).await, lacks);
    let differs = Failure::Body("does not match \"^k\"".into());
    assert_eq!(failure(&with(Some("ok"), Some("^k")), ok).await, differs);
    let chunked =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n";
    let chunked = answering(chunked).await;
    assert_eq!(run(&with(Some("ok"), None), chunked).await, Outcome::PASSED);
    let until_closed = answering(b"HTTP/1.0 200 OK\r\n\r\nok").await;
    assert_eq!(
        run(&with(Some("ok"), None), until_closed).await,
        Outcome::PASSED
    );
}

#[tokio::test]
async fn a_request_says_what_it_was_told() {
    let echo = server(|mut stream| async move {
        let mut request = [0; 1024];
        let length = stream.read(&mut request).await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&request[..length]).await.unwrap();
    });
    let echo = echo.await;
    let options = Http {
        method: "OPTIONS".into(),
        path: "/a?b=c".into(),
        host: Some("www.example.com".into()),
        body_regex: Some("(?s)^OPTIONS /a\\?b=c HTTP/1.1\r\n.*host: www.example.com\r\n".into()),
        ..get()
    };
    assert_eq!(run(&probe(options), echo).await, Outcome::PASSED);
    let by_address = Http {
        body: Some(format!("host: {echo}\r\n")),
        ..get()
    };
    assert_eq!(run(&probe(by_address), echo).await, Outcome::PASSED);
}

#[tokio::test]
async fn servers_that_say_nothing_or_nonsense_fail() {
    assert_eq!(
        failure(&probe(get()), closed().await).await,
        Failure::Refused
    );
    assert_eq!(
        run_within(SHORT, &probe(get()), silent().await).await,
        WAITING
    );
    let closing = answering(b"").await;
    assert_eq!(
        failure(&probe(get()), closing).await,
        Failure::Closed(Phase::Waiting)
    );
    let partial = answering(b"HTTP/1.1 200 OK\r\ncontent-le").await;
    assert_eq!(
        failure(&probe(get()), partial).await,
        Failure::Closed(Phase::Waiting)
    );
    for nonsense in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"HTTP/1.1 9999 OK\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
    ] {
        let found = failure(&probe(get()), answering(nonsense).await).await;
        assert!(matches!(found, Failure::Malformed(_)), "{found:?}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_or_never_ends_fails() {
    let wants = probe(Http {
        body: Some("x".into()),
        ..get()
    });
    let short = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\nabc").await;
    assert_eq!(
        failure(&wants, short).await,
        Failure::Closed(Phase::Waiting)
    );
    let endless = server(|mut stream| async move {
        stream.read_u8().await.unwrap();
        let head = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let mut more = head.is_ok();
        while more {
            more = stream.write_all(&[b'a'; 4096]).await.is_ok();
        }
    });
    assert_eq!(
        failure(&wants, endless.await).await,
        Failure::Body("lacks \"x\"".into())
    );
}

#[tokio::test]
async fn an_agent_speaks_in_a_header_or_in_the_body() {
    let passed = |weight| {
        Outcome::Passed(Advice {
            weight,
            ..Advice::NONE
        })
    };
    let fifty = passed(Weight::new(50).map(Share::Weight));
    let header =
        answering(b"HTTP/1.1 200 OK\r\nWeight: 50\r\ncontent-length: 5\r\n\r\ndrain").await;
    assert_eq!(run(&agent(), header).await, fifty);
    let body = answering(b"HTTP/1.1 200 OK\r\n\r\nweight: 50\nmore").await;
    assert_eq!(run(&agent(), body).await, fifty);
    let drain = Outcome::Passed(Advice {
        drain: true,
        ..Advice::NONE
    });
    assert_eq!(
        run(&agent(), answering(b"HTTP/1.1 200 OK\r\n\r\ndrain").await).await,
        drain
    );
    // A page that says nothing of it.
    let page = answering(b"HTTP/1.1 200 OK\r\n\r\n<html>drain</html>").await;
    assert_eq!(run(&agent(), page).await, Outcome::PASSED);
    // And who is no agent is not listened to.
    assert_eq!(run(&probe(get()), header).await, Outcome::PASSED);
    let down = Failure::Agent("`down`".into());
    let header = answering(b"HTTP/1.1 503 No\r\nweight: down\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(failure(&agent(), header).await, down);
    assert_eq!(
        failure(&agent(), answering(b"HTTP/1.1 200 OK\r\n\r\ndown").await).await,
        down
    );
}
