//! A packet socket on an interface.

use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use anyhow::{Context, Result, ensure};
use nix::net::if_::if_nametoindex;

use crate::link::End;

/// Longer than any frame here.
const LONGEST: usize = 4096;
/// Room for what arrives between two looks.
const BUFFER: libc::c_int = 64 << 20;

/// A packet socket that sees what arrives at an interface behind its XDP program, and sends past the
/// queues of the kernel.
pub struct Wire {
    socket: OwnedFd,
    seen: u64,
    lost: u64,
}

impl Wire {
    /// Opens one.
    pub fn open(end: End<'_>) -> Result<Self> {
        let End {
            namespace,
            interface,
        } = end;
        namespace
            .run(|| open(interface))
            .with_context(|| format!("no packet socket on {interface} in {}", namespace.name()))
    }

    /// Sends a frame; `false` if the device had no room for it.
    pub fn send(&self, frame: &[u8]) -> Result<bool> {
        // SAFETY: the buffer is as long as is said.
        let sent = unsafe {
            libc::send(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
            )
        };
        if sent >= 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENOBUFS) => Ok(false),
            _ => Err(error).with_context(|| format!("could not send {} bytes", frame.len())),
        }
    }

    /// The next frame that has arrived, if there is one, in `buffer`.
    pub fn receive<'a>(&self, buffer: &'a mut Buffer) -> Result<Option<&'a [u8]>> {
        // SAFETY: the buffer is as long as is said.
        let length = unsafe {
            libc::recv(
                self.socket.as_raw_fd(),
                buffer.0.as_mut_ptr().cast(),
                buffer.0.len(),
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
            )
        };
        if length < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock => Ok(None),
                _ => Err(error).context("could not receive"),
            };
        }
        let frame = buffer.0.get(..length as usize);
        frame.map(Some).context("a frame longer than any")
    }

    /// How many frames have arrived, and how many of those there was no room for.
    pub fn seen(&mut self) -> Result<(u64, u64)> {
        // SAFETY: `tpacket_stats` is plain data, for which zeros are valid.
        let mut counts: libc::tpacket_stats = unsafe { mem::zeroed() };
        let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the option's value is this structure, whose length is said.
        let status = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut counts).cast(),
                &raw mut length,
            )
        };
        ensure!(status == 0, io::Error::last_os_error());
        // The kernel begins anew after each look.
        self.seen += u64::from(counts.tp_packets);
        self.lost += u64::from(counts.tp_drops);
        Ok((self.seen, self.lost))
    }
}

/// Room for a frame.
pub struct Buffer(Vec<u8>);

impl Default for Buffer {
    fn default() -> Self {
        Self(vec![0; LONGEST])
    }
}

fn open(interface: &str) -> Result<Wire> {
    let all = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: no memory is involved.
    let socket = unsafe {
        libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            // Not bound to anything yet, it would see every interface's frames.
            0,
        )
    };
    ensure!(socket >= 0, io::Error::last_os_error());
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let fd = socket.as_raw_fd();
    set(fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
    set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: all,
        sll_ifindex: if_nametoindex(interface)?.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the address is of the length that is said.
    let status = unsafe {
        libc::bind(
            fd,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    ensure!(status == 0, io::Error::last_os_error());
    Ok(Wire {
        socket,
        seen: 0,
        lost: 0,
    })
}

fn set(socket: RawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> Result<()> {
    // SAFETY: the option's value is a C int, whose length is said.
    let status = unsafe {
        libc::setsockopt(
            socket,
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    ensure!(status == 0, io::Error::last_os_error());
    Ok(())
}
