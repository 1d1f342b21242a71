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
        Address, Backend, BackendRef, Direction, FlowEntry, FlowHash, FlowKey, FlowSpec, FlowState,
        FlowTable, Forward, HopWord, Rewrite, Service,
    },
    net::{Family, UdpHeader},
};

use super::{
    decide,
    flow::{forget, lookup},
    forward,
    outcome::{DropReason, Stop},
    rewrite,
    tables::{FamilyTables, InsertError, Scratch, Tables},
};

/// How many source ports a new flow tries.
pub const CANDIDATE_PORTS: u32 = 8;

/// How long a closing flow keeps its source port, seconds: a backend's TIME_WAIT (Linux).
pub const CLOSING_SECONDS: u32 = 60;

/// Records the flow of `scratch.key`, a client's packet to a service, with the backend that was chosen
/// for it, unless it can't go on there. Then the flow's entry is in the table: this one, or that of a
/// CPU that was faster.
#[inline(never)]
pub(super) fn record<F: Family, T: FamilyTables<F>>(
    tables: &T,
    scratch: &mut Scratch<F::Address>,
    service: &Service<F::Address>,
) -> Result<(), Stop> {
    let chosen = BackendRef::from_word(scratch.chosen);
    let backend = decide::backend(tables, chosen.index())?;
    let next = forward::to_backend(tables, backend.next_hop())?;
    rewrite::fits_as::<F>(scratch.length as usize, backend.address(), next)?;
    let new = NewFlow {
        service: service.id(),
        chosen,
        backend,
        back: scratch.back,
        sequence: scratch.segment.initial(),
    };
    let hash = scratch.key.hash(tables.seed());
    for n in 0..CANDIDATE_PORTS {
        let ends = new.candidate::<F, T>(tables, &scratch.key, hash.candidate(n))?;
        scratch.answers = ends.answer(scratch.key.protocol);
        if service.has_unmapped() && tables.is_held_unmapped(&scratch.answers) {
            continue;
        }
        if new.claim::<F, T>(tables, scratch)? {
            return new.admit::<F, T>(tables, scratch);
        }
    }
    Err(DropReason::NoSourcePort.into())
}

/// A flow that is about to be recorded.
struct NewFlow<'a> {
    service: u32,
    chosen: BackendRef,
    backend: &'a Backend,
    back: HopWord,
    sequence: u32,
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
        let destination_port = self.backend.port(key.destination_port);
        match self.backend.forward() {
            Some(Forward::FullNat) => {}
            // The client's own ends: there is no other candidate.
            Some(Forward::Nat) => {
                return Ok(Rewrite {
                    source: key.source,
                    destination: self.backend.address(),
                    source_port: key.source_port,
                    destination_port,
                });
            }
            Some(Forward::Ipip | Forward::Dsr | Forward::Gue) | None => {
                return Err(DropReason::Inconsistent.into());
            }
        }
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
            destination_port,
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
            // Young flows decide who owns a port, unless a committed one has it.
            if tables
                .flow(FlowTable::Committed, &scratch.answers)
                .is_none()
            {
                match tables.insert_flow(FlowTable::Young, &scratch.answers, &scratch.entry) {
                    Ok(()) => return Ok(true),
                    Err(InsertError::Full) => return Err(DropReason::FlowTableFull.into()),
                    Err(InsertError::Exists) if last => break,
                    Err(InsertError::Exists) => {}
                }
            }
            let held = lookup::<F, T>(tables, &scratch.answers, &mut scratch.found);
            let Some(table) = held else {
                break;
            };
            // Our own: from before the client's entry was evicted, or another CPU's. What it says
            // of the past (closing, whom to count for, the way back) is replaced.
            if scratch.found.rewrite() == back {
                let replaced = tables.replace_flow(table, &scratch.answers, &scratch.entry);
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
        match tables.insert_flow(FlowTable::Young, &scratch.key, &scratch.entry) {
            Ok(()) => {
                tables.add_active(self.chosen.index(), 1);
                Ok(())
            }
            Err(InsertError::Exists) => {
                // Another CPU was faster: its port counts, and it has counted the flow.
                scratch.opens = 0;
                let winner = lookup::<F, T>(tables, &scratch.key, &mut scratch.found);
                if winner.is_some() && scratch.found.rewrite() != ends {
                    forget::<F, T>(tables, &scratch.answers);
                }
                Ok(())
            }
            Err(InsertError::Full) => {
                forget::<F, T>(tables, &scratch.answers);
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
        FlowSpec {
            key,
            ends,
            direction,
            service: self.service,
            backend: self.chosen,
            route: self.back,
            sequence: self.sequence,
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
    let Some(limit) = silence(tables, &scratch.found, protocol) else {
        return false;
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
    if idle < limit {
        return false;
    }
    forget::<F, T>(tables, &scratch.other);
    forget::<F, T>(tables, &scratch.answers);
    true
}

/// How long a flow keeps its source port after its last packet, jiffies.
#[inline(always)]
fn silence<A: Address, T: Tables>(tables: &T, entry: &FlowEntry<A>, protocol: u8) -> Option<u32> {
    let timeouts = tables.timeouts(entry.service)?;
    Some(match (entry.state(), protocol) {
        (FlowState::Closing | FlowState::Reset, _) => CLOSING_SECONDS * tables.hertz(),
        (_, UdpHeader::PROTOCOL) => timeouts.udp,
        (FlowState::Opening | FlowState::Answered, _) => timeouts.handshake,
        (FlowState::Established, _) => timeouts.established,
    })
}
