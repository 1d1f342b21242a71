//! The process with the clients' ends: opens connections at a bounded rate, asks each a number a
//! second, spread evenly over the second, and notes all that happens to it. SIGTERM ends it; then it
//! writes what it found.

use std::{
    fs,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use crate::addresses::{Family, client};

use super::{
    clock,
    messages::{ANSWER, Connection, End, OPENED, Outcome, QUESTION, Wait, read},
};

/// Between two questions of a connection.
const BEAT: Duration = Duration::from_secs(1);
/// How long a connection may take to open: some retransmissions of a SYN.
const OPENING: Duration = Duration::from_secs(15);
/// How long the last answers may take once the end has come.
const GRACE: Duration = Duration::from_secs(2);

/// What a client process is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The service's addresses.
    pub service: Vec<SocketAddr>,
    /// The addresses of the server beside Sluice.
    pub control: Vec<SocketAddr>,
    /// Connections to open first, and how many of them in a second.
    pub connections: (u32, u32),
    /// Connections to open after them, likewise.
    pub late: (u32, u32),
    /// Connections beside Sluice.
    pub controls: u32,
    /// Where to write what became of them all.
    pub outcome: PathBuf,
}

impl Order {
    /// How long the first connections take to open.
    pub(super) fn opening_time(&self) -> Duration {
        let (count, rate) = self.connections;
        Duration::from_secs(1) * count / rate
    }
}

/// One connection to be opened.
struct Call {
    number: u32,
    from: Option<IpAddr>,
    to: SocketAddr,
    /// When to open it.
    at: Instant,
    /// When questions are due: then, and whole seconds later.
    beat: Instant,
    /// Counted down once it is open, or can't be.
    pending: Option<Arc<AtomicU32>>,
}

/// A connection's life, and its end if that is still open.
type Task = JoinHandle<Result<(Connection, Option<TcpStream>)>>;

/// Carries out `order` until SIGTERM comes.
pub fn run(order: &Order) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")?;
    let outcome = runtime.block_on(carry_out(order))?;
    let text = serde_json::to_vec(&outcome)?;
    fs::write(&order.outcome, text)
        .with_context(|| format!("could not write {}", order.outcome.display()))
}

async fn carry_out(order: &Order) -> Result<Outcome> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let (stop, stopped) = watch::channel(());
    let [connections, controls] = calls(order).map(|calls| {
        let start = |call: Call| tokio::spawn(live(call, stopped.clone()));
        calls.into_iter().map(start).collect::<Vec<_>>()
    });
    drop(stopped);
    terminate.recv().await;
    drop(stop);
    // Thousands of connections that close would be in the way of the last answers.
    let mut open = Vec::new();
    Ok(Outcome {
        connections: ended(connections, &mut open).await?,
        controls: ended(controls, &mut open).await?,
    })
}

/// What became of connections; those that are still open go to `open`.
async fn ended(tasks: Vec<Task>, open: &mut Vec<TcpStream>) -> Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for task in tasks {
        let (connection, stream) = task.await.context("a connection's task panicked")??;
        connections.push(connection);
        open.extend(stream);
    }
    Ok(connections)
}

/// Connections, and controls; all spread evenly over the second.
fn calls(order: &Order) -> [Vec<Call>; 2] {
    let start = Instant::now();
    let ((first, rate), (late, late_rate)) = (order.connections, order.late);
    let pending = Arc::new(AtomicU32::new(first + order.controls));
    let late_from = start + BEAT * first / rate;
    let connections = (0..first + late).map(|number| {
        let (at, pending) = match number.checked_sub(first) {
            None => (start + BEAT * number / rate, Some(pending.clone())),
            Some(number) => (late_from + BEAT * number / late_rate, None),
        };
        let family = Family::ALL[number as usize % 2];
        Call {
            number,
            from: Some(client(family, number)),
            to: order.service[number as usize % order.service.len()],
            at,
            beat: start + BEAT * number / (first + late),
            pending,
        }
    });
    let controls = (0..order.controls).map(|number| {
        let beat = start + BEAT * number / order.controls;
        Call {
            number,
            from: None,
            to: order.control[number as usize % order.control.len()],
            at: beat,
            beat,
            pending: Some(pending.clone()),
        }
    });
    [connections.collect(), controls.collect()]
}

async fn live(
    call: Call,
    mut stopped: watch::Receiver<()>,
) -> Result<(Connection, Option<TcpStream>)> {
    let mut record = Connection {
        number: call.number,
        opened: None,
        backend: None,
        answers: 0,
        strays: Default::default(),
        misnumbered: 0,
        longest: Wait::default(),
        end: End::Alive,
        ended: Duration::ZERO,
    };
    let opened = tokio::select! {
        opened = open(&call) => opened,
        _ = stopped.changed() => Err(io::Error::other("the run ended before")),
    };
    let pending = call.pending.as_deref();
    if pending.is_some_and(|pending| pending.fetch_sub(1, Ordering::Relaxed) == 1) {
        println!("{OPENED}");
    }
    let mut stream = match opened {
        Ok(stream) => Some(stream),
        Err(error) => {
            record.end = End::NotOpened(error.to_string());
            None
        }
    };
    if let Some(stream) = &mut stream {
        record.opened = Some(clock::now()?);
        record.end = converse(stream, &call, &mut record, stopped).await?;
    }
    record.ended = clock::now()?;
    Ok((record, stream))
}

async fn open(call: &Call) -> io::Result<TcpStream> {
    sleep_until(call.at).await;
    let socket = match call.to {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    if let Some(from) = call.from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = timeout(OPENING, socket.connect(call.to)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks at once, and then at every beat.
async fn converse(
    stream: &mut TcpStream,
    call: &Call,
    record: &mut Connection,
    mut stopped: watch::Receiver<()>,
) -> Result<End> {
    let mut due = Instant::now();
    for number in 0_u64.. {
        tokio::select! {
            () = sleep_until(due) => {}
            _ = stopped.changed() => return Ok(End::Alive),
        }
        let answer = tokio::select! {
            answer = ask(stream, number) => Some(answer),
            () = patience(&mut stopped) => None,
        };
        let took = due.elapsed();
        let since = clock::now()?.saturating_sub(took);
        record.longest = record.longest.max(Wait { took, since });
        match answer {
            Some(Ok(answer)) => record.take(number, &answer)?,
            Some(Err(error)) => return Ok(end(&error)),
            None => return Ok(End::Silent),
        }
        due = next_beat(call.beat, due);
    }
    Ok(End::Alive)
}

/// Is over some time after the run.
async fn patience(stopped: &mut watch::Receiver<()>) {
    // The sender never sends: it is dropped.
    let _ = stopped.changed().await;
    tokio::time::sleep(GRACE).await;
}

async fn ask(stream: &mut TcpStream, number: u64) -> io::Result<[u8; ANSWER]> {
    let question: [u8; QUESTION] = number.to_be_bytes();
    let mut answer = [0; ANSWER];
    stream.write_all(&question).await?;
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// The first beat after `due`. Who is late asks until it has caught up: a stall counts from when
/// each of its questions was due.
fn next_beat(beat: Instant, due: Instant) -> Instant {
    let beats = due.saturating_duration_since(beat).as_secs() + 1;
    beat + Duration::from_secs(beats)
}

fn end(error: &io::Error) -> End {
    match error.kind() {
        ErrorKind::ConnectionReset => End::Reset,
        ErrorKind::UnexpectedEof => End::Closed,
        _ => End::Failed(error.to_string()),
    }
}

impl Connection {
    /// Notes an answer to the question `number`.
    fn take(&mut self, number: u64, answer: &[u8; ANSWER]) -> Result<()> {
        let (echoed, name) = read(answer)?;
        self.answers += 1;
        self.misnumbered += u64::from(echoed != number);
        match &self.backend {
            None => self.backend = Some(name),
            Some(first) if *first == name => {}
            Some(_) => *self.strays.entry(name).or_default() += 1,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_whole_seconds_apart() {
        let beat = Instant::now();
        let after = |millis| beat + Duration::from_millis(millis);
        assert_eq!(next_beat(beat, beat), after(1000));
        assert_eq!(next_beat(beat, after(300)), after(1000));
        assert_eq!(next_beat(beat, after(1000)), after(2000));
        // Opened before its place in the second has come.
        assert_eq!(next_beat(after(500), beat), after(1500));
    }

    #[test]
    fn answers_of_others_are_strays() {
        let mut record = Connection {
            number: 0,
            opened: None,
            backend: None,
            answers: 0,
            strays: Default::default(),
            misnumbered: 0,
            longest: Wait::default(),
            end: End::Alive,
            ended: Duration::ZERO,
        };
        let answer = |number: u64, name| {
            let mut answer = [0; ANSWER];
            answer[..QUESTION].copy_from_slice(&number.to_be_bytes());
            answer[QUESTION..].copy_from_slice(&super::super::messages::padded(name).unwrap());
            answer
        };
        record.take(0, &answer(0, "b1")).unwrap();
        record.take(1, &answer(0, "b1")).unwrap();
        record.take(2, &answer(2, "b2")).unwrap();
        assert_eq!(record.backend.as_deref(), Some("b1"));
        assert_eq!((record.answers, record.misnumbered), (3, 1));
        assert_eq!(record.strays["b2"], 1);
    }
}
