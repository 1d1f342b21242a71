//! What a valid configuration meets in this host's VLAN devices: the program runs on the device below
//! them, so that has to be one of the agent's, and one where it sees the tags. Pure.

use super::{
    diagnostic::{Code, Diagnostic, Severity},
    host::{HostFacts, diagnostic},
    places::{Item, Places},
};
use crate::model::Config;

/// A VLAN device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VlanDevice {
    /// The VLANs of its frames, the outer tag's first.
    pub ids: Vec<u16>,
    /// Its MTU, bytes.
    pub mtu: u32,
    /// The MTU up to which its packets fit the device below with their tags, bytes.
    pub fitting: u32,
    /// The device that its frames pass through, which is no VLAN device; none if that is in another
    /// network namespace.
    pub bottom: Option<Bottom>,
}

/// What lies below VLAN devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bottom {
    /// Its name.
    pub name: String,
    /// What it is, as `ip -details link` says; none for a card.
    pub make: Option<String>,
}

/// As many tags as the packet program reads.
const MOST_TAGS: usize = 2;

/// What is wrong.
struct Fault {
    message: String,
    expected: String,
}

/// Everything about VLAN devices among a configuration's interfaces that this host isn't ready for.
pub(super) fn check(
    config: &Config,
    places: &Places,
    facts: &HostFacts,
    severity: Severity,
) -> Vec<Diagnostic> {
    let names = config.agent.interfaces.iter().enumerate();
    let vlans = names.filter_map(|(index, name)| Some((index, name, facts.vlans.get(name)?)));
    let diagnostics = vlans.filter_map(|(index, name, vlan)| {
        let at = |severity, message| {
            let item = Item::Interface(index);
            diagnostic(severity, Code::VlanDevice, places, item, message)
        };
        if let Some(Fault { message, expected }) = fault(name, vlan, &config.agent.interfaces) {
            return Some(at(severity, message).expected(expected));
        }
        let fitting = vlan.fitting;
        let bottom = vlan.bottom.as_ref().filter(|_| fitting < vlan.mtu)?;
        let message = format!(
            "with their {} VLAN tags, the longest packets of {name} ({} bytes) don't fit {}: those above \
             {fitting} bytes are lost",
            vlan.ids.len(),
            vlan.mtu,
            bottom.name,
        );
        let found = at(Severity::Warning, message);
        Some(found.help(format!("ip link set dev {name} mtu {fitting}")))
    });
    diagnostics.collect()
}

/// Why the program can't handle the frames of a VLAN device, if it can't.
fn fault(name: &str, vlan: &VlanDevice, listed: &[String]) -> Option<Fault> {
    let Some(bottom) = &vlan.bottom else {
        return Some(Fault {
            message: format!("`{name}` is a VLAN device over an interface of another namespace"),
            expected: "one over an interface of this namespace".into(),
        });
    };
    let below = &bottom.name;
    if vlan.ids.len() > MOST_TAGS {
        return Some(Fault {
            message: format!(
                "frames of VLAN device `{name}` have {} tags",
                vlan.ids.len()
            ),
            expected: format!("{MOST_TAGS} at most"),
        });
    }
    if vlan.ids == [0] {
        return Some(Fault {
            message: format!("`{name}` is a VLAN device for VLAN 0"),
            expected: format!("`{below}`: frames of VLAN 0 are handled as its untagged ones"),
        });
    }
    if let Some(make) = bottom.make.as_deref().filter(|make| !shows_tags(make)) {
        return Some(Fault {
            message: format!(
                "`{name}` is a VLAN device over `{below}`, a {make}: the kernel takes tags off before \
                 the program could see them there"
            ),
            expected: "a VLAN device over a network card, a veth or a tap".into(),
        });
    }
    if !listed.contains(below) {
        return Some(Fault {
            message: format!("`{name}` is a VLAN device over `{below}`, which is not listed"),
            expected: format!("`{below}` beside it: that is where the program runs"),
        });
    }
    None
}

/// Whether frames come to a device of this kind as they were on the wire. To bridges, bonds, macvlans
/// they come by way of another device's receive handler, after `skb_vlan_untag` (net/core/dev.c).
fn shows_tags(make: &str) -> bool {
    matches!(make, "veth" | "tun")
}
