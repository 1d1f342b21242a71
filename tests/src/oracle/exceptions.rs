//! Whose a flow is, by the two tables of slots.md: what a packet gets in each phase, and what is
//! recorded of its flow.

use lb_common::abi::Recorded;

use super::{
    hashed::slot,
    model::{End, Flow, Model, Name, hash},
    site::{Before, Service, Slot},
};

/// What a packet is to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Open,
    Data,
    Close,
    Peek,
}

/// How a packet shows that it follows the one that opened its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// By its sequence number.
    Sequence,
    /// By being what it is.
    Handshake,
    /// Not at all.
    None,
}

/// What matters of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub(super) kind: Kind,
    pub(super) proof: Proof,
    pub(super) sequence: u32,
}

/// What is known of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Tentative,
    Committed,
    Closing,
}

/// An entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exception {
    owner: Name,
    fallback: Option<Name>,
    state: State,
    isn: u32,
    last: u32,
}

/// What was recorded in this second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    since: u64,
    opening: u32,
    other: u32,
}

/// The slot's owners.
#[derive(Clone, Copy)]
struct Owners {
    moving: bool,
    current: Option<Name>,
    miss: Option<Name>,
}

impl Model {
    /// Index of the backend of a packet of a service that records only exceptions; 0: none.
    pub(super) fn owner(
        &mut self,
        flow: Flow,
        service: &Service,
        slot: Slot,
        sighting: Sighting,
    ) -> Result<u32, End> {
        if service.one_packet {
            self.met.push("one packet".into());
            return Ok(slot.current());
        }
        self.met.push(label(slot, sighting.kind));
        let current = self.name(slot.current());
        let (moving, miss) = match slot {
            Slot::Settled(index) => return Ok(index),
            Slot::Mixed(_) => (false, current),
            Slot::Moving(Before::Backend(before), _) => (true, self.name(before)),
            Slot::Moving(Before::OldSlots, _) => (true, self.old_owner(flow, service)),
        };
        let owners = Owners {
            moving,
            current,
            miss,
        };
        let answer = match self.exceptions.get(&flow).copied() {
            Some(entry) => self.known(flow, service, owners, sighting, entry)?,
            None => self.unknown(flow, service, owners, sighting),
        };
        Ok(answer.map_or(0, |name| name.index))
    }

    /// Whom the flow's slot in the table before belongs to.
    fn old_owner(&self, flow: Flow, service: &Service) -> Option<Name> {
        let old = service.old.as_ref()?;
        let hash = hash(old.seed, flow, old.prefix);
        match old.slots[slot(hash, old.slots.len())] {
            Slot::Settled(index) | Slot::Mixed(index) => self.name(index),
            Slot::Moving(Before::Backend(before), _) => self.name(before),
            Slot::Moving(Before::OldSlots, _) => None,
        }
    }

    fn unknown(
        &mut self,
        flow: Flow,
        service: &Service,
        owners: Owners,
        sighting: Sighting,
    ) -> Option<Name> {
        let miss = if owners.moving && self.usable(owners.miss) {
            owners.miss
        } else {
            owners.current
        };
        if !owners.moving {
            return owners.current;
        }
        let (owner, state, recorded) = match sighting.kind {
            Kind::Open => (owners.current?, State::Tentative, Recorded::Open),
            Kind::Data => (miss?, State::Committed, Recorded::Data),
            Kind::Close | Kind::Peek => return miss,
        };
        if !self.may_record(flow, recorded) {
            self.unrecorded.push((service.id, recorded));
            return miss;
        }
        let entry = Exception {
            owner,
            fallback: miss,
            state,
            isn: sighting.sequence,
            last: sighting.sequence,
        };
        self.exceptions.insert(flow, entry);
        Some(owner)
    }

    /// A quarter of the table is for packets that open flows.
    fn may_record(&mut self, flow: Flow, kind: Recorded) -> bool {
        if self.now > self.budget.since {
            self.budget = Budget {
                since: self.now,
                ..Budget::default()
            };
        }
        let all = self.site.exceptions;
        let (taken, room) = match kind {
            Recorded::Open => (&mut self.budget.opening, all),
            Recorded::Data => (&mut self.budget.other, all - all / 4),
        };
        let of_family = |other: &&Flow| other.source.is_ipv4() == flow.source.is_ipv4();
        let used = self.exceptions.keys().filter(of_family).count();
        let may = *taken < self.site.rate && used < room;
        *taken += u32::from(may);
        may
    }

    fn known(
        &mut self,
        flow: Flow,
        service: &Service,
        owners: Owners,
        sighting: Sighting,
        entry: Exception,
    ) -> Result<Option<Name>, End> {
        let usable = self.usable(Some(entry.owner));
        let ended = self.ended(entry.owner, service);
        let follows = match sighting.proof {
            Proof::Sequence => (1..=65_536).contains(&sighting.sequence.wrapping_sub(entry.isn)),
            Proof::Handshake => true,
            Proof::None => false,
        };
        let tentative = entry.state == State::Tentative;
        let fallback = if self.usable(entry.fallback) {
            entry.fallback
        } else {
            owners.current
        };
        let mut write = |owner: Option<Name>, next: Exception| {
            if let Some(owner) = owner {
                let last = sighting.sequence;
                let next = Exception {
                    owner,
                    last,
                    ..next
                };
                self.exceptions.insert(flow, next);
            }
            Ok(owner)
        };
        match sighting.kind {
            Kind::Peek if tentative && !follows => Ok(fallback),
            Kind::Peek if usable => Ok(Some(entry.owner)),
            Kind::Peek => Ok(owners.current),
            Kind::Open => {
                let (owner, fallback) = match (entry.state, usable) {
                    (State::Committed, true) => return Ok(Some(entry.owner)),
                    (State::Tentative, true) => (Some(entry.owner), entry.fallback),
                    (State::Closing, true) => (owners.current, Some(entry.owner)),
                    (State::Tentative, false) => (owners.current, entry.fallback),
                    (State::Committed | State::Closing, false) => (owners.current, owners.miss),
                };
                write(
                    owner,
                    Exception {
                        state: State::Tentative,
                        fallback,
                        isn: sighting.sequence,
                        ..entry
                    },
                )
            }
            // Nothing can be told from it.
            Kind::Data | Kind::Close if tentative && usable && sighting.proof == Proof::None => {
                let before = entry.fallback.filter(|name| self.usable(Some(*name)));
                Ok(before.or(Some(entry.owner)))
            }
            Kind::Data | Kind::Close => {
                let owner = if tentative && !follows {
                    fallback
                } else if usable {
                    Some(entry.owner)
                } else if let Some(end) = ended {
                    return Err(end);
                } else {
                    owners.current
                };
                let distance = sighting.sequence.wrapping_sub(entry.last) as i32;
                let near = distance.unsigned_abs() < 65_536;
                let state = if sighting.kind == Kind::Close && near {
                    State::Closing
                } else {
                    State::Committed
                };
                write(
                    owner,
                    Exception {
                        state,
                        fallback: owner,
                        ..entry
                    },
                )
            }
        }
    }
}

fn label(slot: Slot, kind: Kind) -> String {
    let phase = match slot {
        Slot::Settled(_) => "settled",
        Slot::Moving(..) => "moving",
        Slot::Mixed(_) => "mixed",
    };
    let kind = match kind {
        Kind::Open => "opens",
        Kind::Data => "goes on",
        Kind::Close => "closes",
        Kind::Peek => "only looks",
    };
    format!("{phase}: {kind}")
}
