//! What happens to a balancer: packets, changes, time. A step says what it is about in numbers that are
//! given a meaning when it happens, so that any step can be left out of a story.

use std::{collections::HashMap, net::SocketAddr};

use lb_common::abi::Fate;

use super::{
    flaws::Flaw,
    generate::backends,
    headers::{ETHERNET, long, read_v4, read_v6},
    model::Flow,
    notices::Notice,
    packet::Arrival,
    ping::Ping,
    site::{Before, Service, Site, Slot, version},
};
use crate::cases::{
    frame::{ACK, FIN, Frame, PSH, RST, SYN},
    places::{BACK, BACKEND, Interface, Protocol, ROUTER, SIDE, SIDE_ROUTER, UPLINK, Way},
};

/// A balancer, and what happens to it.
#[derive(Clone, Debug)]
pub(super) struct Story {
    /// What it is told at first.
    pub(super) site: Site,
    /// What happens, in order.
    pub(super) steps: Vec<Step>,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A client's packet to a service.
    Request(Sent),
    /// A backend's packet to a client that its service has heard of.
    Reply(Sent),
    /// A client asks for an echo.
    Ping(Ping),
    /// Someone sends an ICMP error.
    Notice(Notice),
    /// Any bytes come in.
    Bytes(Vec<u8>),
    /// Seconds pass.
    Advance(u32),
    /// What is recorded of a flow of a client to a service, or of its replies, goes.
    Forget {
        /// Which client.
        client: u8,
        /// Which service.
        service: usize,
        /// The replies.
        replies: bool,
    },
    /// The agent changes something.
    Change(Change),
}

/// A packet that someone sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Which client's flow it is of.
    pub(super) client: u8,
    /// Which service's.
    pub(super) service: usize,
    /// What it is to the flow.
    pub(super) kind: Kind,
    /// How far its sequence number is from the first one.
    pub(super) offset: u32,
    /// How far the number that it acknowledges is from the other side's first one.
    pub(super) acknowledged: u32,
    /// The bytes of its payload.
    pub(super) payload: usize,
    /// Its hops.
    pub(super) hops: u8,
    /// Its class.
    pub(super) class: u8,
    /// The shape of its headers.
    pub(super) shape: Shape,
    /// What is wrong with it.
    pub(super) flaw: Flaw,
    /// The room in front of it.
    pub(super) headroom: usize,
    /// The bytes behind it.
    pub(super) padding: usize,
}

/// What a packet is to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) enum Kind {
    Syn,
    SynAck,
    Ack,
    Push,
    Fin,
    Reset,
    /// Any flags.
    Flags(u8),
    /// QUIC: a long header's first byte and version.
    Quic(u8, u32),
}

/// The shape of a packet's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Where they usually are.
    Plain,
    /// TCP options, or a datagram without a checksum.
    Dressed,
    /// IPv4 options, or IPv6 extension headers.
    Extended,
    /// The first fragment of a packet of this number.
    First(u16),
    /// A later one.
    Later(u16),
}

/// What an agent does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// A backend dies or lives again.
    Alive(u32, bool),
    /// What becomes of its flows once it is dead.
    Fate(u32, Fate),
    /// All of a service's do.
    AllAlive(usize, bool),
    /// An index goes to another backend.
    Replace(u32),
    /// All of a service's do.
    ReplaceAll(usize),
    /// A backend has another way, weight and limit.
    Load(u32, super::site::NextHop, u32, u32),
    /// A slot of a service has another owner.
    Slot(usize, usize, Slot),
    /// All of them have.
    Slots(usize, Slot),
    /// A service's slots get the next phase, whichever they are in, or start to move.
    Phase(usize, u32),
}

/// Clients.
pub(super) const CLIENTS: u8 = 14;

/// A client's first sequence number, and a backend's.
pub(super) const ISN: [u32; 2] = [0xffff_8000, 0x0102_0304];

/// What payloads have, over and over again.
const PATTERN: &[u8] = b"\0\x01\x02\x03\x04\x05\x06\x07 a payload of some client or backend \x3f";

/// A frame that comes in.
pub(super) struct Incoming {
    /// Through which interface.
    pub(super) ingress: Interface,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// Room in front of it.
    pub(super) headroom: usize,
}

impl Incoming {
    /// As the model has it.
    pub(super) fn arrival(&self) -> Arrival<'_> {
        Arrival {
            ingress: self.ingress,
            frame: &self.bytes,
            headroom: self.headroom,
        }
    }
}

/// How clients' packets last left, by client and service.
#[derive(Default)]
pub(super) struct Known {
    /// With which ends, as far as these can be read.
    pub(super) ends: HashMap<(u8, usize), Flow>,
    /// The frames.
    pub(super) frames: HashMap<(u8, usize), Vec<u8>>,
}

impl Known {
    /// A client's packet has left.
    pub(super) fn note(&mut self, who: (u8, usize), frame: &[u8]) {
        self.frames.insert(who, frame.to_vec());
        let read = if frame.get(12) == Some(&8) {
            read_v4
        } else {
            read_v6
        };
        if let Some(flow) = read(frame).ok().and_then(|headers| headers.flow()) {
            self.ends.insert(who, flow);
        }
    }
}

impl Step {
    /// The frame of a step, if it is one.
    pub(super) fn frame(&self, site: &Site, known: &Known) -> Option<Incoming> {
        match self {
            Self::Request(sent) => {
                let service = &site.services[sent.service];
                let flow = request(service, sent.client);
                let from = match way(sent.client) {
                    Way::Aside | Way::SilentAside => (SIDE, SIDE_ROUTER),
                    _ => (UPLINK, ROUTER),
                };
                Some(sent.incoming(service, flow, from, ISN))
            }
            Self::Reply(sent) => {
                let service = &site.services[sent.service];
                let left = known.ends.get(&(sent.client, sent.service))?;
                let [client, backend] = ISN;
                Some(sent.incoming(service, left.back(), (BACK, BACKEND), [backend, client]))
            }
            Self::Ping(ping) => Some(ping.incoming(&site.services[ping.service])),
            Self::Notice(notice) => Some(notice.incoming(&site.services[notice.service], known)),
            Self::Bytes(bytes) => Some(Incoming {
                ingress: UPLINK,
                bytes: bytes.clone(),
                headroom: 256,
            }),
            Self::Advance(_) | Self::Forget { .. } | Self::Change(_) => None,
        }
    }

    /// The flow that a request is of, by client and service.
    pub(super) fn request(&self) -> Option<(u8, usize)> {
        match self {
            Self::Request(sent) => Some((sent.client, sent.service)),
            _ => None,
        }
    }
}

/// The flow of a client to a service.
pub(super) fn request(service: &Service, client: u8) -> Flow {
    let address = version(service.end.ip()).client_number(way(client), 1 + client % 4);
    Flow {
        source: SocketAddr::new(address, 40_007 + 4001 * u16::from(client % 5)),
        destination: service.end_for(client),
        protocol: service.protocol,
    }
}

pub(super) fn way(client: u8) -> Way {
    match client {
        8 => Way::Nowhere,
        9 => Way::Silent,
        10 => Way::SilentAside,
        11 => Way::Aside,
        12 => Way::Foreign,
        13 => Way::Narrow,
        _ => Way::Router,
    }
}

impl Sent {
    fn incoming(
        &self,
        service: &Service,
        flow: Flow,
        (through, from): (Interface, [u8; 6]),
        isns: [u32; 2],
    ) -> Incoming {
        let (source, destination) = (flow.source, flow.destination);
        let frame = match service.protocol {
            Protocol::Tcp => Frame::tcp(source, destination).flags(self.kind.flags()),
            Protocol::Udp => Frame::udp(source, destination),
        };
        let payload = self.payload(service);
        let whole = payload.len()
            + if service.protocol == Protocol::Tcp {
                20
            } else {
                8
            };
        let frame = frame
            .sequence(isns[0].wrapping_add(self.offset))
            .arrives(through)
            .link(from, through.mac)
            .hops(self.hops)
            .class(self.class)
            .payload(&payload);
        let frame = match self.shape {
            Shape::Plain => frame,
            Shape::Dressed if service.protocol == Protocol::Tcp => frame.tcp_options(),
            Shape::Dressed => frame.unchecked(),
            Shape::Extended if source.is_ipv4() => match self.flaw {
                Flaw::Route => frame.ip_options(&[131, 3, 4, 0]),
                _ => frame.ip_options(&[1, 7, 7, 4, 0, 0, 0, 0]),
            },
            Shape::Extended => {
                let left = u8::from(self.flaw == Flaw::Route);
                frame.extensions(&[
                    (0, &[0, 1, 4, 0, 0, 0, 0]),
                    (43, &[0, 0, left, 0, 0, 0, 0]),
                    (60, &[0, 1, 4, 0, 0, 0, 0]),
                ])
            }
            Shape::First(id) => frame.fragment(0..24.min(whole - 1) / 8 * 8, id),
            Shape::Later(id) => frame.fragment(24..whole, id),
        };
        let frame = match (self.flaw, self.shape) {
            (Flaw::Surplus, Shape::Plain | Shape::Dressed) => frame.surplus(b"surplus"),
            _ => frame,
        };
        let frame = frame.padded(self.padding);
        let mut bytes = frame.bytes();
        let fragment = matches!(self.shape, Shape::First(_) | Shape::Later(_));
        if service.protocol == Protocol::Tcp && !fragment && self.flaw != Flaw::Surplus {
            acknowledge(&mut bytes, isns[1].wrapping_add(self.acknowledged));
        }
        let ingress = self.flaw.strike(through, &mut bytes);
        Incoming {
            ingress,
            bytes,
            headroom: self.headroom,
        }
    }

    /// Fragments have enough for two.
    fn payload(&self, service: &Service) -> Vec<u8> {
        let least = match self.shape {
            Shape::First(_) | Shape::Later(_) => 40,
            Shape::Plain | Shape::Dressed | Shape::Extended => 0,
        };
        let length = self.payload.max(least);
        let mut payload = PATTERN.repeat(1 + length / PATTERN.len());
        payload.truncate(length);
        if let Kind::Quic(first, version) = self.kind
            && service.protocol == Protocol::Udp
        {
            let header = [&[first][..], &version.to_be_bytes()].concat();
            let length = payload.len().min(header.len());
            payload[..length].copy_from_slice(&header[..length]);
        }
        payload
    }
}

impl Kind {
    fn flags(self) -> u8 {
        match self {
            Self::Syn => SYN,
            Self::SynAck => SYN | ACK,
            Self::Ack | Self::Quic(..) => ACK,
            Self::Push => ACK | PSH,
            Self::Fin => FIN | ACK,
            Self::Reset => RST,
            Self::Flags(flags) => flags,
        }
    }
}

/// Sets the number that a segment acknowledges, and its checksum anew.
fn acknowledge(bytes: &mut [u8], number: u32) {
    let read = if bytes[12] == 8 { read_v4 } else { read_v6 };
    let Ok(headers) = read(bytes) else { return };
    let at = ETHERNET + headers.before + 8;
    let before = long(bytes, at).unwrap_or(0);
    bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
    let sum = |number: u32| u64::from(number >> 16) + u64::from(number & 0xffff);
    super::headers::mend(bytes, at + 8, sum(before), sum(number));
}

impl Change {
    /// Makes the change.
    pub(super) fn make(self, site: &mut Site) {
        match self {
            Self::Alive(index, alive) => {
                if let Some(backend) = site.backends.get_mut(&index) {
                    backend.alive = alive;
                }
            }
            Self::Fate(index, fate) => {
                if let Some(backend) = site.backends.get_mut(&index) {
                    backend.fate = fate;
                }
            }
            Self::AllAlive(service, alive) => {
                for index in backends(site, service) {
                    Self::Alive(index, alive).make(site);
                }
            }
            Self::Replace(index) => {
                if let Some(backend) = site.backends.get_mut(&index) {
                    backend.generation = backend.generation.wrapping_add(1);
                    backend.alive = true;
                }
            }
            Self::ReplaceAll(service) => {
                for index in backends(site, service) {
                    Self::Replace(index).make(site);
                }
            }
            Self::Load(index, way, weight, max_flows) => {
                if let Some(backend) = site.backends.get_mut(&index) {
                    (backend.way, backend.weight) = (way, weight);
                    backend.max_flows = max_flows;
                }
            }
            Self::Slot(service, place, slot) => {
                let slots = &mut site.services[service].slots;
                let count = slots.len();
                slots[place % count] = slot;
            }
            Self::Slots(service, slot) => site.services[service].slots.fill(slot),
            Self::Phase(service, next) => {
                for slot in &mut site.services[service].slots {
                    *slot = match *slot {
                        Slot::Settled(before) => Slot::Moving(Before::Backend(before), next),
                        Slot::Moving(_, index) => Slot::Mixed(index),
                        Slot::Mixed(index) => Slot::Settled(index),
                    };
                }
            }
        }
    }
}
