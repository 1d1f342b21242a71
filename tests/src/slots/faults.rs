//! What the checker can be told to do wrong, or to allow beyond what is promised: it must then
//! find a counter-example, else its silence means nothing.

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A slot whose owner is its previous one again counts as settled.
    SettledIfSame,
    /// A change of a mixed slot goes back to who was previous before it was mixed.
    MixedKeepsPrevious,
    /// A slot settles at once if its current or previous owner dies.
    DeadSettles,
    /// A packet that opens a flow is recorded without a look at what is recorded.
    BlindOpen,
    /// Whatever follows a packet that opened a flow counts as its client's.
    NoSequenceCheck,
    /// The table forgets exceptions to make room.
    Evicts,
    /// A slot becomes mixed by the clock alone, whatever went unrecorded.
    NoGate,
    /// A mixed slot settles while exceptions name others.
    SettlesEarly,
}

impl Fault {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::SettledIfSame,
        Self::MixedKeepsPrevious,
        Self::DeadSettles,
        Self::BlindOpen,
        Self::NoSequenceCheck,
        Self::Evicts,
        Self::NoGate,
        Self::SettlesEarly,
    ];
}

/// Something that happens, but is outside what is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A flow is silent for longer than the settle time.
    Silence,
    /// A backend that lives is declared dead, and later found alive.
    FalseAlarm,
    /// A SYN is sent twice across a change, and the answer to the first one counts.
    FirstAnswerCounts,
    /// Two spoofed packets follow each other as a client's would.
    SpoofedPair,
    /// A flow's client says no more than a FIN for the settle time.
    OnlyFin,
    /// A flow that is half closed is silent for so long that its exception goes.
    SilentHalf,
    /// QUIC: the client's Handshake comes behind an Initial in one datagram.
    CoalescedHandshake,
    /// QUIC: the client's Handshake is lost, and what follows it is not.
    LostHandshake,
    /// A backend dies while its slot moves away from it, and in the same step the slot gets
    /// neither that backend's nor its current owner; flows were opened between.
    DeathWithChange,
    /// The same in a resize, where the old table's new owner can't be chosen: flows of many slots
    /// share its slots.
    DeathInResize,
    /// A backend comes back before its slots have another owner.
    HastyReturn,
}
