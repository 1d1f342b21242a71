//! A network with a switch and hosts on it, of which each may run what moves addresses between them: an agent or
//! keepalived.
//!
//! ```text
//!  host1 eth0 ── port1 ┐
//!  host2 eth0 ── port2 ┼ switch, lan
//!  host3 eth0 ── port3 ┘
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    addresses::Dual,
    link::{End, connect},
    namespace::Namespace,
    sluice::Sluice,
    stage::Stage,
};

/// MTU of all links.
const MTU: u16 = 1500;

/// The network.
pub struct Lan {
    hosts: Vec<Namespace>,
    switch: Namespace,
    stage: Stage,
}

impl Lan {
    /// So many hosts: 198.18.0.1 and fd00:18::1, and so on. `title` says what runs (`sluice-soak`).
    pub fn set_up(title: &str, hosts: u8) -> Result<Self> {
        let stage = Stage::set_up(title)?;
        let switch = Namespace::create(&stage.name("switch"))?;
        // Without a querier a snooping bridge forgets who listens.
        switch.ip("link add lan type bridge mcast_snooping 0 stp_state 0 forward_delay 0")?;
        switch.ip("link set lan up")?;
        let mut lan = Self {
            hosts: Vec::new(),
            switch,
            stage,
        };
        for number in 1..=hosts {
            let host = lan.plug(number)?;
            lan.hosts.push(host);
        }
        Ok(lan)
    }

    /// A host, counted from 1.
    pub fn host(&self, number: u8) -> &Namespace {
        &self.hosts[usize::from(number) - 1]
    }

    /// The switch: host N is at its port portN.
    pub fn switch(&self) -> &Namespace {
        &self.switch
    }

    /// A folder for a host's files.
    pub fn folder(&self, number: u8) -> PathBuf {
        self.stage.folder().join(format!("host{number}"))
    }

    /// Where a host's agent pins its tables and attachments.
    pub fn pin(&self, number: u8) -> PathBuf {
        self.stage.bpf().join(format!("host{number}"))
    }

    /// Whether a host has an address, written with its prefix length.
    pub fn has(&self, number: u8, address: &str) -> Result<bool> {
        let shown = self
            .host(number)
            .read_ip("-oneline address show dev eth0")?;
        Ok(shown.split_whitespace().any(|word| word == address))
    }

    /// The configuration of a host's agent, which only moves addresses, with these lines in its `[[vrrp]]`.
    pub fn configuration(&self, number: u8, lines: &str) -> String {
        let (folder, pin) = (self.folder(number), self.pin(number));
        let (folder, pin) = (folder.display(), pin.display());
        format!(
            "[agent]\ninterfaces = []\ncontrol = \"{folder}/control.sock\"\nstate = \"{folder}/state\"\n\
             pin = \"{pin}\"\n\n[[vrrp]]\nname = \"gateway\"\ninterface = \"eth0\"\nvrid = 51\n{lines}\n"
        )
    }

    /// Starts a host's agent with a configuration, and waits until it is ready.
    pub fn start(&self, number: u8, binary: &Path, configuration: &str) -> Result<Sluice> {
        let host = self.host(number);
        let mut sluice = Sluice::start_with(binary, host, &self.folder(number), configuration)?;
        sluice.wait_until_ready(host)?;
        Ok(sluice)
    }

    fn plug(&self, number: u8) -> Result<Namespace> {
        let host = Namespace::create(&self.stage.name(&format!("host{number}")))?;
        let end = End {
            namespace: &host,
            interface: "eth0",
        };
        let port = format!("port{number}");
        let socket = End {
            namespace: &self.switch,
            interface: &port,
        };
        connect(end, socket, MTU)?;
        self.switch.ip(&format!("link set {port} master lan"))?;
        let v4 = format!("198.18.0.{number}").parse()?;
        let v6 = format!("fd00:18::{number}").parse()?;
        end.add_addresses(Dual { v4, v6 }, (24, 64))?;
        fs::create_dir(self.folder(number))?;
        Ok(host)
    }
}
