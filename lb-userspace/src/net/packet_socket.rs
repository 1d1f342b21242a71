//! Sends Ethernet frames as they are.

use std::{io, mem::size_of, os::fd::AsRawFd as _, ptr::from_ref};

use socket2::{Domain, Socket, Type};

use super::resolution::IfIndex;

/// A socket that only sends frames.
#[derive(Debug)]
pub struct PacketSocket(Socket);

impl PacketSocket {
    /// Opens one. Needs CAP_NET_RAW.
    pub fn open() -> io::Result<Self> {
        // Of protocol 0 it receives nothing (packet(7)).
        Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None).map(Self)
    }

    /// Sends a frame by a device.
    pub fn send(&self, IfIndex(device): IfIndex, frame: &[u8]) -> io::Result<()> {
        let index = i32::try_from(device).map_err(|_| io::ErrorKind::InvalidInput)?;
        let family = u16::try_from(libc::AF_PACKET).map_err(|_| io::ErrorKind::InvalidInput)?;
        let to = libc::sockaddr_ll {
            sll_family: family,
            sll_protocol: 0,
            sll_ifindex: index,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        // SAFETY: neither std nor socket2 has this kind of address. Both pointers are to memory that is borrowed for the
        // call, and the lengths are theirs.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                from_ref(&to).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        match sent {
            0.. => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
