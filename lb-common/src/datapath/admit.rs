//! Between the second and the third stage: may this packet's source use the service? Martian sources
//! may not; access lists say who else may; limits let in so many new flows of a source prefix, and of
//! all.
//!
//! Asked of packets that are for a service, towards it. What is off costs nothing but the test of a
//! trait that the service has.

use crate::{
    abi::{
        Address, Admission, FlowBucket, FlowBucketKey, FlowKey, PrefixKey, Service, ServiceTraits,
        Verdict, global_list, own_bit, own_scope, service_list,
    },
    net::{Family, Packet},
};

use super::{
    exceptions::Kind,
    outcome::{DropReason, Stop},
    parse::{self, Parsed},
    tables::{FamilyTables, Prefixes},
};

/// Whether a packet may come from where it does.
#[inline(always)]
pub(super) fn source<F: Family, T: FamilyTables<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    service: &Service<F::Address>,
) -> Result<(), Stop> {
    match tables.refusal(key.source, key.destination, service.admission()) {
        COMES_IN => Ok(()),
        MARTIAN => Err(DropReason::MartianSource.into()),
        LAND => Err(DropReason::OwnDestination.into()),
        OWN => Err(DropReason::OwnSource.into()),
        DENIED => Err(DropReason::Denied.into()),
        _ => Err(DropReason::ServiceDenied.into()),
    }
}

/// It may.
const COMES_IN: u32 = 0;
/// Its source is a martian.
const MARTIAN: u32 = 1;
/// Its source is its destination.
const LAND: u32 = 2;
/// A service listens on its source.
const OWN: u32 = 3;
/// The list of all services keeps its source out.
const DENIED: u32 = 4;
/// The service's list keeps its source out.
const SERVICE_DENIED: u32 = 5;

/// Why a packet for a service may not come from where it does, as a number; 0 if it may.
#[inline(always)]
pub fn refusal<A: Address, P: Prefixes>(
    prefixes: &P,
    source: A,
    destination: A,
    admission: Admission,
) -> u32 {
    if source.is_martian() {
        return MARTIAN;
    }
    if source == destination {
        return LAND;
    }
    // The filter has every address of ours, and few others.
    let (word, bit) = own_bit(source);
    if prefixes.own_word(word) & bit != 0 {
        let own = PrefixKey::lookup(own_scope::<A>(), source);
        if prefixes.listening(&own).is_some() {
            return OWN;
        }
    }
    let denies = |list| Verdict::denies(prefixes.access(&PrefixKey::lookup(list, source)));
    let traits = admission.traits();
    if traits.has(ServiceTraits::ALL_LISTED) && denies(global_list::<A>()) {
        return DENIED;
    }
    let list = service_list::<A>(admission.service());
    if traits.has(ServiceTraits::LISTED) && denies(list) {
        return SERVICE_DENIED;
    }
    COMES_IN
}

/// Whether a service whose flows are recorded lets another one in.
#[inline(always)]
pub(super) fn recorded<F: Family, T: FamilyTables<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    service: &Service<F::Address>,
) -> Result<(), Stop> {
    if service.traits().has(ServiceTraits::LIMITED) {
        flow::<F, T>(tables, key, service.id())?;
    }
    Ok(())
}

/// Whether a service whose flows are not recorded lets in what may open one: a SYN, or an Initial of
/// QUIC. A function of its own in the kernel, for the sake of its callers' stack.
#[inline(never)]
pub(super) fn opening<F: Family, P: Packet, T: FamilyTables<F>>(
    packet: &P,
    tables: &T,
    parsed: &Parsed<F::Address>,
    service: &Service<F::Address>,
) -> Result<(), Stop> {
    let quic = service.traits().has(ServiceTraits::QUIC);
    // Only what kind of packet it is matters, and that does not depend on the time.
    match parse::sighting::<F, P>(packet, parsed.facts, quic, 0).kind {
        Kind::Open => flow::<F, T>(tables, &parsed.key, service.id()),
        Kind::Data | Kind::Close | Kind::Peek => Ok(()),
    }
}

/// Whether a service lets another flow in, which takes a token of the source's bucket, and one of
/// the service's. A function of its own, as [`opening`] is.
#[inline(never)]
pub(super) fn flow<F: Family, T: FamilyTables<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    service: u32,
) -> Result<(), Stop> {
    let Some(limits) = tables.limits(service) else {
        return Ok(());
    };
    let (now, hertz) = (tables.now(), tables.hertz());
    if limits.source.per_second != 0 {
        let bits = limits.source_bits(key.source);
        let bucket = FlowBucketKey::new(service, key.source, bits);
        let take = |bucket: FlowBucket| bucket.take(limits.source, now, hertz);
        if !tables.with_source_flow_bucket(&bucket, take) {
            return Err(DropReason::SourceLimited.into());
        }
    }
    if limits.total.per_second != 0 {
        let take = |bucket: FlowBucket| bucket.take(limits.total, now, hertz);
        if !tables.with_flow_bucket(service, take) {
            return Err(DropReason::ServiceLimited.into());
        }
    }
    Ok(())
}
