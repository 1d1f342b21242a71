//! Stacks of VLAN devices: which tags the frames of one bear on the wire, and which device they pass
//! through there. Pure.
//!
//! ```text
//!   eth1.300.301   802.1Q  301   the inner tag
//!      eth1.300    802.1ad 300   the outer tag
//!          eth1                  the bottom
//! ```

use super::{
    facts::VlanTag,
    host::{Host, Interface},
};

/// What the frames of a VLAN device are on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VlanStack<'a> {
    /// Their tags, the outer one first.
    pub tags: Vec<VlanTag>,
    /// The device that they pass through, which is no VLAN device; none if it is in another network
    /// namespace.
    pub bottom: Option<&'a Interface>,
    /// The largest packet that the bottom takes with these tags, up to the MTU of the top, bytes.
    pub mtu: u32,
}

/// Bytes of a frame that a tag takes.
const TAG: u32 = 4;

/// As many VLAN devices as the kernel puts over each other (MAX_NEST_DEV, include/linux/netdevice.h).
const DEEPEST: usize = 8;

impl Host {
    /// The stack that a device is the top of, if it is a VLAN device.
    pub fn vlan_stack(&self, top: &Interface) -> Option<VlanStack<'_>> {
        let mut vlan = top.vlan?;
        let mut tags = Vec::new();
        let mut bottom = None;
        while tags.len() < DEEPEST {
            tags.push(vlan.tag);
            let lower = vlan.lower;
            let lower = lower.and_then(|lower| self.interfaces.iter().find(|i| i.index == lower));
            match lower.and_then(|lower| lower.vlan) {
                Some(next) => vlan = next,
                None => {
                    bottom = lower;
                    break;
                }
            }
        }
        tags.reverse();
        let limit = bottom.map_or(u32::MAX, |bottom| fitting(bottom.mtu, tags.len()));
        let mtu = top.mtu.min(limit);
        Some(VlanStack { tags, bottom, mtu })
    }
}

/// The largest packet that a device of this MTU is handed by a redirect together with so many tags: one
/// beyond its MTU it takes (`xdp_ok_fwd_dev`, include/linux/filter.h).
fn fitting(mtu: u32, tags: usize) -> u32 {
    let further = tags.saturating_sub(1) as u32;
    mtu.saturating_sub(TAG * further)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{IfIndex, LinkKind, PortRange, Vlan};

    fn interface(index: u32, name: &str, vlan: Option<(u32, VlanTag)>) -> Interface {
        let below = |(lower, tag)| Vlan {
            lower: Some(IfIndex(lower)),
            tag,
        };
        Interface {
            index: IfIndex(index),
            name: name.into(),
            mac: None,
            mtu: 1500,
            up: true,
            carrier: true,
            kind: LinkKind::Ethernet,
            make: None,
            vlan: vlan.map(below),
            forwarding_ipv4: None,
            forwarding_ipv6: None,
        }
    }

    const fn tag(protocol: u16, id: u16) -> VlanTag {
        VlanTag { protocol, id }
    }

    const INNER: VlanTag = tag(0x8100, 301);
    const OUTER: VlanTag = tag(0x88a8, 300);

    fn host(interfaces: Vec<Interface>) -> Host {
        let local_ports = PortRange { first: 1, last: 2 };
        Host {
            interfaces,
            addresses: vec![],
            local_ports,
        }
    }

    #[test]
    fn the_outer_tag_is_the_lower_devices() {
        let host = host(vec![
            interface(4, "eth1.300.301", Some((3, INNER))),
            interface(3, "eth1.300", Some((2, OUTER))),
            interface(2, "eth1", None),
        ]);
        let stack = |name| host.vlan_stack(host.interface(name).unwrap());
        let bottom = host.interface("eth1");
        let of = |tags: &[VlanTag], mtu| {
            let tags = tags.to_vec();
            Some(VlanStack { tags, bottom, mtu })
        };
        assert_eq!(stack("eth1.300.301"), of(&[OUTER, INNER], 1496));
        assert_eq!(stack("eth1.300"), of(&[OUTER], 1500));
        assert_eq!(stack("eth1"), None);
    }

    #[test]
    fn a_bottom_may_be_elsewhere() {
        let mut vlan = interface(3, "eth1.300", Some((2, OUTER)));
        vlan.vlan = Some(Vlan {
            lower: None,
            tag: OUTER,
        });
        let other = interface(2, "eth1", None);
        let host = host(vec![vlan.clone(), other]);
        assert_eq!(host.vlan_stack(&vlan).unwrap().bottom, None);
    }

    /// The kernel does not do that, but a reading while devices change may say so.
    #[test]
    fn a_ring_has_an_end() {
        let ring = interface(3, "eth1.300", Some((3, OUTER)));
        let host = host(vec![ring.clone()]);
        let stack = host.vlan_stack(&ring).unwrap();
        assert_eq!((stack.tags.len(), stack.bottom), (DEEPEST, None));
    }
}
