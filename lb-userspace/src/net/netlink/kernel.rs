//! The real [`Netlink`]: two rtnetlink sockets, one for requests, one for events. Apart, since a
//! burst of events that overflows a socket would take answers along.

use std::{collections::BTreeMap, io, net::IpAddr, pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt};
use rtnetlink::{
    Handle, MulticastGroup, new_connection, new_multicast_connection,
    packet_core::{
        NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_MULTIPART, NLM_F_REQUEST,
        NetlinkMessage, NetlinkPayload,
    },
    packet_route::{RouteNetlinkMessage as Message, route::RouteFlags},
    sys::AsyncSocket,
};
use tokio::{task::JoinSet, time::timeout};

use super::{Netlink, decode, encode, floating, probe};
use crate::model::VirtualAddress;
use crate::net::{
    error::Error,
    facts::{Event, InterfaceAddress, Link, Match, Neighbour, Neighbourhood, Route},
    machine::Request,
    resolution::IfIndex,
};

/// How long the kernel may take to answer; it takes microseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Receive buffer of the event socket, as far as net.core.rmem_max lets.
const EVENT_BUFFER: usize = 4 << 20;

/// Everything that can change a resolution. (Nexthop objects announce the routes that use them.)
const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

type Messages = Pin<Box<dyn Stream<Item = NetlinkMessage<Message>> + Send + Sync>>;

/// A connection to the kernel, in the network namespace of the thread that opened it.
pub(in crate::net) struct Kernel {
    requests: Handle,
    /// Absent where no events were asked for.
    events: Option<Messages>,
    /// Whether events were asked for.
    listens: bool,
    /// The tasks that move the sockets' bytes; they end with this.
    _sockets: JoinSet<()>,
}

impl Kernel {
    /// Opens a connection without events. Needs a tokio runtime.
    pub(in crate::net) fn open() -> Result<Self, Error> {
        let mut sockets = JoinSet::new();
        let requests = open_requests(&mut sockets)?;
        Ok(Self {
            requests,
            events: None,
            listens: false,
            _sockets: sockets,
        })
    }

    /// Opens a connection with events. Needs a tokio runtime.
    pub(in crate::net) fn listen() -> Result<Self, Error> {
        let mut sockets = JoinSet::new();
        let events = Some(open_events(&mut sockets)?);
        let requests = open_requests(&mut sockets)?;
        Ok(Self {
            requests,
            events,
            listens: true,
            _sockets: sockets,
        })
    }

    /// Sends one request and takes all its answers.
    async fn ask(&self, message: Message, flags: u16, what: String) -> Result<Vec<Message>, Error> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        let Ok(answers) = self.requests.clone().request(request) else {
            return Err(Error::Closed { what });
        };
        match timeout(PATIENCE, collect(answers, &what)).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout {
                what,
                seconds: PATIENCE.as_secs(),
            }),
        }
    }

    /// Makes something that is not there yet, or changes something.
    pub(in crate::net) async fn make(&self, message: Message, what: &str) -> Result<(), Error> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.ask(message, flags, what.to_owned()).await.map(drop)
    }

    /// Makes something, which may be there.
    pub(in crate::net) async fn put(&self, message: Message, what: &str) -> Result<(), Error> {
        let flags = NLM_F_ACK | NLM_F_CREATE;
        self.ask(message, flags, what.to_owned()).await.map(drop)
    }

    /// Removes something.
    pub(in crate::net) async fn remove(&self, message: Message, what: &str) -> Result<(), Error> {
        self.ask(message, NLM_F_ACK, what.to_owned())
            .await
            .map(drop)
    }

    /// The addresses of this host that bear our mark.
    pub(in crate::net) async fn marked_addresses(
        &self,
    ) -> Result<Vec<(IfIndex, VirtualAddress)>, Error> {
        let answers = self.dump(encode::addresses(), "addresses").await?;
        let marked = |answer: &Message| match answer {
            Message::NewAddress(message) => floating::marked(message),
            _ => None,
        };
        Ok(answers.iter().filter_map(marked).collect())
    }

    /// The number of a device.
    pub(in crate::net) async fn index_of(&self, device: &str) -> Result<u32, Error> {
        let what = format!("looking for {device}");
        let answers = self.ask(probe::named(device), 0, what.clone()).await?;
        let index = answers.iter().find_map(|answer| match answer {
            Message::NewLink(link) => Some(link.header.index),
            _ => None,
        });
        index.ok_or(Error::Closed { what })
    }

    async fn dump(&self, message: Message, what: &str) -> Result<Vec<Message>, Error> {
        self.ask(message, NLM_F_DUMP, format!("reading all {what}"))
            .await
    }

    /// The route that answers a look-up, or the error number instead of one.
    async fn look_up<T>(
        &self,
        destination: IpAddr,
        flags: RouteFlags,
        found: impl Fn(&rtnetlink::packet_route::route::RouteMessage) -> T,
        refused: impl Fn(i32) -> T,
    ) -> Result<T, Error> {
        let what = format!("the route look-up of {destination}");
        match self.ask(encode::route(destination, flags), 0, what).await {
            Ok(answers) => Ok(answers
                .iter()
                .find_map(|answer| match answer {
                    Message::NewRoute(route) => Some(found(route)),
                    _ => None,
                })
                .unwrap_or_else(|| refused(libc::ENETUNREACH))),
            Err(error) => match &error {
                Error::Refused { .. } => error.errno().map(&refused).ok_or(error),
                _ => Err(error),
            },
        }
    }
}

/// Takes answers until the kernel marks the end. The stream's own end is the connection's: a dump
/// that it cuts short must not pass for a whole one.
async fn collect(
    mut answers: impl Stream<Item = NetlinkMessage<Message>> + Unpin,
    what: &str,
) -> Result<Vec<Message>, Error> {
    let mut taken = Vec::new();
    while let Some(answer) = answers.next().await {
        let code = match answer.payload {
            NetlinkPayload::InnerMessage(message) => {
                taken.push(message);
                if answer.header.flags & NLM_F_MULTIPART == 0 {
                    return Ok(taken);
                }
                continue;
            }
            NetlinkPayload::Done(done) => done.code,
            NetlinkPayload::Error(error) => error.raw_code(),
            _ => continue,
        };
        return match code {
            0 => Ok(taken),
            code => Err(Error::Refused {
                what: what.to_owned(),
                source: io::Error::from_raw_os_error(code.saturating_abs()),
            }),
        };
    }
    Err(Error::Closed {
        what: what.to_owned(),
    })
}

fn open_requests(sockets: &mut JoinSet<()>) -> Result<Handle, Error> {
    let (mut connection, handle, _) = new_connection().map_err(Error::Open)?;
    connection.set_forward_done(true);
    connection.set_forward_ack(true);
    sockets.spawn(connection);
    Ok(handle)
}

fn open_events(sockets: &mut JoinSet<()>) -> Result<Messages, Error> {
    let (mut connection, handle, messages) =
        new_multicast_connection(&GROUPS).map_err(Error::Open)?;
    // Best effort: where it is refused, events are lost sooner, which is noticed and mended.
    let _ = connection
        .socket_mut()
        .socket_mut()
        .set_rx_buf_sz(EVENT_BUFFER);
    sockets.spawn(connection);
    // The connection lives as long as its handle: the stream keeps it.
    Ok(Box::pin(messages.map(move |(message, _)| {
        let _alive = &handle;
        message
    })))
}

impl Netlink for Kernel {
    fn reopen(&mut self) -> Result<(), Error> {
        *self = if self.listens {
            Self::listen()?
        } else {
            Self::open()?
        };
        Ok(())
    }

    async fn event(&mut self) -> Result<Event, Error> {
        let closed = || Error::Closed {
            what: "waiting for events".to_owned(),
        };
        loop {
            let message = self.events.as_mut().ok_or_else(closed)?.next().await;
            match message.ok_or_else(closed)?.payload {
                NetlinkPayload::Overrun(_) => return Ok(Event::Overrun),
                NetlinkPayload::InnerMessage(message) => {
                    if let Some(event) = decode::event(message) {
                        return Ok(event);
                    }
                }
                _ => {}
            }
        }
    }

    async fn links(&self) -> Result<BTreeMap<IfIndex, Link>, Error> {
        let answers = self.dump(encode::links(), "links").await?;
        let link = |answer: &Message| match answer {
            Message::NewLink(message) => decode::link(message),
            _ => None,
        };
        Ok(answers.iter().filter_map(link).collect())
    }

    async fn addresses(&self) -> Result<Vec<InterfaceAddress>, Error> {
        let answers = self.dump(encode::addresses(), "addresses").await?;
        let address = |answer: &Message| match answer {
            Message::NewAddress(message) => decode::address(message),
            _ => None,
        };
        Ok(answers.iter().filter_map(address).collect())
    }

    async fn neighbours(&self) -> Result<BTreeMap<Neighbourhood, Neighbour>, Error> {
        let answers = self.dump(encode::neighbours(), "neighbours").await?;
        Ok(answers.iter().filter_map(neighbour).collect())
    }

    async fn neighbour(&self, place: Neighbourhood) -> Result<Option<Neighbour>, Error> {
        let what = format!("reading neighbour {} on device {}", place.1, place.0);
        match self.ask(encode::neighbour(place), 0, what).await {
            Ok(answers) => Ok(answers.iter().find_map(neighbour).map(|(_, entry)| entry)),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn route(&self, destination: IpAddr) -> Result<Route, Error> {
        self.look_up(
            destination,
            RouteFlags::empty(),
            decode::route,
            Route::Refused,
        )
        .await
    }

    async fn matching(&self, destination: IpAddr) -> Result<Match, Error> {
        self.look_up(destination, RouteFlags::FibMatch, decode::matched, |_| {
            Match::Nothing
        })
        .await
    }

    async fn apply(&self, request: Request) -> Result<(), Error> {
        let (message, flags, place, verb) = match request {
            Request::Create(place) => (
                encode::keep(place),
                NLM_F_CREATE | NLM_F_EXCL,
                place,
                "keeping",
            ),
            Request::Keep(place) => (encode::keep(place), 0, place, "keeping"),
            Request::Release(place) => (encode::solicit(place), 0, place, "releasing"),
        };
        let what = format!("{verb} neighbour {} on device {}", place.1, place.0);
        forgive(self.ask(message, NLM_F_ACK | flags, what).await)
    }

    async fn solicit(&self, place: Neighbourhood, known: bool) -> Result<(), Error> {
        let flags = if known { 0 } else { NLM_F_CREATE | NLM_F_EXCL };
        let what = format!("soliciting neighbour {} on device {}", place.1, place.0);
        forgive(
            self.ask(encode::solicit(place), NLM_F_ACK | flags, what)
                .await,
        )
    }
}

fn neighbour(answer: &Message) -> Option<(Neighbourhood, Neighbour)> {
    match answer {
        Message::NewNeighbour(message) => decode::neighbour(message),
        _ => None,
    }
}

/// A neighbour that came or went between reading and writing is no failure.
fn forgive(result: Result<Vec<Message>, Error>) -> Result<(), Error> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.errno() {
            Some(libc::EEXIST | libc::ENOENT | libc::ENODEV | libc::ENETDOWN) => Ok(()),
            _ => Err(error),
        },
    }
}
