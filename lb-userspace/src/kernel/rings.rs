//! The packet program's ring buffers, waited for: what it asks the agent for, and its log.

use std::{io, net::IpAddr, os::fd::AsRawFd};

use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use lb_common::abi::{Address as _, Ipv4Address, Ipv6Address, NeighbourWanted};
use tokio::io::unix::AsyncFd;
use zerocopy::FromBytes as _;

use super::error::Error;

/// Neighbours that the packet program asks for.
pub struct WantedNeighbours {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl WantedNeighbours {
    pub(super) fn new(ring: RingBuf<MapData>) -> Result<Self, Error> {
        Ok(Self {
            ring: watch(ring, "WANTED")?,
        })
    }

    /// Waits for the next requests: the kernel's number of a device, and an address behind it.
    pub async fn next(&mut self) -> io::Result<Vec<(u32, IpAddr)>> {
        let mut ready = self.ring.readable_mut().await?;
        let ring = ready.get_inner_mut();
        let mut wanted = Vec::new();
        while let Some(item) = ring.next() {
            if let Ok(event) = NeighbourWanted::read_from_bytes(&item) {
                wanted.push((event.ifindex, address(&event)));
            }
        }
        ready.clear_ready();
        Ok(wanted)
    }
}

/// The packet program's own debug lines.
pub struct ProgramLog {
    log: AsyncFd<EbpfLogger<&'static dyn log::Log>>,
}

impl ProgramLog {
    pub(super) fn new(log: EbpfLogger<&'static dyn log::Log>) -> Result<Self, Error> {
        Ok(Self {
            log: watch(log, "AYA_LOGS")?,
        })
    }

    /// Hands lines on to the `log` crate as they come; ends only with an error.
    pub async fn forward(&mut self) -> io::Error {
        loop {
            let mut ready = match self.log.readable_mut().await {
                Ok(ready) => ready,
                Err(error) => return error,
            };
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }
}

fn address(event: &NeighbourWanted) -> IpAddr {
    if event.family == 4 {
        Ipv4Address::from_wide(event.address).into()
    } else {
        Ipv6Address::from_wide(event.address).into()
    }
}

fn watch<T: AsRawFd>(ring: T, name: &'static str) -> Result<AsyncFd<T>, Error> {
    // SAFETY: the ring buffer owns its descriptor, keeps it as long as it lives, and always gives
    // the same one.
    unsafe { AsyncFd::register(ring) }.map_err(|error| Error::Ring {
        ring: name,
        error: error.into(),
    })
}
