//! The interfaces that the program runs on: attached to, and detached from, as a configuration says, with what
//! a device may do to packets before that turned off. Where the program runs on them is `kernel`'s.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use tracing::{error, info, warn};

use crate::{
    kernel::{Attachment, DataPlane, Mode},
    net::{Host, offload, offload::Offload},
    state::Link,
};

use super::{
    Agent, prepare,
    view::{self, Served},
};

impl Agent {
    /// Has the interfaces that an agent before this one left run this one's program.
    pub(super) fn hand_over(plane: &mut DataPlane) -> anyhow::Result<()> {
        for Attachment { name, .. } in plane.hand_over()? {
            warn!("{name} is no more, and the program was attached to it");
        }
        for Attachment { name, .. } in plane.attachments() {
            info!("{name}: still attached to, by this agent's program now");
        }
        Ok(())
    }

    /// Attaches the program to those of these interfaces that it is not attached to, but for VLAN devices: it
    /// finds their packets on those that they lie over.
    pub(super) fn attach(
        plane: &mut DataPlane,
        links: &BTreeMap<String, Link>,
    ) -> anyhow::Result<()> {
        let before: BTreeSet<u32> = plane.attachments().iter().map(|a| a.ifindex).collect();
        let devices = || {
            let devices = links.iter().filter(|(_, link)| link.vlan.is_none());
            devices.map(|(name, link)| (name.as_str(), link.ifindex))
        };
        for (name, _) in devices().filter(|(_, ifindex)| !before.contains(ifindex)) {
            turn_offloads_off(name)?;
        }
        let attached = plane.attach(devices())?;
        if let Err(error) = attached.iter().try_for_each(settle_in) {
            plane.detach_all_but(|ifindex| before.contains(&ifindex))?;
            return Err(error);
        }
        Ok(())
    }

    /// Follows our interfaces as they are now: one that is gone is waited for, one that has come back, as another
    /// device perhaps, is attached to again.
    pub(super) async fn links_changed(&mut self, plane: &mut DataPlane) -> anyhow::Result<()> {
        let network = Host::read().await.context("reading this host's network")?;
        let configured = self.view.configured();
        let mut there = BTreeMap::new();
        for name in &configured.config.agent.interfaces {
            match prepare::link(&network, name) {
                Ok(Some(link)) => drop(there.insert(name.clone(), link)),
                Ok(None) => {}
                Err(error) => error!("{error:#}"),
            }
        }
        // A device may have gone and come back as the same number, without the program.
        plane.hand_over()?;
        let attached = plane.attachments();
        let is_attached = |link: &Link| attached.iter().any(|a| a.ifindex == link.ifindex);
        if there == self.links && there.values().all(is_attached) {
            return Ok(());
        }
        for name in self.links.keys().filter(|name| !there.contains_key(*name)) {
            warn!("interface {name} is gone; it is attached to again once it is back");
        }
        for (name, link) in &there {
            match self.links.get(name) {
                None => info!("interface {name} is there again"),
                Some(before) if before != link => info!("interface {name} has changed"),
                Some(_) => {}
            }
        }
        self.links = there;
        self.reconciler.forget_targets();
        self.unfinished = true;
        self.catch_up(plane)
    }

    /// Detaches the program from interfaces that are none of ours any more, and has the view show the others.
    pub(super) fn detach_others(&self, plane: &mut DataPlane) -> anyhow::Result<()> {
        let is_ours = |ifindex| self.links.values().any(|link| link.ifindex == ifindex);
        let others = plane.attachments().into_iter();
        for Attachment { name, .. } in others.filter(|a| !is_ours(a.ifindex)) {
            info!("detached from {name}");
        }
        plane.detach_all_but(is_ours)?;
        let mut served = view::served(plane.attachments(), &self.links);
        served.extend(plane.probe().map(|attachment| Served {
            attachment: attachment.clone(),
            lower: None,
        }));
        for Served { attachment, lower } in &served {
            if let Some(lower) = lower {
                info!("{}: a VLAN device over {lower}", attachment.name);
            }
        }
        self.view.serves(served);
        Ok(())
    }
}

/// Says where the program runs on a device, and turns off what it may do before that.
fn settle_in(Attachment { name, mode, .. }: &Attachment) -> anyhow::Result<()> {
    match mode {
        Mode::Native => info!("attached to {name}, in the driver (native)"),
        Mode::Generic(why) => {
            offload::turn_off_gro(name)?;
            info!("{name}: generic-receive-offload is off now");
            warn!("attached to {name}, in the stack (generic: slower), since: {why}");
        }
    }
    Ok(())
}

/// Turns off what a device may do to packets before the program sees them.
fn turn_offloads_off(name: &str) -> anyhow::Result<()> {
    let off = offload::turn_off(name)?;
    if off.any_stuck() {
        bail!(
            "interface {name} strips VLAN tags or merges packets (rxvlan, rx-vlan-stag-hw-parse, lro) \
             and can't be told not to: packets of one VLAN would pass for another's; \
             try `ethtool -K {name} rxvlan off rx-vlan-stag-hw-parse off lro off`"
        );
    }
    for (offload, what) in [
        (off.rx_vlan, "rx-vlan-offload"),
        (off.rx_stag, "rx-vlan-stag-hw-parse"),
        (off.lro, "large-receive-offload"),
    ] {
        if offload == Offload::TurnedOff {
            info!("{name}: {what} is off now, and stays off");
        }
    }
    Ok(())
}
