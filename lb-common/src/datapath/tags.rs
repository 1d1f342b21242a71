//! VLAN tags: the first stage of frames that have any takes them off, and whatever ends puts on those
//! that the packet leaves with. No other stage knows of them.
//!
//! ```text
//!           tagged: of a VLAN of ours?                          put_on
//! frame ──► tags off, device noted ──► all other stages ──► forwarded, answered: those of the device
//!                                                           passed: those that it came with
//! ```
//! Frames of other VLANs, and all that carry no IP for us, pass as they are.

use crate::{
    abi::{HopWord, Tags},
    net::{EtherType, EthernetHeader, EthernetWords, OneTag, Packet, TaggedHeader, Trim, TwoTags},
};

use super::{
    outcome::{DropReason, Outcome, PassReason, Stop},
    parse,
    tables::{Tables, Tagged},
};

/// Notes where the packet comes from, unless its tags were taken off, which has noted that, and tells.
#[inline(always)]
pub(super) fn enter<T: Tables>(tables: &T) -> HopWord {
    if tables.has_vlans() {
        let (device, ifindex) = (tables.arrived(), tables.arrived_ifindex());
        // Where nothing can be noted, the packet comes from no device of ours.
        let _ = tables.with_tagged(|tagged| {
            if tagged.device.device() == 0 {
                (tagged.device, tagged.ifindex) = (device, ifindex);
            }
        });
    }
    tables.ingress()
}

/// Takes the tags of a frame off that is of one of our VLANs and carries IP for us. `Some`: it is not,
/// and this became of it, which is counted.
#[inline(always)]
pub fn handle_tagged<P: Trim, T: Tables>(packet: &mut P, tables: &T) -> Option<Outcome> {
    let arrived = tables.arrived();
    let Some(header) = read(packet) else {
        // In the other case they lie in several parts of its buffer, and can't be taken off.
        let short = !packet.holds(size_of::<TwoTags>());
        let reason = if short {
            PassReason::Truncated
        } else {
            PassReason::Vlan
        };
        return Some(ends(tables, arrived, reason.into()));
    };
    // Such a frame is of no VLAN (IEEE 802.1Q, section 6.9.1).
    let device = if header.tags.is_priority_alone() {
        arrived
    } else {
        tables.vlan(header.tags)
    };
    if device.device() == 0 {
        return Some(ends(tables, arrived, PassReason::Vlan.into()));
    }
    match take_off(packet, tables, device, header) {
        Ok(()) => None,
        Err(stop) => Some(ends(tables, device, stop)),
    }
}

/// Counts a frame that ends here, and forgets what was noted of it.
#[inline(always)]
fn ends<T: Tables>(tables: &T, device: HopWord, stop: Stop) -> Outcome {
    let outcome = Outcome::from(stop);
    let _ = tables.with_tagged(core::mem::take);
    tables.count_outcome(device.device(), outcome);
    outcome
}

/// Reads the start of a frame of one or two tags.
#[inline(always)]
fn read<P: Packet>(packet: &P) -> Option<TaggedHeader> {
    let one = TaggedHeader::from(*packet.header::<OneTag>(0)?);
    if EtherType::of(one.ethertype) != EtherType::Vlan {
        return Some(one);
    }
    Some(TaggedHeader::from(*packet.header::<TwoTags>(0)?))
}

/// Takes the tags off, and notes them and the device that they stand for.
#[inline(always)]
fn take_off<P: Trim, T: Tables>(
    packet: &mut P,
    tables: &T,
    device: HopWord,
    header: TaggedHeader,
) -> Result<(), Stop> {
    parse::carried(EtherType::of(header.ethertype))?;
    let ethernet = packet.header::<EthernetHeader>(0);
    if !ethernet.is_some_and(|ethernet| device.has_mac(ethernet.destination)) {
        return Err(PassReason::OtherMac.into());
    }
    let sender = tables.device(device.device());
    let ifindex = sender.ok_or(DropReason::Inconsistent)?.ifindex;
    // The kernel does not let the first part of a frame become shorter than an Ethernet header.
    if !packet.strip(header.tags.length()) {
        return Err(PassReason::Vlan.into());
    }
    let words = packet.header_mut::<EthernetWords>(0);
    let words = words.ok_or(DropReason::Inconsistent)?;
    words.set_as(header.addresses, header.ethertype);
    let noted = tables.with_tagged(|tagged| {
        *tagged = Tagged {
            device,
            ifindex,
            padding: 0,
            came: header.tags,
            leaves: Tags::NONE,
        };
    });
    Ok(noted.ok_or(DropReason::Inconsistent)?)
}

/// Notes the tags that the packet gets if it leaves.
#[inline(always)]
pub(super) fn note<T: Tables>(tables: &T, tags: Tags) {
    if tables.has_vlans() {
        // Where nothing can be noted, nothing could be taken off either.
        let _ = tables.with_tagged(|tagged| tagged.leaves = tags);
    }
}

/// Whether the packet came with tags, which are off.
#[inline(always)]
pub(super) fn came_off<T: Tables>(tables: &T) -> bool {
    tables.has_vlans() && tables.with_tagged(|tagged| tagged.came != Tags::NONE) == Some(true)
}

/// Puts on what a packet of this outcome leaves with, and forgets what was noted of it.
#[inline(always)]
pub(super) fn put_on<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    outcome: Outcome,
) -> Outcome {
    if !tables.has_vlans() {
        return outcome;
    }
    let tags = tables.with_tagged(|tagged| {
        let noted = core::mem::take(tagged);
        match outcome {
            Outcome::Forward(_) | Outcome::Answer(_) => noted.leaves,
            Outcome::Pass(_) => noted.came,
            Outcome::Drop(_) => Tags::NONE,
        }
    });
    let tags = tags.unwrap_or(Tags::NONE);
    if tags == Tags::NONE || packet.put_tags(tags) {
        outcome
    } else {
        Outcome::Drop(DropReason::NoHeadroom)
    }
}
