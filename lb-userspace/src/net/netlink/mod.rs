//! Our own view of rtnetlink: what the rest of `net` asks of the kernel, as a trait, so that the
//! crates behind it (they change every few months) stay in this folder and tests put a fake there.

mod decode;
mod encode;
pub(super) mod floating;
mod kernel;
pub(super) mod nftables;
pub(super) mod probe;

use std::{collections::BTreeMap, net::IpAddr};

pub(super) use kernel::Kernel;

use super::{
    error::Error,
    facts::{Event, InterfaceAddress, Link, Match, Neighbour, Neighbourhood, Route},
    machine::Request,
    resolution::IfIndex,
};

/// A connection to the kernel's network stack, in one network namespace.
pub(super) trait Netlink: Send + Sync + 'static {
    /// Opens the sockets anew, after one was lost. Events that came before are forgotten, so a full
    /// reading must follow.
    fn reopen(&mut self) -> Result<(), Error>;

    /// The next event. Cancel-safe: none is lost when the future is dropped.
    fn event(&mut self) -> impl Future<Output = Result<Event, Error>> + Send;

    /// All devices.
    fn links(&self) -> impl Future<Output = Result<BTreeMap<IfIndex, Link>, Error>> + Send;

    /// All addresses of this host.
    fn addresses(&self) -> impl Future<Output = Result<Vec<InterfaceAddress>, Error>> + Send;

    /// All ARP and neighbour discovery entries.
    fn neighbours(
        &self,
    ) -> impl Future<Output = Result<BTreeMap<Neighbourhood, Neighbour>, Error>> + Send;

    /// One neighbour entry, if there is one.
    fn neighbour(
        &self,
        place: Neighbourhood,
    ) -> impl Future<Output = Result<Option<Neighbour>, Error>> + Send;

    /// Where a packet of this host to `destination` would go.
    fn route(&self, destination: IpAddr) -> impl Future<Output = Result<Route, Error>> + Send;

    /// The route in the tables that `destination` matches.
    fn matching(&self, destination: IpAddr) -> impl Future<Output = Result<Match, Error>> + Send;

    /// Changes who keeps a neighbour entry. That the entry, or its device, appeared or went away in
    /// the meantime is no error: an event tells.
    fn apply(&self, request: Request) -> impl Future<Output = Result<(), Error>> + Send;

    /// Has the kernel resolve one neighbour once, as if it had a packet for it. `known` says whether
    /// the entry exists.
    fn solicit(
        &self,
        place: Neighbourhood,
        known: bool,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}
