//! The device that probes leave through which take clients' way: a veth pair, one end of it in a network namespace
//! that only a thread of this process is in.
//!
//! ```text
//!  namespace of the thread                         this host
//!  sockets ── source addresses ── prober ═════ sluice-probe ──► the program of probes
//! ```
//! The kernel ends the namespace with the process, however that ends, and the pair with it. Both ends know each
//! other's MAC address for good, so nothing has to be asked on the link. To backends that answer past this host's
//! services, the addresses are this host's to answer for: it does so, on the devices that it is told, for as long as it
//! forwards between them.

use std::{
    fs::File,
    io,
    net::IpAddr,
    os::fd::AsRawFd as _,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};
use rtnetlink::packet_route::RouteNetlinkMessage as Message;
use socket2::{Domain, Socket, Type};
use tokio::{runtime, sync::oneshot, time::sleep};
use tracing::warn;

use super::{
    error::Error,
    netlink::{Kernel, probe},
    offload,
    resolution::{IfIndex, Mac},
};
use crate::model::{Family, PROBE_DEVICE as NAME, Protocol};

/// The other end.
const PROBER: &str = "prober";

/// The largest IP packets, bytes: small enough for every tunnel's headers (RFC 8200, section 5: no link has less).
const MTU: u32 = 1280;

/// How long a device of this name may take to go that a process before had: the kernel ends namespaces in its own time.
const PATIENCE: Duration = Duration::from_secs(10);

/// The device, for as long as this lasts.
#[derive(Debug)]
pub struct ProbeDevice {
    facts: Facts,
    requests: mpsc::Sender<Request>,
}

/// What is known of it.
#[derive(Clone, Copy, Debug)]
struct Facts {
    index: IfIndex,
    mac: Mac,
    prober: Mac,
}

/// What the thread is asked for.
enum Request {
    /// A socket in its namespace.
    Socket(Family, Protocol, oneshot::Sender<io::Result<Socket>>),
    /// That these devices answer for the source addresses.
    Answer(Vec<IfIndex>),
}

impl ProbeDevice {
    /// Makes it, with these source addresses: one of each family at most. Returns when it is up.
    pub fn begin(sources: &[IpAddr]) -> Result<Self, Error> {
        let (began, result) = mpsc::sync_channel(1);
        let (requests, asked) = mpsc::channel();
        let sources = sources.to_vec();
        let thread = thread::Builder::new().name("probes".into());
        let serve = move || serve(&sources, &began, &asked);
        thread.spawn(serve).map_err(Error::Thread)?;
        let closed = |_| Error::Closed {
            what: "making the device of probes".into(),
        };
        let facts = result.recv().map_err(closed)??;
        Ok(Self { facts, requests })
    }

    /// The host's end.
    pub fn index(&self) -> IfIndex {
        self.facts.index
    }

    /// Its address.
    pub fn mac(&self) -> Mac {
        self.facts.mac
    }

    /// The other end's.
    pub fn prober(&self) -> Mac {
        self.facts.prober
    }

    /// The largest IP packet that goes through it, bytes.
    pub fn mtu(&self) -> u32 {
        MTU
    }

    /// What makes sockets at the other end, that don't block.
    pub fn sockets(
        &self,
    ) -> impl Fn(Family, Protocol) -> oneshot::Receiver<io::Result<Socket>> + Send + Sync + use<>
    {
        let requests = self.requests.clone();
        move |family, protocol| {
            let (made, socket) = oneshot::channel();
            // Without the thread nobody answers.
            drop(requests.send(Request::Socket(family, protocol, made)));
            socket
        }
    }

    /// Has this host answer for the source addresses on these devices from now on.
    pub fn answer_on(&self, devices: Vec<IfIndex>) {
        // Without the thread there is no device.
        drop(self.requests.send(Request::Answer(devices)));
    }
}

/// The thread: makes the device, then does what it is asked.
fn serve(
    sources: &[IpAddr],
    began: &mpsc::SyncSender<Result<Facts, Error>>,
    asked: &mpsc::Receiver<Request>,
) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return drop(began.send(Err(Error::Thread(error)))),
    };
    let host = match runtime.block_on(begin(sources)) {
        Ok((host, facts)) => {
            drop(began.send(Ok(facts)));
            host
        }
        Err(error) => return drop(began.send(Err(error))),
    };
    for request in asked {
        match request {
            // Whoever asked may be gone.
            Request::Socket(family, protocol, made) => drop(made.send(socket(family, protocol))),
            Request::Answer(devices) => runtime.block_on(answer_on(&host, &devices, sources)),
        }
    }
}

fn socket(family: Family, protocol: Protocol) -> io::Result<Socket> {
    let domain = match family {
        Family::Ipv4 => Domain::IPV4,
        Family::Ipv6 => Domain::IPV6,
    };
    let kind = match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let socket = Socket::new(domain, kind, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Makes a namespace and the device in it, and moves the host's end to where this thread was. The connection to the
/// kernel there is returned.
async fn begin(sources: &[IpAddr]) -> Result<(Kernel, Facts), Error> {
    let host = Kernel::open()?;
    let outside = File::open("/proc/thread-self/ns/net").map_err(Error::Thread)?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| Error::Namespace(errno.into()))?;
    let inside = Kernel::open()?;
    let (mac, prober) = (own_mac()?, own_mac()?);
    let ends = [(NAME, mac), (PROBER, prober)].map(|(name, mac)| probe::End { name, mac });
    inside
        .make(probe::pair(&ends[0], &ends[1], MTU), "making a veth pair")
        .await?;
    let peer = index_of(PROBER)?;
    offload::prepare_prober(PROBER)?;
    move_out(&inside, &outside).await?;
    let index = host.index_of(NAME).await?;
    host.make(probe::up(index), "bringing sluice-probe up")
        .await?;
    inside
        .make(probe::up(peer), "bringing its other end up")
        .await?;
    for &source in sources {
        let what = format!("a way from {source}");
        for message in inner_way(peer, source, mac) {
            inside.make(message, &what).await?;
        }
        let what = format!("a way to {source}");
        for message in outer_way(index, source, prober) {
            host.make(message, &what).await?;
        }
    }
    let index = IfIndex(index);
    Ok((host, Facts { index, mac, prober }))
}

/// Moves the host's end there, once no device of its name is in the way.
async fn move_out(inside: &Kernel, outside: &File) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    let end = index_of(NAME)?;
    loop {
        let message = probe::moved(end, outside.as_raw_fd());
        let moved = inside
            .make(message, "giving sluice-probe to this host")
            .await;
        match moved {
            Err(error) if error.errno() == Some(libc::EEXIST) && Instant::now() < deadline => {
                sleep(Duration::from_millis(20)).await;
            }
            moved => return moved,
        }
    }
}

/// From a source address, through the other end, to the host's.
fn inner_way(device: u32, source: IpAddr, mac: Mac) -> [Message; 3] {
    [
        probe::address(device, source),
        probe::neighbour(device, probe::behind(source), mac),
        probe::default_route(device, source),
    ]
}

/// To a source address, through the host's end, to the other.
fn outer_way(device: u32, source: IpAddr, mac: Mac) -> [Message; 2] {
    [
        probe::neighbour(device, source, mac),
        probe::route_to(device, source),
    ]
}

/// A device may have gone meanwhile, and may come back: then it is told again.
async fn answer_on(host: &Kernel, devices: &[IfIndex], sources: &[IpAddr]) {
    for device in devices {
        for source in sources {
            let what = format!("answering for {source} on device {device}");
            if let Err(error) = host.put(probe::proxy(device.0, *source), &what).await {
                warn!("backends behind this device may not find the way back to probes: {error}");
            }
        }
    }
}

/// The number of a device in this thread's namespace.
fn index_of(name: &str) -> Result<u32, Error> {
    if_nametoindex(name).map_err(|errno| Error::Refused {
        what: format!("looking for {name}"),
        source: errno.into(),
    })
}

/// An address of our own making (IEEE 802, clause 8.4: locally administered, of one station).
fn own_mac() -> Result<Mac, Error> {
    let random = getrandom::u64().map_err(|error| Error::Thread(io::Error::other(error)))?;
    let [a, b, c, d, e, f, ..] = random.to_ne_bytes();
    Ok([a & 0xfc | 0x02, b, c, d, e, f])
}
