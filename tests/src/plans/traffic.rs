//! Flows that are known, and new ones, sent whenever a plan is held: every packet goes to a backend that lives, known
//! flows to theirs, and none is dropped.
//!
//! A flow's backend is told by the MAC address that its packets leave for. It changes only where the backend is not the
//! service's any more, and then to one that is for good. Where flows are recorded, one of another pool is as good.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{
    latched::Latch,
    point::{Kind, Moment, Point},
    site::{BACKENDS, CLIENTS, Mode, Site},
};
use crate::cases::{
    frame::{ACK, Frame, SYN},
    places::{Mac, ROUTER, Version, Way},
};

/// Flows of each service and family that are known before anything changes.
const KNOWN: u16 = 8;
/// Flows of each that begin at every point.
const NEW: u16 = 1;
/// Flows that began at points and are known on, the last ones.
const RECENT: usize = 120;

/// Something that handles packets.
pub trait Path {
    /// Handles one that comes in from a client.
    fn handle(&mut self, frame: &[u8]) -> Left;
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// It is sent on, like this.
    Sent(Vec<u8>),
    /// The kernel has it.
    Passed,
    /// It is gone.
    Dropped,
}

/// A flow.
#[derive(Clone)]
struct Flow {
    mode: Mode,
    service: &'static str,
    version: Version,
    client: SocketAddr,
    /// The number of its backend.
    home: u8,
    /// A packet of it.
    packet: Vec<u8>,
}

/// The flows of a site, and what was wrong with them.
pub struct Traffic<P> {
    path: P,
    /// What is changed from, and to.
    sites: [Site; 2],
    flows: Vec<Flow>,
    /// How many of them are known from the beginning.
    known: usize,
    next_port: u16,
    /// The plan that is under way.
    step: Option<String>,
    ordinals: BTreeMap<Kind, usize>,
    points: usize,
    held: BTreeSet<Kind>,
    /// Packets that were sent.
    packets: usize,
    wrong: Vec<String>,
}

impl<P: Path> Traffic<P> {
    /// No flows yet, where nothing is.
    pub fn new(path: P) -> Self {
        Self {
            path,
            sites: [Site::empty(), Site::empty()],
            flows: Vec::new(),
            known: 0,
            next_port: 1024,
            step: None,
            ordinals: BTreeMap::new(),
            points: 0,
            held: BTreeSet::new(),
            packets: 0,
            wrong: Vec::new(),
        }
    }

    /// The site is this one, and was always; flows of all services begin, and are known from now on.
    pub fn begin_flows(&mut self, site: &Site) {
        self.sites = [site.clone(), site.clone()];
        self.open("at first", KNOWN);
        self.known = self.flows.len();
    }

    /// A plan begins, which leads to this site. It is held until its end.
    pub fn begin_plan(&mut self, step: &str, to: &Site) {
        self.step = Some(step.to_owned());
        self.ordinals.clear();
        self.sites = [self.sites[1].clone(), to.clone()];
    }

    /// The plan is done: what was changed from is no more.
    pub fn end_plan(&mut self) {
        self.sites[0] = self.sites[1].clone();
        self.round("at the end");
        self.step = None;
        self.end_flows();
    }

    /// Flows of services that are no more have ended.
    fn end_flows(&mut self) {
        let [_, site] = &self.sites;
        let goes_on = |flow: &Flow| site.services.contains_key(flow.service);
        let (known, _) = self.flows.split_at(self.known);
        self.known = known.iter().filter(|flow| goes_on(flow)).count();
        self.flows.retain(goes_on);
    }

    /// Packets so far, and points that plans were held at.
    pub fn sent(&self) -> (usize, usize) {
        (self.packets, self.points)
    }

    /// Kinds of operations that plans were held at.
    pub fn held(&self) -> &BTreeSet<Kind> {
        &self.held
    }

    /// What was wrong.
    pub fn wrong(&self) -> &[String] {
        &self.wrong
    }

    /// A packet of every flow, then flows that begin.
    fn round(&mut self, at: &str) {
        let mut flows = std::mem::take(&mut self.flows);
        for flow in &mut flows {
            if let Err(wrong) = self.go_on(flow) {
                self.note(at, flow, &wrong);
            }
        }
        self.flows = flows;
        self.open(at, NEW);
        let gone = self.flows.len().saturating_sub(self.known + RECENT);
        self.flows.drain(self.known..self.known + gone);
    }

    fn note(&mut self, at: &str, flow: &Flow, wrong: &str) {
        let Flow {
            mode,
            service,
            version,
            client,
            ..
        } = flow;
        let step = self.step.as_deref().unwrap_or_default();
        let place = format!("{step}: {at}");
        self.wrong.push(format!(
            "{place}: {client} to {mode:?} {service} {version:?}: {wrong}"
        ));
    }

    /// A packet of a known flow.
    fn go_on(&mut self, flow: &mut Flow) -> Result<(), String> {
        let Some(number) = self.send(flow, &flow.packet)? else {
            return Ok(());
        };
        if number == flow.home {
            return Ok(());
        }
        let [_, to] = &self.sites;
        let stays = match flow.mode.is_tracked() {
            true => to.backends().contains(&flow.home),
            false => to.backends_of(flow.service).contains(&flow.home),
        };
        if stays || !to.backends_of(flow.service).contains(&number) {
            return Err(format!("it is {}'s, and went to {number}", flow.home));
        }
        flow.home = number;
        Ok(())
    }

    /// So many flows of each service and family begin.
    fn open(&mut self, at: &str, many: u16) {
        let sites = self.sites.iter();
        let services: BTreeMap<_, _> = sites
            .flat_map(|site| site.services.iter())
            .map(|(name, (_, number))| (*name, *number))
            .collect();
        for mode in self.sites[1].modes.clone() {
            for (&service, &number) in &services {
                for version in Version::ALL {
                    for _ in 0..many {
                        self.open_one(at, (mode, service, number), version);
                    }
                }
            }
        }
    }

    fn open_one(
        &mut self,
        at: &str,
        (mode, service, number): (Mode, &'static str, u8),
        version: Version,
    ) {
        let port = self.next_port;
        self.next_port = self.next_port.checked_add(1).expect("ports enough");
        let client = SocketAddr::new(client(version), port);
        let frame = |flags, sequence| {
            let frame = Frame::tcp(client, mode.service(version, number));
            let frame = frame.flags(flags).sequence(sequence);
            frame.arrives(CLIENTS).link(ROUTER, CLIENTS.mac).bytes()
        };
        let mut flow = Flow {
            mode,
            service,
            version,
            client,
            home: 0,
            packet: frame(ACK, 10),
        };
        match self.opened(&flow, &frame(SYN, 9)) {
            Ok(Some(home)) => {
                flow.home = home;
                let went_on = self.go_on(&mut flow);
                went_on.unwrap_or_else(|wrong| self.note(at, &flow, &wrong));
                self.flows.push(flow);
            }
            Ok(None) => {}
            Err(wrong) => self.note(at, &flow, &wrong),
        }
    }

    /// Whose a flow is that opens.
    fn opened(&mut self, flow: &Flow, syn: &[u8]) -> Result<Option<u8>, String> {
        let home = self.send(flow, syn)?;
        let mut sites = self.sites.iter();
        match home {
            Some(home) if !sites.any(|site| site.backends_of(flow.service).contains(&home)) => {
                Err(format!("it went to {home}"))
            }
            home => Ok(home),
        }
    }

    /// Sends a packet; the number of the backend that it went to. It need not go to any where its service comes or goes.
    fn send(&mut self, flow: &Flow, packet: &[u8]) -> Result<Option<u8>, String> {
        self.packets += 1;
        let service = flow.service;
        let there = |site: &Site| site.services.contains_key(service);
        match self.path.handle(packet) {
            Left::Sent(frame) => self.backend(flow, &frame).map(Some),
            Left::Passed if !self.sites.iter().all(there) => Ok(None),
            left => Err(format!("{left:?}")),
        }
    }

    /// The backend that a frame goes to, by its next hop and, where that shows, its address.
    fn backend(&self, flow: &Flow, frame: &[u8]) -> Result<u8, String> {
        let (mac, from): ([u8; 6], Mac) = (array(frame, 0), array(frame, 6));
        let [.., number] = mac;
        let is_next_hop = |site: &Site| site.next_hop(flow.mode, number) == mac;
        if !self.sites.iter().any(is_next_hop) || from != BACKENDS.mac {
            return Err(format!("it went from {from:02x?} to {mac:02x?}"));
        }
        let to: IpAddr = match flow.version {
            Version::V4 => Ipv4Addr::from(array::<4>(frame, 30)).into(),
            Version::V6 => Ipv6Addr::from(array::<16>(frame, 38)).into(),
        };
        let expected = match flow.mode {
            Mode::Dsr => return Ok(number),
            mode => mode.backend(flow.version, number),
        };
        match to == expected {
            true => Ok(number),
            false => Err(format!("it went to {to} by {number}'s next hop")),
        }
    }
}

impl<P: Path> Latch for Traffic<P> {
    fn hold(&mut self, kind: Kind, moment: Moment) {
        if self.step.is_none() {
            return;
        }
        let ordinal = self.ordinals.entry(kind).or_default();
        *ordinal += usize::from(moment == Moment::Before);
        let point = Point {
            kind,
            ordinal: *ordinal,
            moment,
        };
        self.points += 1;
        self.held.insert(kind);
        self.round(&point.to_string());
    }
}

fn client(version: Version) -> IpAddr {
    version.client(Way::Router)
}

fn array<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    let bytes = frame
        .get(at..at + N)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.unwrap_or([0; N])
}
