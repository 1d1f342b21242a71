//! DNS queries.

use domain::{
    base::{Message, MessageBuilder, iana::Rcode},
    rdata::{A, Txt},
};

use super::{udp::answering_datagrams, *};
use crate::model::probe::{Dns, RecordType};

fn dns(record: RecordType, expect: &[&str]) -> Probe {
    Probe::Dns(Dns {
        query: "www.example.com".into(),
        record,
        expect: expect.iter().map(|text| (*text).to_owned()).collect(),
    })
}

/// An answer to a query with these addresses.
fn addresses(query: &[u8], rcode: Rcode, addresses: &[[u8; 4]]) -> Vec<u8> {
    let query = Message::from_octets(query).unwrap();
    let mut answer = MessageBuilder::new_vec()
        .start_answer(&query, rcode)
        .unwrap();
    let name = query.sole_question().unwrap();
    for [a, b, c, d] in addresses {
        let data = A::from_octets(*a, *b, *c, *d);
        answer.push((name.qname(), 60, data)).unwrap();
    }
    answer.finish()
}

#[tokio::test]
async fn an_answer_counts_if_it_has_a_record_that_is_expected() {
    let server = answering_datagrams(|query| {
        vec![addresses(
            query,
            Rcode::NOERROR,
            &[[192, 0, 2, 1], [192, 0, 2, 2]],
        )]
    });
    let server = server.await;
    let a = |expect: &[&str]| dns(RecordType::A, expect);
    assert_eq!(run(&a(&[]), server).await, Outcome::PASSED);
    assert_eq!(
        run(&a(&["198.18.0.1", "192.0.2.2"]), server).await,
        Outcome::PASSED
    );
    let other = Failure::NoRecord("A 192.0.2.1, which is not expected".into());
    assert_eq!(failure(&a(&["192.0.2.3"]), server).await, other);
    let none = Failure::NoRecord("no AAAA record".into());
    assert_eq!(failure(&dns(RecordType::Aaaa, &[]), server).await, none);
}

#[tokio::test]
async fn texts_are_compared_without_quotes() {
    let server = answering_datagrams(|query| {
        let query = Message::from_octets(query).unwrap();
        let answer = MessageBuilder::new_vec().start_answer(&query, Rcode::NOERROR);
        let (mut answer, name) = (answer.unwrap(), query.sole_question().unwrap());
        let text: Txt<Vec<u8>> = Txt::build_from_slice(b"v=spf1 -all").unwrap();
        answer.push((name.qname(), 60, text)).unwrap();
        vec![answer.finish()]
    });
    let outcome = run(&dns(RecordType::Txt, &["v=spf1 -all"]), server.await).await;
    assert_eq!(outcome, Outcome::PASSED);
}

#[tokio::test]
async fn errors_are_called_by_their_names() {
    for (rcode, name) in [
        (Rcode::SERVFAIL, "SERVFAIL"),
        (Rcode::NXDOMAIN, "NXDOMAIN"),
        (Rcode::REFUSED, "REFUSED"),
    ] {
        let server = answering_datagrams(move |query| vec![addresses(query, rcode, &[])]).await;
        let found = failure(&dns(RecordType::A, &[]), server).await;
        assert_eq!(found, Failure::Rcode(name.into()));
    }
}

#[tokio::test]
async fn answers_to_other_questions_are_passed_over() {
    let server = answering_datagrams(|query| {
        let right = addresses(query, Rcode::NOERROR, &[[192, 0, 2, 1]]);
        let mut other_id = right.clone();
        other_id[0] ^= 0xff;
        let mut a_query = right.clone();
        a_query[2] &= 0x7f;
        vec![b"x".into(), Vec::new(), other_id, a_query, right]
    });
    let probe = dns(RecordType::A, &["192.0.2.1"]);
    assert_eq!(run(&probe, server.await).await, Outcome::PASSED);
    let wrong = answering_datagrams(|_| vec![vec![0; 11], vec![0xff; 600]]).await;
    assert_eq!(run_within(SHORT, &probe, wrong).await, WAITING);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_malformed() {
    let server = answering_datagrams(|query| {
        let mut answer = addresses(query, Rcode::NOERROR, &[[192, 0, 2, 1]]);
        answer.truncate(answer.len() - 3);
        vec![answer]
    });
    let found = failure(&dns(RecordType::A, &[]), server.await).await;
    assert!(matches!(found, Failure::Malformed(_)), "{found:?}");
}
