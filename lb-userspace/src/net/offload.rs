//! Turns off the receive offloads that XDP can't live with, and makes sure that they are off:
//!
//! - *rx-vlan-offload*: the card takes the VLAN tag out of the frame before the program sees it, so
//!   that a tagged frame passes for an untagged one, and traffic would cross VLANs;
//! - *rx-vlan-stag-hw-parse*: the same of tags of 802.1ad;
//! - *large-receive-offload*: the card joins segments into frames that are not those of the wire.
//!
//! By the ethtool ioctl (include/uapi/linux/ethtool.h, net/ethtool/ioctl.c), which every driver
//! answers through the core. Changing them may reset the card's queues: do it before VRRP starts.
//! Where the program runs in the stack, generic-receive-offload goes as well, for the same reason as
//! the last. They are not turned on again: the program may stay attached when the agent stops.

use std::{
    io,
    os::{fd::AsRawFd, unix::net::UnixDatagram},
    ptr::from_mut,
};

use serde::Serialize;

use super::error::Error;

/// ETHTOOL_GFLAGS: get the flags below.
const GET_FLAGS: u32 = 0x25;
/// ETHTOOL_SFLAGS: set them.
const SET_FLAGS: u32 = 0x26;
/// ETHTOOL_STXCSUM: set checksums by the device.
const SET_TX_CHECKSUM: u32 = 0x17;
/// ETHTOOL_SGRO: set generic-receive-offload.
const SET_GRO: u32 = 0x2c;
/// ETHTOOL_GSSET_INFO: how many strings a set has.
const GET_SET_INFO: u32 = 0x37;
/// ETHTOOL_GSTRINGS: the strings of a set.
const GET_STRINGS: u32 = 0x1b;
/// ETHTOOL_GFEATURES: which features are on.
const GET_FEATURES: u32 = 0x3a;
/// ETHTOOL_SFEATURES: turns features on and off.
const SET_FEATURES: u32 = 0x3b;
/// ETH_SS_FEATURES: the set of their names.
const FEATURES: u32 = 4;
/// Words of a name in a set (ETH_GSTRING_LEN).
const NAME_WORDS: usize = 32 / 4;
/// The feature that has no flag: NETIF_F_HW_VLAN_STAG_RX.
const RX_STAG: &str = "rx-vlan-stag-hw-parse";
/// ETH_FLAG_RXVLAN.
const RX_VLAN: u32 = 1 << 8;
/// ETH_FLAG_LRO.
const LRO: u32 = 1 << 15;

/// What became of the offloads of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Offloads {
    /// rx-vlan-offload (`ethtool -K DEVICE rxvlan off`).
    pub rx_vlan: Offload,
    /// rx-vlan-stag-hw-parse (`ethtool -K DEVICE rx-vlan-stag-hw-parse off`).
    pub rx_stag: Offload,
    /// large-receive-offload (`ethtool -K DEVICE lro off`).
    pub lro: Offload,
}

impl Offloads {
    /// Whether one is still on, so that the program must not be attached.
    pub fn any_stuck(&self) -> bool {
        [self.rx_vlan, self.rx_stag, self.lro].contains(&Offload::StuckOn)
    }
}

/// What became of one offload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offload {
    /// It was off, or the device has none.
    WasOff,
    /// It was on and is off now.
    TurnedOff,
    /// It is still on: the device can't do without. The program must not be attached.
    StuckOn,
}

/// Turns those offloads of `device` off and reads them back. Fails only where the device can't be
/// asked at all.
pub fn turn_off(device: &str) -> Result<Offloads, Error> {
    let card = Card::open(device, "open a socket to ask for its offloads")?;
    let before = card.flags("read its offloads")?;
    // One at a time: a device that refuses one may grant the other.
    for flag in [RX_VLAN, LRO] {
        let current = card.flags("read its offloads")?;
        if current & flag != 0 {
            let mut request = [SET_FLAGS, current & !flag];
            card.unless_fixed(&mut request, "turn rxvlan and lro off")?;
        }
    }
    let after = card.flags("read its offloads back")?;
    Ok(Offloads {
        rx_vlan: outcome(before, after, RX_VLAN),
        rx_stag: card.turn_off(RX_STAG)?,
        lro: outcome(before, after, LRO),
    })
}

/// Turns generic-receive-offload of `device` off: in the network stack the program runs after it,
/// and would see several segments as one packet above every MTU.
pub fn turn_off_gro(device: &str) -> Result<(), Error> {
    let what = "turn generic-receive-offload off";
    Card::open(device, what)?.ask(&mut [SET_GRO, 0], what)
}

/// Prepares the end of a veth pair whose other end carries a program: checksums are made before a packet leaves, since
/// the program sees it as it is; and by its receive queue it takes frames that are redirected to the other end,
/// though it has no program itself (`veth_xdp_xmit`, drivers/net/veth.c; Linux 5.13, d3256efd8e8b).
pub fn prepare_prober(device: &str) -> Result<(), Error> {
    let what = "turn checksum offload off";
    Card::open(device, what)?.ask(&mut [SET_TX_CHECKSUM, 0], what)?;
    let what = "turn generic-receive-offload on";
    Card::open(device, what)?.ask(&mut [SET_GRO, 1], what)
}

/// A device and the socket through which it is asked.
struct Card<'a> {
    device: &'a str,
    socket: UnixDatagram,
}

/// Where a feature is among all.
#[derive(Clone, Copy)]
struct Feature {
    /// The block of 32 that it is in.
    block: usize,
    bit: u32,
    /// How many blocks there are.
    blocks: usize,
}

impl<'a> Card<'a> {
    /// `what` is what it is opened for.
    fn open(device: &'a str, what: &'static str) -> Result<Self, Error> {
        let failed = |source| Error::Ethtool {
            device: device.to_owned(),
            what,
            source,
        };
        let socket = UnixDatagram::unbound().map_err(failed)?;
        Ok(Self { device, socket })
    }

    fn flags(&self, what: &'static str) -> Result<u32, Error> {
        let mut request = [GET_FLAGS, 0];
        self.ask(&mut request, what)?;
        Ok(request[1])
    }

    /// Turns a feature off, if the kernel has one of this name, and reads it back.
    fn turn_off(&self, name: &str) -> Result<Offload, Error> {
        let Some(feature) = self.feature(name)? else {
            return Ok(Offload::WasOff);
        };
        let before = self.active(feature)?;
        if before != 0 {
            let mut request = vec![0; 2 + 2 * feature.blocks];
            (request[0], request[1]) = (SET_FEATURES, feature.blocks as u32);
            // Valid; and, behind it, requested: not.
            request[2 + 2 * feature.block] = feature.bit;
            self.unless_fixed(&mut request, "turn rx-vlan-stag-hw-parse off")?;
        }
        Ok(outcome(before, self.active(feature)?, feature.bit))
    }

    fn feature(&self, name: &str) -> Result<Option<Feature>, Error> {
        // The mask of sets has 64 bits, the lower half first or last.
        let mask = (1u64 << FEATURES).to_ne_bytes();
        let half =
            |at: usize| u32::from_ne_bytes([mask[at], mask[at + 1], mask[at + 2], mask[at + 3]]);
        let mut info = [GET_SET_INFO, 0, half(0), half(4), 0];
        self.ask(&mut info, "count its features")?;
        let count = info[4];
        let mut strings = vec![0; 3 + count as usize * NAME_WORDS];
        (strings[0], strings[1], strings[2]) = (GET_STRINGS, FEATURES, count);
        self.ask(&mut strings, "read its features' names")?;
        let is_named = |words: &[u32]| {
            let bytes = words.iter().flat_map(|word| word.to_ne_bytes());
            bytes.take_while(|byte| *byte != 0).eq(name.bytes())
        };
        let at = strings[3..].chunks(NAME_WORDS).position(is_named);
        Ok(at.map(|at| Feature {
            block: at / 32,
            bit: 1 << (at % 32),
            blocks: (count as usize).div_ceil(32),
        }))
    }

    /// The feature's bit if it is on, else 0.
    fn active(&self, feature: Feature) -> Result<u32, Error> {
        let mut request = vec![0; 2 + 4 * feature.blocks];
        (request[0], request[1]) = (GET_FEATURES, feature.blocks as u32);
        self.ask(&mut request, "read its features")?;
        // Available, requested, active, never changed.
        Ok(request[2 + 4 * feature.block + 2] & feature.bit)
    }

    /// Asks for a change that a device may refuse for good: EINVAL or EOPNOTSUPP, see
    /// `__ethtool_set_flags`. What it comes to is read back.
    fn unless_fixed(&self, request: &mut [u32], what: &'static str) -> Result<(), Error> {
        match self.ask(request, what) {
            Err(Error::Ethtool { source, .. }) if is_fixed(&source) => Ok(()),
            result => result,
        }
    }

    /// One ethtool request: a command, and what it carries each way, which the caller has made room for.
    fn ask(&self, request: &mut [u32], what: &'static str) -> Result<(), Error> {
        let mut ifreq = libc::ifreq {
            ifr_name: name(self.device)?,
            ifr_ifru: libc::__c_anonymous_ifr_ifru {
                ifru_data: request.as_mut_ptr().cast(),
            },
        };
        // SAFETY: there is no safe wrapper for SIOCETHTOOL. The descriptor is open for as long as
        // `self` is borrowed. The kernel reads and writes one `ifreq` through the pointer, and through
        // `ifru_data` what the command of `request` takes: a value in the second word, or as many
        // strings or blocks as the words in front of them say, which are as many as it has room for.
        // Both live until the call returns, are initialized, and nothing else refers to them.
        let result = unsafe {
            libc::ioctl(
                self.socket.as_raw_fd(),
                libc::SIOCETHTOOL,
                from_mut::<libc::ifreq>(&mut ifreq),
            )
        };
        match result {
            -1 => Err(Error::Ethtool {
                device: self.device.to_owned(),
                what,
                source: io::Error::last_os_error(),
            }),
            _ => Ok(()),
        }
    }
}

fn outcome(before: u32, after: u32, flag: u32) -> Offload {
    match (before & flag != 0, after & flag != 0) {
        (_, true) => Offload::StuckOn,
        (true, false) => Offload::TurnedOff,
        (false, false) => Offload::WasOff,
    }
}

fn is_fixed(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}

/// A device name as an `ifreq` holds it.
fn name(device: &str) -> Result<[libc::c_char; libc::IFNAMSIZ], Error> {
    let bytes = device.as_bytes();
    if bytes.is_empty() || bytes.len() >= libc::IFNAMSIZ || bytes.contains(&0) {
        return Err(Error::DeviceName(device.to_owned()));
    }
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(bytes) {
        *to = from.cast_signed();
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lo_has_none() {
        let off = Offloads {
            rx_vlan: Offload::WasOff,
            rx_stag: Offload::WasOff,
            lro: Offload::WasOff,
        };
        assert_eq!(turn_off("lo").unwrap(), off);
    }

    #[test]
    fn names_are_checked() {
        for bad in ["", "sixteen-bytes-ab", "nul\0"] {
            assert!(
                matches!(turn_off(bad), Err(Error::DeviceName(_))),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_missing_device_is_named() {
        let error = turn_off("no-such-device").unwrap_err().to_string();
        assert!(
            error.starts_with("no-such-device: cannot read its offloads: "),
            "{error}"
        );
        assert!(error.ends_with("`ip link` lists the interfaces"), "{error}");
    }

    #[test]
    fn what_is_still_on_is_stuck() {
        assert_eq!(outcome(RX_VLAN, RX_VLAN | LRO, RX_VLAN), Offload::StuckOn);
        assert_eq!(outcome(RX_VLAN, 0, RX_VLAN), Offload::TurnedOff);
        assert_eq!(outcome(LRO, 0, RX_VLAN), Offload::WasOff);
    }
}
