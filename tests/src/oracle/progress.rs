//! How far a recorded flow has come, and what a packet makes of it. From docs/connections.md.

use lb_common::abi::{Direction, Handshake};

use super::{
    headers::Piece,
    model::{Flow, Name},
    packet::{Packet, Segment, opens},
    site::Service,
};
use crate::cases::places::{Interface, Mac, Protocol};

/// How far a flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Opening,
    Answered,
    Established,
    Closing,
    Reset,
}

/// One direction of a recorded flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The ends that its packets leave with.
    pub(super) ends: Flow,
    pub(super) direction: Direction,
    pub(super) service: u32,
    pub(super) backend: Name,
    pub(super) state: State,
    /// Whether its ends may be of both families.
    pub(super) across: bool,
    /// Whether its client has not shown yet that it is there.
    pub(super) young: bool,
    pub(super) seen: u64,
    pub(super) last: u32,
    pub(super) isn: u32,
    pub(super) peer_isn: u32,
    /// Of replies: where the first packet came from.
    pub(super) back: (Interface, Mac),
    /// Of replies: up to which length the way back was looked up, and when.
    pub(super) route: (usize, Option<u64>),
}

impl Entry {
    /// Whether a packet to this service follows it: not what is recorded of another one's replies.
    pub(super) fn is_for(&self, service: &Service) -> bool {
        self.direction == Direction::In || self.service == service.id
    }
}

/// What a packet makes of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    To(State),
    Commit,
    Reopen,
}

/// Near enough to be of the same flow.
const WINDOW: u32 = 65_536;

/// The number that a side began with, if this is the first that is seen of it.
pub(super) fn began(segment: Segment) -> u32 {
    let syn = segment.flags & 2 != 0;
    segment.sequence.wrapping_sub(u32::from(!syn))
}

/// What a packet is to the beginning of its connection; `opens`: its flow is recorded by it. A first answer, and a SYN
/// that asks for something else than the one before; not what is sent again.
pub(super) fn handshake(entry: Entry, packet: &Packet<'_>, opens: bool) -> Option<Handshake> {
    let flags = packet.segment.flags;
    let first = entry.direction == Direction::Out && entry.state == State::Opening;
    match change(entry, packet, false) {
        _ if packet.headers.piece == Piece::Later => None,
        Change::Reopen => Some(Handshake::Asked),
        Change::None => (opens && self::opens(flags)).then_some(Handshake::Asked),
        Change::To(_) if !first => None,
        Change::To(State::Answered) => (flags & 0x16 == 0x12).then_some(Handshake::Answered),
        Change::To(State::Reset) => (flags & 0x14 == 0x14).then_some(Handshake::Refused),
        Change::To(_) | Change::Commit => None,
    }
}

/// What a packet makes of its flow: opening, answered, established, closing or reset.
pub(super) fn change(entry: Entry, packet: &Packet<'_>, one_way: bool) -> Change {
    let Segment {
        flags,
        sequence,
        acknowledgement,
    } = packet.segment;
    let inwards = entry.direction == Direction::In;
    let udp = packet.flow.protocol == Protocol::Udp;
    if opens(flags) && inwards {
        return match entry.state {
            State::Opening | State::Answered if sequence != entry.isn => Change::Reopen,
            State::Opening | State::Answered | State::Established => Change::None,
            State::Closing | State::Reset => Change::Reopen,
        };
    }
    // A refusal has no number of its own.
    let refusal = entry.state == State::Opening && !inwards && flags & 0x14 == 0x14;
    let (number, last) = if refusal {
        (acknowledgement, entry.isn)
    } else {
        (sequence, entry.last)
    };
    let distance = (number.wrapping_sub(last) as i32).unsigned_abs();
    if flags & 5 != 0 && distance < WINDOW {
        let ended = if flags & 4 != 0 {
            State::Reset
        } else {
            State::Closing
        };
        return if entry.state < ended {
            Change::To(ended)
        } else {
            Change::None
        };
    }
    let after = |number: u32, first: u32| (1..=WINDOW).contains(&number.wrapping_sub(first));
    let follows = udp || after(sequence, entry.isn);
    let answers = udp || after(acknowledgement, entry.peer_isn);
    match (entry.state, inwards) {
        (State::Opening, false) => Change::To(State::Answered),
        (State::Opening, true) if one_way && follows => Change::Commit,
        (State::Answered, true) if follows && answers => Change::Commit,
        _ => Change::None,
    }
}
