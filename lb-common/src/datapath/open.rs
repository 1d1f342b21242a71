//! Recording a new flow: its backend, and a source address and port of its own.
//!
//! Two entries are made: first that of the replies, whose key no other flow has, so that it
//! decides who owns the source port; then that of the client's packets.
//!
//! The candidates for address and port come from the flow's hash: the same client meets its own
//! port again, also after its entries were evicted. A port whose flow is closing stays reserved
//! for [`CLOSING_SECONDS`].

use crate::{
    abi::{
        Address, Backend, Direction, FlowEntry, FlowHash, FlowKey, FlowSpec, FlowState, Forward,
        HopWord, Rewrite, Service,
    },
    net::{Family, TcpHeader},
};

use super::{
    decide,
    flow::lookup,
    forward,
    outcome::{DropReason, Stop},
    rewrite,
    tables::{FamilyTables, InsertError, Scratch, Tables},
};

/// How many source ports a new flow tries.
pub const CANDIDATE_PORTS: u32 = 8;

/// How long a closing flow keeps its source port, seconds: a backend's TIME_WAIT (Linux).
pub const CLOSING_SECONDS: u32 = 60;

/// How long a silent TCP flow keeps its source port, seconds (RFC 5382, REQ-5: at least 2 h 4 min).
pub const TCP_SECONDS: u32 = 2 * 3600 + 10 * 60;

/// How long a silent UDP flow keeps its source port, seconds (RFC 4787, REQ-5: at least 2 min).
pub const UDP_SECONDS: u32 = 120;

/// What matters of a flow's first packet beside its key.
pub(super) struct First {
    /// The way that it came.
    pub(super) back: HopWord,
    /// Length of the IP packet.
    pub(super) length: usize,
}

/// Records the flow of `scratch.key`, a client's packet to `service`, unless it can't go on to its
/// backend. Then the flow's entry is in the table: this one, or that of a CPU that was faster.
#[inline(never)]
pub(super) fn record<F: Family, T: FamilyTables<F>>(
    tables: &T,
    scratch: &mut Scratch<F::Address>,
    service: &Service<F::Address>,
    first: &First,
) -> Result<(), Stop> {
    let chosen = service.hash(&scratch.key, tables.seed());
    let index = decide::slot_of(tables, service, chosen)?.current();
    let backend = decide::backend(tables, index)?;
    let hash = scratch.key.hash(tables.seed());
    if backend.forward() != Some(Forward::FullNat) {
        return Err(DropReason::Inconsistent.into());
    }
    let next = forward::to_backend(tables, backend.next_hop())?;
    rewrite::fits(first.length, next)?;
    let new = NewFlow {
        service: service.id(),
        index,
        backend,
        first,
    };
    for n in 0..CANDIDATE_PORTS {
        let ends = new.candidate::<F, T>(tables, &scratch.key, hash.candidate(n))?;
        scratch.answers = ends.answer(scratch.key.protocol);
        if new.claim::<F, T>(tables, scratch)? {
            return new.admit::<F, T>(tables, scratch);
        }
    }
    Err(DropReason::NoSourcePort.into())
}

/// A flow that is about to be recorded.
struct NewFlow<'a> {
    service: u32,
    index: u32,
    backend: &'a Backend,
    first: &'a First,
}

impl NewFlow<'_> {
    /// The ends towards the backend that a candidate of the flow's hash gives.
    #[inline(always)]
    fn candidate<F: Family, T: FamilyTables<F>>(
        &self,
        tables: &T,
        key: &FlowKey<F::Address>,
        hash: FlowHash,
    ) -> Result<Rewrite<F::Address>, Stop> {
        let (first, count) = self.backend.sources();
        let source = tables
            .source(first + hash.below(u32::from(count)))
            .ok_or(DropReason::Inconsistent)?;
        let ports = tables.source_ports();
        // The hash's other half, so that address and port do not go together.
        let offset = FlowHash(hash.0 << 32).below(u32::from(ports.count));
        Ok(Rewrite {
            source,
            destination: self.backend.address(),
            source_port: (ports.first + offset as u16).to_be_bytes(),
            destination_port: self.backend.port(key.destination_port),
        })
    }

    /// Claims the candidate that `scratch.answers` come to, by recording them; `false` if another
    /// flow has it. An element may be claimed a second time, after its holder was told to go.
    #[inline(always)]
    fn claim<F: Family, T: FamilyTables<F>>(
        &self,
        tables: &T,
        scratch: &mut Scratch<F::Address>,
    ) -> Result<bool, Stop> {
        for last in [false, true] {
            let back = scratch.key.reply();
            let spec = self.spec(&scratch.answers, back, Direction::Out);
            make(tables, &mut scratch.entry, spec);
            match tables.insert_flow(&scratch.answers, &scratch.entry) {
                Ok(()) => return Ok(true),
                Err(InsertError::Full) => return Err(DropReason::FlowTableFull.into()),
                Err(InsertError::Exists) if last => break,
                Err(InsertError::Exists) => {}
            }
            if lookup::<F, T>(tables, &scratch.answers, &mut scratch.found).is_none() {
                break;
            }
            // Our own: from before the client's entry was evicted, or another CPU's. What it says
            // of the past (closing, whom to count for, the way back) is replaced.
            if scratch.found.rewrite() == back {
                let replaced = tables.replace_flow(&scratch.answers, &scratch.entry);
                return replaced
                    .map(|()| true)
                    .map_err(|_| DropReason::FlowTableFull.into());
            }
            if !vacate::<F, T>(tables, scratch) {
                break;
            }
        }
        Ok(false)
    }

    /// Records the client's packets, once the answers are.
    #[inline(always)]
    fn admit<F: Family, T: FamilyTables<F>>(
        &self,
        tables: &T,
        scratch: &mut Scratch<F::Address>,
    ) -> Result<(), Stop> {
        let ends = scratch.answers.reply();
        make(
            tables,
            &mut scratch.entry,
            self.spec(&scratch.key, ends, Direction::In),
        );
        match tables.insert_flow(&scratch.key, &scratch.entry) {
            Ok(()) => Ok(()),
            Err(InsertError::Exists) => {
                // Another CPU was faster: its port counts.
                let winner = lookup::<F, T>(tables, &scratch.key, &mut scratch.found);
                if winner.is_some() && scratch.found.rewrite() != ends {
                    tables.remove_flow(&scratch.answers);
                }
                Ok(())
            }
            Err(InsertError::Full) => {
                tables.remove_flow(&scratch.answers);
                Err(DropReason::FlowTableFull.into())
            }
        }
    }

    /// What an entry of this flow is made from, which gives packets of `key` the ends `ends`.
    #[inline(always)]
    fn spec<'k, A: Address>(
        &self,
        key: &'k FlowKey<A>,
        ends: Rewrite<A>,
        direction: Direction,
    ) -> FlowSpec<'k, A> {
        let next_hop = match direction {
            Direction::In => self.backend.next_hop(),
            Direction::Out => 0,
        };
        let (service, backend) = (self.service, self.index);
        FlowSpec {
            key,
            ends,
            direction,
            next_hop,
            service,
            backend,
            route: self.first.back,
        }
    }
}

/// Makes an entry whose first reply looks the way back up.
#[inline(always)]
fn make<A: Address, T: Tables>(tables: &T, entry: &mut FlowEntry<A>, spec: FlowSpec<'_, A>) {
    let now = tables.now();
    entry.fill(spec, now, now.wrapping_sub(tables.hertz()));
}

/// Takes the source port of `scratch.answers` from the flow in `scratch.found`, if that has been
/// closing or silent for long enough; `false` if it has not.
#[inline(always)]
fn vacate<F: Family, T: FamilyTables<F>>(tables: &T, scratch: &mut Scratch<F::Address>) -> bool {
    let protocol = scratch.key.protocol;
    let limit = match (scratch.found.state(), protocol) {
        (FlowState::Closing, _) => CLOSING_SECONDS,
        (FlowState::Open, TcpHeader::PROTOCOL) => TCP_SECONDS,
        (FlowState::Open, _) => UDP_SECONDS,
    };
    let replied = scratch.found.last_seen;
    scratch.other = scratch.found.rewrite().answer(protocol);
    let other = lookup::<F, T>(tables, &scratch.other, &mut scratch.found);
    // The time is read last: no packet was seen after it.
    let now = tables.now();
    let mut idle = now.wrapping_sub(replied);
    if other.is_some() {
        idle = idle.min(now.wrapping_sub(scratch.found.last_seen));
    }
    if idle < limit * tables.hertz() {
        return false;
    }
    tables.remove_flow(&scratch.other);
    tables.remove_flow(&scratch.answers);
    true
}
