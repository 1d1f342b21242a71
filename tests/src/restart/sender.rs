//! Numbered datagrams of many flows at a steady rate, from the clients' namespace. A flow ends and
//! another begins all the while: some of them do while there is no agent.
//!
//! ```text
//! the word "numbered" (8 bytes)   number (8 bytes, network order)
//! ```

use std::{
    net::{SocketAddr, UdpSocket},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::{
    addresses::{Dual, Family, client},
    namespace::Namespace,
    services::PORT,
};

use super::sink::ROOM;

/// What marks a datagram as one of ours; `receipt` knows it as well.
const MARK: [u8; 8] = *b"numbered";
/// Flows at any time.
const FLOWS: u64 = 64;
/// Flows before the first one's turn comes again.
const TURNS: u64 = 512;
/// Datagrams until one of them ends and another begins.
const LIFE: u64 = 1000;
/// The first client address, beyond those of connections.
const FIRST_CLIENT: u32 = 8000;
/// How long the sender sleeps.
const TICK: Duration = Duration::from_millis(1);
/// The most datagrams at once: a small part of what a veth's ring holds. Who is later than that leaves
/// the rest out.
const BURST: u64 = 32;

/// The sockets of all flows.
pub(super) struct Flows {
    sockets: Vec<(UdpSocket, SocketAddr)>,
}

impl Flows {
    /// Opens them in a namespace, of both families in turn, to the service at these addresses.
    pub(super) fn open(namespace: &Namespace, service: Dual) -> Result<Arc<Self>> {
        let open = |number: u32| {
            let family = Family::ALL[number as usize % 2];
            let from = SocketAddr::new(client(family, FIRST_CLIENT + number), 0);
            // Not connected: an ICMP error is no answer to the next datagram.
            let socket = UdpSocket::bind(from).with_context(|| format!("no socket at {from}"))?;
            Ok((socket, SocketAddr::new(service.of(family), PORT)))
        };
        let sockets = namespace.run(|| (0..TURNS as u32).map(open).collect::<Result<_>>())?;
        Ok(Arc::new(Self { sockets }))
    }

    fn send(&self, number: u64) -> Result<()> {
        let mut datagram = [0; 16];
        datagram[..8].copy_from_slice(&MARK);
        datagram[8..].copy_from_slice(&number.to_be_bytes());
        let (socket, to) = &self.sockets[flow(number)];
        let sent = socket.send_to(&datagram, to);
        sent.with_context(|| format!("could not send datagram {number}"))?;
        Ok(())
    }
}

/// The flow of a number: those at any time are neighbours, and move on.
fn flow(number: u64) -> usize {
    ((number / LIFE + number % FLOWS) % TURNS) as usize
}

/// A thread that sends. Dropping it ends it.
pub(super) struct Sender {
    thread: Option<JoinHandle<Result<()>>>,
    progress: Arc<Progress>,
    first: u64,
}

/// What the thread and its owner say to each other.
struct Progress {
    next: AtomicU64,
    stop: AtomicBool,
}

impl Sender {
    /// Sends so many a second, from the number `first` on.
    pub(super) fn start(flows: Arc<Flows>, rate: u32, first: u64) -> Self {
        let progress = Arc::new(Progress {
            next: AtomicU64::new(first),
            stop: AtomicBool::new(false),
        });
        let told = Arc::clone(&progress);
        let thread = thread::spawn(move || send(&flows, Pace::new(rate, Instant::now()), &told));
        Self {
            thread: Some(thread),
            progress,
            first,
        }
    }

    /// The number that is sent next.
    pub(super) fn next(&self) -> u64 {
        self.progress.next.load(Ordering::Relaxed)
    }

    /// An error if it sends no more.
    pub(super) fn expect_running(&self) -> Result<()> {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        ensure!(!ended, "the sender has ended");
        Ok(())
    }

    /// Ends it; the numbers that it sent.
    pub(super) fn stop(mut self) -> Result<Range<u64>> {
        self.end()?;
        Ok(self.first..self.next())
    }

    fn end(&mut self) -> Result<()> {
        self.progress.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let ended = thread.join();
        ended.unwrap_or_else(|_| Err(anyhow!("the sender panicked")))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // Whoever wants to know how it ended stops it.
        let _ = self.end();
    }
}

fn send(flows: &Flows, mut pace: Pace, progress: &Progress) -> Result<()> {
    while !progress.stop.load(Ordering::Relaxed) {
        for _ in 0..pace.due(Instant::now()) {
            let number = progress.next.load(Ordering::Relaxed);
            ensure!(number < ROOM, "no more than {ROOM} datagrams can be told");
            flows.send(number)?;
            progress.next.store(number + 1, Ordering::Relaxed);
        }
        thread::sleep(TICK);
    }
    Ok(())
}

/// When datagrams are due.
struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    fn new(rate: u32, now: Instant) -> Self {
        Self {
            interval: Duration::from_secs(1) / rate,
            next: now,
        }
    }

    /// How many are due.
    fn due(&mut self, now: Instant) -> u64 {
        let late = now.saturating_duration_since(self.next);
        let due = (late.as_nanos() / self.interval.as_nanos()) as u32;
        self.next += self.interval * due;
        BURST.min(due.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn datagrams_come_at_their_rate_and_never_many_at_once() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::new(2000, start);
        let due: Vec<_> = [0, 1, 2, 2, 5, 1000, 1001]
            .map(|now| pace.due(at(now)))
            .into();
        assert_eq!(due, [0, 2, 2, 0, 6, BURST, 2]);
    }

    #[test]
    fn flows_live_side_by_side_and_follow_each_other() {
        let flows = |numbers: Range<u64>| numbers.map(flow).collect::<HashSet<_>>();
        assert_eq!(flows(0..LIFE).len() as u64, FLOWS);
        assert_eq!(flows(LIFE..2 * LIFE).difference(&flows(0..LIFE)).count(), 1);
        assert_eq!(flows(0..TURNS * LIFE).len() as u64, TURNS);
    }
}
