//! `decapsulate` on one interface: a backend's receiving end of modes `ipip` and `gue`.

use std::net::IpAddr;

use anyhow::{Context, Result};
use aya::{
    Ebpf, TestRun as _, TestRunOptions,
    maps::{HashMap, PerCpuArray},
    programs::Xdp,
};

use crate::{
    link::End,
    programs::{attach, object, program},
};

/// What a backend's [`Decapsulator`] did with frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcomes {
    /// Taken out of their outer header.
    pub decapsulated: u64,
    /// Dropped: for a service address, but not in an outer header.
    pub refused: u64,
    /// Dropped: with an outer header that the kernel would not take.
    pub malformed: u64,
    /// Left to the kernel.
    pub other: u64,
}

/// The program, loaded for one backend. Dropping it detaches it.
pub struct Decapsulator {
    object: Ebpf,
}

const NAME: &str = "decapsulate";
/// `enum xdp_action` of linux/bpf.h.
const XDP_PASS: u32 = 2;
/// Values of the map `ROLES`.
const OWN: u32 = 1;
const SERVICE: u32 = 2;
const OWN_GUE: u32 = 3;

/// What packets to a backend travel in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// Another IP header (`ipip`).
    Ip,
    /// The same and UDP to port 6080 (`gue`).
    Gue,
}

impl Decapsulator {
    /// Loads the program for a backend with `own` addresses that may get packets for `services`
    /// only inside packets to one of its own.
    pub fn load(own: &[IpAddr], services: &[IpAddr]) -> Result<Self> {
        Self::load_for(Tunnel::Ip, own, services)
    }

    /// The same for a tunnel of another kind.
    pub fn load_for(tunnel: Tunnel, own: &[IpAddr], services: &[IpAddr]) -> Result<Self> {
        let mut object = object()?;
        assign(&mut object, tunnel, own, services)?;
        program(&mut object, NAME)?
            .load()
            .context("could not load program decapsulate")?;
        Ok(Self { object })
    }

    /// Attaches it to the backend's interface.
    pub fn attach(&mut self, end: End<'_>) -> Result<()> {
        attach(program(&mut self.object, NAME)?, end)
    }

    /// Runs it on one frame: what the kernel gets to see of it, or nothing if it was dropped.
    pub fn run(&mut self, frame: &[u8]) -> Result<Option<Vec<u8>>> {
        let program: &Xdp = program(&mut self.object, NAME)?;
        let mut seen = vec![0; frame.len()];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut seen),
            ..TestRunOptions::new()
        };
        let result = program
            .test_run(options)
            .context("could not run program decapsulate")?;
        seen.truncate(usize::try_from(result.data_size_out)?);
        Ok((result.return_value == XDP_PASS).then_some(seen))
    }

    /// Its counters, of all CPUs together.
    pub fn outcomes(&self) -> Result<Outcomes> {
        let map = self.object.map("OUTCOMES").context("no map OUTCOMES")?;
        let counters = PerCpuArray::<_, u64>::try_from(map)?;
        let sum = |index| -> Result<u64> { Ok(counters.get(&index, 0)?.iter().sum()) };
        Ok(Outcomes {
            decapsulated: sum(0)?,
            refused: sum(1)?,
            malformed: sum(2)?,
            other: sum(3)?,
        })
    }
}

/// Tells the object what addresses are to the backend.
pub(crate) fn assign(
    object: &mut Ebpf,
    tunnel: Tunnel,
    own: &[IpAddr],
    services: &[IpAddr],
) -> Result<()> {
    let own_role = match tunnel {
        Tunnel::Ip => OWN,
        Tunnel::Gue => OWN_GUE,
    };
    let map = object.map_mut("ROLES").context("no map ROLES")?;
    let mut roles = HashMap::<_, [u8; 16], u32>::try_from(map)?;
    for (addresses, role) in [(own, own_role), (services, SERVICE)] {
        for address in addresses {
            roles.insert(key(*address), role, 0)?;
        }
    }
    Ok(())
}

fn key(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}
