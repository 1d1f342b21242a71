//! What moves the address on one host: an agent or a keepalived, and what can be done to it.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use crate::{keepalived::Keepalived, lan::Lan, sluice::Sluice};

use super::{
    gateways,
    hang::Hang,
    interval::Interval,
    site::{ADDRESS, BACKEND},
};

/// The priority of host 1.
pub(super) const MASTER: u8 = 150;
/// The priority of host 2.
pub(super) const BACKUP: u8 = 100;

/// What moves addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Our agent, on a gateway.
    Sluice,
    /// Debian's keepalived, as it is configured without any special wish.
    Keepalived,
}

/// The one of a host.
pub(super) struct Router<'a> {
    process: Process,
    binary: &'a Path,
    lan: &'a Lan,
    host: u8,
}

enum Process {
    Sluice(Sluice),
    Keepalived(Keepalived),
}

impl Product {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sluice, Self::Keepalived];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sluice => "sluice",
            Self::Keepalived => "keepalived",
        }
    }
}

impl<'a> Router<'a> {
    /// Starts it. `binary` is our agent.
    pub(super) fn start(
        product: Product,
        interval: Interval,
        lan: &'a Lan,
        (host, priority): (u8, u8),
        binary: &'a Path,
    ) -> Result<Self> {
        let time = interval.time();
        // What both track is there.
        fs::write(tracked(lan, host), "")?;
        let tracked = tracked(lan, host).display().to_string();
        let process = match product {
            Product::Sluice => {
                let service = gateways::lines(host, BACKEND, &tracked);
                let lines = format!(
                    "priority = {priority}\ninterval = \"{}ms\"\naddresses = [\"{ADDRESS}\"]\n\
                     track = [{{ pool = \"web\", at_least = 1, fault = true }}, {{ data_plane = true, fault = true }}]\n\n\
                     {service}",
                    time.as_millis()
                );
                let text = lan.configuration(host, &lines);
                let text = text.replacen("interfaces = []", "interfaces = [\"eth0\"]", 1);
                Process::Sluice(lan.start(host, binary, &text)?)
            }
            Product::Keepalived => {
                // Ours looks as often: seconds are the smallest unit of its scripts' intervals.
                let script = format!(
                    "vrrp_script web {{\nscript \"/usr/bin/test -e {tracked}\"\ninterval 1\nrise 1\nfall 1\nuser root\n}}\n"
                );
                let lines = format!(
                    "version 3\npriority {priority}\nadvert_int {}\nvirtual_ipaddress {{\n{ADDRESS}\n}}\n\
                     track_script {{\nweb\n}}\n",
                    time.as_secs_f64()
                );
                let folder = lan.folder(host);
                Process::Keepalived(Keepalived::start_with(
                    lan.host(host),
                    &folder,
                    &script,
                    &lines,
                )?)
            }
        };
        Ok(Self {
            process,
            binary,
            lan,
            host,
        })
    }

    /// Whether it says that it is this: the master, or a backup.
    pub(super) fn is_master(&self) -> Result<Option<bool>> {
        Ok(match &self.process {
            Process::Sluice(sluice) => {
                let answer = sluice.ask("/api/v1/vrrp")?;
                match answer["instances"][0]["families"][0]["role"].as_str() {
                    Some("master") => Some(true),
                    Some("backup") => Some(false),
                    _ => None,
                }
            }
            Process::Keepalived(keepalived) => match keepalived.state().as_deref() {
                Some("MASTER") => Some(true),
                Some("BACKUP") => Some(false),
                _ => None,
            },
        })
    }

    /// Kills it.
    pub(super) fn kill(&mut self) -> Result<()> {
        match &mut self.process {
            Process::Sluice(sluice) => sluice.kill(),
            Process::Keepalived(keepalived) => keepalived.kill(),
        }
    }

    /// Sends it a signal, to all of its processes.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        match &self.process {
            Process::Sluice(sluice) => sluice.signal(signal),
            Process::Keepalived(keepalived) => keepalived.signal(signal),
        }
    }

    /// Asks it to end.
    pub(super) fn ask_to_stop(&self) -> Result<()> {
        match &self.process {
            Process::Sluice(sluice) => sluice.signal(Signal::SIGTERM),
            Process::Keepalived(keepalived) => keepalived.ask_to_stop(),
        }
    }

    /// Has what it tracks fail.
    pub(super) fn lose_tracked(&self) -> Result<()> {
        fs::remove_file(tracked(self.lan, self.host)).context("could not have what is tracked fail")
    }

    /// Mends it.
    pub(super) fn mend_tracked(&self) -> Result<()> {
        fs::write(tracked(self.lan, self.host), "").context("could not mend what is tracked")
    }

    /// Has it give everything up and take nothing, or take part again: ours.
    pub(super) fn maintain(&self, on: bool) -> Result<()> {
        self.tell("/api/v1/maintenance", &format!("{{\"on\": {on}}}"))
    }

    /// Has it give its address up: ours.
    pub(super) fn resign(&self) -> Result<()> {
        self.tell("/api/v1/resign", r#"{"instance": "gateway"}"#)
    }

    /// Has it hang, until that is dropped: ours.
    pub(super) fn hang(&self) -> Result<Hang> {
        match &self.process {
            Process::Sluice(sluice) => Hang::of(sluice.id()),
            Process::Keepalived(_) => bail!("keepalived has one thread"),
        }
    }

    fn tell(&self, path: &str, body: &str) -> Result<()> {
        match &self.process {
            Process::Sluice(sluice) => sluice.tell(path, body),
            Process::Keepalived(_) => bail!("keepalived has no {path}"),
        }
    }

    /// Starts it again, once it has ended.
    pub(super) fn start_again(&mut self) -> Result<()> {
        let host = self.lan.host(self.host);
        match &mut self.process {
            Process::Sluice(sluice) => {
                sluice.expect_end()?;
                sluice.start_again(self.binary, host)?;
                sluice.wait_until_ready(host)
            }
            Process::Keepalived(keepalived) => {
                keepalived.stop()?;
                keepalived.start_again(host)
            }
        }
    }

    /// All that it said.
    pub(super) fn log(&self) -> String {
        match &self.process {
            Process::Sluice(sluice) => sluice.log_end(),
            Process::Keepalived(keepalived) => keepalived.log(),
        }
    }
}

/// The file that what is tracked depends on, on a host.
fn tracked(lan: &Lan, host: u8) -> PathBuf {
    lan.folder(host).join("web")
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Product {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut named = Self::ALL
            .into_iter()
            .filter(|product| product.name() == text);
        match named.next() {
            Some(product) => Ok(product),
            None => bail!(
                "no product {text:?}: there are {}",
                Self::ALL.map(Self::name).join(", ")
            ),
        }
    }
}
