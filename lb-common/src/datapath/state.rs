//! What a packet makes of its recorded flow: opening → answered → established → closing or reset.
//!
//! ```text
//!  client         OPENING: the client has spoken
//!    │  SYN ──►
//!  backend        ANSWERED: the backend has answered
//!    │  ◄── SYN, ACK
//!  client         ESTABLISHED: the numbers show that the client got the answer: the flow is
//!       ACK ──►   committed, and can't be crowded out by flows that only begin
//! ```
//! Where answers do not pass here, the client's second packet commits a flow. FIN and RST count only
//! near the last sequence number, so that one from afar ends nothing. Pure.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::{
    abi::{Address, Direction, FlowEntry, FlowState, Handshake},
    net::{TcpFlags, TcpHeader},
};

/// What matters of a packet.
#[derive(Clone, Copy, Debug, Default, FromBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Segment {
    /// Its sequence number.
    pub(super) sequence: u32,
    /// Its acknowledgement number.
    pub(super) acknowledgement: u32,
    /// Its flags.
    pub(super) flags: TcpFlags,
    /// TCP; if not, all is zeros.
    pub(super) protocol: u8,
    /// Nothing.
    pub(super) padding: u16,
}

impl Segment {
    /// The number that its sender began with, if this is the first segment of it that was seen: that
    /// of a SYN, or of one just before. (So a flow that is recorded on its way is established by one
    /// exchange, as one that opens is.)
    #[inline(always)]
    pub(super) fn initial(&self) -> u32 {
        let before = u32::from(!self.flags.synchronizes());
        self.sequence.wrapping_sub(before)
    }
}

/// What becomes of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// It is in another state.
    To(FlowState),
    /// It is established, and its client has shown that it is there.
    Commit,
    /// The packet opens it once more.
    Reopen,
}

/// How far sequence numbers may lie apart to be of one flow.
const WINDOW: u32 = 65_536;

/// What `segment` makes of the flow of `entry`, its own direction's. `one_way`: answers do not pass
/// here.
#[inline(always)]
pub(super) fn change<A: Address>(entry: &FlowEntry<A>, segment: &Segment, one_way: bool) -> Change {
    let (state, inwards) = (entry.state(), entry.direction() == Direction::In);
    if segment.flags.opens() && inwards {
        let again = state < FlowState::Established && segment.sequence != entry.isn;
        return if again || !state.is_active() {
            Change::Reopen
        } else {
            Change::None
        };
    }
    // A refusal has no number of its own, but acknowledges the client's (RFC 9293, section 3.5.2).
    let refuses = state == FlowState::Opening && !inwards && segment.flags.refuses();
    let (number, last) = if refuses {
        (segment.acknowledgement, entry.isn)
    } else {
        (segment.sequence, entry.last_seq)
    };
    if segment.flags.closes() && near(number, last) {
        let to = if segment.flags.resets() {
            FlowState::Reset
        } else {
            FlowState::Closing
        };
        return if state < to {
            Change::To(to)
        } else {
            Change::None
        };
    }
    match (state, inwards) {
        (FlowState::Opening, false) => Change::To(FlowState::Answered),
        (FlowState::Opening, true) if one_way && follows(entry, segment, false) => Change::Commit,
        (FlowState::Answered, true) if follows(entry, segment, true) => Change::Commit,
        _ => Change::None,
    }
}

/// What a packet of the flow of `entry`, its own direction's, is to the beginning of its connection: `change` is what it
/// makes of the flow, and `opens` whether that is recorded by it.
#[inline(always)]
pub(super) fn handshake<A: Address>(
    entry: &FlowEntry<A>,
    segment: &Segment,
    change: Change,
    opens: bool,
) -> Option<Handshake> {
    let flags = segment.flags;
    let answers = entry.direction() == Direction::Out && entry.state() == FlowState::Opening;
    match change {
        Change::Reopen => Some(Handshake::Asked),
        Change::None if opens && flags.opens() => Some(Handshake::Asked),
        Change::To(FlowState::Answered) if flags.accepts() => Some(Handshake::Answered),
        Change::To(FlowState::Reset) if answers && flags.refuses() => Some(Handshake::Refused),
        Change::None | Change::To(_) | Change::Commit => None,
    }
}

/// Whether a client's packet comes after the one that opened its flow and, if `answered`, after the
/// answer to it.
#[inline(always)]
fn follows<A: Address>(entry: &FlowEntry<A>, segment: &Segment, answered: bool) -> bool {
    let after = |number: u32, first: u32| number.wrapping_sub(first).wrapping_sub(1) < WINDOW;
    segment.protocol != TcpHeader::PROTOCOL
        || after(segment.sequence, entry.isn)
            && (!answered || after(segment.acknowledgement, entry.peer_isn))
}

#[inline(always)]
fn near(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) < WINDOW || b.wrapping_sub(a) < WINDOW
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use crate::abi::{BackendRef, FlowKey, FlowSpec, HopWord, Ipv4Address};

    use super::*;

    const ISN: u32 = u32::MAX - 1;
    const PEER: u32 = 5000;

    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    fn entry(direction: Direction, state: FlowState) -> FlowEntry<Ipv4Address> {
        let key = FlowKey::new(Ipv4Address::ZERO, Ipv4Address::ZERO, [0; 2], [0; 2], 6);
        let mut entry = FlowEntry::new_zeroed();
        let spec = FlowSpec {
            key: &key,
            ends: key.ends(),
            direction,
            service: 0,
            backend: BackendRef::new(1, 0),
            route: HopWord::NONE,
            sequence: ISN,
        };
        entry.fill(spec, 0, 0);
        entry.set_state(state);
        entry.peer_isn = PEER;
        entry
    }

    fn segment(flags: u8, sequence: u32, acknowledgement: u32) -> Segment {
        Segment {
            sequence,
            acknowledgement,
            flags: TcpFlags::read_from_bytes(&[flags]).unwrap(),
            protocol: TcpHeader::PROTOCOL,
            padding: 0,
        }
    }

    fn client(state: FlowState, segment: Segment, one_way: bool) -> Change {
        change(&entry(Direction::In, state), &segment, one_way)
    }

    #[test]
    fn a_handshake_commits() {
        let answer = segment(SYN | ACK, PEER, ISN.wrapping_add(1));
        let opening = entry(Direction::Out, FlowState::Opening);
        let answered = Change::To(FlowState::Answered);
        assert_eq!(change(&opening, &answer, false), answered);
        let third = segment(ACK, ISN.wrapping_add(1), PEER + 1);
        assert_eq!(client(FlowState::Answered, third, false), Change::Commit);
        assert_eq!(client(FlowState::Established, third, false), Change::None);
    }

    #[test]
    fn a_refusal_resets() {
        let opening = entry(Direction::Out, FlowState::Opening);
        let refusal = segment(RST | ACK, 0, ISN.wrapping_add(1));
        let reset = Change::To(FlowState::Reset);
        assert_eq!(change(&opening, &refusal, false), reset);
        let guess = segment(RST | ACK, ISN, 1 << 20);
        let answered = Change::To(FlowState::Answered);
        assert_eq!(change(&opening, &guess, false), answered);
    }

    #[test]
    fn a_third_packet_with_wrong_numbers_commits_nothing() {
        let next = ISN.wrapping_add(1);
        for (sequence, acknowledgement) in [
            (ISN, PEER + 1),
            (next.wrapping_add(65_536), PEER + 1),
            (next, PEER),
            (next, PEER + 1 + 65_536),
        ] {
            let guess = segment(ACK, sequence, acknowledgement);
            assert_eq!(client(FlowState::Answered, guess, false), Change::None);
        }
        let early = segment(ACK, next, PEER + 1);
        assert_eq!(client(FlowState::Opening, early, false), Change::None);
    }

    #[test]
    fn where_answers_pass_elsewhere_the_second_packet_commits() {
        let second = segment(ACK, ISN.wrapping_add(1), 77);
        assert_eq!(client(FlowState::Opening, second, true), Change::Commit);
        let guess = segment(ACK, ISN.wrapping_add(100_000), 77);
        assert_eq!(client(FlowState::Opening, guess, true), Change::None);
        let datagram = Segment::default();
        assert_eq!(client(FlowState::Opening, datagram, true), Change::Commit);
        assert_eq!(client(FlowState::Opening, datagram, false), Change::None);
        assert_eq!(client(FlowState::Answered, datagram, false), Change::Commit);
    }

    #[test]
    fn a_flow_that_is_recorded_on_its_way_is_committed_by_one_exchange() {
        let mut entry = entry(Direction::In, FlowState::Answered);
        entry.isn = segment(ACK, ISN, 0).initial();
        entry.peer_isn = segment(ACK, PEER, ISN).initial();
        // What it had sent last is sent once more, or what comes next.
        for sequence in [ISN, ISN.wrapping_add(100)] {
            let next = segment(ACK, sequence, PEER);
            assert_eq!(change(&entry, &next, false), Change::Commit);
        }
        let guess = segment(ACK, ISN, PEER - 1);
        assert_eq!(change(&entry, &guess, false), Change::None);
    }

    #[test]
    fn a_syn_again_changes_nothing_and_another_one_reopens() {
        let (same, other) = (segment(SYN, ISN, 0), segment(SYN, 9, 0));
        for state in [FlowState::Opening, FlowState::Answered] {
            assert_eq!(client(state, same, false), Change::None);
            assert_eq!(client(state, other, false), Change::Reopen);
        }
        assert_eq!(client(FlowState::Established, other, false), Change::None);
        for state in [FlowState::Closing, FlowState::Reset] {
            assert_eq!(client(state, same, false), Change::Reopen);
        }
    }

    #[test]
    fn fin_and_rst_count_near_the_last_number_alone() {
        for (flags, to) in [
            (FIN | ACK, FlowState::Closing),
            (RST, FlowState::Reset),
            (RST | ACK, FlowState::Reset),
        ] {
            for distance in [0, 65_535, 0u32.wrapping_sub(65_535)] {
                let end = segment(flags, ISN.wrapping_add(distance), 0);
                let closed = client(FlowState::Established, end, false);
                assert_eq!(closed, Change::To(to));
            }
            for distance in [65_536, 0u32.wrapping_sub(65_536), 1 << 31] {
                let afar = segment(flags, ISN.wrapping_add(distance), 0);
                let closed = client(FlowState::Established, afar, false);
                assert_eq!(closed, Change::None);
            }
        }
        let fin = segment(FIN | ACK, ISN, 0);
        assert_eq!(client(FlowState::Reset, fin, false), Change::None);
    }
}
