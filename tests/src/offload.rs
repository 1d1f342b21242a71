//! Offloads off: packets that a veth's own host makes would otherwise carry partial checksums, which
//! XDP programs can't use; and packets that are merged on receipt can't be counted.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd,
};

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

const ETHTOOL_STXCSUM: u32 = 0x17;
const ETHTOOL_SGRO: u32 = 0x2c;
const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// What `ethtool -K INTERFACE tx off` does.
pub fn disable_transmit_checksums(namespace: &Namespace, interface: &str) -> Result<()> {
    turn_off(namespace, interface, ETHTOOL_STXCSUM, "checksum offload")
}

/// What `ethtool -K INTERFACE gro off` does.
pub fn disable_merging(namespace: &Namespace, interface: &str) -> Result<()> {
    turn_off(namespace, interface, ETHTOOL_SGRO, "GRO")
}

fn turn_off(namespace: &Namespace, interface: &str, command: u32, what: &str) -> Result<()> {
    namespace
        .run(|| clear(interface, command))
        .with_context(|| {
            format!(
                "could not turn {what} off on {interface} in {}",
                namespace.name()
            )
        })
}

/// Sets the feature of this command to 0.
fn clear(interface: &str, command: u32) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut value = EthtoolValue { command, data: 0 };
    // SAFETY: `ifreq` is plain data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    ensure!(
        interface.len() < request.ifr_name.len(),
        "{interface:?} is too long a name"
    );
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request names an interface and points to a value that lives until the call ends.
    let status = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    ensure!(status == 0, io::Error::last_os_error());
    Ok(())
}
