//! Fragments: the first one of a packet has the ports, and is remembered if it is forwarded; the
//! others follow it. Its ports name their flow, so tables and recorded flows give them what they
//! gave the first one; they only look, and record nothing.
//!
//! The numbers that fragments go by are short and easily guessed: so what is remembered is never
//! replaced while it counts, and no source may fill the table alone.

use crate::{
    abi::{Address as _, FlowKey, FragmentBudget, Fragmented},
    net::Family,
};

use super::tables::FamilyTables;

/// Gives the key of a later fragment, whose packet has the number `id`, the ports and the protocol
/// that the first one had; `false` if that is not known. A function of its own in the kernel, for
/// the sake of its small stack.
#[inline(never)]
pub(super) fn follow<F: Family, T: FamilyTables<F>>(
    tables: &T,
    key: &mut FlowKey<F::Address>,
    id: u32,
) -> bool {
    let common = common::<F>(key, id);
    let Some(first) = current::<F, T>(tables, &common, tables.now()) else {
        return false;
    };
    key.source_port = first.source_port;
    key.destination_port = first.destination_port;
    key.protocol = first.protocol;
    true
}

/// Remembers the first fragment of a flow's packet, which has the number `id`. A function of its
/// own, as [`follow`] is.
#[inline(never)]
pub(super) fn remember<F: Family, T: FamilyTables<F>>(
    tables: &T,
    key: &FlowKey<F::Address>,
    id: u32,
) {
    let common = common::<F>(key, id);
    let (now, hertz) = (tables.now(), tables.hertz());
    if current::<F, T>(tables, &common, now).is_some() {
        return;
    }
    // IPv6 hands out prefixes of 64 bits (RFC 4291, section 2.5.4): one is a source.
    let source = key.source.prefix(if F::VERSION == 4 { 32 } else { 64 });
    let take = |budget: &mut FragmentBudget| budget.take(now, hertz);
    if tables.with_fragment_budget(&source, take) == Some(true) {
        tables.remove_fragmented(&common);
        // If another CPU was faster, or the table is full, the others follow that one, or none.
        let _ = tables.insert_fragmented(&common, &Fragmented::new(&common, key, now));
    }
}

/// What a packet's fragments have in common: over IPv4 with the protocol (RFC 791, section 3.2),
/// over IPv6 without (RFC 8200, section 4.5).
#[inline(always)]
fn common<F: Family>(key: &FlowKey<F::Address>, id: u32) -> FlowKey<F::Address> {
    let protocol = if F::VERSION == 4 { key.protocol } else { 0 };
    FlowKey::of_fragments(key.source, key.destination, id, protocol)
}

#[inline(always)]
fn current<F: Family, T: FamilyTables<F>>(
    tables: &T,
    common: &FlowKey<F::Address>,
    now: u32,
) -> Option<Fragmented> {
    let found = tables.fragmented(common)?;
    let own = found.fingerprint == common.fingerprint();
    (own && found.is_current(now, tables.hertz())).then_some(found)
}
