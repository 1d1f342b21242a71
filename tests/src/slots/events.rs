//! What can happen to a slot next: every packet of every flow, every decision of the agent, deaths
//! and returns.

use std::fmt;

use lb_common::abi::{ExceptionState, Miss, Phase};

use super::{
    agent::Agent,
    faults::{Fault, Limit},
    packets::{Packet, Traffic},
    state::{BACKENDS, FLOWS, Flow, State},
};

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A packet of a flow comes.
    Sent(u8, Packet),
    /// The same, but it can't be recorded.
    Refused(u8, Packet),
    /// A flow is over.
    Ends(u8),
    /// The slot's new owner.
    Owner(u8),
    /// The same in a resize, and the new owners of the flows' slots in the old table.
    Owners(u8, [u8; FLOWS]),
    /// A backend dies. Its slots have new owners a moment later.
    Dies(u8),
    /// A backend comes back, as another generation of itself.
    Returns(u8),
    /// A backend comes back, and its generation is the same.
    ReturnsSame(u8),
    /// The sweep looks at an exception.
    Swept(u8),
    /// The exception of a flow that is over goes by its time.
    Expires(u8),
    /// The table forgets an exception.
    Evicted(u8),
    /// A new table takes over: its slot moves from what the old table says.
    Resized(u8),
    /// Moving becomes mixed.
    Mixed,
    /// Mixed becomes settled.
    Settled,
    /// The agent begins to have the slot's flows recorded, to count them.
    Watched,
    /// It has counted them.
    Unwatched,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(flow, packet) => write!(f, "{packet:?}({flow})"),
            Self::Refused(flow, packet) => write!(f, "{packet:?}({flow})!"),
            Self::Ends(flow) => write!(f, "ends({flow})"),
            Self::Owner(backend) => write!(f, "owner:={backend}"),
            Self::Owners(backend, [a, b]) => write!(f, "owner:={backend}, old ones {a} and {b}"),
            Self::Dies(backend) => write!(f, "{backend} dies"),
            Self::Returns(backend) => write!(f, "{backend} returns renewed"),
            Self::ReturnsSame(backend) => write!(f, "{backend} returns"),
            Self::Swept(flow) => write!(f, "sweep({flow})"),
            Self::Expires(flow) => write!(f, "expires({flow})"),
            Self::Evicted(flow) => write!(f, "evicted({flow})"),
            Self::Resized(backend) => write!(f, "resized, owner:={backend}"),
            Self::Mixed => f.write_str("mixed"),
            Self::Settled => f.write_str("settled"),
            Self::Watched => f.write_str("watched"),
            Self::Unwatched => f.write_str("unwatched"),
        }
    }
}

/// What may happen in a check.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// What the flows are.
    pub traffic: Traffic,
    /// Whether inserts may be refused.
    pub refusals: bool,
    /// Whether others send packets in the flows' names.
    pub spoofs: bool,
    /// Whether packets come between a death and the new owners.
    pub gaps: bool,
    /// Whether ICMP errors and fragments come.
    pub peeks: bool,
    /// Whether the table is replaced by one of another size.
    pub resizes: bool,
    /// Whether a flow whose backend is gone is reset.
    pub resets: bool,
    /// The rule that is left out.
    pub fault: Option<Fault>,
    /// What happens beyond what is promised.
    pub limit: Option<Limit>,
}

impl Setup {
    /// Everything that can happen within what is promised, but for a resize.
    pub const fn all(traffic: Traffic) -> Self {
        Self {
            traffic,
            refusals: true,
            spoofs: true,
            gaps: true,
            peeks: true,
            resizes: false,
            resets: false,
            fault: None,
            limit: None,
        }
    }

    /// The same in a table that is replaced by one of another size, again and again, while nothing
    /// is spoofed. (No packet comes between a death and the new owners: see
    /// [`Limit::DeathInResize`].)
    pub const fn resized(traffic: Traffic) -> Self {
        Self {
            spoofs: false,
            gaps: false,
            resizes: true,
            ..Self::all(traffic)
        }
    }

    /// The same without a rule.
    pub const fn without(self, fault: Fault) -> Self {
        let fault = Some(fault);
        Self { fault, ..self }
    }

    /// The same with something that is not promised.
    pub const fn beyond(self, limit: Limit) -> Self {
        let limit = Some(limit);
        Self { limit, ..self }
    }

    /// The events that can come next. (Some change nothing.)
    pub fn events(&self, agent: &Agent, state: &State, into: &mut Vec<Event>) {
        into.clear();
        let unowned = unowned(state);
        for flow in 0..FLOWS as u8 {
            if !unowned || self.gaps || self.limit == Some(Limit::DeathInResize) {
                self.packets(state, flow, into);
            }
            self.losses(state, flow, into);
        }
        self.deaths(state, into);
        if unowned {
            self.new_owners(state, into);
        } else {
            self.changes(agent, state, into);
        }
        if self.limit == Some(Limit::HastyReturn) || !unowned {
            self.returns(state, into);
        }
    }

    /// The packets of a flow that can come.
    fn packets(&self, state: &State, flow: u8, into: &mut Vec<Event>) {
        let recordable = state.entries[flow as usize].is_none();
        let refusals = self.refusals && recordable && state.slot.phase() == Phase::Moving;
        let mut push = |packet: Packet| {
            into.push(Event::Sent(flow, packet));
            if refusals && packet.is_recorded() {
                into.push(Event::Refused(flow, packet));
            }
        };
        let truth = state.flows[flow as usize];
        let own = match truth {
            Flow::Absent => self.first_packets(),
            Flow::Opening(_) => self.opening_packets(),
            Flow::Established(_) => self.later_packets(),
        };
        own.iter().copied().for_each(&mut push);
        // Who knows a flow's addresses and ports can keep it from being established.
        if self.spoofs && !matches!(truth, Flow::Opening(_)) {
            self.spoofed_packets().iter().copied().for_each(&mut push);
            if self.limit == Some(Limit::SpoofedPair) {
                push(Packet::SpoofedFollower);
            }
        }
    }

    /// What the client of no flow can send.
    fn first_packets(&self) -> &'static [Packet] {
        match self.traffic {
            Traffic::Tcp | Traffic::Udp => &[Packet::Open],
            Traffic::Quic => &[Packet::Open, Packet::Early],
        }
    }

    /// What a client can send that was not answered yet, or has just been.
    fn opening_packets(&self) -> &'static [Packet] {
        use Packet::{Coalesced, Data, Early, Handshake, OpenAgain};
        match (self.traffic, self.limit) {
            (Traffic::Tcp | Traffic::Udp, _) => &[OpenAgain, Data],
            (Traffic::Quic, Some(Limit::CoalescedHandshake)) => &[OpenAgain, Early, Coalesced],
            (Traffic::Quic, Some(Limit::LostHandshake)) => &[OpenAgain, Early, Handshake, Data],
            (Traffic::Quic, _) => &[OpenAgain, Early, Handshake],
        }
    }

    /// What comes of an established flow.
    fn later_packets(&self) -> &'static [Packet] {
        use Packet::{Data, Fin, Peek};
        match (self.traffic, self.peeks) {
            (Traffic::Tcp, true) => &[Data, Fin, Peek],
            (Traffic::Tcp, false) => &[Data, Fin],
            (Traffic::Udp | Traffic::Quic, true) => &[Data, Peek],
            (Traffic::Udp | Traffic::Quic, false) => &[Data],
        }
    }

    /// What comes in a flow's name.
    fn spoofed_packets(&self) -> &'static [Packet] {
        use Packet::{SpoofedData, SpoofedFin, SpoofedOpen};
        match self.traffic {
            Traffic::Tcp => &[SpoofedData, SpoofedOpen, SpoofedFin],
            Traffic::Udp => &[SpoofedData],
            Traffic::Quic => &[SpoofedData, SpoofedOpen],
        }
    }

    /// How a flow and its exception can end.
    fn losses(&self, state: &State, flow: u8, into: &mut Vec<Event>) {
        let index = flow as usize;
        let over = state.flows[index] == Flow::Absent;
        if !over {
            into.push(Event::Ends(flow));
        }
        let Some(entry) = &state.entries[index] else {
            return;
        };
        let closing = entry.state == ExceptionState::Closing;
        into.push(Event::Swept(flow));
        if over || (closing && self.limit == Some(Limit::SilentHalf)) {
            into.push(Event::Expires(flow));
        }
        if self.fault == Some(Fault::Evicts) {
            into.push(Event::Evicted(flow));
        }
    }

    /// Who can die: not the last one.
    fn deaths(&self, state: &State, into: &mut Vec<Event>) {
        if state.alive.count_ones() > 1 {
            let living = (1..=BACKENDS).filter(|&b| state.lives(b));
            into.extend(living.map(|b| Event::Dies(b as u8)));
        }
    }

    /// Who can come back.
    fn returns(&self, state: &State, into: &mut Vec<Event>) {
        for backend in (1..=BACKENDS).filter(|&b| !state.lives(b)) {
            let backend = backend as u8;
            into.push(Event::Returns(backend));
            into.push(Event::ReturnsSame(backend));
        }
    }

    /// The agent's answers to a death. (Words are stored one by one, but none depends on another.)
    fn new_owners(&self, state: &State, into: &mut Vec<Event>) {
        let current = state.slot.current();
        // Where only the previous owner died, the current one stays what it is. (Else: see
        // `Limit::DeathWithChange`.)
        let stays = state.lives(current)
            && state.slot.phase() == Phase::Moving
            && self.limit != Some(Limit::DeathWithChange);
        let living = || (1..=BACKENDS).filter(|&b| state.lives(b));
        for backend in living().filter(|&b| !stays || b == current) {
            let backend = backend as u8;
            if !state.is_resized() {
                into.push(Event::Owner(backend));
                continue;
            }
            // Who has an owner keeps it: then any other says the same.
            let heirs = |flow: usize| {
                let keeps = state.lives(state.old[flow]);
                living().filter(move |&b| !keeps || b == state.old[flow])
            };
            for a in heirs(0) {
                into.extend(heirs(1).map(|b| Event::Owners(backend, [a as u8, b as u8])));
            }
        }
    }

    /// What the agent does while nobody is dead whom the slot names.
    fn changes(&self, agent: &Agent, state: &State, into: &mut Vec<Event>) {
        for backend in (1..=BACKENDS).filter(|&b| state.lives(b)) {
            let named = backend as u8;
            if backend != state.slot.current() {
                into.push(Event::Owner(named));
            }
            if self.resizes && !state.is_resized() {
                into.push(Event::Resized(named));
            }
        }
        let live = |flow: usize| state.flows[flow] != Flow::Absent;
        match state.slot.phase() {
            Phase::Settled => into.push(Event::Watched),
            Phase::Moving if is_watched(state) => into.push(Event::Unwatched),
            Phase::Moving => {
                let spoken = (0..FLOWS).all(|flow| !live(flow) || state.seen >> flow & 1 == 1);
                if spoken || self.limit == Some(Limit::Silence) {
                    into.push(Event::Mixed);
                }
            }
            Phase::Mixed => {
                into.push(Event::Watched);
                if self.fault == Some(Fault::SettlesEarly) || agent.sweep(state).settles {
                    into.push(Event::Settled);
                }
            }
        }
    }
}

/// Whether the slot's flows are recorded though it does not move.
fn is_watched(state: &State) -> bool {
    state.slot.miss() == Miss::Backend(state.slot.current())
}

/// Whether a slot names someone dead.
fn unowned(state: &State) -> bool {
    let misses = (0..FLOWS).any(|flow| !state.lives(state.miss(flow)));
    misses || !state.lives(state.slot.current())
}
