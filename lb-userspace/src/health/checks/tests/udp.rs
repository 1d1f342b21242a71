//! Datagrams.

use tokio::net::UdpSocket;

use super::*;
use crate::model::probe::{Payload, Udp};

/// A server that answers each datagram with this.
pub(super) async fn answering_datagrams<A>(answer: A) -> SocketAddr
where
    A: Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
{
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut datagram = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
            for answer in answer(&datagram[..length]) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    address
}

fn udp(expect: Option<&str>) -> Probe {
    Probe::Udp(Udp {
        send: Payload(b"ping".into()),
        expect: expect.map(|text| Payload(text.into())),
    })
}

#[tokio::test]
async fn an_answer_counts_if_it_has_what_is_expected() {
    let echo = answering_datagrams(|datagram| vec![datagram.into()]).await;
    assert_eq!(run(&udp(Some("ing")), echo).await, Outcome::PASSED);
    assert_eq!(run(&udp(None), echo).await, Outcome::PASSED);
    let words = "is \"ping\", without \"pong\"".to_owned();
    assert_eq!(
        failure(&udp(Some("pong")), echo).await,
        Failure::Answer(words)
    );
    // Of no length, and of the greatest.
    let empty = answering_datagrams(|_| vec![Vec::new()]).await;
    assert_eq!(run(&udp(None), empty).await, Outcome::PASSED);
    let large = answering_datagrams(|_| vec![vec![b'x'; 65_507]]).await;
    assert_eq!(run(&udp(Some("xx")), large).await, Outcome::PASSED);
}

#[tokio::test]
async fn a_closed_port_refuses_and_a_silent_one_times_out() {
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    assert_eq!(failure(&udp(None), address).await, Failure::Refused);
    let silent = answering_datagrams(|_| vec![]).await;
    assert_eq!(run_within(SHORT, &udp(None), silent).await, WAITING);
}
