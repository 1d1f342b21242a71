//! Stories out of a seed: the same seed gives the same story. Most packets are what clients and
//! backends send; every rule that a packet can meet is met by some.
//!
//! ```text
//! generate ─► sites      services, backends, limits
//!          ├► packets    what clients and backends send, and flaws of it
//!          ├► notices    ICMP errors about flows
//!          └► mishaps    packets that end here and may be answered
//! ```

use std::{net::IpAddr, vec::IntoIter};

use super::{
    flaws::Flaw,
    listening::Listens,
    ping::Ping,
    site::{Mode, Service, Site, version},
    story::{CLIENTS, Change, Kind, Sent, Shape, Step, Story},
};
use crate::slots::trace::Dice;

/// Services of a site.
pub(super) const SERVICES: u32 = 4;

/// Backends of a service, at most.
pub(super) const BACKENDS: u32 = 3;

/// The story of a seed.
pub(super) fn story(seed: u64, steps: usize) -> Story {
    let mut source = Source::new(seed);
    let site = source.site();
    let steps = source.steps(&site, steps);
    Story { site, steps }
}

/// A story at the site of a seed, whose steps are chosen by these bytes for as long as there are any.
pub(super) fn story_of_choices(seed: u64, bytes: Vec<u8>) -> Story {
    let mut source = Source::new(seed);
    let site = source.site();
    let most = bytes.len();
    source.choices = Some(bytes.into_iter());
    let steps = source.steps(&site, most);
    Story { site, steps }
}

/// What chooses.
pub(super) struct Source {
    pub(super) dice: Dice,
    /// What chooses instead; nothing once it is used up.
    choices: Option<IntoIter<u8>>,
    /// Addresses that services listen on.
    pub(super) listening: Vec<IpAddr>,
}

impl Source {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            choices: None,
            listening: Vec::new(),
        }
    }

    /// A number below `count`.
    pub(super) fn below(&mut self, count: u32) -> u32 {
        let Some(choices) = &mut self.choices else {
            return self.dice.below(count);
        };
        let mut byte = || u32::from(choices.next().unwrap_or(0));
        if count <= 256 {
            byte() % count
        } else {
            (byte() << 8 | byte()) % count
        }
    }

    /// Whether there is nothing left to choose by.
    fn is_over(&self) -> bool {
        self.choices
            .as_ref()
            .is_some_and(|choices| choices.len() == 0)
    }

    /// Once in `n` times.
    pub(super) fn once_in(&mut self, n: u32) -> bool {
        self.below(n) == n - 1
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }

    fn steps(&mut self, site: &Site, count: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        while steps.len() < count && !self.is_over() {
            match self.below(16) {
                0 => steps.extend(self.handshake(site)),
                1 => steps.extend(self.fragments(site)),
                2 => steps.extend(self.notices(site)),
                3 => steps.extend(self.mishap(site)),
                _ => steps.push(self.step(site)),
            }
        }
        steps
    }

    /// A flow begins, and goes on for a while.
    pub(super) fn handshake(&mut self, site: &Site) -> Vec<Step> {
        let mut first = self.plain();
        let mut flaw = Flaw::None;
        let spoofed = spoofed(site);
        if !spoofed.is_empty() && !self.once_in(8) {
            (first.service, flaw) = self.pick(&spoofed);
        }
        let packet = |kind, offset, acknowledged| Sent {
            kind,
            offset,
            acknowledged,
            flaw: match kind {
                Kind::SynAck => Flaw::None,
                _ if acknowledged > 1 => Flaw::None,
                _ => flaw,
            },
            ..first
        };
        let mut steps = vec![
            Step::Request(packet(Kind::Syn, 0, 0)),
            Step::Reply(packet(Kind::SynAck, 0, 1)),
            Step::Request(packet(Kind::Ack, 1, 1)),
            Step::Request(packet(Kind::Push, 1, 1)),
            Step::Reply(packet(Kind::Push, 1, 41)),
            Step::Request(packet(Kind::Fin, 41, 80)),
        ];
        steps.truncate(2 + self.below(5) as usize);
        steps
    }

    /// A packet in two fragments; sometimes something happens between them.
    fn fragments(&mut self, site: &Site) -> Vec<Step> {
        let id = self.below(3) as u16;
        let first = Sent {
            shape: Shape::First(id),
            ..self.plain()
        };
        let later = Sent {
            shape: Shape::Later(id),
            ..first
        };
        let between = match self.below(6) {
            0 => Some(Step::Change(self.change(site))),
            1 => Some(Step::Advance(self.pick(&[1, 29, 30]))),
            2 => Some(Step::Forget {
                client: first.client,
                service: first.service,
                replies: self.once_in(2),
            }),
            _ => None,
        };
        let steps = [Step::Request(first)].into_iter().chain(between);
        steps.chain([Step::Request(later)]).collect()
    }

    fn step(&mut self, site: &Site) -> Step {
        match self.below(40) {
            0 => Step::Advance(self.pick(&[1, 1, 5, 31, 61, 130, 301])),
            1 | 2 => Step::Change(self.change(site)),
            3 => Step::Forget {
                client: self.below(CLIENTS.into()) as u8,
                service: self.below(SERVICES) as usize,
                replies: self.once_in(2),
            },
            4 => {
                let length = self.below(80);
                Step::Bytes((0..length).map(|_| self.below(256) as u8).collect())
            }
            5 => Step::Ping(Ping {
                client: self.below(CLIENTS.into()) as u8,
                service: self.below(SERVICES) as usize,
                kind: self.pick(&[0, 0, 0, 0, 1, 2]),
                body: self.below(60) as usize,
                group: self.once_in(8),
                flaw: self.flaw(),
            }),
            6 => {
                let (client, service) = (self.client(), self.below(SERVICES) as usize);
                Step::Notice(self.notice(client, service))
            }
            7..=18 => Step::Reply(self.sent(&[
                Kind::SynAck,
                Kind::SynAck,
                Kind::Ack,
                Kind::Push,
                Kind::Fin,
                Kind::Reset,
            ])),
            _ => Step::Request(self.sent(&[
                Kind::Syn,
                Kind::Syn,
                Kind::Ack,
                Kind::Ack,
                Kind::Push,
                Kind::Fin,
                Kind::Reset,
            ])),
        }
    }

    fn change(&mut self, site: &Site) -> Change {
        let index = 1 + self.below(SERVICES * BACKENDS);
        let service = self.below(SERVICES) as usize;
        let indices = backends(site, service);
        match self.below(9) {
            0 => Change::Alive(index, false),
            1 => Change::Alive(index, true),
            2 => Change::Replace(index),
            3 => Change::Load(
                index,
                self.way(),
                1 + self.below(3),
                self.pick(&[0, 0, 1, 3]),
            ),
            8 => Change::Fate(index, self.fate()),
            4 | 5 => Change::Slot(service, self.below(3) as usize, self.slot(&indices)),
            _ => Change::Phase(service, self.owner(&indices)),
        }
    }
}

/// The backends of a service, by its place.
pub(super) fn backends(site: &Site, service: usize) -> Vec<u32> {
    let first = BACKENDS * service as u32 + 1;
    let indices = first..first + BACKENDS;
    let there = |index: &u32| site.backends.contains_key(index);
    indices.filter(there).collect()
}

/// Services whose replies may be another one's flows, and the sources that have them so.
fn spoofed(site: &Site) -> Vec<(usize, Flaw)> {
    let replies = |s: &Service| s.mode == Mode::Nat && s.tracked;
    let prefixes = site.services.iter().filter(|s| {
        let across = site.crossing && s.end.is_ipv4();
        matches!(s.listens, Listens::Prefix(..)) && s.tracked && !across
    });
    let pairs = prefixes.flat_map(|prefix| {
        let others = site.services.iter().enumerate();
        let others = others.filter(move |(_, s)| replies(s) && s.protocol == prefix.protocol);
        let others = others.filter(|(_, s)| version(s.end.ip()) == version(prefix.end.ip()));
        let hosts = [0, 1, 4].map(|client| prefix.end_for(client).ip());
        others.flat_map(move |(n, _)| hosts.map(|host| (n, Flaw::Ours(host))))
    });
    pairs.collect()
}
