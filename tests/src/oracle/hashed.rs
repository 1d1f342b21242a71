//! Flows that are not recorded, and those that are but leave as they came or within others: the modes,
//! and what is told from a client's packet about its flow.

use std::net::SocketAddr;

use lb_common::{
    abi::{Direction, Handshake},
    datapath::DropReason,
};

use super::{
    exceptions::{Kind, Proof, Sighting},
    headers::{ETHERNET, Piece, hopped, long, translated},
    model::{End, Flow, Leaving, Model, SLOTS},
    packet::{Packet, opens, sound},
    site::{Backend, Mode, Service, version},
    tunnels::{Outer, wrapped},
};
use crate::cases::hashes::{flow_hash, outer_port, outer_source, scaled};

impl Model {
    /// A packet for a service whose packets go on as they are, or within others, or whose replies
    /// need no record.
    pub(super) fn client(
        &mut self,
        packet: &Packet<'_>,
        service: &Service,
    ) -> Result<Leaving, End> {
        sound(packet)?;
        let hash = self.hash(packet.flow, service);
        let (index, opens) = if service.tracked {
            self.owner_recorded(packet, service)?
        } else {
            self.admit_opening(packet, service)?;
            let slot = service.slots[slot(hash, service.slots.len())];
            let sighting = sighting(packet, service);
            let owner = self.owner(packet.flow, service, slot, sighting)?;
            (owner, opens(packet.segment.flags))
        };
        let backend = self.backend(index)?;
        let (through, mac, mtu) = backend.way.way().ok_or(End::Drop(DropReason::NoNextHop))?;
        let outer = self.outer(packet.flow, &backend);
        let (length, headroom) = (packet.headers.length, packet.arrival.headroom);
        fits(length, outer.as_ref(), mtu, headroom)?;
        let mut frame = hopped(packet.arrival.frame, through, mac);
        if let Some(outer) = &outer {
            frame = wrapped(&frame, &packet.headers, outer);
        } else if service.mode == Mode::Nat {
            let ends = backend.towards(packet.flow);
            frame = translated(frame, &packet.headers, ends);
        }
        self.count(service.id, index, Direction::In, &packet.headers, opens);
        if opens && service.mode == Mode::Nat {
            self.count_handshake(index, Handshake::Asked);
        }
        self.meet(service, &backend);
        Ok(Leaving { frame, through })
    }

    /// The headers that go around packets of a flow.
    pub(super) fn outer(&self, flow: Flow, backend: &Backend) -> Option<Outer> {
        let hash = flow_hash(self.site.seed, flow.into());
        let (entropy, udp) = match backend.mode {
            Mode::Ipip { entropy } => (entropy, None),
            Mode::Gue {
                entropy,
                port,
                checksum,
            } => (entropy, Some(([outer_port(hash), port], checksum))),
            Mode::FullNat | Mode::Nat | Mode::Dsr => return None,
        };
        Some(Outer {
            source: outer_source(version(backend.address).own(), entropy, hash),
            destination: backend.address,
            udp,
        })
    }

    /// What a backend answers in `nat` mode, of a flow that is not recorded.
    pub(super) fn reply(
        &mut self,
        packet: &Packet<'_>,
        service: &Service,
        index: u32,
    ) -> Result<Leaving, End> {
        sound(packet)?;
        let client = packet.flow.destination.ip();
        let back = self.way_back(packet.arrival.ingress, packet.headers.length, client)?;
        let (through, mac, _) = self.resolved(back)?;
        let frame = hopped(packet.arrival.frame, through, mac);
        let ends = service.answers(packet.flow);
        let frame = translated(frame, &packet.headers, ends);
        self.count(service.id, index, Direction::Out, &packet.headers, false);
        // SYN and ACK accept; a reset with an ACK and the number 0 is for nobody that was there.
        match packet.segment.flags & 0x16 {
            0x12 => self.count_handshake(index, Handshake::Answered),
            0x14 | 0x16 if packet.segment.sequence == 0 => {
                self.count_handshake(index, Handshake::Refused);
            }
            _ => {}
        }
        self.met.push("nat, replies".into());
        Ok(Leaving { frame, through })
    }
}

/// Whether a packet may open a flow that is not recorded.
pub(super) fn asks(packet: &Packet<'_>, service: &Service) -> bool {
    sighting(packet, service).kind == Kind::Open
}

/// What a packet is to its flow.
fn sighting(packet: &Packet<'_>, service: &Service) -> Sighting {
    let (segment, headers) = (packet.segment, &packet.headers);
    let (kind, proof) = if headers.piece == Piece::Later {
        (Kind::Peek, Proof::None)
    } else if headers.protocol == 6 {
        let kind = if opens(segment.flags) {
            Kind::Open
        } else if segment.flags & 5 != 0 {
            Kind::Close
        } else {
            Kind::Data
        };
        (kind, Proof::Sequence)
    } else if service.quic {
        quic(packet)
    } else {
        (Kind::Data, Proof::None)
    };
    Sighting {
        kind,
        proof,
        sequence: segment.sequence,
    }
}

/// Initial packets open, Handshake and 0-RTT ones prove; of unknown versions, long headers in
/// datagrams of 1,200 bytes open.
fn quic(packet: &Packet<'_>) -> (Kind, Proof) {
    let other = (Kind::Data, Proof::None);
    let start = ETHERNET + packet.headers.before + 8;
    let end = ETHERNET + packet.headers.length;
    let (Some(first), Some(version)) = (
        packet.arrival.frame.get(start),
        long(packet.arrival.frame, start + 1),
    ) else {
        return other;
    };
    if first & 0x80 == 0 {
        return other;
    }
    let kind = first >> 4 & 3;
    match (version, kind) {
        (1, 0) | (0x6b33_43cf, 1) => (Kind::Open, Proof::None),
        (1, 1 | 2) | (0x6b33_43cf, 2 | 3) => (Kind::Data, Proof::Handshake),
        (1 | 0x6b33_43cf, _) => other,
        _ if end.saturating_sub(start) >= 1200 => (Kind::Open, Proof::None),
        _ => other,
    }
}

/// The slot of a hash among so many that are there over and over again.
pub(super) fn slot(hash: u64, slots: usize) -> usize {
    scaled(hash >> 32, SLOTS) as usize % slots
}

/// Whether a packet may go on behind these headers: it fits its way, and there is room for them.
pub(super) fn fits(
    length: usize,
    outer: Option<&Outer>,
    mtu: usize,
    headroom: usize,
) -> Result<(), End> {
    let overhead = outer.map_or(0, Outer::length);
    if length + overhead > mtu {
        Err(End::TooBig(mtu.saturating_sub(overhead)))
    } else if overhead > headroom {
        Err(End::Drop(DropReason::NoHeadroom))
    } else {
        Ok(())
    }
}

impl Backend {
    /// The ends with which its service's packets of a flow go to it in `nat` mode.
    pub(super) fn towards(&self, flow: Flow) -> Flow {
        let port = self.port.unwrap_or(flow.destination.port());
        Flow {
            destination: SocketAddr::new(self.address, port),
            ..flow
        }
    }
}

impl Service {
    /// The ends with which a backend's answers of a flow, which is not recorded, leave in `nat` mode.
    pub(super) fn answers(&self, flow: Flow) -> Flow {
        Flow {
            source: self.end,
            ..flow
        }
    }
}
