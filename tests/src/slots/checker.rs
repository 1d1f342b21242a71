//! The exhaustive check of one slot: breadth first over every order of events, until there is no
//! new state. Slots are independent: what holds for one holds for a table.
//!
//! What is checked: a packet of a live flow reaches the backend that took the packet which opened
//! it, while that backend lives.

use std::{
    collections::HashSet,
    fmt,
    hash::{BuildHasherDefault, Hasher},
};

use super::{
    agent::Agent,
    events::{Event, Setup},
    packets::Broken,
    state::State,
};

/// What a check came to.
#[derive(Debug)]
pub struct Checked {
    /// States that were seen.
    pub states: usize,
    /// Events that were tried.
    pub events: usize,
    /// The shortest way to a broken flow.
    pub broken: Option<CounterExample>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} states, {} events: ", self.states, self.events)?;
        match &self.broken {
            Some(broken) => broken.fmt(f),
            None => f.write_str("holds"),
        }
    }
}

/// A shortest list of events that breaks a flow.
#[derive(Debug)]
pub struct CounterExample {
    /// What happens, in order.
    pub events: Vec<Event>,
    /// What the last of them does.
    pub broken: Broken,
}

impl fmt::Display for CounterExample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            write!(f, "{event}, ")?;
        }
        write!(f, "so {}", self.broken)
    }
}

/// A state, and how it was come to.
struct Node {
    state: State,
    from: u32,
    by: Event,
}

/// Tries everything that can happen.
pub fn check(setup: &Setup) -> Checked {
    check_from(setup, &[State::START])
}

/// Tries everything that can happen from these states.
pub fn check_from(setup: &Setup, starts: &[State]) -> Checked {
    let agent = Agent::default();
    let mut known: HashSet<u64, BuildHasherDefault<Mix>> = HashSet::default();
    let mut nodes: Vec<Node> = Vec::new();
    for &state in starts {
        known.insert(state.code());
        nodes.push(Node {
            state,
            from: u32::MAX,
            by: Event::Mixed,
        });
    }
    let (mut next, mut tried, mut events) = (0, 0, Vec::new());
    while let Some(node) = nodes.get(next) {
        let state = node.state;
        setup.events(&agent, &state, &mut events);
        for &event in &events {
            tried += 1;
            match setup.after(&agent, state, event) {
                Ok(after) => {
                    if known.insert(after.code()) {
                        nodes.push(Node {
                            state: after,
                            from: next as u32,
                            by: event,
                        });
                    }
                }
                Err(broken) => {
                    return Checked {
                        states: nodes.len(),
                        events: tried,
                        broken: Some(CounterExample {
                            events: path(&nodes, next, event),
                            broken,
                        }),
                    };
                }
            }
        }
        next += 1;
    }
    Checked {
        states: nodes.len(),
        events: tried,
        broken: None,
    }
}

/// Plays a list of events, each of which must be possible when it comes.
pub fn play(setup: &Setup, events: &[Event]) -> Result<State, Broken> {
    let (agent, mut state, mut possible) = (Agent::default(), State::START, Vec::new());
    for &event in events {
        setup.events(&agent, &state, &mut possible);
        assert!(
            possible.contains(&event),
            "{event} can't come now: {state:?}"
        );
        state = setup.after(&agent, state, event)?;
    }
    Ok(state)
}

/// Whether an event can come in a state.
pub fn is_possible(setup: &Setup, state: &State, event: Event) -> bool {
    let mut possible = Vec::new();
    setup.events(&Agent::default(), state, &mut possible);
    possible.contains(&event)
}

fn path(nodes: &[Node], mut at: usize, last: Event) -> Vec<Event> {
    let mut events = vec![last];
    while nodes[at].from != u32::MAX {
        events.push(nodes[at].by);
        at = nodes[at].from as usize;
    }
    events.reverse();
    events
}

/// Hashes a word that is a state: well enough, and fast without optimisation.
#[derive(Default)]
pub struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("states are words");
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}
