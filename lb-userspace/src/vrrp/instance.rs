//! Decides what an instance of `[[vrrp]]` does: one virtual router of each of its families, which move together; which
//! packets are adverts for them; and what of those is odd. Pure, as `machine` is.
//!
//! ```text
//!  packets ──► refused? ──► machine of IPv4 ──┐ one takes its addresses: the other joins it
//!              counted      machine of IPv6 ──┘ one gives way to a better one: the other leaves
//! ```
//!
//! The protocol elects for each family by itself, and peers may be such as do. So a family joins only where it does not hear
//! a better master; one that has left and that nobody else takes is taken back by its timer. Then each family is where the
//! protocol has it, and goes on from there. What keeps one family from taking part keeps both.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{
    flapping::Changes,
    machine::{Action, Event, OWNER, RESIGNS, Reason, Role, Router, Settings, Standing},
    packet::{Advert, Checksum, Malformed, Received, Version},
};
use crate::model::{Family, Vrrp};

/// An instance.
#[derive(Debug)]
pub struct Instance {
    config: Vrrp,
    /// What tracked things cost of the priority.
    penalty: u8,
    members: BTreeMap<Family, Member>,
}

/// One family of an instance.
#[derive(Debug)]
struct Member {
    router: Router,
    /// This host's address on the network, once it takes part.
    source: Option<IpAddr>,
    counters: Counters,
    /// Who was heard last.
    peer: Option<Peer>,
    /// How many adverts of lesser masters came since this one became one.
    contested: u32,
    /// When its role has changed.
    changes: Changes,
}

/// What was counted of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Adverts sent.
    pub sent: u64,
    /// Of these, resignations.
    pub resignations: u64,
    /// Adverts received and heeded.
    pub received: u64,
    /// Packets that were not heeded, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Changes of the role, by what it became and why.
    pub transitions: BTreeMap<(Role, Reason), u64>,
    /// Adverts of another that has the addresses at the same time.
    pub contested: u64,
}

/// What another router said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its priority.
    pub priority: u8,
    /// How often it sends adverts.
    pub interval: Duration,
    /// What the checksums of its adverts are about.
    pub checksum: Checksum,
    /// Whether it has the same addresses.
    pub same_addresses: bool,
}

/// Why a packet was not heeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// It is no advert.
    #[error("{0}")]
    Malformed(Malformed),
    /// It is one of our own, which came back.
    #[error("our own advert")]
    Own,
    /// The instance has another version.
    #[error("another version of the protocol")]
    OtherVersion,
    /// The instance has another password, or none.
    #[error("another password")]
    Password,
    /// Version 2 wants the same interval (RFC 3768, section 7.1).
    #[error("another interval")]
    OtherInterval,
    /// It was sent to the group where peers are named, or to this host where none is.
    #[error("another destination")]
    Destination,
    /// It is from nobody among the peers.
    #[error("not among the peers")]
    Stranger,
}

/// Something odd that is worth a line in the log: said when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Notice {
    /// Our own adverts come back.
    #[error(
        "our own adverts come back: is there a loop in the network, or another host with this address?"
    )]
    Own,
    /// Another has the addresses too, and does not give way.
    #[error("another host has the addresses too")]
    TwoMasters,
    /// Its role changes more often than hosts fail.
    #[error("its role changes again and again")]
    Flapping,
    /// Another sends adverts at another interval.
    #[error("its interval is another one")]
    OtherInterval,
    /// Another moves other addresses.
    #[error("its addresses are others")]
    OtherAddresses,
    /// What another's checksums are about, where that is said for the first time or is new.
    #[error("its checksums are about {}", match .0 {
        Checksum::Packet => "the packet alone",
        Checksum::PseudoHeader => "a pseudo-header too",
    })]
    Checksum(Checksum),
    /// Packets for this instance are refused.
    #[error("packets are refused: {0}")]
    Refused(Refusal),
}

/// What is to be done for a family, or said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something to do.
    Do(Family, Action),
    /// Something to say, perhaps of another host.
    Say(Family, Option<IpAddr>, Notice),
}

/// Adverts of a lesser master that may come before it has heard that there is a better one.
const IN_FLIGHT: u32 = 3;

impl Refusal {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let others = [
            Self::Own,
            Self::OtherVersion,
            Self::Password,
            Self::OtherInterval,
            Self::Destination,
            Self::Stranger,
        ];
        Malformed::ALL
            .map(Self::Malformed)
            .into_iter()
            .chain(others)
    }

    /// Its name in metrics: stable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.name(),
            Self::Own => "own",
            Self::OtherVersion => "other_version",
            Self::Password => "password",
            Self::OtherInterval => "other_interval",
            Self::Destination => "destination",
            Self::Stranger => "stranger",
        }
    }
}

impl Instance {
    /// An instance that can't take part yet.
    pub fn new(config: Vrrp) -> Self {
        let member = |family| {
            let router = Router::new(settings(&config, 0, unspecified(family)));
            let member = Member {
                router,
                source: None,
                counters: Counters::default(),
                peer: None,
                contested: 0,
                changes: Changes::default(),
            };
            (family, member)
        };
        let members = config.families().map(member).collect();
        Self {
            config,
            penalty: 0,
            members,
        }
    }

    /// What it goes by.
    pub fn config(&self) -> &Vrrp {
        &self.config
    }

    /// Its priority, less what tracked things cost.
    pub fn priority(&self) -> u8 {
        priority(&self.config, self.penalty)
    }

    /// What it is to others of its sync group: as its families are, of which a master speaks for both.
    pub fn standing(&self) -> Standing {
        let standings = || self.members.values().map(|member| member.router.standing());
        let is_any = |standing| standings().any(|other| other == standing);
        let any = [Standing::Fault, Standing::Master, Standing::Backup];
        let found = any.into_iter().find(|standing| is_any(*standing));
        found.unwrap_or(match is_any(Standing::Waiting) {
            true => Standing::Waiting,
            false => Standing::Ready,
        })
    }

    /// What a family is.
    pub fn role(&self, family: Family) -> Role {
        let member = self.members.get(&family);
        member.map_or(Role::Fault, |member| member.router.role())
    }

    /// What was counted of a family, and whom it heard last.
    pub fn heard(&self, family: Family) -> Option<(&Counters, Option<&Peer>)> {
        let member = self.members.get(&family)?;
        Some((&member.counters, member.peer.as_ref()))
    }

    /// Whether the role of any of its families changes more often than hosts fail.
    pub fn is_flapping(&self, now: Instant) -> bool {
        let mut members = self.members.values();
        members.any(|member| member.changes.is_flapping(now))
    }

    /// When it is to be told that its deadline has come.
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = self.members.values();
        deadlines.filter_map(|m| m.router.deadline()).min()
    }

    /// It can take part, from these addresses: one of each family.
    pub fn able(&mut self, sources: &BTreeMap<Family, IpAddr>, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        for family in self.families() {
            let Some(&source) = sources.get(&family) else {
                continue;
            };
            let settings = settings(&self.config, self.penalty, source);
            let member = self.members.get_mut(&family);
            let known = member.and_then(|member| member.source.replace(source));
            // Who says the same once more would send an advert out of turn.
            if known != Some(source) {
                self.tell(family, Event::Settings(settings), now, &mut steps);
            }
        }
        for family in self.families() {
            self.tell(family, Event::Able, now, &mut steps);
        }
        steps
    }

    /// It can't.
    pub fn unable(&mut self, now: Instant) -> Vec<Step> {
        self.tell_all(Event::Unable, now)
    }

    /// It is to give its addresses up.
    pub fn resign(&mut self, now: Instant) -> Vec<Step> {
        self.tell_all(Event::Resign, now)
    }

    /// All of its sync group are ready, and so is it.
    pub fn take(&mut self, now: Instant) -> Vec<Step> {
        self.tell_all(Event::Take, now)
    }

    /// Another of its sync group has given way.
    pub fn leave(&mut self, now: Instant) -> Vec<Step> {
        self.tell_all(Event::Leave(Reason::SyncGroup), now)
    }

    /// Tracked things cost so much of its priority now.
    pub fn weigh(&mut self, penalty: u8, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        if std::mem::replace(&mut self.penalty, penalty) == penalty {
            return steps;
        }
        for family in self.families() {
            let source = self.members[&family].source.unwrap_or(unspecified(family));
            let settings = settings(&self.config, penalty, source);
            self.tell(family, Event::Settings(settings), now, &mut steps);
        }
        steps
    }

    /// Its deadline has come.
    pub fn due(&mut self, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        for family in self.families() {
            let deadline = self.members[&family].router.deadline();
            if deadline.is_some_and(|deadline| deadline <= now) {
                self.tell(family, Event::Deadline, now, &mut steps);
            }
        }
        steps
    }

    /// A packet came. One for another virtual router is nothing to this one.
    pub fn received(&mut self, packet: &Received<'_>, now: Instant) -> Vec<Step> {
        let family = Family::of(packet.source);
        let is_ours = packet.payload.get(1) == Some(&self.config.vrid);
        let mut steps = Vec::new();
        let Some(member) = self.members.get_mut(&family).filter(|_| is_ours) else {
            return steps;
        };
        let from = packet.source;
        let (advert, checksum) = match heeded(&self.config, member.source, packet) {
            Ok(heeded) => heeded,
            Err(refusal) => {
                let count = member.counters.refused.entry(refusal).or_default();
                *count += 1;
                if *count == 1 {
                    let notice = match refusal {
                        Refusal::Own => Notice::Own,
                        other => Notice::Refused(other),
                    };
                    steps.push(Step::Say(family, Some(from), notice));
                }
                return steps;
            }
        };
        member.counters.received += 1;
        let notices = member.meets(&self.config, from, &advert, checksum);
        steps.extend(notices.map(|notice| Step::Say(family, Some(from), notice)));
        let heard = Event::Heard {
            from,
            priority: advert.priority,
            interval: advert.interval,
        };
        self.tell(family, heard, now, &mut steps);
        steps
    }

    /// It goes by another configuration, of the same interface, number, version and families.
    pub fn configure(&mut self, config: Vrrp, now: Instant) -> Vec<Step> {
        let before = std::mem::replace(&mut self.config, config);
        let mut steps = Vec::new();
        for family in self.families() {
            let member = &self.members[&family];
            let source = member.source.unwrap_or(unspecified(family));
            let settings = |config| settings(config, self.penalty, source);
            let (was, is) = (settings(&before), settings(&self.config));
            if was != is {
                self.tell(family, Event::Settings(is), now, &mut steps);
            }
            let same = before.in_family(family).eq(self.config.in_family(family))
                && before.refuses() == self.config.refuses();
            if !same && self.role(family) == Role::Master {
                for action in [Action::AddAddresses, Action::Announce] {
                    steps.push(Step::Do(family, action));
                }
            }
        }
        steps
    }

    /// The advert of a family with this priority.
    pub fn advert(&self, family: Family, priority: u8) -> Advert {
        let config = &self.config;
        let addresses = config.in_family(family).map(|address| address.ip);
        Advert {
            version: config.version,
            vrid: config.vrid,
            priority,
            interval: config.interval,
            addresses: addresses.collect(),
            password: password(config),
        }
    }

    fn families(&self) -> Vec<Family> {
        self.members.keys().copied().collect()
    }

    fn tell_all(&mut self, event: Event, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        for family in self.families() {
            self.tell(family, event, now, &mut steps);
        }
        steps
    }

    /// Has one family's router do something, and the other follow.
    fn tell(&mut self, family: Family, event: Event, now: Instant, steps: &mut Vec<Step>) {
        let Some(member) = self.members.get_mut(&family) else {
            return;
        };
        let actions = member.router.on(event, now);
        let mut follow = None;
        for action in actions {
            let notice = member.count(action, now);
            follow = follow.or(followed(action));
            steps.push(Step::Do(family, action));
            steps.extend(notice.map(|notice| Step::Say(family, None, notice)));
        }
        let Some(event) = follow else { return };
        for other in self.families() {
            if other != family {
                self.tell(other, event, now, steps);
            }
        }
    }
}

impl Member {
    /// Counts what it does. What is odd about that is said once.
    fn count(&mut self, action: Action, now: Instant) -> Option<Notice> {
        match action {
            Action::Send(priority) => {
                self.counters.sent += 1;
                self.counters.resignations += u64::from(priority == RESIGNS);
                None
            }
            Action::Changed(role, reason) => {
                *self.counters.transitions.entry((role, reason)).or_default() += 1;
                self.contested = 0;
                self.changes.note(now).then_some(Notice::Flapping)
            }
            Action::AddAddresses | Action::RemoveAddresses | Action::Announce => None,
        }
    }

    /// Takes note of who sends an advert. What is odd about it is said once, until it is another who does.
    fn meets(
        &mut self,
        config: &Vrrp,
        from: IpAddr,
        advert: &Advert,
        checksum: Checksum,
    ) -> impl Iterator<Item = Notice> + use<> {
        let own = config.in_family(Family::of(from)).map(|address| address.ip);
        let mut own: Vec<IpAddr> = own.collect();
        let mut theirs = advert.addresses.clone();
        own.sort();
        theirs.sort();
        let peer = Peer {
            address: from,
            priority: advert.priority,
            interval: advert.interval,
            checksum,
            same_addresses: own == theirs,
        };
        let before = self.peer.take().filter(|before| before.address == from);
        let is_new = |same: &dyn Fn(&Peer) -> bool| !before.as_ref().is_some_and(same);
        let mut notices = Vec::new();
        if peer.interval != config.interval && is_new(&|p| p.interval == peer.interval) {
            notices.push(Notice::OtherInterval);
        }
        if !peer.same_addresses && is_new(&|p| !p.same_addresses) {
            notices.push(Notice::OtherAddresses);
        }
        let is_choice = config.version == Version::V3 && from.is_ipv4();
        if is_choice && is_new(&|p| p.checksum == checksum) {
            notices.push(Notice::Checksum(checksum));
        }
        if self.router.role() == Role::Master && advert.priority != RESIGNS {
            self.counters.contested += 1;
            self.contested += 1;
            if self.contested == IN_FLIGHT {
                notices.push(Notice::TwoMasters);
            }
        }
        self.peer = Some(peer);
        notices.into_iter()
    }
}

/// What the other family's router does when one has done this.
fn followed(action: Action) -> Option<Event> {
    match action {
        Action::Changed(Role::Master, Reason::OtherFamily) => None,
        Action::Changed(Role::Master, _) => Some(Event::Join),
        Action::Changed(Role::Backup, Reason::HigherPriority | Reason::HigherAddress) => {
            Some(Event::Leave(Reason::OtherFamily))
        }
        Action::Changed(Role::Backup | Role::Fault, _)
        | Action::Send(_)
        | Action::AddAddresses
        | Action::RemoveAddresses
        | Action::Announce => None,
    }
}

/// The advert in a packet with the instance's number, and what its checksum is about; or why it is not heeded.
fn heeded(
    config: &Vrrp,
    own: Option<IpAddr>,
    packet: &Received<'_>,
) -> Result<(Advert, Checksum), Refusal> {
    if own == Some(packet.source) {
        return Err(Refusal::Own);
    }
    let is_unicast = !config.unicast_peers.is_empty();
    if is_unicast == packet.destination.is_multicast() {
        return Err(Refusal::Destination);
    }
    if is_unicast && !config.unicast_peers.contains(&packet.source) {
        return Err(Refusal::Stranger);
    }
    let (advert, checksum) = Advert::read(packet).map_err(Refusal::Malformed)?;
    if advert.version != config.version {
        return Err(Refusal::OtherVersion);
    }
    if advert.password != password(config) {
        return Err(Refusal::Password);
    }
    if advert.version == Version::V2 && advert.interval != config.interval {
        return Err(Refusal::OtherInterval);
    }
    Ok((advert, checksum))
}

/// An owner's is 255, or it is none (RFC 9568, section 5.2.4).
fn priority(config: &Vrrp, penalty: u8) -> u8 {
    match config.priority {
        OWNER => OWNER,
        priority => priority.saturating_sub(penalty).max(1),
    }
}

fn settings(config: &Vrrp, penalty: u8, address: IpAddr) -> Settings {
    Settings {
        version: config.version,
        priority: priority(config, penalty),
        interval: config.interval,
        preempt: config.preempt,
        refresh: config.refresh,
        address,
        grouped: config.sync_group.is_some(),
    }
}

/// The password as it is on the wire, filled up with zeros.
fn password(config: &Vrrp) -> Option<[u8; 8]> {
    let text = config.password.as_ref()?;
    let mut octets = [0; 8];
    octets
        .iter_mut()
        .zip(text.bytes())
        .for_each(|(octet, byte)| *octet = byte);
    Some(octets)
}

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::from([0; 4]),
        Family::Ipv6 => IpAddr::from([0; 16]),
    }
}
