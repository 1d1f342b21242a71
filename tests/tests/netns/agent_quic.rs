//! QUIC servers that name themselves in the connection ids that they give out: a client keeps its
//! server from whatever address and port it sends.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use sluice_tests::{
    addresses::{BACKENDS, Dual, Family, client},
    network::Network,
    wait,
};

use super::site::{PATIENCE, Site, lead_back};

/// Where clients send to.
const SERVICE: Dual = Dual {
    v4: std::net::Ipv4Addr::new(198, 18, 0, 40),
    v6: std::net::Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, 0x40),
};
const PORT: u16 = 443;
/// The port that the backends' servers listen on.
const SERVER_PORT: u16 = 4433;
/// The number of the configuration in connection ids.
const CONFIG_ID: u8 = 5;

/// The second octet of a backend's server id; `shift` moves all of them on.
fn server_id(backend: usize, shift: u8) -> u8 {
    backend as u8 + shift
}

fn balancing(weights: [u16; 3], shift: u8) -> String {
    let backend = |n: usize| {
        let Dual { v4, v6 } = BACKENDS[n];
        format!(
            "[[pool.backend]]\nname = \"backend{n}\"\nweight = {}\nserver_id = \"c0{:02x}\"\n\
             address = [\"{v4}:{SERVER_PORT}\", \"[{v6}]:{SERVER_PORT}\"]\n\n",
            weights[n],
            server_id(n, shift)
        )
    };
    let backends: String = (0..BACKENDS.len()).map(backend).collect();
    format!(
        "[[service]]\nname = \"http3\"\npool = \"http3\"\nquic = true\nsettle = \"1s\"\n\
         listen = [\"{}:{PORT}/udp\", \"[{}]:{PORT}/udp\"]\n\
         quic_lb = {{ config_id = {CONFIG_ID}, server_id_length = 2 }}\n\n\
         [[pool]]\nname = \"http3\"\nforward = \"nat\"\n\n{backends}",
        SERVICE.v4, SERVICE.v6
    )
}

/// Servers that answer every datagram with their number. Dropped, they end.
struct Servers {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Servers {
    fn start(network: &Network) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (number, namespace) in (0u8..).zip(&network.backends) {
            for address in BACKENDS[usize::from(number)].both() {
                let bind = || Ok(UdpSocket::bind((address, SERVER_PORT))?);
                let socket = namespace.run(bind).unwrap();
                let over = Arc::clone(&over);
                threads.push(thread::spawn(move || serve(&socket, number, &over)));
            }
        }
        Self { over, threads }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, number: u8, over: &AtomicBool) {
    let shortly = Some(Duration::from_millis(100));
    socket.set_read_timeout(shortly).unwrap();
    let mut datagram = [0; 2048];
    while !over.load(Ordering::Relaxed) {
        if let Ok((_, from)) = socket.recv_from(&mut datagram) {
            let _ = socket.send_to(&[number], from);
        }
    }
}

/// A packet with a short header and a connection id of a backend's.
fn short(backend: usize, shift: u8, nonce: u8) -> Vec<u8> {
    let id = [
        CONFIG_ID << 5 | nonce & 0x1f,
        0xc0,
        server_id(backend, shift),
        nonce,
        nonce,
        nonce,
        nonce,
    ];
    [&[0x40][..], &id, &[0x5a; 40]].concat()
}

/// How often a datagram is sent: an answer may be lost while the gateway asks for a client's neighbour.
const TRIES: u32 = 5;

/// Who answers a client's datagram; nobody, if none comes back in time.
fn who_answers(site: &Site, family: Family, number: u32, datagram: &[u8]) -> Option<u8> {
    let ask = || {
        let socket = UdpSocket::bind((client(family, number), 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.connect(SocketAddr::new(SERVICE.of(family), PORT))?;
        let mut answer = [0];
        for _ in 0..TRIES {
            socket.send(datagram)?;
            match socket.recv(&mut answer) {
                Ok(_) => return Ok(Some(answer[0])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    };
    site.network().client.run(ask).unwrap()
}

/// Who answers connections of each backend, each from another address and port.
fn assert_kept(site: &Site, shift: u8) {
    for family in Family::ALL {
        for number in 0..24 {
            let backend = number as usize % BACKENDS.len();
            let datagram = short(backend, shift, number as u8);
            let answered = who_answers(site, family, number, &datagram);
            assert_eq!(
                answered,
                Some(backend as u8),
                "{family} {number}\n{}",
                site.sluice.log()
            );
        }
    }
}

#[test]
fn connections_keep_their_server_whatever_address_they_come_from() {
    let mut site = Site::start("quic-lb", &balancing([100, 100, 100], 0), lead_back);
    let _servers = Servers::start(site.network());
    assert_kept(&site, 0);
    // An id of nobody: as the hash says, so not all at one backend.
    let others = (0..24).map(|number| who_answers(&site, Family::Ipv4, number, &short(0, 9, 1)));
    let others: Vec<u8> = others.map(Option::unwrap).collect();
    assert!(others.iter().any(|one| *one != others[0]), "{others:?}");

    // Drained: no new flow, but the connections that it has.
    let reloaded = |generation| {
        move |status: &serde_json::Value| status["agent"]["generation"].as_u64() == Some(generation)
    };
    site.reload(&balancing([0, 100, 100], 0), reloaded(2));
    assert_kept(&site, 0);

    // Other ids: the old ones name nobody any more, or another.
    site.reload(&balancing([100, 100, 100], 1), reloaded(3));
    let moved =
        || Ok((who_answers(&site, Family::Ipv4, 1, &short(0, 1, 1)) == Some(0)).then_some(()));
    wait::until("the ids to be in force", PATIENCE, moved).unwrap();
    assert_kept(&site, 1);
}
