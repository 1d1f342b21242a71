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
    abi::{Address, Direction, FlowEntry, FlowState},
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
    if segment.flags.closes() && near(segment.sequence, entry.last_seq) {
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
