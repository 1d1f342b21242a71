//! What a packet does to a slot: lb-common's own decision, over the one slot, and what then is
//! true of the flow.

use std::{cell::Cell, fmt};

use lb_common::{
    abi::{BackendRef, Exception, Fate, Phase, Recorded},
    datapath::{
        InsertError,
        exceptions::{self, Answer, Choices, Exceptions, Kind, Proof, Sighting, WriteOrder},
    },
};

use super::{
    events::Setup,
    faults::{Fault, Limit},
    state::{Entry, FOREIGN, Flow, OWN, State},
};

/// A packet, by who sends it and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// SYN or Initial of a flow that was not there.
    Open,
    /// The same once more.
    OpenAgain,
    /// QUIC: the client's Handshake, in a datagram of its own.
    Handshake,
    /// QUIC: the client's Handshake, behind an Initial in one datagram.
    Coalesced,
    /// QUIC: 0-RTT, which may overtake the Initial.
    Early,
    /// Any other, of a flow that was taken.
    Data,
    /// A FIN. The flow may go on: only one half of it ends.
    Fin,
    /// An ICMP error that quotes the flow, or a later fragment of it.
    Peek,
    /// SYN or Initial of someone else.
    SpoofedOpen,
    /// A segment that follows such a SYN, or QUIC's Handshake.
    SpoofedFollower,
    /// A segment that follows nothing, or QUIC with a short header.
    SpoofedData,
    /// A FIN near the last sequence number.
    SpoofedFin,
}

/// What the flows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// TCP.
    Tcp,
    /// UDP: no packet opens anything.
    Udp,
    /// UDP of a `quic` service.
    Quic,
}

impl Packet {
    /// Whether it is sent by the flow's own client.
    pub fn is_own(self) -> bool {
        match self {
            Self::Open
            | Self::OpenAgain
            | Self::Handshake
            | Self::Coalesced
            | Self::Early
            | Self::Data
            | Self::Fin => true,
            Self::Peek
            | Self::SpoofedOpen
            | Self::SpoofedFollower
            | Self::SpoofedData
            | Self::SpoofedFin => false,
        }
    }

    /// Whether it is recorded where it finds no exception.
    pub fn is_recorded(self) -> bool {
        matches!(self.kind(), Kind::Open | Kind::Data)
    }

    fn kind(self) -> Kind {
        match self {
            // The program looks no further than the first packet of a datagram.
            Self::Open | Self::OpenAgain | Self::Coalesced | Self::SpoofedOpen => Kind::Open,
            Self::Fin | Self::SpoofedFin => Kind::Close,
            Self::Peek => Kind::Peek,
            Self::Handshake
            | Self::Early
            | Self::Data
            | Self::SpoofedFollower
            | Self::SpoofedData => Kind::Data,
        }
    }

    fn proof(self, traffic: Traffic) -> Proof {
        match (traffic, self) {
            (_, Self::Peek) | (Traffic::Udp, _) => Proof::None,
            (Traffic::Tcp, _) => Proof::Sequence,
            (Traffic::Quic, Self::Handshake | Self::Early | Self::SpoofedFollower) => {
                Proof::Handshake
            }
            (Traffic::Quic, _) => Proof::None,
        }
    }

    fn sequence(self, last: u32) -> u32 {
        match self {
            Self::Open | Self::OpenAgain => OWN,
            Self::Handshake | Self::Coalesced | Self::Early | Self::Data | Self::Fin => OWN + 1,
            Self::Peek => 0,
            Self::SpoofedOpen => FOREIGN,
            Self::SpoofedFollower => FOREIGN + 1,
            Self::SpoofedData => FOREIGN.wrapping_add(1 << 30),
            Self::SpoofedFin => last,
        }
    }

    fn sighting(self, traffic: Traffic, entry: Option<&Entry>) -> Sighting {
        let last = entry.map_or(FOREIGN, |entry| entry.exception().last_seq());
        let sequence = match traffic {
            Traffic::Tcp => self.sequence(last),
            Traffic::Udp | Traffic::Quic => 0,
        };
        Sighting {
            kind: self.kind(),
            proof: self.proof(traffic),
            sequence,
            now: 0,
        }
    }
}

/// The one slot's exceptions, as one packet of one flow sees them.
struct View<'a> {
    state: &'a State,
    entry: Cell<Option<Entry>>,
    refuses: bool,
    unrecorded: Cell<Option<Recorded>>,
}

impl Exceptions for View<'_> {
    type Held = ();

    fn find(&self, into: &mut Exception) -> Option<()> {
        *into = self.entry.get()?.exception();
        Some(())
    }

    fn write(&self, (): &(), entry: &Exception, order: WriteOrder) {
        let before = self.entry.get().map(|entry| entry.exception());
        let told = before.map(|b| (b.owners, b.mark)) != Some((entry.owners, entry.mark));
        assert!(
            !told || order != WriteOrder::Seen,
            "a change is not written"
        );
        self.entry.set(Some(entry.into()));
    }

    fn insert(&self, entry: &mut Exception, _: Recorded) -> Result<(), InsertError> {
        if self.refuses {
            return Err(InsertError::Full);
        }
        self.entry.set(Some((&*entry).into()));
        Ok(())
    }

    fn unrecorded(&self, kind: Recorded) {
        self.unrecorded.set(Some(kind));
    }

    fn usable(&self, backend: BackendRef) -> bool {
        self.state.usable(backend)
    }

    fn fate(&self, _: BackendRef) -> Fate {
        Fate::Service
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The backend that got it; 0: none.
    pub backend: u32,
    /// What it could not be recorded for.
    pub unrecorded: Option<Recorded>,
}

/// Sends a packet of a flow through the decision; the flow's exception changes as it says.
pub fn send(
    setup: &Setup,
    state: &mut State,
    flow: usize,
    packet: Packet,
    refuses: bool,
) -> Outcome {
    if packet == Packet::Open
        && let Some(entry) = &mut state.entries[flow]
    {
        // The flow of these numbers is over: they are foreign to the one that begins.
        (entry.own, entry.last_own) = (false, false);
    }
    let mut sighting = packet.sighting(setup.traffic, state.entries[flow].as_ref());
    if setup.fault == Some(Fault::NoSequenceCheck) {
        sighting.proof = Proof::Handshake;
    }
    if state.slot.is_settled() {
        return Outcome {
            backend: state.slot.current(),
            unrecorded: None,
        };
    }
    let choices = Choices {
        phase: state.slot.phase(),
        current: State::reference(state.slot.current()),
        miss: State::reference(state.miss(flow)),
        resets: setup.resets,
    };
    let blind = setup.fault == Some(Fault::BlindOpen)
        && sighting.kind == Kind::Open
        && choices.phase == Phase::Moving
        && !refuses;
    let view = View {
        state,
        entry: Cell::new(if blind { None } else { state.entries[flow] }),
        refuses,
        unrecorded: Cell::new(None),
    };
    let answer = exceptions::decide(choices, sighting, &view);
    let (entry, unrecorded) = (view.entry.get(), view.unrecorded.get());
    state.entries[flow] = entry;
    let backend = match answer {
        Answer::Backend(backend) => backend.index(),
        Answer::Reset | Answer::Drop => 0,
    };
    Outcome {
        backend,
        unrecorded,
    }
}

/// Why a packet may not go where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Whose flow.
    pub flow: usize,
    /// Who has it, and lives.
    pub owner: u32,
    /// Who got its packet.
    pub got: u32,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flow, owner, got } = self;
        write!(f, "flow {flow} of backend {owner} sent to {got}")
    }
}

/// What is true of the flow after a packet of its own, or that it is broken.
pub fn learn(
    setup: &Setup,
    state: &mut State,
    flow: usize,
    packet: Packet,
    outcome: Outcome,
) -> Result<(), Broken> {
    let (got, owner) = (outcome.backend, state.flows[flow].owner());
    let arrived = || match owner {
        Some(owner) if owner != got => Err(Broken { flow, owner, got }),
        _ => Ok(()),
    };
    match packet {
        // The client takes the answer that it gets; as a rule, the last one.
        Packet::OpenAgain if setup.limit == Some(Limit::FirstAnswerCounts) => {}
        Packet::Open | Packet::OpenAgain if state.lives(got) => {
            state.flows[flow] = Flow::Opening(got);
        }
        // Nobody answers it: as far as the promise goes, there is no flow.
        Packet::Open | Packet::OpenAgain => state.flows[flow] = Flow::Absent,
        // It opens the flow a second time, as far as the program sees.
        Packet::Coalesced if owner != Some(got) => state.flows[flow] = Flow::Opening(got),
        // QUIC takes what comes before its Handshake elsewhere for lost.
        Packet::Data
            if setup.traffic == Traffic::Quic && matches!(state.flows[flow], Flow::Opening(_)) => {}
        Packet::Data | Packet::Handshake | Packet::Coalesced => {
            arrived()?;
            if state.lives(got) {
                state.flows[flow] = Flow::Established(got);
            }
        }
        Packet::Fin | Packet::Early | Packet::Peek => arrived()?,
        Packet::SpoofedOpen
        | Packet::SpoofedFollower
        | Packet::SpoofedData
        | Packet::SpoofedFin => {}
    }
    Ok(())
}
