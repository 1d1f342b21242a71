//! [`FamilyTables`] over the half of a world that is of a family.

use std::net::IpAddr;

use lb_common::{
    abi::{
        Affinity, DEFAULT_BACKENDS, Exception, FlowEntry, FlowKey, FlowTable, FragmentBudget,
        Fragmented, MAX_SOURCES, Occupancy, Reverse, Rewrite, SERVICE_POSITIONS, Service,
    },
    datapath::{
        self, DropReason, FamilyTables, InsertError, Leaving, Owner, Route, Scratch, Unsettled,
    },
    net::{Family, Ipv4, Ipv6},
};
use zerocopy::FromZeros;

use super::HostView;
use crate::{
    cases::world::Half,
    host::{
        exceptions::HostException,
        flows::{HostFlow, rubbish},
        routes::look_up,
    },
};

macro_rules! family_tables {
    ($family:ty, $version:ident, $flows:ident, $exceptions:ident, $no_service:ident, $no_reverse:ident, $fragments:ident) => {
        impl<const PROBES: bool> FamilyTables<$family> for HostView<'_, PROBES> {
            type Exception = HostException;
            type Flow = HostFlow<<$family as Family>::Address>;

            fn service(&self, position: u32) -> Option<&Service<<$family as Family>::Address>> {
                let services = <$family as Half>::services(&self.world);
                let service = services.get(&position).unwrap_or(&self.$no_service);
                (position < SERVICE_POSITIONS).then_some(service)
            }

            fn reverse(&self, index: u32) -> Option<&Reverse<<$family as Family>::Address>> {
                let reverses = <$family as Half>::reverses(&self.world);
                let reverse = reverses.get(&index).unwrap_or(&self.$no_reverse);
                (index < DEFAULT_BACKENDS).then_some(reverse)
            }

            fn source(&self, index: u32) -> Option<<$family as Family>::Address> {
                let source = <$family as Half>::sources(&self.world).get(&index);
                let source = source.copied().unwrap_or_else(<_ as FromZeros>::new_zeroed);
                (index < MAX_SOURCES).then_some(source)
            }

            fn with_scratch<R>(
                &self,
                work: impl FnOnce(&mut Scratch<<$family as Family>::Address>) -> R,
            ) -> Option<R> {
                Some(work(&mut rubbish()))
            }

            fn flow(
                &self,
                table: FlowTable,
                key: &FlowKey<<$family as Family>::Address>,
            ) -> Option<Self::Flow> {
                self.$flows.of(table).find(key)
            }

            fn insert_flow(
                &self,
                table: FlowTable,
                key: &FlowKey<<$family as Family>::Address>,
                entry: &FlowEntry<<$family as Family>::Address>,
            ) -> Result<(), InsertError> {
                let capacity = self.world.flow_capacity;
                self.$flows.of(table).insert(key, entry, capacity)
            }

            fn replace_flow(
                &self,
                table: FlowTable,
                key: &FlowKey<<$family as Family>::Address>,
                entry: &FlowEntry<<$family as Family>::Address>,
            ) -> Result<(), InsertError> {
                self.$flows.of(table).replace(key, entry);
                Ok(())
            }

            fn remove_flow(&self, table: FlowTable, key: &FlowKey<<$family as Family>::Address>) {
                self.$flows.of(table).remove(key);
            }

            fn affinity(&self, key: &FlowKey<<$family as Family>::Address>) -> Option<Affinity> {
                self.affinities.borrow().get(&(*key).into()).copied()
            }

            fn set_affinity(&self, key: &FlowKey<<$family as Family>::Address>, to: Affinity) {
                self.affinities.borrow_mut().insert((*key).into(), to);
            }

            fn owner(
                &self,
                key: &FlowKey<<$family as Family>::Address>,
                packet: Unsettled,
            ) -> Owner {
                // As it goes to a function of the kernel's.
                let packet = Unsettled::of_numbers(packet.numbers());
                datapath::owner::<$family, _>(self, key, packet)
            }

            fn exception_occupancy(&self) -> Occupancy {
                self.$exceptions.occupancy()
            }

            fn exception(
                &self,
                key: &FlowKey<<$family as Family>::Address>,
            ) -> Option<HostException> {
                self.$exceptions.find(key)
            }

            fn insert_exception(
                &self,
                key: &FlowKey<<$family as Family>::Address>,
                entry: &Exception,
            ) -> Result<(), InsertError> {
                let capacity = self.world.constants.limits.capacity;
                self.$exceptions.insert(key, entry, capacity as usize)
            }

            fn fragmented(&self, id: &FlowKey<<$family as Family>::Address>) -> Option<Fragmented> {
                self.$fragments.find(id)
            }

            fn insert_fragmented(
                &self,
                id: &FlowKey<<$family as Family>::Address>,
                entry: &Fragmented,
            ) -> Result<(), InsertError> {
                self.$fragments.insert(id, entry)
            }

            fn remove_fragmented(&self, id: &FlowKey<<$family as Family>::Address>) {
                self.$fragments.remove(id);
            }

            fn with_fragment_budget<R>(
                &self,
                source: &<$family as Family>::Address,
                work: impl FnOnce(&mut FragmentBudget) -> R,
            ) -> Option<R> {
                Some(self.$fragments.with_budget(*source, work))
            }

            fn route(
                &self,
                ends: &Rewrite<<$family as Family>::Address>,
                leaving: Leaving,
            ) -> Route<<$family as Family>::Address> {
                let client = ends.destination.into();
                match look_up(&self.world, self.ifindex, client, leaving.length) {
                    Route::Found { hop, mtu } => Route::Found { hop, mtu },
                    Route::TooBig { mtu } => Route::TooBig { mtu },
                    Route::None(reason) => Route::None(reason),
                    Route::NoNeighbour {
                        device,
                        address: IpAddr::$version(address),
                    } => Route::NoNeighbour {
                        device,
                        address: address.into(),
                    },
                    Route::NoNeighbour { .. } => Route::None(DropReason::NoRoute),
                }
            }

            fn want_neighbour(&self, device: u16, address: <$family as Family>::Address) {
                let ifindex = self
                    .world
                    .devices
                    .get(&device)
                    .map_or(0, |device| device.ifindex);
                self.wanted.borrow_mut().push((ifindex, address.into()));
            }
        }
    };
}

family_tables!(
    Ipv4,
    V4,
    flows_v4,
    exceptions_v4,
    no_service_v4,
    no_reverse_v4,
    fragments_v4
);
family_tables!(
    Ipv6,
    V6,
    flows_v6,
    exceptions_v6,
    no_service_v6,
    no_reverse_v6,
    fragments_v6
);
