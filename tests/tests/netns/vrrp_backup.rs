//! A host that has been master and is not any more, with the packet program on its interface: it says nothing of the
//! addresses, and forwards what clients who have not heard of that still send to it. Neither host takes packets for the
//! addresses itself (`accept = false`), which services on them don't notice.
//!
//! ```text
//!  host1, host2: gateways     host3: the client     host4: the backend, in dsr mode
//! ```

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use sluice_tests::{link::End, namespace::Namespace, programs::Pass, wait};

use super::{ping, vrrp_site::Lan};

const PORT: u16 = 80;
/// How long something may take to be answered that is answered.
const LIMIT: Duration = Duration::from_secs(5);
/// How long something is waited for that is not.
const SHORT: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(20);

const MOVING: [&str; 2] = ["198.18.0.10", "fd00:18::10"];

fn moving() -> [IpAddr; 2] {
    MOVING.map(|text| text.parse().unwrap())
}

fn lines(priority: u8) -> String {
    let [v4, v6] = MOVING;
    format!(
        "priority = {priority}\ninterval = \"500ms\"\npreempt = false\naccept = false\naddresses = [\"{v4}/24\", \"{v6}/64\"]\n\n\
         [[service]]\nname = \"web\"\nlisten = [\"{v4}:{PORT}/tcp\", \"[{v6}]:{PORT}/tcp\"]\npool = \"web\"\n\n\
         [[pool]]\nname = \"web\"\nforward = \"dsr\"\n\n\
         [[pool.backend]]\nname = \"web1\"\naddress = [\"198.18.0.4\", \"fd00:18::4\"]\n"
    )
}

/// What a program sends by XDP arrives only where there is one.
fn receive(lan: &Lan) -> Pass {
    let mut pass = Pass::load().unwrap();
    for port in ["port1", "port2"] {
        let end = End {
            namespace: lan.switch(),
            interface: port,
        };
        pass.attach(end).unwrap();
    }
    pass
}

/// Echoes what comes over connections to the addresses, until the test ends.
fn serve(backend: &Namespace) {
    for (family, address) in ["-4", "-6"].into_iter().zip(MOVING) {
        let add = format!("{family} address add {address} dev lo");
        backend.ip(&add).unwrap();
    }
    // It has the addresses, and says nothing of that either.
    backend.sysctl("ipv4/conf/all/arp_ignore", "1").unwrap();
    backend.sysctl("ipv4/conf/all/arp_announce", "2").unwrap();
    let listening = backend
        .run(|| Ok(TcpListener::bind(("::", PORT))?))
        .unwrap();
    thread::spawn(move || {
        for connection in listening.incoming() {
            thread::spawn(move || echo(connection?));
        }
    });
}

fn echo(mut connection: TcpStream) -> io::Result<()> {
    let mut word = [0; 4];
    loop {
        connection.read_exact(&mut word)?;
        connection.write_all(&word)?;
    }
}

fn connect(client: &Namespace, to: IpAddr) -> TcpStream {
    let to = SocketAddr::new(to, PORT);
    let connect = || Ok(TcpStream::connect_timeout(&to, LIMIT)?);
    let connection = client.run(connect).unwrap();
    connection.set_read_timeout(Some(LIMIT)).unwrap();
    connection
}

fn exchange(connection: &mut TcpStream) {
    connection.write_all(b"word").unwrap();
    let mut word = [0; 4];
    connection.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"word");
}

/// Has the client believe that the addresses are at a host, whatever it is told.
fn believe(lan: &Lan, number: u8) {
    let mac = lan.mac(number);
    for address in MOVING {
        let replace = format!("neighbour replace {address} lladdr {mac} dev eth0 nud permanent");
        lan.host(3).ip(&replace).unwrap();
    }
}

/// Has it ask.
fn doubt(lan: &Lan) {
    for address in MOVING {
        let delete = format!("neighbour delete {address} dev eth0");
        lan.host(3).ip(&delete).unwrap();
    }
}

fn echoes(lan: &Lan, address: IpAddr, limit: Duration) -> io::Result<()> {
    let any = match address {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    };
    ping::exchange(lan.host(3), any, address, limit)
}

#[test]
fn vrrp_a_host_that_is_not_master_says_nothing_and_forwards() {
    let lan = Lan::set_up("vrrp-backup", 4);
    let _pass = receive(&lan);
    serve(lan.host(4));
    let client = lan.host(3);
    ping::allow(client);
    let mut first = lan.gateway(1, &lines(150));
    first.wait_until("master");
    let second = lan.gateway(2, &lines(100));
    second.wait_until("backup");
    believe(&lan, 1);
    let mut connections = moving().map(|address| connect(client, address));
    connections.iter_mut().for_each(exchange);

    // What it left behind answers and forwards, while nobody runs it.
    first.sluice.kill().unwrap();
    second.wait_until("master");
    connections.iter_mut().for_each(exchange);

    first.start_again();
    first.wait_until("backup");
    let capture = lan.capture(1);
    for address in moving() {
        let silent = || Ok(echoes(&lan, address, SHORT).err());
        wait::until("no echo", PATIENCE, silent).unwrap();
    }
    connections.iter_mut().for_each(exchange);
    for address in moving() {
        exchange(&mut connect(client, address));
    }
    doubt(&lan);
    for address in moving() {
        echoes(&lan, address, LIMIT).unwrap();
        assert_eq!(lan.neighbour(3, address), Some(lan.mac(2)));
    }
    let said = capture.end();
    assert!(said.adverts.is_empty(), "{:?}", said.adverts);
    for address in moving() {
        assert!(!said.announced.contains(&address), "{:?}", said.announced);
        assert!(!said.answered.contains(&address), "{:?}", said.answered);
    }
    // Where it is answered for, that is seen.
    let capture = lan.capture(2);
    doubt(&lan);
    for address in moving() {
        echoes(&lan, address, LIMIT).unwrap();
    }
    let said = capture.end();
    for address in moving() {
        assert!(said.answered.contains(&address), "{:?}", said.answered);
    }
}
