//! Sockets of probes that go through services: they are as a client's, come from addresses and ports that are kept for
//! probes, and each port names the backend that its probe is for. Who makes them, and where the names are written, it is
//! told; also which backends there is a way to.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use lb_common::abi::{BackendRef, FIRST_PROBE_PORT, PROBE_PORTS};
use nix::errno::Errno;
use socket2::Socket;
use tokio::sync::oneshot;

use super::stream::local;
use crate::{
    health::{
        outcome::{Outcome, Unknown},
        targets::{ByService, Target},
    },
    model::{BackendAddress, Family, Forward, Protocol},
};

/// Ports that are tried until one is free: those of probes under way are not.
const TRIES: u32 = 64;

/// Makes a socket that does not block.
pub type Sockets = dyn Fn(Family, Protocol) -> oneshot::Receiver<io::Result<Socket>> + Send + Sync;

/// Has a port name a backend.
pub type Naming = dyn FnMut(u16, BackendRef) -> io::Result<()> + Send;

/// A backend as probes through services reach it.
pub type Reached = (Forward, BackendAddress);

/// What probes through services are sent by.
#[derive(Default)]
pub struct Clients(Mutex<State>);

#[derive(Default)]
struct State {
    line: Option<Line>,
    backends: HashMap<Reached, BackendRef>,
    /// How many ports have been tried.
    tried: u32,
}

struct Line {
    sources: Vec<IpAddr>,
    sockets: Box<Sockets>,
    naming: Box<Naming>,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clients")
    }
}

impl Clients {
    /// Probes are sent from these addresses, by these sockets, from now on.
    pub fn open(&self, sources: Vec<IpAddr>, sockets: Box<Sockets>, naming: Box<Naming>) {
        self.with(|state| {
            state.line = Some(Line {
                sources,
                sockets,
                naming,
            });
        });
    }

    /// There is a way to these backends now, and to no others.
    pub fn reach(&self, backends: HashMap<Reached, BackendRef>) {
        self.with(|state| state.backends = backends);
    }

    /// A socket for one probe.
    pub(super) async fn socket(
        &self,
        target: Target,
        service: ByService,
        protocol: Protocol,
    ) -> Result<Socket, Outcome> {
        let asked = self.with(|state| state.ask(target, service, protocol));
        let (source, backend, asked) = asked.ok_or(Outcome::Unknown(Unknown::NoWay))?;
        let ended = |_| local("the thread of probes has ended");
        let socket = asked.await.map_err(ended)?;
        let socket = socket.map_err(|error| local(&error.to_string()))?;
        let bound = self.with(|state| state.bind(&socket, source, backend));
        bound.map_err(|error| local(&error.to_string()))?;
        Ok(socket)
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // What a panic left half done is a port without a name.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// Asks for a socket, if there is a way to the target: with where to send from, and whom to.
    fn ask(
        &self,
        target: Target,
        ByService { address, forward }: ByService,
        protocol: Protocol,
    ) -> Option<(IpAddr, BackendRef, oneshot::Receiver<io::Result<Socket>>)> {
        let Target { ip, port, .. } = target;
        let line = self.line.as_ref()?;
        let family = Family::of(address.ip());
        let mut sources = line.sources.iter().copied();
        let source = sources.find(|source| Family::of(*source) == family)?;
        let backend = *self.backends.get(&(forward, BackendAddress { ip, port }))?;
        Some((source, backend, (line.sockets)(family, protocol)))
    }

    /// Binds a socket to the next port that is free, and has it name the backend. Ports go round, so that what is still
    /// on its way for one finds its name.
    fn bind(&mut self, socket: &Socket, source: IpAddr, backend: BackendRef) -> io::Result<()> {
        let line = self.line.as_mut().ok_or(Errno::ENODEV)?;
        for _ in 0..TRIES {
            let port = FIRST_PROBE_PORT + (self.tried % PROBE_PORTS) as u16;
            self.tried = self.tried.wrapping_add(1);
            match socket.bind(&SocketAddr::new(source, port).into()) {
                Ok(()) => return (line.naming)(port, backend),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::EADDRINUSE.into())
    }
}
