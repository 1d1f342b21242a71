//! Numbered datagrams to the address that moves, one a millisecond, and who answers them: a thread in each host's namespace
//! that answers whatever reaches it, as long as the host has the address. If the hosts are gateways, each is followed by one of
//! the same number to the service, which its backend notes.
//!
//! ```text
//! number (8 bytes, network order)   in answers: the host (1 byte)
//! ```

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

use super::gateways::PORT as SERVICE;
use crate::namespace::Namespace;

/// How often a datagram is sent. One that is later than that is left out.
const PACE: Duration = Duration::from_millis(1);
/// Where echoes listen.
const PORT: u16 = 7;
/// How many bytes wait in a socket.
const BUFFER: usize = 8 << 20;
/// How often threads look whether they are to end.
const LOOK: Duration = Duration::from_millis(100);

/// What was sent, and what came back.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// The first datagram's number.
    pub(super) first: u64,
    /// When each was sent.
    pub(super) sent: Vec<Instant>,
    /// The answers, in the order that they came in.
    pub(super) answers: Vec<Answer>,
    /// What came to the backend, if there is one.
    pub(super) arrived: Option<Vec<u64>>,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// To which datagram.
    pub(super) number: u64,
    /// The host that it came from.
    pub(super) host: u8,
    /// When it came.
    pub(super) at: Instant,
}

/// The threads. They end with their owner.
pub(super) struct Probe {
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    log: Mutex<Log>,
    ends: AtomicBool,
}

impl Probe {
    /// From a client to an address, which these hosts may have, as the service of which has this backend.
    pub(super) fn start(
        client: &Namespace,
        hosts: &[(u8, &Namespace)],
        backend: Option<&Namespace>,
        address: Ipv4Addr,
    ) -> Result<Self> {
        let mut probe = Self {
            threads: Vec::new(),
            shared: Arc::default(),
        };
        for &(host, namespace) in hosts {
            let socket = open(namespace, PORT)?;
            probe.spawn(move |shared| echo(&socket, host, shared));
        }
        let mut to = vec![SocketAddr::from((address, PORT))];
        if let Some(backend) = backend {
            let socket = open(backend, SERVICE)?;
            probe.shared.log().arrived = Some(Vec::new());
            probe.spawn(move |shared| note(&socket, shared));
            to.push((address, SERVICE).into());
        }
        let socket = open(client, 0)?;
        let other = socket.try_clone().context("could not copy a socket")?;
        probe.spawn(move |shared| send(&other, &to, shared));
        probe.spawn(move |shared| receive(&socket, shared));
        Ok(probe)
    }

    /// Begins the log anew. Numbers go on.
    pub(super) fn forget(&self) {
        let mut log = self.shared.log();
        *log = Log {
            first: log.next(),
            arrived: log.arrived.as_ref().map(|_| Vec::new()),
            ..Log::default()
        };
    }

    /// What was sent since then, and answered.
    pub(super) fn log(&self) -> Log {
        self.shared.log().clone()
    }

    /// Whether a host has answered since a time.
    pub(super) fn answered(&self, host: u8, since: Instant) -> bool {
        let log = self.shared.log();
        let mut late = log
            .answers
            .iter()
            .rev()
            .take_while(|answer| answer.at >= since);
        late.any(|answer| answer.host == host)
    }

    fn spawn(&mut self, task: impl FnOnce(&Shared) + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        self.threads.push(thread::spawn(move || task(&shared)));
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // What a thread panicked about it has said.
            let _ = thread.join();
        }
    }
}

impl Log {
    /// The number that is sent next.
    fn next(&self) -> u64 {
        self.first + self.sent.len() as u64
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn goes_on(&self) -> bool {
        !self.ends.load(Ordering::Relaxed)
    }
}

fn open(namespace: &Namespace, port: u16) -> Result<UdpSocket> {
    namespace.run(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        socket.set_read_timeout(Some(LOOK))?;
        // What waits while this machine does something else is not lost.
        setsockopt(&socket, RcvBufForce, &BUFFER)?;
        Ok(socket)
    })
}

/// Answers come from the host's own address; the client does not mind.
fn echo(socket: &UdpSocket, host: u8, shared: &Shared) {
    while shared.goes_on() {
        let Some((number, from)) = next(socket, [0; 8]) else {
            continue;
        };
        let mut answer = [host; 9];
        answer[..8].copy_from_slice(&number);
        // A host that is cut off reaches nobody: that is missing then.
        let _ = socket.send_to(&answer, from);
    }
}

fn send(socket: &UdpSocket, to: &[SocketAddr], shared: &Shared) {
    let mut due = Instant::now();
    while shared.goes_on() {
        let mut log = shared.log();
        let number = log.next();
        log.sent.push(Instant::now());
        drop(log);
        for to in to {
            // One that can't be sent is missing.
            let _ = socket.send_to(&number.to_be_bytes(), to);
        }
        let now = Instant::now();
        while due <= now {
            due += PACE;
        }
        thread::sleep(due - now);
    }
}

fn note(socket: &UdpSocket, shared: &Shared) {
    while shared.goes_on() {
        let Some((number, _)) = next(socket, [0; 8]) else {
            continue;
        };
        let mut log = shared.log();
        if let Some(arrived) = &mut log.arrived {
            arrived.push(u64::from_be_bytes(number));
        }
    }
}

fn receive(socket: &UdpSocket, shared: &Shared) {
    while shared.goes_on() {
        let Some((answer, _)) = next(socket, [0; 9]) else {
            continue;
        };
        let [number @ .., host] = answer;
        let answer = Answer {
            number: u64::from_be_bytes(number),
            host,
            at: Instant::now(),
        };
        let mut log = shared.log();
        // To what was sent before it was forgotten.
        if answer.number >= log.first {
            log.answers.push(answer);
        }
    }
}

/// The next datagram of the right length, if one comes.
fn next<const N: usize>(
    socket: &UdpSocket,
    mut datagram: [u8; N],
) -> Option<([u8; N], SocketAddr)> {
    match socket.recv_from(&mut datagram) {
        Ok((length, from)) if length == N => Some((datagram, from)),
        Ok(_) => None,
        Err(error) => {
            expect_lull(&error);
            None
        }
    }
}

/// Nothing but that nothing has come.
fn expect_lull(error: &io::Error) {
    let lull = [
        ErrorKind::WouldBlock,
        ErrorKind::TimedOut,
        ErrorKind::Interrupted,
    ];
    assert!(lull.contains(&error.kind()), "the probe's socket: {error}");
}
