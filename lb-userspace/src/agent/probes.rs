//! Probes that go through services, in the agent: their device, made when a configuration first asks for such and kept
//! until the agent ends; the program on it; and what the checks are told of them. Wires, and decides nothing.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::IpAddr,
    sync::Arc,
};

use anyhow::Context as _;
use lb_common::abi::BackendRef;
use tracing::info;

use crate::{
    health::checks::clients::{Clients, Reached},
    kernel::{self, DataPlane, ProbedPorts},
    model::{Config, Family, PROBE_DEVICE},
    net::{IfIndex, ProbeDevice},
    plan::Tables,
    state::{Hop, Ids, Link},
};

use super::Agent;

/// What probes go through.
pub(super) struct Probes {
    clients: Arc<Clients>,
    device: Option<ProbeDevice>,
    /// Where their source addresses are.
    sources: Vec<IpAddr>,
    /// Until they are handed to the clients.
    ports: Option<ProbedPorts>,
}

impl Probes {
    /// None yet.
    pub(super) fn new(clients: Arc<Clients>, ports: ProbedPorts) -> Self {
        Self {
            clients,
            device: None,
            sources: Vec::new(),
            ports: Some(ports),
        }
    }

    /// Makes the device, if a configuration asks for it and there is none.
    pub(super) fn make(&mut self, config: &Config) -> anyhow::Result<()> {
        if self.device.is_none() && config.has_probes() {
            let sources = config.probe_sources();
            let device = ProbeDevice::begin(sources);
            let device =
                device.context("making the device of checks with `through = \"service\"`")?;
            let name = PROBE_DEVICE;
            kernel::check_number(name, device.index().0)?;
            info!("{name}: made, for checks that go through services");
            (self.device, self.sources) = (Some(device), sources.to_vec());
        }
        Ok(())
    }

    /// Whether there is a device.
    pub(super) fn are_made(&self) -> bool {
        self.device.is_some()
    }

    /// Its name and what is known of it.
    pub(super) fn link(&self) -> Option<(String, Link)> {
        let device = self.device.as_ref()?;
        let link = Link {
            ifindex: device.index().0,
            mac: device.mac(),
            mtu: device.mtu(),
            vlan: None,
        };
        Some((PROBE_DEVICE.to_owned(), link))
    }

    /// The ways to where they come from.
    pub(super) fn hops(&self) -> BTreeMap<IpAddr, Hop> {
        let Some(device) = &self.device else {
            return BTreeMap::new();
        };
        let hop = Hop {
            ifindex: device.index().0,
            mac: device.prober(),
            mtu: device.mtu(),
            source: None,
            lost: None,
        };
        let sources = self.sources.iter();
        sources.map(|&source| (source, hop)).collect()
    }

    /// Has the checks know which backends there is a way to.
    pub(super) fn reach(&self, config: &Config, ids: &Ids, tables: &Tables) {
        let there = ids.probed.iter();
        let there = there.filter(|(_, index)| tables.backends.contains_key(&index.index()));
        let reached = there.filter_map(|(&(pool, n, family), &index)| {
            let pool = &config.pools[pool];
            let mut addresses = pool.backends[n].addresses.iter();
            let address = addresses.find(|address| Family::of(address.ip) == family)?;
            Some(((pool.forward, *address), index))
        });
        self.clients
            .reach(reached.collect::<HashMap<Reached, BackendRef>>());
    }

    /// The program runs on the device: from now on probes may be sent, and answers come in on these devices.
    fn open(&mut self, devices: Vec<IfIndex>) {
        let Some(device) = &self.device else {
            return;
        };
        device.answer_on(devices);
        if let Some(mut ports) = self.ports.take() {
            let naming = move |port, backend| ports.set(port, backend).map_err(io::Error::other);
            let sockets = Box::new(device.sockets());
            self.clients
                .open(self.sources.clone(), sockets, Box::new(naming));
        }
    }
}

impl Agent {
    /// Attaches the program of probes to their device, if there is one.
    pub(super) fn attach_probes(&mut self, plane: &mut DataPlane) -> anyhow::Result<()> {
        let Some((name, link)) = self.probes.link() else {
            return Ok(());
        };
        plane.attach_probe((&name, link.ifindex))?;
        let devices = self.links.values().map(|link| IfIndex(link.ifindex));
        self.probes.open(devices.collect());
        Ok(())
    }

    /// All of our devices, that of probes among them.
    pub(super) fn devices(&self) -> BTreeMap<String, Link> {
        let mut links = self.links.clone();
        links.extend(self.probes.link());
        links
    }
}
