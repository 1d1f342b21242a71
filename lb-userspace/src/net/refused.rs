//! Has the kernel drop packets for this host at some addresses that it has, by a table of nftables each time. Neighbours
//! find the addresses all the same, and what is forwarded is not touched.

use std::{io, net::IpAddr};

use rtnetlink::sys::{Socket, protocols::NETLINK_NETFILTER};

use super::{error::Error, netlink::nftables};
use crate::model::Family;

/// Messages that are read for one batch: an error of each of its messages at most.
const ANSWERS: usize = 1024;

/// Has packets to these addresses, all of one family, dropped by a table of this name, and by it no others.
pub fn refuse(table: &str, family: Family, addresses: &[IpAddr]) -> Result<(), Error> {
    done(&nftables::dropped(table, family, addresses)).map_err(|source| Error::Refused {
        what: format!("dropping what is for {family} addresses by the nftables table {table}"),
        source,
    })
}

/// Removes the table. That it is not there is as good.
pub fn accept(table: &str, family: Family) -> Result<(), Error> {
    match done(&nftables::removed(table, family)) {
        Err(source) if !is_missing(&source) => Err(Error::Refused {
            what: format!("removing the nftables table {table} of {family}"),
            source,
        }),
        _ => Ok(()),
    }
}

/// A kernel without nftables has no table either.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT)
    )
}

/// Sends a batch, and takes its answers: they are there when the call returns.
fn done(batch: &[u8]) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.set_non_blocking(true)?;
    socket.send(batch, 0)?;
    for _ in 0..ANSWERS {
        let (answer, _) = socket.recv_from_full()?;
        if let Some(result) = answered(&answer) {
            return result;
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// What an answer says of its batch, if it says something: the first error, or that the last message was done.
fn answered(answer: &[u8]) -> Option<io::Result<()>> {
    let word = |at: usize| {
        let octets = answer.get(at..at + 4)?;
        <[u8; 4]>::try_from(octets).ok()
    };
    let kind = word(4)?;
    if u16::from_ne_bytes([kind[0], kind[1]]) != libc::NLMSG_ERROR as u16 {
        return None;
    }
    match i32::from_ne_bytes(word(16)?) {
        0 => (u32::from_ne_bytes(word(8)?) == nftables::LAST).then_some(Ok(())),
        code => Some(Err(io::Error::from_raw_os_error(code.saturating_abs()))),
    }
}
