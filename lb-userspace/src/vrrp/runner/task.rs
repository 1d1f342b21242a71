//! The task of one instance.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    future::pending,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep_until,
};
use tracing::{info, warn};

use super::{Shared, Transitions, Views};
use crate::{
    model::{Family, VirtualAddress, Vrrp},
    net::{AdvertSocket, Devices, IfIndex, Line, Packet, accept, forwards_ipv6, refuse},
    unix_time::unix_now,
    vrrp::{
        announce::{Forwards, announcement},
        group::{Member, Verdict, verdict},
        host::{Fault, Way, way},
        instance::{Instance, Notice, Step},
        machine::{Action, Reason, Role, Standing},
        packet::{HOP_LIMIT, PROTOCOL, Received},
        snapshot::InstanceView,
        traces::table,
        tracking::{Facts, Judgement, judge},
        transition::{Transition, Whole},
    },
};

/// The groups that adverts go to (RFC 9568, sections 5.1.1.2 and 5.1.2.2).
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
const GROUP_IPV6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));

/// How soon what failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// A carrier that came has to stay for so long.
const STEADY: Duration = Duration::from_secs(1);

/// How seldom the same is said in the log.
const SELDOM: Duration = Duration::from_secs(60);

/// Packets that are heard before it is looked whether something is due.
const AT_ONCE: u32 = 64;

/// How often each frame is sent when neighbours are told: one may be lost.
const BURST: usize = 3;

/// What a task is told. That there will be nothing more ends it.
pub(super) enum Command {
    /// To go by another configuration of the same identity.
    Configure(Box<Vrrp>),
    /// To have no addresses, or to take part again; to answer once that is so.
    Maintain(bool, oneshot::Sender<()>),
    /// To give its addresses up, and to answer whether it had them.
    Resign(oneshot::Sender<bool>),
}

/// An instance, and what it works with.
pub(super) struct Task {
    instance: Instance,
    shared: Shared,
    commands: mpsc::Receiver<Command>,
    devices: watch::Receiver<Devices>,
    facts: watch::Receiver<Arc<Facts>>,
    groups: watch::Receiver<BTreeMap<String, Member>>,
    views: Views,
    maintenance: bool,
    /// What of all that is tracked is not well.
    failing: Vec<String>,
    /// Since when the interface has been there again, if it was not.
    steady_since: Option<Instant>,
    transitions: Transitions,
    whole: Whole,
    /// How it takes part, if it does.
    way: Option<Way>,
    /// Why not.
    fault: Option<Fault>,
    lines: BTreeMap<Family, AdvertSocket>,
    /// Addresses that it has put there.
    held: BTreeSet<(IfIndex, VirtualAddress)>,
    /// Families for whose addresses it takes no packets.
    refusing: BTreeSet<Family>,
    /// How many packets it heard, modulo [`AT_ONCE`].
    heard: u32,
    /// When it tries again what failed.
    again: Option<Instant>,
    /// Since when its families are what they are, in seconds since 1970.
    since: BTreeMap<Family, u64>,
    errors: BTreeMap<&'static str, u64>,
    /// When what was said last.
    said: BTreeMap<String, Instant>,
}

/// Why a task wakes.
enum Wake {
    Told(Option<Command>),
    Heard(io::Result<Packet>),
    Look,
    Due,
}

impl Task {
    pub(super) fn new(
        config: Vrrp,
        shared: Shared,
        commands: mpsc::Receiver<Command>,
        (views, transitions): (Views, Transitions),
        maintenance: bool,
    ) -> Self {
        Self {
            devices: shared.watch.devices(),
            facts: shared.facts.clone(),
            groups: shared.groups.subscribe(),
            instance: Instance::new(config),
            shared,
            commands,
            views,
            maintenance,
            failing: Vec::new(),
            steady_since: None,
            transitions,
            whole: Whole::default(),
            way: None,
            fault: None,
            lines: BTreeMap::new(),
            held: BTreeSet::new(),
            refusing: BTreeSet::new(),
            heard: 0,
            again: None,
            since: BTreeMap::new(),
            errors: BTreeMap::new(),
            said: BTreeMap::new(),
        }
    }

    pub(super) async fn run(mut self) {
        self.look().await;
        loop {
            self.stand();
            self.follow_group().await;
            self.publish();
            match self.wake().await {
                Wake::Told(Some(command)) => self.obey(command).await,
                Wake::Told(None) => break,
                Wake::Heard(Ok(packet)) => self.hear(&packet).await,
                Wake::Heard(Err(error)) => self.socket_failed("receive", &error).await,
                Wake::Look => self.look().await,
                Wake::Due => {
                    let steps = self.instance.due(Instant::now());
                    self.carry_out(steps).await;
                }
            }
        }
        let steps = self.instance.resign(Instant::now());
        self.carry_out(steps).await;
        let name = self.instance.config().name.clone();
        self.shared
            .groups
            .send_if_modified(|groups| groups.remove(&name).is_some());
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Configure(config) => {
                let steps = self.instance.configure(*config, Instant::now());
                self.carry_out(steps).await;
                // Peers may be known by another of our addresses.
                self.look().await;
            }
            Command::Maintain(on, done) => {
                self.maintenance = on;
                self.look().await;
                self.publish();
                // Who asked may have gone.
                let _ = done.send(());
            }
            Command::Resign(done) => {
                let steps = self.instance.resign(Instant::now());
                let was_master = !steps.is_empty();
                self.carry_out(steps).await;
                self.publish();
                let _ = done.send(was_master);
            }
        }
    }

    /// What came before a deadline comes before it: who was stopped for a while has to hear who took over meanwhile.
    async fn wake(&mut self) -> Wake {
        let deadline = self.instance.deadline();
        let again = self.again;
        tokio::select! {
            biased;
            command = self.commands.recv() => Wake::Told(command),
            heard = receive(self.lines.get(&Family::Ipv4)) => Wake::Heard(heard),
            heard = receive(self.lines.get(&Family::Ipv6)) => Wake::Heard(heard),
            Ok(()) = self.devices.changed() => Wake::Look,
            Ok(()) = self.facts.changed() => Wake::Look,
            Ok(()) = self.groups.changed() => Wake::Look,
            () = until(deadline) => Wake::Due,
            () = until(again) => Wake::Look,
        }
    }

    async fn hear(&mut self, packet: &Packet) {
        let received = Received {
            source: packet.source,
            destination: packet.destination,
            hop_limit: packet.hop_limit,
            payload: &packet.payload,
        };
        let now = Instant::now();
        let mut steps = self.instance.received(&received, now);
        // Packets without end must not keep a master from what is due.
        self.heard = (self.heard + 1) % AT_ONCE;
        if self.heard == 0 {
            steps.extend(self.instance.due(now));
        }
        self.carry_out(steps).await;
    }

    /// Looks whether it can take part, and how, and with which priority.
    async fn look(&mut self) {
        let now = Instant::now();
        let devices = self.devices.borrow_and_update().clone();
        let facts = self.facts.borrow_and_update().clone();
        let judgement = judge(&self.instance.config().track, &devices, &facts, now);
        self.again = judgement.again;
        let way = match self.way_by(&devices, &judgement, now) {
            Ok(way) => way,
            Err(fault) => {
                self.failing = judgement.failing;
                return self.unable(fault).await;
            }
        };
        self.failing = judgement.failing;
        let steps = self.instance.weigh(judgement.penalty, now);
        self.carry_out(steps).await;
        if self.way.as_ref() == Some(&way) {
            return self.put_back(&devices).await;
        }
        // What another device had went with it.
        if self
            .way
            .as_ref()
            .is_some_and(|before| before.device != way.device)
        {
            self.unable(Fault::NoInterface).await;
        }
        match self.open(&way) {
            Ok(lines) => {
                let sources = way.sources.clone();
                (self.lines, self.way, self.fault) = (lines, Some(way), None);
                let steps = self.instance.able(&sources, Instant::now());
                self.carry_out(steps).await;
            }
            Err(error) => self.socket_failed("open", &error).await,
        }
    }

    /// How it can take part, if nothing keeps it from that.
    fn way_by(
        &mut self,
        devices: &Devices,
        judgement: &Judgement,
        now: Instant,
    ) -> Result<Way, Fault> {
        if self.maintenance {
            return Err(Fault::Maintenance);
        }
        let config = self.instance.config();
        let way = way(config, devices.get(&config.interface));
        let was_away = self.fault.as_ref().is_some_and(Fault::is_of_link);
        match &way {
            Err(fault) if fault.is_of_link() => self.steady_since = None,
            _ if was_away => self.steady_since = Some(now),
            _ => {}
        }
        let way = way?;
        let steady = self.steady_since.map(|since| since + STEADY);
        if let Some(steady) = steady.filter(|steady| *steady > now) {
            self.again = self.again.into_iter().chain([steady]).min();
            return Err(Fault::JustUp);
        }
        if let Some(why) = &judgement.fault {
            return Err(Fault::Tracked(why.clone()));
        }
        match self.unable_of_group() {
            Some(other) => Err(Fault::Group(other)),
            None => Ok(way),
        }
    }

    /// Another of its sync group that can't take part.
    fn unable_of_group(&self) -> Option<String> {
        let groups = self.groups.borrow();
        let mut others = self.others(&groups);
        let unable = others.find(|(_, member)| member.standing == Standing::Fault);
        unable.map(|(name, _)| name.clone())
    }

    fn others<'a>(
        &'a self,
        groups: &'a BTreeMap<String, Member>,
    ) -> impl Iterator<Item = (&'a String, &'a Member)> {
        let config = self.instance.config();
        groups.iter().filter(move |(name, member)| {
            **name != config.name && Some(&member.group) == config.sync_group.as_ref()
        })
    }

    /// Tells the others of its sync group what it is by itself.
    fn stand(&self) {
        let config = self.instance.config();
        let standing = match &self.fault {
            Some(Fault::Group(_)) => Standing::Waiting,
            Some(_) => Standing::Fault,
            None => self.instance.standing(),
        };
        let member = config
            .sync_group
            .clone()
            .map(|group| Member { group, standing });
        self.shared.groups.send_if_modified(|groups| {
            let before = match &member {
                Some(member) => groups.insert(config.name.clone(), member.clone()),
                None => groups.remove(&config.name),
            };
            before != member
        });
    }

    /// Does what the others of its sync group make it do.
    async fn follow_group(&mut self) {
        if self.instance.config().sync_group.is_none() {
            return;
        }
        let verdict = {
            let groups = self.groups.borrow();
            let others = self.others(&groups).map(|(_, member)| member.standing);
            verdict(self.instance.standing(), others)
        };
        let now = Instant::now();
        let steps = match verdict {
            Verdict::Stays => return,
            Verdict::Takes => self.instance.take(now),
            Verdict::Leaves => self.instance.leave(now),
        };
        self.carry_out(steps).await;
        self.stand();
    }

    /// It can't take part: what it can still send goes out first.
    async fn unable(&mut self, fault: Fault) {
        // The log names it when the role changes.
        self.fault = Some(fault);
        let steps = self.instance.unable(Instant::now());
        self.carry_out(steps).await;
        self.lines.clear();
        self.way = None;
    }

    /// Opens sockets anew, a while after they failed.
    async fn socket_failed(&mut self, what: &'static str, error: &io::Error) {
        self.failed(what, error);
        self.unable(Fault::Socket).await;
        self.again = Some(Instant::now() + AGAIN);
    }

    fn open(&self, way: &Way) -> io::Result<BTreeMap<Family, AdvertSocket>> {
        let config = self.instance.config();
        let is_unicast = !config.unicast_peers.is_empty();
        let lines = way.sources.iter().map(|(family, source)| {
            let line = Line {
                device: (&config.interface, way.device),
                source: *source,
                protocol: PROTOCOL,
                group: (!is_unicast).then_some(group(*family)),
                hop_limit: HOP_LIMIT,
            };
            Ok((*family, AdvertSocket::open(&line)?))
        });
        lines.collect()
    }

    async fn carry_out(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Do(family, Action::Send(priority)) => self.send(family, priority),
                Step::Do(family, Action::AddAddresses) => self.take(family).await,
                Step::Do(family, Action::RemoveAddresses) => self.leave(family).await,
                Step::Do(family, Action::Announce) => self.announce(family),
                Step::Do(family, Action::Changed(role, reason)) => {
                    self.changed(family, role, reason);
                }
                Step::Say(family, from, notice) => self.say(family, from, notice),
            }
        }
        self.settle();
    }

    /// Tells what has become of the instance as a whole.
    fn settle(&mut self) {
        let config = self.instance.config();
        let families = config.families();
        let roles = families.map(|family| (family, self.instance.role(family)));
        let roles = roles.collect();
        let Some(reason) = self.whole.settle(&roles) else {
            return;
        };
        let transition = Transition {
            config: config.clone(),
            roles,
            reason,
            priority: self.instance.priority(),
            fault: self.fault.as_ref().map(|fault| fault.to_string()),
        };
        // Nobody hears it when the agent ends.
        drop(self.transitions.send(transition));
    }

    fn send(&mut self, family: Family, priority: u8) {
        let config = self.instance.config();
        let Some((line, source)) = self.line(family) else {
            return;
        };
        let advert = self.instance.advert(family, priority);
        let mut hosts: Vec<IpAddr> = config.peers(family).collect();
        if hosts.is_empty() {
            hosts.push(group(family));
        }
        let sent = hosts.into_iter().map(|host| {
            let packet = advert.write(source, host, config.checksum);
            line.send(&packet, host)
        });
        let failed: Vec<io::Error> = sent.filter_map(Result::err).collect();
        for error in failed {
            self.failed("send", &error);
        }
    }

    fn line(&self, family: Family) -> Option<(&AdvertSocket, IpAddr)> {
        let way = self.way.as_ref()?;
        let source = way.sources.get(&family)?;
        Some((self.lines.get(&family)?, *source))
    }

    /// Takes the family's addresses, and gives up those that are its no more.
    async fn take(&mut self, family: Family) {
        let Some(Way { device, .. }) = self.way else {
            return;
        };
        let wanted: BTreeSet<VirtualAddress> = self.instance.config().in_family(family).collect();
        self.give_up(family, |address| wanted.contains(&address))
            .await;
        self.admit(family);
        for address in wanted {
            match self.shared.addresses.take(device, address).await {
                Ok(true) => drop(self.held.insert((device, address))),
                // This host's own, which stay.
                Ok(false) => {}
                Err(error) => self.failed("address", &error),
            }
        }
    }

    /// Takes again what others have removed of the addresses that it has.
    async fn put_back(&mut self, devices: &Devices) {
        let config = self.instance.config();
        let Some(device) = devices.get(&config.interface) else {
            return;
        };
        let is_lost = |lost: &VirtualAddress| device.addresses.iter().all(|(ip, _)| *ip != lost.ip);
        let mastered = config.families();
        let mastered = mastered.filter(|family| self.instance.role(*family) == Role::Master);
        let lost =
            mastered.map(|family| (family, config.in_family(family).filter(is_lost).collect()));
        let lost: Vec<(Family, Vec<VirtualAddress>)> = lost.collect();
        for (family, addresses) in lost {
            let mut was_put_back = false;
            for address in addresses {
                was_put_back |= self.take_again(device.index, address).await;
            }
            if was_put_back {
                self.announce(family);
            }
        }
    }

    /// Whether the address was not there any more.
    async fn take_again(&mut self, device: IfIndex, address: VirtualAddress) -> bool {
        match self.shared.addresses.take(device, address).await {
            Ok(true) => {
                self.held.insert((device, address));
                let what = format!("{address} was removed by others, and is put back");
                self.told(&what, |name| warn!("vrrp {name}: {what}"));
                true
            }
            // It came after the devices were read.
            Ok(false) => false,
            Err(error) => {
                self.failed("address", &error);
                false
            }
        }
    }

    /// Gives up all that it has taken for a family.
    async fn leave(&mut self, family: Family) {
        self.give_up(family, |_| false).await;
        self.accept(family);
    }

    /// Sees to it that what is for a family's addresses is taken or dropped, as configured: before it has them.
    fn admit(&mut self, family: Family) {
        let config = self.instance.config();
        if !config.refuses() {
            return self.accept(family);
        }
        let addresses: Vec<IpAddr> = config.in_family(family).map(|a| a.ip).collect();
        self.refusing.insert(family);
        if let Err(error) = refuse(&table(config), family, &addresses) {
            self.failed("accept", &error);
        }
    }

    fn accept(&mut self, family: Family) {
        if !self.refusing.remove(&family) {
            return;
        }
        if let Err(error) = accept(&table(self.instance.config()), family) {
            self.failed("accept", &error);
        }
    }

    /// Gives up the family's addresses that it has put there, but for some.
    async fn give_up(&mut self, family: Family, stays: impl Fn(VirtualAddress) -> bool) {
        let goes = |(_, address): &&(IfIndex, VirtualAddress)| {
            Family::of(address.ip) == family && !stays(*address)
        };
        let going: Vec<_> = self.held.iter().filter(goes).copied().collect();
        for (device, address) in going {
            match self.shared.addresses.give_up(device, address).await {
                Ok(()) => drop(self.held.remove(&(device, address))),
                Err(error) => self.failed("address", &error),
            }
        }
    }

    fn announce(&mut self, family: Family) {
        let Some(Way { device, mac, .. }) = self.way else {
            return;
        };
        let config = self.instance.config();
        let forwards = match forwards_ipv6(&config.interface) {
            true => Forwards::Yes,
            false => Forwards::No,
        };
        let addresses: Vec<_> = config.in_family(family).collect();
        for _ in 0..BURST {
            for address in &addresses {
                let frame = announcement(address.ip, mac, forwards);
                if let Err(error) = self.shared.frames.send(device, &frame) {
                    self.failed("announce", &error);
                }
            }
        }
    }

    fn changed(&mut self, family: Family, role: Role, reason: Reason) {
        self.since.insert(family, unix_now());
        self.whole.changes(reason);
        let name = &self.instance.config().name;
        match (role, &self.fault) {
            (Role::Fault, Some(fault)) => info!("vrrp {name}: {family} is in fault: {fault}"),
            (role, _) => info!("vrrp {name}: {family} is {}: {reason}", role.name()),
        }
    }

    fn say(&mut self, family: Family, from: Option<IpAddr>, notice: Notice) {
        let from = from.map(|from| format!(" ({from})")).unwrap_or_default();
        let text = format!("{family}{from}: {notice}");
        match notice {
            Notice::Checksum(_) => self.told(&text, |name| info!("vrrp {name}: {text}")),
            Notice::Own
            | Notice::TwoMasters
            | Notice::Flapping
            | Notice::OtherInterval
            | Notice::OtherAddresses
            | Notice::Refused(_) => self.told(&text, |name| warn!("vrrp {name}: {text}")),
        }
    }

    fn failed(&mut self, what: &'static str, error: &dyn Display) {
        *self.errors.entry(what).or_default() += 1;
        self.told(what, |name| warn!("vrrp {name}: {what}: {error}"));
    }

    /// Says something, unless it was said a while ago. What others may make us say has an end.
    fn told(&mut self, what: &str, say: impl FnOnce(&str)) {
        let now = Instant::now();
        self.said
            .retain(|_, at| now.saturating_duration_since(*at) < SELDOM);
        if self.said.len() < MOST && !self.said.contains_key(what) {
            self.said.insert(what.to_owned(), now);
            say(&self.instance.config().name);
        }
    }

    fn publish(&self) {
        let fault = self.fault.as_ref().map(Fault::to_string);
        let trouble = (fault, &self.failing[..]);
        let view = InstanceView::of(
            &self.instance,
            Instant::now(),
            &self.since,
            trouble,
            &self.errors,
        );
        self.views.tell(view);
    }
}

/// As many different things are said in a minute.
const MOST: usize = 16;

fn group(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => GROUP,
        Family::Ipv6 => GROUP_IPV6,
    }
}

async fn receive(line: Option<&AdvertSocket>) -> io::Result<Packet> {
    match line {
        Some(line) => line.receive().await,
        None => pending().await,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => pending().await,
    }
}
