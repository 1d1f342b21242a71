//! A row as a story: one flow of an `ipip` service after another, the slot that all of them are
//! in, and who gets each packet.

use std::net::SocketAddr;

use lb_common::{
    abi::{Direction, Fate, Miss, Recorded, ServiceTraits, Slot},
    datapath::{AnswerReason, DropReason},
};

use super::super::{
    case::{Case, Ends, Expected},
    frame::{ACK, FIN, Frame, IP, SYN},
    messages::{Kind, Message, quote, reset},
    places::{BACK, BACKEND, Flavour, Pool, Protocol, ROUTER, UPLINK, Way},
    world::{NEXT_HOP, World, service_id, table},
};

/// A backend: its index, and the last byte of its address.
pub(super) const A: u32 = 101;
/// Another one.
pub(super) const B: u32 = 102;
/// A third one.
pub(super) const C: u32 = 103;
/// In place of a backend.
pub(super) const NOBODY: u32 = 0;

/// Sequence number of the SYN that opens a flow. Those that follow wrap.
pub(super) const ISN: u32 = 0xffff_fff0;
/// A sequence number far from there.
pub(super) const FAR: u32 = 0x4000_0000;

const POOL: Pool = Pool::Ipip;
const EPOCH: u16 = 7;

/// A slot that goes over from `previous` to `current`.
pub(super) fn moving(current: u32, previous: u32) -> Slot {
    Slot::moving(current, Miss::Backend(previous), EPOCH)
}

/// A slot with exceptions from before.
pub(super) fn mixed(current: u32) -> Slot {
    Slot::mixed(current, EPOCH)
}

/// A slot that rests.
pub(super) fn settled(current: u32) -> Slot {
    Slot::settled(current)
}

/// What a client sends.
#[derive(Clone, Debug)]
pub(super) enum Sent {
    /// What opens a flow: a SYN, a QUIC Initial.
    Open,
    /// What can only follow that.
    Next,
    /// What follows something else: a segment far away, a short QUIC header, any datagram.
    Other,
    /// A FIN next to [`Sent::Other`].
    Fin,
    /// A TCP segment of these flags and this sequence number.
    Segment(u8, u32),
    /// A datagram.
    Datagram(Vec<u8>),
}

/// A row in the making.
#[derive(Clone, Debug)]
pub(super) struct Story {
    case: Case,
    flavour: Flavour,
    client: SocketAddr,
}

impl Story {
    /// With three backends, and a service as others are. One of UDP has no packets that open a
    /// flow.
    pub(super) fn plain(flavour: Flavour, what: impl std::fmt::Display) -> Self {
        let case = Case::new(format!("unsettled {flavour}: {what}")).world(|world| {
            for index in [A, B, C] {
                let address = flavour.version.inner(index as u8);
                world.add_backend_at(index, POOL, address, NEXT_HOP);
            }
        });
        let client = flavour.client(Way::Router);
        Self {
            case,
            flavour,
            client,
        }
    }

    /// As [`Story::plain`], but UDP is QUIC.
    pub(super) fn new(flavour: Flavour, what: impl std::fmt::Display) -> Self {
        let traits = dialect(flavour);
        Self::plain(flavour, what).traits(traits)
    }

    /// As [`Story::new`], where flows are reset whose backend is gone.
    pub(super) fn resetting(flavour: Flavour, what: impl std::fmt::Display) -> Self {
        let traits = dialect(flavour).and(ServiceTraits::RESETS);
        Self::plain(flavour, format!("reset, {what}")).traits(traits)
    }

    /// The service's traits become these.
    pub(super) fn traits(self, traits: ServiceTraits) -> Self {
        let flavour = self.flavour;
        self.world(|world| world.set_traits(flavour, POOL, traits))
    }

    /// The world changes.
    pub(super) fn world(mut self, change: impl FnOnce(&mut World)) -> Self {
        self.case = self.case.world(change);
        self
    }

    /// The slot of every flow becomes this one.
    pub(super) fn slot(self, slot: Slot) -> Self {
        let id = table(self.flavour.version, POOL);
        self.world(|world| drop(world.slots.insert(id, vec![slot])))
    }

    /// A backend dies.
    pub(super) fn dies(self, index: u32) -> Self {
        self.world(|world| world.kill_backend(index))
    }

    /// A backend dies, and that becomes of its flows.
    pub(super) fn ended(self, index: u32, fate: Fate) -> Self {
        self.world(move |world| world.end_backend(index, fate))
    }

    /// A backend that was dead lives.
    pub(super) fn returns(self, index: u32) -> Self {
        let address = self.flavour.version.inner(index as u8);
        self.world(|world| world.add_backend_at(index, POOL, address, NEXT_HOP))
    }

    /// A backend's index and address become another's: its generation goes up.
    pub(super) fn replaced(self, index: u32) -> Self {
        let address = self.flavour.version.inner(index as u8);
        self.world(|world| world.reuse_backend(index, address))
    }

    /// From here on the packets are this client's.
    pub(super) fn client(mut self, number: u8) -> Self {
        let address = self.flavour.version.client_number(Way::Router, number);
        self.client = SocketAddr::new(address, 50_000 + u16::from(number));
        self
    }

    /// From here on the packets are this client's.
    pub(super) fn from(mut self, client: SocketAddr) -> Self {
        self.client = client;
        self
    }

    /// The client sends this, and a backend gets it.
    pub(super) fn gets(self, sent: Sent, backend: u32) -> Self {
        let frame = self.frame(&sent);
        let expected = self.to(&frame, backend);
        self.arrives(&frame, expected)
    }

    /// As [`Story::gets`], and it goes unrecorded.
    pub(super) fn unrecorded(self, sent: Sent, backend: u32, kind: Recorded) -> Self {
        let frame = self.frame(&sent);
        let service = service_id(self.flavour, POOL);
        let expected = self.to(&frame, backend).unrecorded(service, kind);
        self.arrives(&frame, expected)
    }

    /// The client sends this, and nobody gets it.
    pub(super) fn loses(self, sent: Sent, reason: DropReason) -> Self {
        let frame = self.frame(&sent);
        self.arrives(&frame, Expected::dropped(reason))
    }

    /// The client sends a segment that acknowledges 0, and is told that its flow is over.
    pub(super) fn told(self, sent: Sent) -> Self {
        let frame = self.frame(&sent);
        let ends = [frame.destination(), frame.source()];
        let reset = reset([UPLINK.mac, ROUTER], ends, (0, None));
        self.arrives(
            &frame,
            Expected::answered(UPLINK, AnswerReason::Reset, reset),
        )
    }

    /// A router tells of a packet that answers what the client has sent, so many bytes of whose
    /// transport header it quotes; a backend gets that.
    pub(super) fn tells(self, answered: Sent, quoted: usize, backend: u32) -> Self {
        let (flavour, version) = (self.flavour, self.flavour.version);
        let asked = self.frame(&answered);
        let answer = flavour
            .packet(asked.destination(), asked.source())
            .acknowledgement(asked.sequence_number())
            .sized(200);
        let body = quote(&answer.bytes(), version.header() + quoted);
        let ends = [version.link(77, 7), asked.destination().ip()];
        let error = Message::new(Kind::TooBig, ends, [0, 0, 0x05, 0x78], &body);
        let inner = error.clone().hop().bytes();
        let around = asked.sized(inner.len() - IP);
        let around = around.inside(version.own(), version.inner(backend as u8));
        let mut there = around.link(BACK.mac, BACKEND).bytes();
        there.truncate(IP + version.header());
        there.extend(&inner[IP..]);
        let expected = Expected::relayed(UPLINK, there, BACK)
            .counted_as(flavour, POOL, Direction::In, error.ip_length())
            .backend(backend);
        let Self { case, client, .. } = self;
        Self {
            case: case.bytes(UPLINK, error.bytes(), expected),
            flavour,
            client,
        }
    }

    /// Seconds pass.
    pub(super) fn advance(mut self, seconds: u32) -> Self {
        self.case = self.case.advance(seconds);
        self
    }

    /// The agent deletes the exception of the client's flow.
    pub(super) fn swept(mut self) -> Self {
        let ends = self.ends();
        self.case = self.case.evict(ends);
        self
    }

    /// The element of the client's exception becomes another's, or is its own again.
    pub(super) fn recycled(mut self) -> Self {
        let ends = self.ends();
        self.case = self.case.recycle(ends);
        self
    }

    /// Whose packets they are.
    pub(super) fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// The row.
    pub(super) fn row(self) -> Case {
        self.case
    }

    fn ends(&self) -> Ends {
        Ends::request(self.flavour, POOL, self.client)
    }

    fn arrives(mut self, frame: &Frame, expected: Expected) -> Self {
        self.case = self.case.frame(frame, expected);
        self
    }

    fn to(&self, input: &Frame, backend: u32) -> Expected {
        let version = self.flavour.version;
        let output = input
            .clone()
            .hop()
            .inside(version.own(), version.inner(backend as u8))
            .link(BACK.mac, BACKEND);
        let expected = Expected::sent(input, &output, BACK)
            .counted(self.flavour, POOL, Direction::In, input)
            .backend(backend);
        if input.asks() {
            expected.opens()
        } else {
            expected
        }
    }

    fn frame(&self, sent: &Sent) -> Frame {
        let service = self.flavour.service(POOL);
        let frame = self.flavour.packet(self.client, service);
        let segment = |flags, sequence| frame.clone().flags(flags).sequence(sequence);
        match (sent, self.flavour.protocol) {
            (Sent::Open, Protocol::Tcp) => segment(SYN, ISN),
            (Sent::Next, Protocol::Tcp) => segment(ACK, ISN.wrapping_add(1)),
            (Sent::Other, Protocol::Tcp) => segment(ACK, FAR),
            (Sent::Fin, Protocol::Tcp) => segment(FIN | ACK, FAR + 1),
            (Sent::Segment(flags, sequence), Protocol::Tcp) => segment(*flags, *sequence),
            (Sent::Open, Protocol::Udp) => frame.payload(&quic(0xc3, 1, 1200)),
            (Sent::Next, Protocol::Udp) => frame.payload(&quic(0xe3, 1, 200)),
            (Sent::Other, Protocol::Udp) => frame.payload(&quic(0x43, 1, 60)),
            (Sent::Datagram(payload), Protocol::Udp) => frame.payload(payload),
            (Sent::Fin | Sent::Segment(..), Protocol::Udp) | (Sent::Datagram(_), Protocol::Tcp) => {
                panic!("{sent:?} is of the other protocol")
            }
        }
    }
}

/// The start of a QUIC packet, and as many bytes as make a datagram of this length.
pub(super) fn quic(first: u8, version: u32, length: usize) -> Vec<u8> {
    let mut packet = vec![first];
    packet.extend(version.to_be_bytes());
    packet.resize(length, 0x5c);
    packet
}

fn dialect(flavour: Flavour) -> ServiceTraits {
    match flavour.protocol {
        Protocol::Tcp => ServiceTraits::NONE,
        Protocol::Udp => ServiceTraits::QUIC,
    }
}
