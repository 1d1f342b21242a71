//! VLAN tags that frames of stories have of their own: a single tag of VLAN 0, which is a priority alone, is
//! as good as none; all others pass. From docs/vlans.md. (Those of VLAN devices, `compare` puts on.)

use lb_common::datapath::PassReason;

use super::headers::{ETHERNET, short};

/// Length of a tag.
pub(super) const TAG: usize = 4;

/// A frame without its tag, which says no more than a priority; `None`: it has no tag. Others pass.
pub(super) fn untagged(frame: &[u8]) -> Result<Option<Vec<u8>>, PassReason> {
    if !has_tag(frame) {
        return Ok(None);
    }
    if frame.len() < ETHERNET + TAG {
        return Err(PassReason::Truncated);
    }
    if is_tag(short(frame, ETHERNET + 2)) {
        let whole = frame.len() >= ETHERNET + 2 * TAG;
        return Err(if whole {
            PassReason::Vlan
        } else {
            PassReason::Truncated
        });
    }
    let number = short(frame, ETHERNET).unwrap_or(0) & 0xfff;
    if number == 0 {
        Ok(Some([&frame[..12], &frame[ETHERNET + 2..]].concat()))
    } else {
        Err(PassReason::Vlan)
    }
}

/// Whether a frame has a tag.
pub(super) fn has_tag(frame: &[u8]) -> bool {
    is_tag(short(frame, ETHERNET - 2))
}

fn is_tag(ethertype: Option<u16>) -> bool {
    matches!(ethertype, Some(0x8100 | 0x88a8 | 0x9100))
}
