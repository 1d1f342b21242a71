//! Turns off the receive offloads that XDP can't live with, and makes sure that they are off:
//!
//! - *rx-vlan-offload*: the card takes the VLAN tag out of the frame before the program sees it, so
//!   that a tagged frame passes for an untagged one, and traffic would cross VLANs;
//! - *large-receive-offload*: the card joins segments into frames that are not those of the wire.
//!
//! By the ethtool ioctl (include/uapi/linux/ethtool.h, net/ethtool/ioctl.c), which every driver
//! answers through the core. Changing them may reset the card's queues: do it before VRRP starts.
//! Where the program runs in the stack, generic-receive-offload goes as well, for the same reason as
//! the second. They are not turned on again: the program may stay attached when the agent stops.

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
/// ETHTOOL_SGRO: set generic-receive-offload.
const SET_GRO: u32 = 0x2c;
/// ETH_FLAG_RXVLAN.
const RX_VLAN: u32 = 1 << 8;
/// ETH_FLAG_LRO.
const LRO: u32 = 1 << 15;

/// What became of the offloads of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Offloads {
    /// rx-vlan-offload (`ethtool -K DEVICE rxvlan off`).
    pub rx_vlan: Offload,
    /// large-receive-offload (`ethtool -K DEVICE lro off`).
    pub lro: Offload,
}

impl Offloads {
    /// Whether one is still on, so that the program must not be attached.
    pub fn any_stuck(&self) -> bool {
        [self.rx_vlan, self.lro].contains(&Offload::StuckOn)
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

/// Turns rx-vlan-offload and large-receive-offload of `device` off and reads them back. Fails only where the device can't be
/// asked at all.
pub fn turn_off(device: &str) -> Result<Offloads, Error> {
    let socket = UnixDatagram::unbound().map_err(|source| Error::Ethtool {
        device: device.to_owned(),
        what: "open a socket to ask for its offloads",
        source,
    })?;
    let request = |command, flags, what| {
        ethtool(&socket, device, command, flags)?.map_err(|source| Error::Ethtool {
            device: device.to_owned(),
            what,
            source,
        })
    };
    let before = request(GET_FLAGS, 0, "read its offloads")?;
    // One at a time: a device that refuses one may grant the other.
    for flag in [RX_VLAN, LRO] {
        let current = request(GET_FLAGS, 0, "read its offloads")?;
        if current & flag == 0 {
            continue;
        }
        match request(SET_FLAGS, current & !flag, "turn rxvlan and lro off") {
            Ok(_) => {}
            // Fixed features: EINVAL or EOPNOTSUPP, see `__ethtool_set_flags`. What it comes to is
            // read back below.
            Err(Error::Ethtool { source, .. }) if is_fixed(&source) => {}
            Err(error) => return Err(error),
        }
    }
    let after = request(GET_FLAGS, 0, "read its offloads back")?;
    Ok(Offloads {
        rx_vlan: outcome(before, after, RX_VLAN),
        lro: outcome(before, after, LRO),
    })
}

/// Turns generic-receive-offload of `device` off: in the network stack the program runs after it,
/// and would see several segments as one packet above every MTU.
pub fn turn_off_gro(device: &str) -> Result<(), Error> {
    let what = "turn generic-receive-offload off";
    let failed = |source| Error::Ethtool {
        device: device.to_owned(),
        what,
        source,
    };
    let socket = UnixDatagram::unbound().map_err(failed)?;
    ethtool(&socket, device, SET_GRO, 0)?.map_err(failed)?;
    Ok(())
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

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

/// One ethtool request that carries a value each way.
fn ethtool(
    socket: &UnixDatagram,
    device: &str,
    command: u32,
    data: u32,
) -> Result<io::Result<u32>, Error> {
    let mut value = EthtoolValue { cmd: command, data };
    let mut request = libc::ifreq {
        ifr_name: name(device)?,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: from_mut(&mut value).cast(),
        },
    };
    // SAFETY: there is no safe wrapper for SIOCETHTOOL. The descriptor is open for as long as
    // `socket` is borrowed. The kernel reads and writes one `ifreq` through the pointer, and through
    // `ifru_data` one `ethtool_value`, which is what all commands used here take; both live until
    // the call returns, are initialized, and nothing else refers to them.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCETHTOOL,
            from_mut::<libc::ifreq>(&mut request),
        )
    };
    Ok(match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(value.data),
    })
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
    fn lo_has_neither() {
        let off = Offloads {
            rx_vlan: Offload::WasOff,
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
