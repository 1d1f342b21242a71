//! What an event makes of a slot: a packet by lb-common's own decision, a change by the agent's own
//! rules.

use lb_common::abi::{Miss, Phase, Recorded, Slot};

use super::{
    agent::{Agent, Next},
    events::{Event, Setup},
    faults::{Fault, Limit},
    packets::{self, Broken, Packet, Traffic},
    state::{FLOWS, Flow, State},
};

impl Setup {
    /// The state after an event, or the flow that it breaks.
    pub fn after(&self, agent: &Agent, mut state: State, event: Event) -> Result<State, Broken> {
        match event {
            Event::Sent(flow, packet) => self.packet(&mut state, flow.into(), packet, false)?,
            Event::Refused(flow, packet) => self.packet(&mut state, flow.into(), packet, true)?,
            Event::Ends(flow) => state.flows[flow as usize] = Flow::Absent,
            Event::Owner(backend) => {
                self.owner(agent, &mut state, backend.into(), [backend.into(); FLOWS]);
            }
            Event::Owners(backend, old) => {
                self.owner(agent, &mut state, backend.into(), old.map(u32::from));
            }
            Event::Dies(backend) => self.dies(&mut state, backend.into()),
            Event::Returns(backend) => state.renew(backend.into()),
            Event::ReturnsSame(backend) => state.alive |= 1 << backend,
            Event::Swept(flow) => {
                let flow = usize::from(flow);
                state.entries[flow] = agent.sweep(&state).entries[flow];
            }
            Event::Expires(flow) | Event::Evicted(flow) => {
                state.entries[flow as usize] = None;
            }
            Event::Resized(backend) => {
                let next = agent.replace(&state, backend.into());
                become_next(&mut state, next);
            }
            Event::Mixed => self.mixed(agent, &mut state),
            Event::Watched => {
                let next = agent.watch(&state);
                become_next(&mut state, next);
            }
            Event::Unwatched => {
                let next = agent.unwatch(&state);
                become_next(&mut state, next);
            }
            Event::Settled => {
                state.slot = Slot::settled(state.slot.current());
                state.entries = [None; FLOWS];
                state.old = [0; FLOWS];
            }
        }
        Ok(state)
    }

    fn packet(
        &self,
        state: &mut State,
        flow: usize,
        packet: Packet,
        refuses: bool,
    ) -> Result<(), Broken> {
        let sent = match (self.traffic, packet) {
            // UDP has no packet that says that it is the first.
            (Traffic::Udp, Packet::Open | Packet::OpenAgain) => Packet::Data,
            _ => packet,
        };
        let before = *state;
        let recorded = state.entries[flow].is_some();
        let outcome = packets::send(self, state, flow, sent, refuses);
        if packet == Packet::Peek {
            assert_eq!(before, *state, "a peek changes nothing");
        }
        packets::learn(self, state, flow, packet, outcome)?;
        self.count(state, flow, packet, recorded, outcome.unrecorded);
        Ok(())
    }

    /// Whether the flow now counts as one that spoke in the settle time that runs.
    fn count(
        &self,
        state: &mut State,
        flow: usize,
        packet: Packet,
        recorded: bool,
        unrecorded: Option<Recorded>,
    ) {
        let moving = state.slot.phase() == Phase::Moving;
        match unrecorded {
            _ if !moving => {}
            Some(_) if self.fault == Some(Fault::NoGate) => state.seen |= 1 << flow,
            // The settle time begins anew, for everyone.
            Some(Recorded::Data) => state.seen = 0,
            // It begins anew for this flow: 64 s are enough to be established in.
            Some(Recorded::Open) if packet.is_own() => state.seen &= !(1 << flow),
            Some(Recorded::Open) => {}
            // A FIN without an exception makes none.
            None if packet == Packet::Fin && !recorded && self.limit != Some(Limit::OnlyFin) => {}
            None if packet.is_own() => state.seen |= 1 << flow,
            None => {}
        }
    }

    fn owner(&self, agent: &Agent, state: &mut State, backend: u32, old: [u32; FLOWS]) {
        let (before, miss) = (state.slot, state.miss(0));
        let dead = !state.lives(before.current()) || !state.lives(miss);
        let remembered = state.old[0];
        let next = agent.change(state, backend, old);
        become_next(state, next);
        match self.fault {
            Some(Fault::SettledIfSame) if backend == miss => state.slot = Slot::settled(backend),
            Some(Fault::DeadSettles) if dead => state.slot = Slot::settled(backend),
            Some(Fault::MixedKeepsPrevious)
                if before.phase() == Phase::Mixed && state.lives(remembered) =>
            {
                state.slot = if backend == remembered {
                    Slot::mixed(backend, 0)
                } else {
                    Slot::moving(backend, Miss::Backend(remembered), 0)
                };
            }
            _ => {}
        }
    }

    fn dies(&self, state: &mut State, backend: u32) {
        state.alive &= !(1 << backend);
        if self.limit == Some(Limit::FalseAlarm) {
            return;
        }
        for flow in 0..FLOWS {
            if state.flows[flow].owner() == Some(backend) {
                state.flows[flow] = Flow::Absent;
            }
        }
    }

    fn mixed(&self, agent: &Agent, state: &mut State) {
        let previous = state.miss(0);
        become_next(state, agent.advance(state));
        if self.fault == Some(Fault::MixedKeepsPrevious) {
            state.old = [previous; FLOWS];
        }
    }
}

/// The slot gets its next word.
fn become_next(state: &mut State, next: Next) {
    (state.slot, state.old) = (next.slot, next.old);
    if next.anew || next.slot.phase() != Phase::Moving {
        state.seen = 0;
    }
}
