//! The interfaces that the program runs on: attached to, and detached from, as a configuration says, with what
//! a device may do to packets before that turned off. Where the program runs on them is `kernel`'s.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use tracing::{info, warn};

use crate::{
    kernel::{Attachment, Mode, Program},
    net::{offload, offload::Offload},
    state::Link,
};

use super::{
    Agent,
    view::{self, Served},
};

impl Agent {
    /// Attaches the program to those of these interfaces that it is not attached to, but for VLAN devices: it
    /// finds their packets on those that they lie over.
    pub(super) fn attach(
        program: &mut Program,
        links: &BTreeMap<String, Link>,
    ) -> anyhow::Result<()> {
        let before: BTreeSet<u32> = program.attachments().iter().map(|a| a.ifindex).collect();
        let devices = || {
            let devices = links.iter().filter(|(_, link)| link.vlan.is_none());
            devices.map(|(name, link)| (name.as_str(), link.ifindex))
        };
        for (name, _) in devices().filter(|(_, ifindex)| !before.contains(ifindex)) {
            turn_offloads_off(name)?;
        }
        let attached = program.attach(devices())?;
        if let Err(error) = attached.iter().try_for_each(settle_in) {
            program.detach_all_but(|ifindex| before.contains(&ifindex))?;
            return Err(error);
        }
        Ok(())
    }

    /// Detaches the program from interfaces that are none of ours any more, and has the view show the others.
    pub(super) fn detach_others(&self, program: &mut Program) -> anyhow::Result<()> {
        let is_ours = |ifindex| self.links.values().any(|link| link.ifindex == ifindex);
        let others = program.attachments().into_iter();
        for Attachment { name, .. } in others.filter(|a| !is_ours(a.ifindex)) {
            info!("detached from {name}");
        }
        program.detach_all_but(is_ours)?;
        let served = view::served(program.attachments(), &self.links);
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
