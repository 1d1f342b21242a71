//! Connections, and what is said over them.

use super::*;
use crate::{
    health::{Advice, Share},
    model::{
        Weight,
        probe::{Payload, Tcp},
    },
};

fn tcp(send: Option<&str>, expect: Option<&str>) -> Probe {
    let payload = |text: &str| Payload(text.into());
    Probe::Tcp(Tcp {
        send: send.map(payload),
        expect: expect.map(payload),
        agent: false,
    })
}

/// An agent that says this to everybody who connects.
async fn saying(words: &'static [u8]) -> SocketAddr {
    server(move |mut stream| async move {
        let _ = stream.write_all(words).await;
        let _ = stream.shutdown().await;
    })
    .await
}

fn agent() -> Probe {
    Probe::Tcp(Tcp {
        agent: true,
        ..Tcp::default()
    })
}

#[tokio::test]
async fn a_connection_is_enough() {
    assert_eq!(run(&tcp(None, None), silent().await).await, Outcome::PASSED);
    assert_eq!(
        failure(&tcp(None, None), closed().await).await,
        Failure::Refused
    );
}

#[tokio::test]
async fn a_closed_port_is_said_as_people_say_it() {
    let address = closed().await;
    let words = failure(&tcp(None, None), address)
        .await
        .of(&address)
        .to_string();
    assert_eq!(words, format!("connect to {address} refused"));
}

#[tokio::test]
async fn an_answer_must_have_what_is_expected() {
    let probe = |expect| tcp(Some("PING\r\n"), Some(expect));
    let redis = answering(b"+PONG\r\n").await;
    assert_eq!(run(&probe("+PONG"), redis).await, Outcome::PASSED);
    let words = "is \"+PONG\\r\\n\", without \"-ERR\"".to_owned();
    assert_eq!(failure(&probe("-ERR"), redis).await, Failure::Answer(words));
    let words = "is \"\", without \"x\"".to_owned();
    assert_eq!(
        failure(&probe("x"), answering(b"").await).await,
        Failure::Answer(words)
    );
    assert_eq!(
        run_within(SHORT, &probe("x"), silent().await).await,
        WAITING
    );
}

#[tokio::test]
async fn an_answer_without_end_has_one() {
    let endless =
        server(|mut stream| async move { while stream.write_all(&[b'x'; 4096]).await.is_ok() {} });
    let answer = failure(&tcp(None, Some("y")), endless.await).await;
    assert!(matches!(answer, Failure::Answer(_)), "{answer:?}");
}

#[tokio::test]
async fn a_part_that_comes_late_is_waited_for() {
    let slow = server(|mut stream| async move {
        for part in [&b"22"[..], b"0 mail", b".example ESMTP\r\n"] {
            stream.write_all(part).await.unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    });
    assert_eq!(
        run(&tcp(None, Some("220 mail")), slow.await).await,
        Outcome::PASSED
    );
}

#[tokio::test]
async fn an_agent_sets_the_weight_or_says_that_it_is_down() {
    let advice = |advice| Outcome::Passed(advice);
    let half = Advice {
        weight: Some(Share::Percent(50)),
        up: true,
        ..Advice::NONE
    };
    assert_eq!(run(&agent(), saying(b"up 50%\n").await).await, advice(half));
    let fifty = Advice {
        weight: Weight::new(50).map(Share::Weight),
        ..Advice::NONE
    };
    assert_eq!(
        run(&agent(), saying(b"weight: 50").await).await,
        advice(fifty)
    );
    let down = Failure::Agent("`down`: disk".into());
    assert_eq!(failure(&agent(), saying(b"down #disk\n").await).await, down);
}

#[tokio::test]
async fn an_agent_that_is_not_there_says_nothing() {
    let probe = agent();
    for (address, reason) in [
        (closed().await, "refused"),
        (saying(b"hello\n").await, "malformed"),
        (saying(b"\xff\xfe").await, "malformed"),
    ] {
        match run(&probe, address).await.of(&probe) {
            Outcome::Unknown(crate::health::Unknown::NoAgent(failure)) => {
                assert_eq!(failure.reason(), reason);
            }
            other => panic!("{other:?}"),
        }
    }
    let down = run(&probe, saying(b"down\n").await).await.of(&probe);
    assert!(
        matches!(down, Outcome::Failed(Failure::Agent(_))),
        "{down:?}"
    );
}
