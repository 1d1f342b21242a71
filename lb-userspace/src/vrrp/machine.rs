//! Decides what one virtual router does: events and `now` in; actions and the next deadline out. RFC 9568, section 6.4, and
//! RFC 3768, section 6.4, for peers that speak version 2; their Active and Master is `Master` here, their Initialize `Fault`.
//!
//! ```text
//!              able                       no advert for the down time, or the master resigned
//!   Fault ──────────────► Backup ────────────────────────────────────────────────────► Master
//!     ▲   (255: Master)     │  ▲                                                          │
//!     │                     │  └──────── a better advert, or it is told to resign ────────┘
//!     └─────────────────────┴──────────────── unable ─────────────────────────────────────┘
//! ```
//!
//! - Who hears a router of lower priority takes over from it if it preempts, by no longer counting what it says. With a
//!   delay it counts it for that long.
//! - One that resigned does not preempt who took over from it, for as long as that one lasts.
//! - Two routers of one instance, one of each family, are told to follow each other (`Join`, `Leave`): one joins only if it
//!   does not hear a better master, from whom it would have to step back again.
//! - One of a sync group that would take over is `ready` instead, until it is told that all of the group are (`Take`).
//! - Events that came before a deadline are to be handed in before it: who was stopped for a while has to hear first who
//!   took over meanwhile.
//!
//! Sockets, addresses and which adverts are for this router are others' business.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{
    packet::Version,
    timing::{down, handover},
};

/// The priority of who has the addresses as its own: it takes them whenever it can.
pub const OWNER: u8 = 255;

/// What an advert says that gives the addresses up.
pub const RESIGNS: u8 = 0;

/// How soon after it took over a master announces its addresses once more: some may have missed it.
const AGAIN: Duration = Duration::from_secs(1);

/// What a router goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The protocol's version.
    pub version: Version,
    /// The priority, 1 to 255.
    pub priority: u8,
    /// How often a master says that it is one, as the wire has it.
    pub interval: Duration,
    /// After which time a master of lower priority is taken over from; `None`: never.
    pub preempt: Option<Duration>,
    /// How often a master announces its addresses.
    pub refresh: Duration,
    /// Our address on the network, which decides between equals.
    pub address: IpAddr,
    /// Whether it takes over only with all others of its sync group.
    pub grouped: bool,
}

/// What a router is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// It can't take part.
    Fault,
    /// Another one has the addresses, or nobody yet.
    Backup,
    /// It has the addresses.
    Master,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It can take part from now on.
    Able,
    /// It can't: the interface is down, or something that it tracks has failed.
    Unable,
    /// An advert for this virtual router came.
    Heard {
        /// Whom from.
        from: IpAddr,
        /// With which priority.
        priority: u8,
        /// Who sends it says so every.
        interval: Duration,
    },
    /// It goes by others from now on.
    Settings(Settings),
    /// It is to give the addresses up.
    Resign,
    /// The other router of its instance has taken its addresses.
    Join,
    /// All of its sync group are ready to take over, or have.
    Take,
    /// Another that it moves with has given way: the other router of its instance, or one of its sync group.
    Leave(Reason),
    /// The deadline has come.
    Deadline,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an advert of this priority.
    Send(u8),
    /// Take the addresses.
    AddAddresses,
    /// Give them up.
    RemoveAddresses,
    /// Tell the neighbours whose they are.
    Announce,
    /// The role has changed, for this reason.
    Changed(Role, Reason),
}

/// Why a role has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Reason {
    /// It can take part.
    #[error("able")]
    Able,
    /// It can't.
    #[error("unable")]
    Unable,
    /// The addresses are its own.
    #[error("owner")]
    Owner,
    /// The master was silent for too long, or there was none.
    #[error("silence")]
    Silence,
    /// The master has resigned.
    #[error("resignation")]
    Resignation,
    /// The master's priority was lower.
    #[error("preemption")]
    Preemption,
    /// Another's advert has a higher priority.
    #[error("higher priority")]
    HigherPriority,
    /// Another's has the same, and a higher address.
    #[error("higher address")]
    HigherAddress,
    /// It was told to resign.
    #[error("resigned")]
    Resigned,
    /// The instance's router of the other family has done so.
    #[error("other family")]
    OtherFamily,
    /// Another of the sync group has done so.
    #[error("sync group")]
    SyncGroup,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fault, Self::Backup, Self::Master];

    /// Its name in metrics and views: stable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Backup => "backup",
            Self::Master => "master",
        }
    }
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Able,
        Self::Unable,
        Self::Owner,
        Self::Silence,
        Self::Resignation,
        Self::Preemption,
        Self::HigherPriority,
        Self::HigherAddress,
        Self::Resigned,
        Self::OtherFamily,
        Self::SyncGroup,
    ];

    /// Its name in metrics and views: stable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Able => "able",
            Self::Unable => "unable",
            Self::Owner => "owner",
            Self::Silence => "silence",
            Self::Resignation => "resignation",
            Self::Preemption => "preemption",
            Self::HigherPriority => "higher_priority",
            Self::HigherAddress => "higher_address",
            Self::Resigned => "resigned",
            Self::OtherFamily => "other_family",
            Self::SyncGroup => "sync_group",
        }
    }
}

/// One virtual router of one family.
#[derive(Clone, Debug)]
pub struct Router {
    settings: Settings,
    state: State,
    /// Whether it has resigned, and whoever has taken over is still there.
    yields: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Fault,
    Backup(Waiting),
    Master { advert: Instant, announce: Instant },
}

/// What a backup waits for.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// When it takes over.
    until: Instant,
    /// and why.
    reason: Reason,
    /// How often the master says that it is one.
    interval: Duration,
    /// Since when a master of lower priority is heard.
    above: Option<Instant>,
    /// Whether a master is heard to whom it would have to give way.
    below: bool,
    /// Whether a master is heard that it does not take over from.
    heard: bool,
    /// Whether it would have taken over, and waits for its sync group.
    ready: bool,
}

/// What a router is to others of its sync group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It can't take part.
    Fault,
    /// It hears a master, and leaves the addresses to it.
    Backup,
    /// It has heard no master so far.
    Waiting,
    /// It would take over.
    Ready,
    /// It has the addresses.
    Master,
}

impl Router {
    /// A router that can't take part yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Fault,
            yields: false,
        }
    }

    /// What it is.
    pub fn role(&self) -> Role {
        match self.state {
            State::Fault => Role::Fault,
            State::Backup(_) => Role::Backup,
            State::Master { .. } => Role::Master,
        }
    }

    /// What it is to others of its sync group.
    pub fn standing(&self) -> Standing {
        match self.state {
            State::Fault => Standing::Fault,
            State::Backup(Waiting { ready: true, .. }) => Standing::Ready,
            State::Backup(Waiting { heard: true, .. }) => Standing::Backup,
            State::Backup(_) => Standing::Waiting,
            State::Master { .. } => Standing::Master,
        }
    }

    /// When it is to be told that its deadline has come, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Fault | State::Backup(Waiting { ready: true, .. }) => None,
            State::Backup(waiting) => Some(waiting.until),
            State::Master { advert, announce } => Some(advert.min(announce)),
        }
    }

    /// What an event makes it do.
    pub fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        match (event, self.state) {
            (Event::Able, State::Fault) => self.able(now),
            (Event::Unable, State::Master { .. }) => self.unable(true),
            (Event::Unable, State::Backup(_)) => self.unable(false),
            (Event::Heard { .. }, State::Fault) => vec![],
            (
                Event::Heard {
                    from,
                    priority,
                    interval,
                },
                State::Backup(waiting),
            ) => {
                self.backup_hears(waiting, (priority, from), interval, now);
                vec![]
            }
            (
                Event::Heard {
                    from,
                    priority,
                    interval,
                },
                State::Master { .. },
            ) => self.master_hears(from, priority, interval, now),
            (Event::Settings(settings), state) => self.settings(settings, state, now),
            (Event::Resign, State::Master { .. }) => {
                self.yields = true;
                self.give_up(Reason::Resigned, now)
            }
            (Event::Leave(reason), State::Master { .. }) => self.give_up(reason, now),
            (Event::Join, State::Backup(waiting)) if !waiting.below => {
                self.take(Reason::OtherFamily, now)
            }
            (Event::Take, State::Backup(waiting)) if waiting.ready => {
                self.take(waiting.reason, now)
            }
            (Event::Deadline, State::Backup(waiting)) if waiting.until <= now => {
                self.take_or_wait(waiting, now)
            }
            (Event::Deadline, State::Master { advert, announce }) => {
                self.goes_on(advert, announce, now)
            }
            (Event::Able, State::Backup(_) | State::Master { .. })
            | (
                Event::Unable
                | Event::Deadline
                | Event::Resign
                | Event::Join
                | Event::Take
                | Event::Leave(_),
                State::Fault,
            )
            | (
                Event::Deadline | Event::Resign | Event::Join | Event::Take | Event::Leave(_),
                State::Backup(_),
            )
            | (Event::Join | Event::Take, State::Master { .. }) => vec![],
        }
    }

    /// RFC 9568, section 6.4.1.
    fn able(&mut self, now: Instant) -> Vec<Action> {
        self.yields = false;
        let is_owner = self.settings.priority == OWNER;
        if is_owner && !self.settings.grouped {
            return self.take(Reason::Owner, now);
        }
        self.wait(self.settings.interval, now);
        if let State::Backup(waiting) = &mut self.state
            && is_owner
        {
            (waiting.until, waiting.reason) = (now, Reason::Owner);
        }
        vec![Action::Changed(Role::Backup, Reason::Able)]
    }

    fn unable(&mut self, was_master: bool) -> Vec<Action> {
        self.state = State::Fault;
        let changed = Action::Changed(Role::Fault, Reason::Unable);
        match was_master {
            true => vec![Action::RemoveAddresses, Action::Send(RESIGNS), changed],
            false => vec![changed],
        }
    }

    /// RFC 9568, section 6.4.2.
    fn backup_hears(
        &mut self,
        mut waiting: Waiting,
        (priority, from): (u8, IpAddr),
        interval: Duration,
        now: Instant,
    ) {
        if priority == RESIGNS {
            // The RFC has it wait for the skew of the interval.
            let own = &self.settings;
            waiting.until = now + handover(own.version, own.priority, interval);
            waiting.reason = Reason::Resignation;
            (waiting.below, waiting.heard, waiting.ready) = (false, false, false);
            self.state = State::Backup(waiting);
            return;
        }
        let below = priority < self.settings.priority;
        let since = below.then(|| waiting.above.unwrap_or(now));
        if since.is_some_and(|since| self.preempts(since, now)) {
            if waiting.reason == Reason::Silence {
                waiting.reason = Reason::Preemption;
            }
            (waiting.above, waiting.below, waiting.heard) = (since, false, false);
            self.state = State::Backup(waiting);
            return;
        }
        let is_better = self.better(priority, from).is_some();
        self.wait(interval, now);
        if let State::Backup(waiting) = &mut self.state {
            (waiting.above, waiting.below, waiting.heard) = (since, is_better, true);
        }
    }

    /// Why a master has to give way to another router, if it has to.
    fn better(&self, priority: u8, from: IpAddr) -> Option<Reason> {
        let own = &self.settings;
        if priority > own.priority {
            return Some(Reason::HigherPriority);
        }
        let is_equal = priority == own.priority;
        (is_equal && from > own.address).then_some(Reason::HigherAddress)
    }

    /// Whether a master of lower priority, heard since then, is taken over from.
    fn preempts(&self, since: Instant, now: Instant) -> bool {
        if self.settings.priority == OWNER {
            return true;
        }
        let delay = self.settings.preempt.filter(|_| !self.yields);
        delay.is_some_and(|delay| now.saturating_duration_since(since) >= delay)
    }

    /// RFC 9568, section 6.4.3: an advert that is no better is answered at once by our own, so that switches learn anew
    /// where the addresses are.
    fn master_hears(
        &mut self,
        from: IpAddr,
        priority: u8,
        interval: Duration,
        now: Instant,
    ) -> Vec<Action> {
        let Some(reason) = self.better(priority, from) else {
            self.advertised(now);
            let mut actions = vec![Action::Send(self.settings.priority)];
            actions.extend(self.contested(now));
            return actions;
        };
        self.wait(interval, now);
        if let State::Backup(waiting) = &mut self.state {
            (waiting.below, waiting.heard) = (true, true);
        }
        // The RFC has it say nothing. But the other one may not know that there were two, and would have no reason to tell
        // neighbours anew where the addresses are.
        vec![
            Action::RemoveAddresses,
            Action::Send(self.settings.priority),
            Action::Changed(Role::Backup, reason),
        ]
    }

    /// Another has had the addresses as well, after a partition or while this host stood still: neighbours that it has told
    /// so would go on sending to it once it has given them up. Not for each of its adverts: it may not hear us.
    fn contested(&mut self, now: Instant) -> Option<Action> {
        let State::Master { announce, .. } = &mut self.state else {
            return None;
        };
        if *announce <= now + AGAIN {
            return None;
        }
        *announce = now + AGAIN;
        Some(Action::Announce)
    }

    /// Gives the addresses up, to whoever wants them.
    fn give_up(&mut self, reason: Reason, now: Instant) -> Vec<Action> {
        self.wait(self.settings.interval, now);
        vec![
            Action::RemoveAddresses,
            Action::Send(RESIGNS),
            Action::Changed(Role::Backup, reason),
        ]
    }

    fn settings(&mut self, settings: Settings, state: State, now: Instant) -> Vec<Action> {
        let before = std::mem::replace(&mut self.settings, settings);
        match state {
            State::Fault => vec![],
            State::Backup(_) if settings.priority == OWNER && !settings.grouped => {
                self.take(Reason::Owner, now)
            }
            State::Backup(mut waiting) => {
                let was = down(before.version, before.priority, waiting.interval);
                let is = down(settings.version, settings.priority, waiting.interval);
                // Counted from when the master was heard last.
                waiting.until = (waiting.until + is).checked_sub(was).unwrap_or(now);
                waiting.ready &= settings.grouped;
                self.state = State::Backup(waiting);
                vec![]
            }
            // Others are to hear of it before they would have.
            State::Master { .. } => {
                self.advertised(now);
                vec![Action::Send(settings.priority)]
            }
        }
    }

    /// Takes over, unless it has to wait for its sync group.
    fn take_or_wait(&mut self, waiting: Waiting, now: Instant) -> Vec<Action> {
        if !self.settings.grouped {
            return self.take(waiting.reason, now);
        }
        self.state = State::Backup(Waiting {
            ready: true,
            ..waiting
        });
        vec![]
    }

    /// Becomes the master.
    fn take(&mut self, reason: Reason, now: Instant) -> Vec<Action> {
        self.yields = false;
        self.state = State::Master {
            advert: now + self.settings.interval,
            announce: now + AGAIN,
        };
        vec![
            Action::Send(self.settings.priority),
            Action::AddAddresses,
            Action::Announce,
            Action::Changed(Role::Master, reason),
        ]
    }

    /// A master does what is due.
    fn goes_on(&mut self, advert: Instant, announce: Instant, now: Instant) -> Vec<Action> {
        let mut actions = vec![];
        let mut next = (advert, announce);
        if advert <= now {
            // Not from when it was due: who comes late would send several at once.
            next.0 = now + self.settings.interval;
            actions.push(Action::Send(self.settings.priority));
        }
        if announce <= now {
            next.1 = now + self.settings.refresh;
            actions.push(Action::Announce);
        }
        let (advert, announce) = next;
        self.state = State::Master { advert, announce };
        actions
    }

    /// A master has just sent an advert.
    fn advertised(&mut self, now: Instant) {
        if let State::Master { advert, .. } = &mut self.state {
            *advert = now + self.settings.interval;
        }
    }

    /// Waits as a backup for a master of this interval, heard now.
    fn wait(&mut self, interval: Duration, now: Instant) {
        let Settings {
            version, priority, ..
        } = self.settings;
        self.state = State::Backup(Waiting {
            until: now + down(version, priority, interval),
            reason: Reason::Silence,
            interval,
            above: None,
            below: false,
            heard: false,
            ready: false,
        });
    }
}
