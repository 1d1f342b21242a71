//! Which backend does a packet get whose slot is not settled? Decided by the slot's phase and by
//! the flow's exception, if it has one; what is learnt goes back into the exception.
//!
//! ```text
//!            exception?
//! packet ──► yes: its owner, or its fallback if the one who opened it was not the flow's client
//!            no:  MOVING: the slot's previous owner, and recorded; to open a flow: the current one,
//!                         if that can be recorded
//!                 MIXED:  the current owner
//! ```
//! What holds this together: a live flow without an exception belongs to [`Slot::miss`]; to record
//! nothing is always safe, so a full table breaks no flow. How slots change is the agent's.
//!
//! [`Slot::miss`]: crate::abi::Slot::miss

use crate::abi::{BackendRef, Exception, ExceptionState, Fate, Phase, Recorded};

use super::tables::InsertError;

/// What a packet is to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It opens one: a SYN alone, a QUIC Initial.
    Open = 0,
    /// It goes on.
    Data = 1,
    /// A TCP segment with FIN or RST.
    Close = 2,
    /// It only speaks of one: an ICMP error by the packet that it quotes, a later fragment.
    Peek = 3,
}

/// How a packet shows that it follows the one that opened its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// TCP: by its sequence number.
    Sequence = 0,
    /// QUIC: it is of a kind that only who got an answer can send.
    Handshake = 1,
    /// Not at all.
    None = 2,
}

/// What matters of a packet beside its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What it is to its flow.
    pub kind: Kind,
    /// How it shows that it follows the opening.
    pub proof: Proof,
    /// TCP sequence number, else 0.
    pub sequence: u32,
    /// The time, jiffies.
    pub now: u32,
}

/// What the slot has to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices {
    /// How far its change has come; not settled.
    pub phase: Phase,
    /// Who gets new flows; none if nobody can.
    pub current: BackendRef,
    /// Whose the flows are that have no exception.
    pub miss: BackendRef,
    /// Whether a flow whose backend is gone is reset where the backend says nothing else.
    pub resets: bool,
}

/// What a packet gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This backend; [`BackendRef::NONE`]: there is none.
    Backend(BackendRef),
    /// Its backend is gone, and its flow is to be reset.
    Reset,
    /// Its backend is gone, and its flow is to end without a word.
    Drop,
}

/// The exceptions, as one packet of one flow sees them.
pub trait Exceptions {
    /// The flow's exception in the table.
    type Held;

    /// Copies the flow's exception out, if it has one.
    fn find(&self, into: &mut Exception) -> Option<Self::Held>;

    /// Writes back what [`Exceptions::find`] gave, in the [`order`](WriteOrder) that is safe under
    /// readers.
    fn write(&self, held: &Self::Held, entry: &Exception, order: WriteOrder);

    /// Records an exception if limits and table allow. Its fingerprint and service are filled in.
    fn insert(&self, entry: &mut Exception, kind: Recorded) -> Result<(), InsertError>;

    /// Notes that a packet went unrecorded.
    fn unrecorded(&self, kind: Recorded);

    /// Whether a backend lives and is still the same.
    fn usable(&self, backend: BackendRef) -> bool;

    /// What becomes of the flows of one that is not.
    fn fate(&self, backend: BackendRef) -> Fate;
}

/// Which word of an exception is stored first, so that who reads between the stores is told nothing
/// wrong: a committed entry's fallback is its owner, so it may be called tentative before its
/// owners change, and must be given its owner before it is called committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOrder {
    /// Only when and what was seen last changed.
    Seen,
    /// The mark, then the owners.
    MarkFirst,
    /// The owners, then the mark.
    OwnersFirst,
}

/// How far sequence numbers may lie apart to be of one flow.
const WINDOW: u32 = 65_536;

/// The backend of a packet whose slot is not settled.
#[inline(always)]
pub fn decide<E: Exceptions>(choices: Choices, sighting: Sighting, exceptions: &E) -> Answer {
    let mut entry = Exception::default();
    if let Some(held) = exceptions.find(&mut entry) {
        return follow(choices, sighting, exceptions, &held, &mut entry);
    }
    let miss = living_miss(choices, exceptions);
    let Some((kind, owner)) = unknown(choices, sighting, miss) else {
        return Answer::Backend(unrecorded(choices, sighting, miss));
    };
    fresh(&mut entry, kind, owner, miss, sighting);
    match exceptions.insert(&mut entry, kind) {
        Ok(()) => return Answer::Backend(owner),
        // Another CPU was faster: what it recorded counts.
        Err(InsertError::Exists) => {
            if let Some(held) = exceptions.find(&mut entry) {
                return follow(choices, sighting, exceptions, &held, &mut entry);
            }
        }
        Err(InsertError::Full) => {}
    }
    exceptions.unrecorded(kind);
    Answer::Backend(miss)
}

/// Whose the flows without an exception are. Where that backend is gone and the agent has not
/// changed the slot yet, all that comes is the current one's, and recorded: who gets the slot next is
/// not known here.
#[inline(always)]
fn living_miss<E: Exceptions>(choices: Choices, exceptions: &E) -> BackendRef {
    if choices.phase == Phase::Moving && exceptions.usable(choices.miss) {
        choices.miss
    } else {
        choices.current
    }
}

/// What a packet without an exception is recorded for, and with whom as its owner; `None` if it is
/// not recorded.
#[inline(always)]
fn unknown(
    choices: Choices,
    sighting: Sighting,
    miss: BackendRef,
) -> Option<(Recorded, BackendRef)> {
    let moving = choices.phase == Phase::Moving;
    match sighting.kind {
        Kind::Open if moving && choices.current != BackendRef::NONE => {
            Some((Recorded::Open, choices.current))
        }
        Kind::Data if moving && miss != BackendRef::NONE => Some((Recorded::Data, miss)),
        Kind::Open | Kind::Data | Kind::Close | Kind::Peek => None,
    }
}

/// Who gets a packet that has no exception and makes none.
#[inline(always)]
fn unrecorded(choices: Choices, sighting: Sighting, miss: BackendRef) -> BackendRef {
    match sighting.kind {
        Kind::Open => choices.current,
        Kind::Data | Kind::Close | Kind::Peek => miss,
    }
}

/// Makes the exception of a flow that had none.
#[inline(always)]
fn fresh(
    entry: &mut Exception,
    kind: Recorded,
    owner: BackendRef,
    fallback: BackendRef,
    sighting: Sighting,
) {
    let state = match kind {
        Recorded::Open => ExceptionState::Tentative,
        Recorded::Data => ExceptionState::Committed,
    };
    entry.set_owners(owner, fallback);
    entry.set_mark(state, sighting.sequence);
    entry.set_seen(sighting.now, sighting.sequence);
}

/// The backend of a packet whose flow has an exception.
#[inline(always)]
fn follow<E: Exceptions>(
    choices: Choices,
    sighting: Sighting,
    exceptions: &E,
    held: &E::Held,
    entry: &mut Exception,
) -> Answer {
    let known = Known {
        choices,
        sighting,
        usable: exceptions.usable(entry.owner()),
    };
    let (answer, order) = match sighting.kind {
        Kind::Open => known.open(entry),
        Kind::Data | Kind::Close => known.data(exceptions, entry),
        Kind::Peek => return Answer::Backend(known.peek(exceptions, entry)),
    };
    if let Some(order) = order {
        entry.set_seen(sighting.now, sighting.sequence);
        exceptions.write(held, entry, order);
    }
    answer
}

/// A packet whose flow has an exception.
struct Known {
    choices: Choices,
    sighting: Sighting,
    /// Whether the exception's owner is.
    usable: bool,
}

impl Known {
    /// A packet that opens the flow once more.
    #[inline(always)]
    fn open(&self, entry: &mut Exception) -> (Answer, Option<WriteOrder>) {
        let (owner, current) = (entry.owner(), self.choices.current);
        let (isn, state) = (self.sighting.sequence, entry.state());
        let next = match state {
            ExceptionState::Committed if self.usable => return (Answer::Backend(owner), None),
            ExceptionState::Tentative if self.usable => owner,
            ExceptionState::Tentative | ExceptionState::Committed | ExceptionState::Closing => {
                current
            }
        };
        if next == BackendRef::NONE {
            return (Answer::Backend(next), None);
        }
        let fallback = match state {
            ExceptionState::Tentative => entry.fallback(),
            ExceptionState::Closing if self.usable => owner,
            ExceptionState::Committed | ExceptionState::Closing => self.choices.miss,
        };
        entry.set_owners(next, fallback);
        entry.set_mark(ExceptionState::Tentative, isn);
        (Answer::Backend(next), Some(WriteOrder::MarkFirst))
    }

    /// A packet that goes on with the flow, or ends it.
    #[inline(always)]
    fn data<E: Exceptions>(
        &self,
        exceptions: &E,
        entry: &mut Exception,
    ) -> (Answer, Option<WriteOrder>) {
        if self.is_inconclusive(entry) {
            let fallback = entry.fallback();
            let owner = if exceptions.usable(fallback) {
                fallback
            } else {
                entry.owner()
            };
            return (Answer::Backend(owner), None);
        }
        let before = (entry.owners, entry.mark);
        let anothers = entry.state() == ExceptionState::Tentative && !self.follows(entry);
        let owner = if anothers {
            self.fallback(exceptions, entry)
        } else if self.usable {
            entry.owner()
        } else {
            match exceptions.fate(entry.owner()) {
                Fate::Service if !self.choices.resets => self.choices.current,
                Fate::Service | Fate::Reset => return (Answer::Reset, None),
                Fate::Drop => return (Answer::Drop, None),
            }
        };
        if owner == BackendRef::NONE {
            return (Answer::Backend(owner), None);
        }
        let state = if self.closes(entry) {
            ExceptionState::Closing
        } else {
            ExceptionState::Committed
        };
        entry.set_owners(owner, owner);
        entry.set_mark(state, entry.isn());
        let order = if (entry.owners, entry.mark) == before {
            WriteOrder::Seen
        } else {
            WriteOrder::OwnersFirst
        };
        (Answer::Backend(owner), Some(order))
    }

    /// A packet that changes nothing.
    #[inline(always)]
    fn peek<E: Exceptions>(&self, exceptions: &E, entry: &Exception) -> BackendRef {
        if entry.state() == ExceptionState::Tentative && !self.follows(entry) {
            self.fallback(exceptions, entry)
        } else if self.usable {
            entry.owner()
        } else {
            self.choices.current
        }
    }

    /// Who has the flow if whoever opened it was not its client.
    #[inline(always)]
    fn fallback<E: Exceptions>(&self, exceptions: &E, entry: &Exception) -> BackendRef {
        let fallback = entry.fallback();
        if exceptions.usable(fallback) {
            fallback
        } else {
            self.choices.current
        }
    }

    /// Whether nothing can be told from the packet of a tentative flow. QUIC: a short header may
    /// be the old flow's, or the new one's before a lost or late Handshake.
    #[inline(always)]
    fn is_inconclusive(&self, entry: &Exception) -> bool {
        self.sighting.proof == Proof::None
            && self.usable
            && entry.state() == ExceptionState::Tentative
    }

    /// Whether the packet follows the one that opened the flow.
    #[inline(always)]
    fn follows(&self, entry: &Exception) -> bool {
        match self.sighting.proof {
            Proof::Sequence => {
                let distance = self.sighting.sequence.wrapping_sub(entry.isn());
                distance.wrapping_sub(1) < WINDOW
            }
            Proof::Handshake => true,
            Proof::None => false,
        }
    }

    /// Whether the packet ends the flow: only one whose sequence number is near the last one's does.
    #[inline(always)]
    fn closes(&self, entry: &Exception) -> bool {
        let ahead = self.sighting.sequence.wrapping_sub(entry.last_seq());
        let behind = entry.last_seq().wrapping_sub(self.sighting.sequence);
        self.sighting.kind == Kind::Close && (ahead < WINDOW || behind < WINDOW)
    }
}
