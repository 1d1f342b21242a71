//! The flow tables of one family, and their entries as the packet path holds them.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
};

use lb_common::{
    abi::{Address, FlowEntry, FlowKey, FlowState, FlowTable, HopWord, Ipv4Address, Ipv6Address},
    datapath::{HeldFlow, InsertError, Scratch},
};
use zerocopy::FromBytes as _;

use crate::cases::{case::Ends, places::Protocol};

/// One of a family's flow tables.
#[derive(Default)]
pub(super) struct Flows<A> {
    entries: RefCell<HashMap<FlowKey<A>, HostFlow<A>>>,
}

/// A held entry. It may be evicted while it is held: then it is written to no effect.
pub(super) struct HostFlow<A>(Rc<Cell<FlowEntry<A>>>);

impl<A> Clone for HostFlow<A> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<A: Address> Flows<A> {
    /// The entry of a flow.
    pub(super) fn find(&self, key: &FlowKey<A>) -> Option<HostFlow<A>> {
        self.entries.borrow().get(key).cloned()
    }

    /// Records a flow, unless its key is there or there are `capacity` already.
    pub(super) fn insert(
        &self,
        key: &FlowKey<A>,
        entry: &FlowEntry<A>,
        capacity: usize,
    ) -> Result<(), InsertError> {
        let mut entries = self.entries.borrow_mut();
        if entries.contains_key(key) {
            return Err(InsertError::Exists);
        }
        if entries.len() >= capacity {
            return Err(InsertError::Full);
        }
        entries.insert(*key, HostFlow(Rc::new(Cell::new(*entry))));
        Ok(())
    }

    /// Records a flow in place of whatever its key has.
    pub(super) fn replace(&self, key: &FlowKey<A>, entry: &FlowEntry<A>) {
        let entry = HostFlow(Rc::new(Cell::new(*entry)));
        self.entries.borrow_mut().insert(*key, entry);
    }

    /// Forgets a flow; whether it was there.
    pub(super) fn remove(&self, key: &FlowKey<A>) -> bool {
        self.entries.borrow_mut().remove(key).is_some()
    }

    /// Makes the entry another flow's; whether it was there.
    pub(super) fn recycle(&self, key: &FlowKey<A>) -> bool {
        let flow = self.find(key);
        flow.map(|flow| flow.update(|entry| entry.fingerprint ^= 1))
            .is_some()
    }

    /// How many flows there are.
    pub(super) fn len(&self) -> usize {
        self.entries.borrow().len()
    }
}

/// Both flow tables of one family.
#[derive(Default)]
pub(super) struct FlowTables<A> {
    young: Flows<A>,
    committed: Flows<A>,
}

impl<A: Address> FlowTables<A> {
    /// One of them.
    pub(super) fn of(&self, table: FlowTable) -> &Flows<A> {
        match table {
            FlowTable::Young => &self.young,
            FlowTable::Committed => &self.committed,
        }
    }

    /// Forgets a flow; whether it was there.
    pub(super) fn remove(&self, key: &FlowKey<A>) -> bool {
        self.young.remove(key) | self.committed.remove(key)
    }

    /// Makes the entry another flow's; whether it was there.
    pub(super) fn recycle(&self, key: &FlowKey<A>) -> bool {
        self.young.recycle(key) | self.committed.recycle(key)
    }

    /// How many flows there are.
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.committed.len()
    }
}

impl<A: Address> HostFlow<A> {
    fn update(&self, change: impl FnOnce(&mut FlowEntry<A>)) {
        let mut entry = self.0.get();
        change(&mut entry);
        self.0.set(entry);
    }
}

impl<A: Address> HeldFlow<A> for HostFlow<A> {
    fn read(&self, into: &mut FlowEntry<A>) {
        *into = self.0.get();
    }

    fn set_seen(&self, now: u32, sequence: u32) {
        self.update(|entry| (entry.last_seen, entry.last_seq) = (now, sequence));
    }

    fn set_isn(&self, sequence: u32) {
        self.update(|entry| entry.isn = sequence);
    }

    fn set_peer_isn(&self, sequence: u32) {
        self.update(|entry| entry.peer_isn = sequence);
    }

    fn set_state(&self, state: FlowState) {
        self.update(|entry| entry.set_state(state));
    }

    fn set_route(&self, route: HopWord, mtu: u16, now: u32) {
        self.update(|entry| {
            (entry.route, entry.route_mtu, entry.route_seen) = (route, mtu, now);
        });
    }
}

/// Room that holds rubbish, as the last packet may have left it.
pub(super) fn rubbish<A: Address>() -> Scratch<A> {
    let bytes = vec![0xa5; size_of::<Scratch<A>>()];
    Scratch::read_from_bytes(&bytes).expect("it takes any bytes")
}

/// The key of packets with these ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// Of IPv4.
    V4(FlowKey<Ipv4Address>),
    /// Of IPv6.
    V6(FlowKey<Ipv6Address>),
}

impl From<FlowKey<Ipv4Address>> for Key {
    fn from(key: FlowKey<Ipv4Address>) -> Self {
        Self::V4(key)
    }
}

impl From<FlowKey<Ipv6Address>> for Key {
    fn from(key: FlowKey<Ipv6Address>) -> Self {
        Self::V6(key)
    }
}

impl From<Ends> for Key {
    fn from(ends: Ends) -> Self {
        let protocol = match ends.protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        };
        let ports = [ends.source, ends.destination].map(|end| end.port().to_be_bytes());
        match (ends.source, ends.destination) {
            (SocketAddr::V4(a), SocketAddr::V4(b)) => {
                let (a, b) = ((*a.ip()).into(), (*b.ip()).into());
                Self::V4(FlowKey::new(a, b, ports[0], ports[1], protocol))
            }
            (SocketAddr::V6(a), SocketAddr::V6(b)) => {
                let (a, b) = ((*a.ip()).into(), (*b.ip()).into());
                Self::V6(FlowKey::new(a, b, ports[0], ports[1], protocol))
            }
            _ => panic!("{ends:?} are of two families"),
        }
    }
}
