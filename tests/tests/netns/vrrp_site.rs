//! Hosts on one network, each with an agent or a keepalived of its own.

use std::{
    net::{IpAddr, UdpSocket},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use sluice_tests::{
    keepalived, lan,
    link::{End, print_mac},
    namespace::Namespace,
    sluice::Sluice,
    wait,
};

use super::{binary, vrrp_capture::Capture};

/// How long a role may take to change.
const PATIENCE: Duration = Duration::from_secs(60);

/// The address that moves, of each family.
pub(super) const FLOATING: [&str; 2] = ["198.18.0.10/24", "fd00:18::10/64"];

/// A network with a switch, and hosts on it.
pub(super) struct Lan(lan::Lan);

impl Lan {
    /// So many hosts: 198.18.0.1 and fd00:18::1, and so on.
    pub(super) fn set_up(title: &str, hosts: u8) -> Self {
        Self(lan::Lan::set_up(&format!("sluice-{title}"), hosts).unwrap())
    }

    /// A host, counted from 1.
    pub(super) fn host(&self, number: u8) -> &Namespace {
        self.0.host(number)
    }

    /// The switch: host N is at its port portN.
    pub(super) fn switch(&self) -> &Namespace {
        self.0.switch()
    }

    /// Sees what a host sends from now on.
    pub(super) fn capture(&self, number: u8) -> Capture {
        let port = format!("port{number}");
        Capture::open(End {
            namespace: self.0.switch(),
            interface: &port,
        })
    }

    /// Starts an agent that only moves addresses, with these lines in its `[[vrrp]]`.
    pub(super) fn agent(&self, number: u8, lines: &str) -> Agent<'_> {
        self.start(number, &self.text(number, lines))
    }

    /// The same, with the packet program on its interface.
    pub(super) fn gateway(&self, number: u8, lines: &str) -> Agent<'_> {
        let text = self.text(number, lines);
        self.start(
            number,
            &text.replacen("interfaces = []", "interfaces = [\"eth0\"]", 1),
        )
    }

    fn start(&self, number: u8, text: &str) -> Agent<'_> {
        Agent {
            sluice: self.0.start(number, &binary(), text).unwrap(),
            lan: self,
            number,
        }
    }

    /// Starts keepalived with these lines in its `vrrp_instance`.
    pub(super) fn keepalived(&self, number: u8, lines: &str) -> Keepalived<'_> {
        let folder = self.0.folder(number);
        Keepalived {
            process: keepalived::Keepalived::start(self.host(number), &folder, lines).unwrap(),
            lan: self,
            number,
        }
    }

    /// Whether a host has an address.
    pub(super) fn has(&self, number: u8, address: &str) -> bool {
        self.0.has(number, address).unwrap()
    }

    /// Waits until a host has the address that moves of a family, or not.
    pub(super) fn wait_until_has(&self, number: u8, address: &str, has: bool) -> Result<()> {
        let what = format!("host {number} to have {address}: {has}");
        wait::until(&what, PATIENCE, || {
            Ok((self.has(number, address) == has).then_some(()))
        })
    }

    /// The MAC address of a host's interface.
    pub(super) fn mac(&self, number: u8) -> String {
        let end = End {
            namespace: self.host(number),
            interface: "eth0",
        };
        print_mac(end.mac().unwrap())
    }

    /// Where a host thinks that an address is, once it has asked.
    pub(super) fn neighbour(&self, number: u8, address: IpAddr) -> Option<String> {
        let show = format!("neighbour show to {address} dev eth0");
        let shown = self.host(number).read_ip(&show).unwrap();
        let mut words = shown.split_whitespace();
        words.find(|word| *word == "lladdr")?;
        words.next().map(ToOwned::to_owned)
    }

    /// Has a host send a datagram to an address, for which it asks where that is.
    pub(super) fn ask_for(&self, number: u8, address: IpAddr) {
        let any = match address {
            IpAddr::V4(_) => "0.0.0.0:0",
            IpAddr::V6(_) => "[::]:0",
        };
        let send = || Ok(UdpSocket::bind(any)?.send_to(b"where are you?", (address, 9))?);
        self.host(number).run(send).unwrap();
    }

    /// What a host's agent keeps.
    pub(super) fn folder(&self, number: u8) -> PathBuf {
        self.0.folder(number)
    }

    /// Where a host's agent pins its tables and attachments.
    pub(super) fn pin(&self, number: u8) -> PathBuf {
        self.0.pin(number)
    }

    fn text(&self, number: u8, lines: &str) -> String {
        self.0.configuration(number, lines)
    }
}

/// An agent on a host.
pub(super) struct Agent<'a> {
    pub(super) sluice: Sluice,
    lan: &'a Lan,
    number: u8,
}

impl Agent<'_> {
    /// What its instance is.
    pub(super) fn instance(&self) -> Result<Value> {
        let answer = self.sluice.ask("/api/v1/vrrp")?;
        Ok(answer["instances"][0].clone())
    }

    /// Waits until its instance has a role in all its families, and its addresses are there or not; how long that took.
    pub(super) fn wait_until(&self, role: &str) -> Duration {
        let begun = Instant::now();
        let what = format!("host {} to be {role}", self.number);
        let found = wait::until(&what, PATIENCE, || {
            let instance = self.instance()?;
            let families = instance["families"].as_array().cloned().unwrap_or_default();
            let all = families.iter().all(|family| family["role"] == role);
            Ok((!families.is_empty() && all).then_some(instance))
        });
        let took = begun.elapsed();
        let instance = self.explain(found);
        for address in instance["addresses"].as_array().unwrap() {
            let address = address.as_str().unwrap();
            let has = self
                .lan
                .wait_until_has(self.number, address, role == "master");
            self.explain(has);
        }
        took
    }

    /// How often it has taken a role in a family, for any reason.
    pub(super) fn transitions(&self, role: &str, reason: &str) -> u64 {
        let instance = self.instance().unwrap();
        let families = instance["families"].as_array().unwrap().clone();
        let changes = families
            .iter()
            .flat_map(|f| f["transitions"].as_array().unwrap().clone());
        let named = changes.filter(|change| change["role"] == role && change["reason"] == reason);
        named.map(|change| change["count"].as_u64().unwrap()).sum()
    }

    /// What a verb of `sluice` prints about it.
    pub(super) fn run(&self, words: &[&str]) -> String {
        let mut command = Command::new(binary());
        command.args(words).arg("--control");
        let output = command.arg(self.sluice.control()).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {printed}{complained}");
        printed
    }

    /// Starts it again, as it was.
    pub(super) fn start_again(&mut self) {
        let host = self.lan.host(self.number);
        self.sluice.start_again(&binary(), host).unwrap();
        self.sluice.wait_until_ready(host).unwrap();
    }

    /// Has it read other lines, and waits until it has.
    pub(super) fn reload(&self, lines: &str) {
        let generation = || Ok(self.sluice.ask("/api/v1/status")?["agent"]["generation"].clone());
        let before: Result<Value> = generation();
        let before = before.unwrap();
        self.sluice
            .configure(&self.lan.text(self.number, lines))
            .unwrap();
        let pid = Pid::from_raw(i32::try_from(self.sluice.id()).unwrap());
        kill(pid, Signal::SIGHUP).unwrap();
        let taken = wait::until("the reload", PATIENCE, || {
            Ok((generation()? != before).then_some(()))
        });
        self.explain(taken);
    }

    fn explain<T>(&self, result: Result<T>) -> T {
        result.unwrap_or_else(|error| {
            let log = self.sluice.log();
            panic!("{error:#}\n{:?}\n{log}", self.instance())
        })
    }
}

/// A keepalived on a host.
pub(super) struct Keepalived<'a> {
    process: keepalived::Keepalived,
    lan: &'a Lan,
    number: u8,
}

impl Keepalived<'_> {
    /// Waits until the last state that it says it has entered is this, and it has the address that moves or not.
    pub(super) fn wait_until(&self, state: &str, address: &str) {
        let what = format!("keepalived on host {} to be {state}", self.number);
        let entered = wait::until(&what, PATIENCE, || {
            Ok((self.process.state().as_deref() == Some(state)).then_some(()))
        });
        let has = entered.and_then(|()| {
            let is_master = state == "MASTER";
            self.lan.wait_until_has(self.number, address, is_master)
        });
        has.unwrap_or_else(|error| panic!("{error:#}\n{}", self.log()));
    }

    /// All that it said.
    pub(super) fn log(&self) -> String {
        self.process.log()
    }

    /// Stops it as its unit does.
    pub(super) fn stop(&mut self) {
        self.process.stop().unwrap();
    }

    /// Kills it, so that it says nothing more. Its addresses stay.
    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
    }
}
