//! [`FamilyTables`] over the maps of each family, and what its kinds of look-up share.

use core::ptr::NonNull;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    programs::XdpContext,
};
use lb_common::{
    abi::{
        Address, Affinity, Exception, FlowEntry, FlowKey, FlowTable, FragmentBudget, Fragmented,
        HopWord, NeighbourWanted, Occupancy, Reverse, Rewrite, Service,
    },
    datapath::{
        self, DropReason, FamilyTables, InsertError, Leaving, Owner, Route, Scratch, Unsettled,
        exceptions::Kind,
    },
    net::{Family, Ipv4, Ipv6},
};

use crate::helpers::{self, FibAnswer};

use super::{
    KernelTables, PacketTables, by_ifindex,
    held::{KernelException, KernelFlow},
    maps::*,
    without_packet,
};

macro_rules! family_tables {
    ($family:ty, $services:ident, $reverses:ident, $sources:ident, $flows:ident, $young:ident, $affinities:ident, $scratch:ident, $exceptions:ident, $owner:ident, $peek:ident, $occupancy:literal, $fragmented:ident, $fragment_sources:ident) => {
        /// Who gets a packet whose slot is not settled. A global function to the kernel, whose verifier walks it
        /// once for any key and numbers.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $owner(
            key: *const FlowKey<<$family as Family>::Address>,
            slot: u64,
            table: u64,
            service: u64,
            times: u64,
        ) -> u64 {
            let packet = Unsettled::of_numbers([slot, table, service, times]);
            owner::<$family>(key, packet)
        }

        /// The same of a packet that only speaks of its flow: most of the stack is for what is recorded of others.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $peek(
            key: *const FlowKey<<$family as Family>::Address>,
            slot: u64,
            table: u64,
            service: u64,
            times: u64,
        ) -> u64 {
            let packet = Unsettled::of_numbers([slot, table, service, times]);
            owner::<$family>(key, packet.peeks())
        }

        impl<const PROBES: bool> FamilyTables<$family> for KernelTables<'_, PROBES> {
            type Exception = KernelException;
            type Flow = KernelFlow<<$family as Family>::Address>;

            #[inline(always)]
            fn service(&self, position: u32) -> Option<&Service<<$family as Family>::Address>> {
                $services.get(position)
            }

            #[inline(always)]
            fn reverse(&self, index: u32) -> Option<&Reverse<<$family as Family>::Address>> {
                $reverses.get(index)
            }

            #[inline(always)]
            fn source(&self, index: u32) -> Option<<$family as Family>::Address> {
                $sources.get(index).copied()
            }

            #[inline(always)]
            fn with_scratch<R>(
                &self,
                work: impl FnOnce(&mut Scratch<<$family as Family>::Address>) -> R,
            ) -> Option<R> {
                let scratch = $scratch.get_ptr_mut(0)?;
                // SAFETY: this CPU's own element, no other program runs on it meanwhile, and a
                // packet asks for it once.
                Some(work(unsafe { &mut *scratch }))
            }

            #[inline(always)]
            fn flow(
                &self,
                table: FlowTable,
                key: &FlowKey<<$family as Family>::Address>,
            ) -> Option<Self::Flow> {
                let held = match table {
                    FlowTable::Young => $young.get_ptr_mut(key)?,
                    FlowTable::Committed => $flows.get_ptr_mut(key)?,
                };
                NonNull::new(held).map(KernelFlow)
            }

            #[inline(always)]
            fn insert_flow(
                &self,
                table: FlowTable,
                key: &FlowKey<<$family as Family>::Address>,
                entry: &FlowEntry<<$family as Family>::Address>,
            ) -> Result<(), InsertError> {
                let flags = u64::from(BPF_NOEXIST);
                match table {
                    FlowTable::Young => $young.insert(key, entry, flags),
                    FlowTable::Committed => $flows.insert(key, entry, flags),
                }
                .map_err(refused)
            }

            #[inline(always)]
            fn replace_flow(
                &self,
                table: FlowTable,
                key: &FlowKey<<$family as Family>::Address>,
                entry: &FlowEntry<<$family as Family>::Address>,
            ) -> Result<(), InsertError> {
                let flags = u64::from(BPF_ANY);
                match table {
                    FlowTable::Young => $young.insert(key, entry, flags),
                    FlowTable::Committed => $flows.insert(key, entry, flags),
                }
                .map_err(refused)
            }

            #[inline(always)]
            fn remove_flow(&self, table: FlowTable, key: &FlowKey<<$family as Family>::Address>) {
                // That it is gone already is as good.
                let _ = match table {
                    FlowTable::Young => $young.remove(key),
                    FlowTable::Committed => $flows.remove(key),
                };
            }

            #[inline(always)]
            fn affinity(&self, key: &FlowKey<<$family as Family>::Address>) -> Option<Affinity> {
                let held = NonNull::new($affinities.get_ptr_mut(key)?)?;
                // SAFETY: one aligned word of an element whose memory the kernel keeps while the
                // program runs; both halves are of one moment.
                let word = unsafe { held.as_ptr().cast::<u64>().read_volatile() };
                Some(Affinity::from_word(word))
            }

            #[inline(always)]
            fn set_affinity(&self, key: &FlowKey<<$family as Family>::Address>, to: Affinity) {
                // A table that takes nothing has clients spread like others.
                let _ = $affinities.insert(key, &to, u64::from(BPF_ANY));
            }

            #[inline(always)]
            fn owner(
                &self,
                key: &FlowKey<<$family as Family>::Address>,
                packet: Unsettled,
            ) -> Owner {
                let [slot, table, service, times] = packet.numbers();
                Owner(match packet.sighting.kind {
                    Kind::Peek => $peek(key, slot, table, service, times),
                    Kind::Open | Kind::Data | Kind::Close => {
                        $owner(key, slot, table, service, times)
                    }
                })
            }

            #[inline(always)]
            fn exception_occupancy(&self) -> Occupancy {
                let number = |index| OCCUPANCY.get(index).copied().unwrap_or_default();
                Occupancy {
                    inserted: number(Occupancy::inserted_at($occupancy)),
                    deleted: number(Occupancy::deleted_at($occupancy)),
                }
            }

            #[inline(always)]
            fn exception(
                &self,
                key: &FlowKey<<$family as Family>::Address>,
            ) -> Option<KernelException> {
                NonNull::new($exceptions.get_ptr_mut(key)?).map(KernelException)
            }

            #[inline(always)]
            fn insert_exception(
                &self,
                key: &FlowKey<<$family as Family>::Address>,
                entry: &Exception,
            ) -> Result<(), InsertError> {
                $exceptions
                    .insert(key, entry, u64::from(BPF_NOEXIST))
                    .map_err(refused)?;
                count_inserted($occupancy);
                Ok(())
            }

            #[inline(always)]
            fn fragmented(&self, id: &FlowKey<<$family as Family>::Address>) -> Option<Fragmented> {
                read_fragmented($fragmented.get_ptr(id)?)
            }

            #[inline(always)]
            fn insert_fragmented(
                &self,
                id: &FlowKey<<$family as Family>::Address>,
                entry: &Fragmented,
            ) -> Result<(), InsertError> {
                $fragmented
                    .insert(id, entry, u64::from(BPF_NOEXIST))
                    .map_err(refused)
            }

            #[inline(always)]
            fn remove_fragmented(&self, id: &FlowKey<<$family as Family>::Address>) {
                // That it is gone already is as good.
                let _ = $fragmented.remove(id);
            }

            #[inline(always)]
            fn with_fragment_budget<R>(
                &self,
                source: &<$family as Family>::Address,
                work: impl FnOnce(&mut FragmentBudget) -> R,
            ) -> Option<R> {
                if $fragment_sources.get_ptr(source).is_none() {
                    let none = FragmentBudget::default();
                    // Another CPU may have been faster.
                    let _ = $fragment_sources.insert(source, &none, u64::from(BPF_NOEXIST));
                }
                let budget = $fragment_sources.get_ptr_mut(source)?;
                // SAFETY: an aligned value whose memory the kernel keeps while the program runs.
                // Other CPUs may write it, and it may be recycled for another source: then a few
                // are counted wrong, which is all that hangs on it.
                Some(work(unsafe { &mut *budget }))
            }

            #[inline(always)]
            fn route(
                &self,
                ends: &Rewrite<<$family as Family>::Address>,
                leaving: Leaving,
            ) -> Route<<$family as Family>::Address> {
                route::<$family>(self.ctx, self.ifindex(), ends, leaving)
            }

            #[inline(always)]
            fn want_neighbour(&self, device: u16, address: <$family as Family>::Address) {
                want_neighbour::<$family>(device, address);
            }
        }
    };
}

family_tables!(
    Ipv4,
    SERVICES_V4,
    REVERSES_V4,
    SOURCES_V4,
    FLOWS_V4,
    YOUNG_V4,
    AFFINITIES_V4,
    SCRATCH_V4,
    EXCEPTIONS_V4,
    owner_v4,
    peek_v4,
    0,
    FRAGMENTED_V4,
    FRAGMENT_SOURCES_V4
);
family_tables!(
    Ipv6,
    SERVICES_V6,
    REVERSES_V6,
    SOURCES_V6,
    FLOWS_V6,
    YOUNG_V6,
    AFFINITIES_V6,
    SCRATCH_V6,
    EXCEPTIONS_V6,
    owner_v6,
    peek_v6,
    1,
    FRAGMENTED_V6,
    FRAGMENT_SOURCES_V6
);

/// The answer of a function of the kernel's, to which the verifier has its caller's key be a pointer like any.
#[inline(always)]
fn owner<F: Family>(key: *const FlowKey<F::Address>, packet: Unsettled) -> u64
where
    for<'a> PacketTables<'a>: FamilyTables<F>,
{
    // SAFETY: its caller passes a reference on.
    match unsafe { key.as_ref() } {
        Some(key) => without_packet(|tables| datapath::owner::<F, _>(tables, key, packet).0),
        None => Owner::NOBODY.0,
    }
}

/// Counts an exception, on whichever CPU.
#[inline(always)]
pub(super) fn count_inserted(family: u32) {
    if let Some(inserted) = OCCUPANCY.get_ptr_mut(Occupancy::inserted_at(family)) {
        // SAFETY: an aligned map value, which all CPUs add to only in this way.
        unsafe { helpers::atomic_add(inserted, 1) }
    }
}

/// Copies an entry out, its fingerprint last: an element that is recycled meanwhile for another
/// packet is found by it.
#[inline(always)]
pub(super) fn read_fragmented(from: *const Fragmented) -> Option<Fragmented> {
    let mut entry = Fragmented::default();
    // SAFETY: aligned fields of an element whose memory the kernel keeps while the program runs.
    unsafe {
        entry.seen = (&raw const (*from).seen).read_volatile();
        entry.source_port = (&raw const (*from).source_port).read_volatile();
        entry.destination_port = (&raw const (*from).destination_port).read_volatile();
        entry.protocol = (&raw const (*from).protocol).read_volatile();
        entry.fingerprint = (&raw const (*from).fingerprint).read_volatile();
    }
    Some(entry)
}

/// Why a map did not take an entry.
#[inline(always)]
pub(super) fn refused(error: i32) -> InsertError {
    const EEXIST: i32 = -17;
    match error {
        EEXIST => InsertError::Exists,
        _ => InsertError::Full,
    }
}

#[inline(always)]
pub(super) fn route<F: Family>(
    ctx: &XdpContext,
    ifindex: u32,
    ends: &Rewrite<F::Address>,
    leaving: Leaving,
) -> Route<F::Address> {
    let Some(fib) = helpers::route::<F>(ctx, ifindex, ends, leaving) else {
        return Route::None(DropReason::Inconsistent);
    };
    let device = by_ifindex(fib.ifindex).device();
    match fib.answer() {
        FibAnswer::None(reason) => Route::None(reason),
        FibAnswer::TooBig => Route::TooBig { mtu: fib.mtu },
        _ if device == 0 => Route::None(DropReason::NoDevice),
        FibAnswer::Found => Route::Found {
            hop: HopWord::new(fib.mac, device),
            mtu: fib.mtu,
        },
        FibAnswer::NoNeighbour => Route::NoNeighbour {
            device,
            address: fib.address,
        },
    }
}

#[inline(always)]
pub(super) fn want_neighbour<F: Family>(device: u16, address: F::Address) {
    let Some(ifindex) = DEVICES.get(u32::from(device)).map(|device| device.ifindex) else {
        return;
    };
    // A full ring has asked often enough.
    if let Some(mut event) = WANTED.reserve_untyped::<NeighbourWanted>(0) {
        event.write(NeighbourWanted {
            address: address.to_wide(),
            ifindex,
            family: F::VERSION,
            padding: [0; 3],
        });
        event.submit(0);
    }
}
