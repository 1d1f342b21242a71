//! Probes that go through services: from whose address and port, and what names their backends.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use lb_common::abi::{BackendRef, FIRST_PROBE_PORT};
use socket2::{Domain, Socket, Type};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::oneshot,
};

use super::{super::clients::Clients, Prober};
use crate::{
    health::{ByService, Outcome, Probing, Progress, Target, Unknown},
    model::{
        BackendAddress, Family, Forward, Probe, Protocol,
        probe::{Payload, Tcp, Udp},
    },
};

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
const BACKEND: BackendAddress = BackendAddress {
    ip: IpAddr::V4(Ipv4Addr::new(198, 18, 1, 11)),
    port: None,
};

/// Which ports were named, and after whom.
type Names = Arc<Mutex<Vec<(u16, BackendRef)>>>;

/// Clients of this host, and the names of their ports.
fn clients() -> (Arc<Clients>, Names) {
    let (clients, names) = (Arc::<Clients>::default(), Names::default());
    let sockets = |_: Family, protocol: Protocol| {
        let kind = match protocol {
            Protocol::Tcp => Type::STREAM,
            Protocol::Udp => Type::DGRAM,
        };
        let socket = Socket::new(Domain::IPV4, kind, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let (made, asked) = oneshot::channel();
        made.send(Ok(socket)).unwrap();
        asked
    };
    let named = Arc::clone(&names);
    let naming = move |port, backend| {
        named.lock().unwrap().push((port, backend));
        Ok(())
    };
    clients.open(vec![SOURCE], Box::new(sockets), Box::new(naming));
    (clients, names)
}

async fn run(
    clients: &Arc<Clients>,
    probe: Probe,
    service: SocketAddr,
    forward: Forward,
) -> Outcome {
    let prober = Prober::new(Arc::clone(clients));
    let prepared = Arc::new(prober.prepare(&probe));
    let target = Target {
        ip: BACKEND.ip,
        port: BACKEND.port,
        service: Some(ByService {
            address: service,
            forward,
        }),
    };
    prober
        .run(prepared, target, Arc::<Progress>::default())
        .await
}

#[tokio::test]
async fn a_probe_names_its_backend_by_the_port_that_it_comes_from() {
    let (clients, names) = clients();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let service = listener.local_addr().unwrap();
    let tcp = || Probe::Tcp(Tcp::default());
    let no_way = Outcome::Unknown(Unknown::NoWay);
    assert_eq!(run(&clients, tcp(), service, Forward::Dsr).await, no_way);
    let [dsr, ipip] = [BackendRef::new(7, 1), BackendRef::new(8, 0)];
    let reached = [
        ((Forward::Dsr, BACKEND), dsr),
        ((Forward::Ipip, BACKEND), ipip),
    ];
    clients.reach(HashMap::from(reached));
    for (forward, backend) in [(Forward::Dsr, dsr), (Forward::Ipip, ipip)] {
        assert_eq!(
            run(&clients, tcp(), service, forward).await,
            Outcome::PASSED
        );
        let (_, from) = listener.accept().await.unwrap();
        let named = names.lock().unwrap().pop().unwrap();
        assert_eq!((from.ip(), named), (SOURCE, (from.port(), backend)));
        assert!(from.port() >= FIRST_PROBE_PORT);
    }
    clients.reach(HashMap::new());
    assert_eq!(run(&clients, tcp(), service, Forward::Dsr).await, no_way);
    assert!(names.lock().unwrap().is_empty());
}

#[tokio::test]
async fn ports_go_round_and_those_in_use_are_left_out() {
    let (clients, names) = clients();
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let service = server.local_addr().unwrap();
    clients.reach(HashMap::from([(
        (Forward::Nat, BACKEND),
        BackendRef::new(9, 0),
    )]));
    let taken = UdpSocket::bind((SOURCE, FIRST_PROBE_PORT + 1))
        .await
        .unwrap();
    let send = Payload(b"x".to_vec());
    let ask = || {
        let udp = Udp {
            send: send.clone(),
            expect: None,
        };
        run(&clients, Probe::Udp(udp), service, Forward::Nat)
    };
    let answer = async {
        let mut datagram = [0; 8];
        let (length, from) = server.recv_from(&mut datagram).await.unwrap();
        server.send_to(&datagram[..length], from).await.unwrap();
    };
    let (first, ()) = tokio::join!(ask(), answer);
    assert_eq!(first, Outcome::PASSED);
    let answer = async {
        let mut datagram = [0; 8];
        let (length, from) = server.recv_from(&mut datagram).await.unwrap();
        server.send_to(&datagram[..length], from).await.unwrap();
    };
    let (second, ()) = tokio::join!(ask(), answer);
    assert_eq!(second, Outcome::PASSED);
    let ports: Vec<u16> = names
        .lock()
        .unwrap()
        .iter()
        .map(|(port, _)| *port)
        .collect();
    assert_eq!(ports, [FIRST_PROBE_PORT, FIRST_PROBE_PORT + 2]);
    drop(taken);
}
