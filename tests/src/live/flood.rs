//! The process with the flood: SYNs and ACKs to the service in the names of hosts that are not there,
//! as fast as one CPU can send them and take them through. SIGTERM ends it; then it says how many it
//! sent.
//!
//! They are live frames of `BPF_PROG_TEST_RUN` that leave by the clients' interface. Nobody has a
//! route to their sources, so servers answer none of them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions};
use nix::net::if_::if_nametoindex;

use crate::{
    cases::{
        frame::{ACK, Frame},
        places::Mac,
    },
    interrupt,
    link::{parse_mac, print_mac},
    programs,
};

/// Where the packets seem to come from: 65,536 addresses each.
const SOURCES: (Ipv4Addr, Ipv6Addr) = (
    Ipv4Addr::new(198, 19, 0, 0),
    Ipv6Addr::new(0xfd00, 0x19, 0, 0, 0, 0, 0, 0),
);
/// Frames of one call.
const CALL: u32 = 1 << 15;
/// Frames at a time: a quarter of what a veth's ring holds, since others send there, too.
const BATCH: u32 = 64;

/// What a flood process is to do.
#[derive(Clone, Debug, clap::Args)]
pub struct Orders {
    /// The interface that the packets leave by
    interface: String,
    /// Its MAC address
    #[arg(value_parser = mac)]
    from: Mac,
    /// The gateway's MAC address
    #[arg(value_parser = mac)]
    to: Mac,
    /// The service's addresses, one of each family
    service: Vec<SocketAddr>,
}

impl Orders {
    /// They, as a command line.
    pub(super) fn arguments(
        interface: &str,
        macs: [Mac; 2],
        service: &[SocketAddr],
    ) -> Vec<String> {
        let ends = service.iter().map(SocketAddr::to_string);
        let macs = macs.into_iter().map(print_mac);
        let interface = [interface.to_owned()].into_iter();
        interface.chain(macs).chain(ends).collect()
    }
}

/// Floods until SIGTERM.
pub fn run(orders: &Orders) -> Result<()> {
    interrupt::watch()?;
    let frame = |source: IpAddr| -> Result<Vec<u8>> {
        let mut service = orders.service.iter();
        let to = service.find(|to| to.is_ipv4() == source.is_ipv4());
        let to = to.context("the service needs an address of each family")?;
        let frame = Frame::tcp(SocketAddr::new(source, 0), *to);
        let frame = frame.flags(ACK).sequence(0).payload(&[]);
        Ok(frame.link(orders.from, orders.to).bytes())
    };
    let (v4, v6) = (frame(SOURCES.0.into())?, frame(SOURCES.1.into())?);
    let mut object = programs::flood(&v4, &v6)?;
    let index = if_nametoindex(orders.interface.as_str())?;
    let begun = Instant::now();
    let mut sent = 0;
    while !interrupt::came() {
        for (name, frame) in [("flood_v4", &v4), ("flood_v6", &v6)] {
            let program = programs::program(&mut object, name)?;
            // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
            let context = [0, frame.len() as u32, 0, index, 0, 0];
            let context = context.map(u32::to_ne_bytes).concat();
            let options = TestRunOptions {
                data_in: Some(frame),
                ctx_in: Some(&context),
                repeat: CALL,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::new()
            };
            match program.test_run(options) {
                Ok(_) => sent += u64::from(CALL),
                // A signal came while it ran.
                Err(_) if interrupt::came() => {}
                Err(error) => return Err(error).context("could not send live frames"),
            }
        }
    }
    println!("{SENT}{sent} in {} ms", begun.elapsed().as_millis());
    Ok(())
}

/// How the last line of a flood begins.
const SENT: &str = "sent ";

/// Packets a second, from a flood's log.
pub(super) fn rate(log: &str) -> Result<f64> {
    let line = log.lines().rev().find_map(|line| line.strip_prefix(SENT));
    let told = || -> Option<(f64, f64)> {
        let (count, time) = line?.strip_suffix(" ms")?.split_once(" in ")?;
        Some((count.parse().ok()?, time.parse().ok()?))
    };
    let (count, millis) = told().with_context(|| format!("odd log of the flood: {log}"))?;
    ensure!(millis > 0.0, "the flood took no time");
    Ok(count / millis * Duration::from_secs(1).as_millis() as f64)
}

fn mac(text: &str) -> Result<Mac> {
    parse_mac(text).with_context(|| format!("{text:?} is no MAC address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_from_the_last_line() {
        assert_eq!(rate("odd\nsent 3000 in 1500 ms\n").unwrap(), 2000.0);
        assert!(rate("sent 3 in 0 ms").is_err());
        assert!(rate("").is_err());
    }
}
