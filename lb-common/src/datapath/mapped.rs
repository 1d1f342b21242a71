//! The tables as packets see them whose IPv4 addresses are mapped ones: those of IPv6. Only routes and
//! neighbours are those of the family that the packet leaves in.

use crate::{
    abi::{
        Affinity, Exception, FlowEntry, FlowKey, FlowTable, FragmentBudget, Fragmented,
        Ipv4Address, Ipv6Address, Occupancy, Reverse, Rewrite, Service,
    },
    net::{Ipv4, Ipv6, Mapped, Side},
};

use super::{
    flow,
    tables::{FamilyTables, InsertError, Leaving, Route, Scratch},
    unsettled::{Owner, Unsettled},
};

impl<T> FamilyTables<Mapped> for T
where
    T: FamilyTables<Ipv4> + FamilyTables<Ipv6>,
{
    type Flow = <T as FamilyTables<Ipv6>>::Flow;
    type Exception = <T as FamilyTables<Ipv6>>::Exception;

    #[inline(always)]
    fn service(&self, position: u32) -> Option<&Service<Ipv6Address>> {
        FamilyTables::<Ipv6>::service(self, position)
    }

    #[inline(always)]
    fn reverse(&self, index: u32) -> Option<&Reverse<Ipv6Address>> {
        FamilyTables::<Ipv6>::reverse(self, index)
    }

    #[inline(always)]
    fn source(&self, index: u32) -> Option<Ipv6Address> {
        FamilyTables::<Ipv6>::source(self, index)
    }

    #[inline(always)]
    fn with_scratch<R>(&self, work: impl FnOnce(&mut Scratch<Ipv6Address>) -> R) -> Option<R> {
        FamilyTables::<Ipv6>::with_scratch(self, work)
    }

    #[inline(always)]
    fn flow(&self, table: FlowTable, key: &FlowKey<Ipv6Address>) -> Option<Self::Flow> {
        FamilyTables::<Ipv6>::flow(self, table, key)
    }

    #[inline(always)]
    fn is_held_unmapped(&self, key: &FlowKey<Ipv6Address>) -> bool {
        unmapped(key).is_some_and(|key| flow::holds::<Ipv4, T>(self, &key))
    }

    #[inline(always)]
    fn insert_flow(
        &self,
        table: FlowTable,
        key: &FlowKey<Ipv6Address>,
        entry: &FlowEntry<Ipv6Address>,
    ) -> Result<(), InsertError> {
        FamilyTables::<Ipv6>::insert_flow(self, table, key, entry)
    }

    #[inline(always)]
    fn replace_flow(
        &self,
        table: FlowTable,
        key: &FlowKey<Ipv6Address>,
        entry: &FlowEntry<Ipv6Address>,
    ) -> Result<(), InsertError> {
        FamilyTables::<Ipv6>::replace_flow(self, table, key, entry)
    }

    #[inline(always)]
    fn remove_flow(&self, table: FlowTable, key: &FlowKey<Ipv6Address>) {
        FamilyTables::<Ipv6>::remove_flow(self, table, key);
    }

    #[inline(always)]
    fn affinity(&self, key: &FlowKey<Ipv6Address>) -> Option<Affinity> {
        FamilyTables::<Ipv6>::affinity(self, key)
    }

    #[inline(always)]
    fn set_affinity(&self, key: &FlowKey<Ipv6Address>, to: Affinity) {
        FamilyTables::<Ipv6>::set_affinity(self, key, to);
    }

    #[inline(always)]
    fn owner(&self, key: &FlowKey<Ipv6Address>, packet: Unsettled) -> Owner {
        FamilyTables::<Ipv6>::owner(self, key, packet)
    }

    #[inline(always)]
    fn exception_occupancy(&self) -> Occupancy {
        FamilyTables::<Ipv6>::exception_occupancy(self)
    }

    #[inline(always)]
    fn exception(&self, key: &FlowKey<Ipv6Address>) -> Option<Self::Exception> {
        FamilyTables::<Ipv6>::exception(self, key)
    }

    #[inline(always)]
    fn insert_exception(
        &self,
        key: &FlowKey<Ipv6Address>,
        entry: &Exception,
    ) -> Result<(), InsertError> {
        FamilyTables::<Ipv6>::insert_exception(self, key, entry)
    }

    #[inline(always)]
    fn fragmented(&self, id: &FlowKey<Ipv6Address>) -> Option<Fragmented> {
        FamilyTables::<Ipv6>::fragmented(self, id)
    }

    #[inline(always)]
    fn insert_fragmented(
        &self,
        id: &FlowKey<Ipv6Address>,
        entry: &Fragmented,
    ) -> Result<(), InsertError> {
        FamilyTables::<Ipv6>::insert_fragmented(self, id, entry)
    }

    #[inline(always)]
    fn remove_fragmented(&self, id: &FlowKey<Ipv6Address>) {
        FamilyTables::<Ipv6>::remove_fragmented(self, id);
    }

    #[inline(always)]
    fn with_fragment_budget<R>(
        &self,
        source: &Ipv6Address,
        work: impl FnOnce(&mut FragmentBudget) -> R,
    ) -> Option<R> {
        FamilyTables::<Ipv6>::with_fragment_budget(self, source, work)
    }

    #[inline(always)]
    fn route(&self, ends: &Rewrite<Ipv6Address>, leaving: Leaving) -> Route<Ipv6Address> {
        let unmapped = ends.source.unmapped().zip(ends.destination.unmapped());
        let Some((source, destination)) = unmapped else {
            return FamilyTables::<Ipv6>::route(self, ends, leaving);
        };
        let ends = Rewrite {
            source,
            destination,
            source_port: ends.source_port,
            destination_port: ends.destination_port,
        };
        match FamilyTables::<Ipv4>::route(self, &ends, leaving) {
            Route::Found { hop, mtu } => Route::Found { hop, mtu },
            Route::NoNeighbour { device, address } => Route::NoNeighbour {
                device,
                address: Ipv6Address::mapped(address),
            },
            Route::TooBig { mtu } => Route::TooBig { mtu },
            Route::None(reason) => Route::None(reason),
        }
    }

    #[inline(always)]
    fn want_neighbour(&self, device: u16, address: Ipv6Address) {
        match address.unmapped() {
            Some(address) => FamilyTables::<Ipv4>::want_neighbour(self, device, address),
            None => FamilyTables::<Ipv6>::want_neighbour(self, device, address),
        }
    }
}

/// The key of a packet of IPv4 that is mapped.
#[inline(always)]
fn unmapped(key: &FlowKey<Ipv6Address>) -> Option<FlowKey<Ipv4Address>> {
    let mapped = Ipv4::has(key.source) && Ipv4::has(key.destination);
    mapped.then(|| key.between(Ipv4::unmap))
}
