//! Frames that fill several buffers, between real hosts: links of 9,000 bytes, datagrams that fill them, both
//! ways and in a tunnel.

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
    addresses::{BACKENDS, Dual, Family, SOURCE, TUNNEL, WEB, client},
    network::Network,
    sluice,
};

use super::site::Site;

/// Bytes of an IP packet that links towards clients take.
const MTU: u16 = 9000;
/// Those towards backends: room for an outer header.
const BACK_MTU: u16 = 9100;
const PORT: u16 = 5353;
/// Bytes of a datagram: all that fits with either family's headers.
const LENGTH: usize = MTU as usize - 48;
/// Datagrams of each family and mode.
const COUNT: usize = 32;

fn balancing() -> String {
    let backend = |port: &'static str| {
        move |(n, Dual { v4, v6 }): (i32, Dual)| {
            let (v4, v6) = match port {
                "" => (v4.to_string(), v6.to_string()),
                port => (format!("{v4}:{port}"), format!("[{v6}]:{port}")),
            };
            format!("[[pool.backend]]\nname = \"backend{n}\"\naddress = [\"{v4}\", \"{v6}\"]\n\n")
        }
    };
    let backends = |port| -> String { (1..).zip(BACKENDS).map(backend(port)).collect() };
    let service = |name, Dual { v4, v6 }: Dual| {
        format!(
            "[[service]]\nname = \"{name}\"\npool = \"{name}\"\n\
             listen = [\"{v4}:{PORT}/udp\", \"[{v6}]:{PORT}/udp\"]\n\n"
        )
    };
    format!(
        "{}{}[[pool]]\nname = \"both\"\nforward = \"full-nat\"\nsource = [\"{}\", \"{}\"]\n\n{}\
         [[pool]]\nname = \"one\"\nforward = \"ipip\"\n\n{}",
        service("both", WEB),
        service("one", TUNNEL),
        SOURCE.v4,
        SOURCE.v6,
        backends("5353"),
        backends("")
    )
}

/// Servers that send every datagram back. Dropped, they end.
struct Servers {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Servers {
    fn start(network: &Network) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (own, namespace) in BACKENDS.iter().zip(&network.backends) {
            for address in own.both().into_iter().chain(TUNNEL.both()) {
                let bind = || Ok(UdpSocket::bind((address, PORT))?);
                let socket = namespace.run(bind).unwrap();
                let over = Arc::clone(&over);
                threads.push(thread::spawn(move || send_back(&socket, &over)));
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

fn send_back(socket: &UdpSocket, over: &AtomicBool) {
    let shortly = Some(Duration::from_millis(100));
    socket.set_read_timeout(shortly).unwrap();
    let mut datagram = vec![0; 65_536];
    while !over.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut datagram) {
            let _ = socket.send_to(&datagram[..length], from);
        }
    }
}

/// How often a datagram is sent: an answer may be lost while the gateway asks for a client's neighbour.
const TRIES: u32 = 5;

/// Sends a datagram and gets it back, whole; how often it was sent.
fn exchange(site: &Site, number: usize, to: SocketAddr) -> u32 {
    let family = Family::of(to.ip());
    let datagram: Vec<u8> = (0..LENGTH).map(|n| (n / 7 + number) as u8).collect();
    let ask = || {
        let socket = UdpSocket::bind((client(family, number as u32), 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.connect(to)?;
        let mut answer = vec![0; 65_536];
        for tries in 1..=TRIES {
            socket.send(&datagram)?;
            match socket.recv(&mut answer) {
                Ok(length) => {
                    assert!(
                        answer[..length] == datagram,
                        "{to}: another datagram came back"
                    );
                    return Ok(tries);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        panic!("{to}: no answer\n{}", site.sluice.log());
    };
    site.network().client.run(ask).unwrap()
}

#[test]
fn datagrams_that_fill_jumbo_frames_arrive_whole() {
    let site = Site::start("jumbo", &balancing(), |network| {
        network.set_mtu(MTU, BACK_MTU).unwrap();
    });
    let _servers = Servers::start(site.network());
    let mut sent = 0;
    for family in Family::ALL {
        for service in [WEB, TUNNEL] {
            let to = SocketAddr::new(service.of(family), PORT);
            sent += (0..COUNT)
                .map(|number| exchange(&site, number, to))
                .sum::<u32>();
        }
    }
    // None was in pieces: a packet is a datagram.
    let metrics = sluice::scrape(&site.network().gateway).unwrap();
    let labels = [("interface", "eth0")];
    let forwarded = metrics.sum("sluice_interface_forwarded_packets_total", &labels);
    assert_eq!(forwarded, Some(f64::from(sent)));
}
