//! The verdict on one dumped exception: whether it stays, and if not, why. What becomes of its slot
//! is decided by `sweep`, which sees all of them.

use std::time::Duration;

use lb_common::abi::{BackendRef, Exception, ExceptionState, Slot, TableId};

/// How long a flow that ends is kept after its last packet.
pub const CLOSING_TIME: Duration = Duration::from_secs(120);

/// A slot, by its table and its number there.
pub(super) type Place = (TableId, u32);

/// An exception as it was dumped.
#[derive(Clone, Copy, Debug)]
pub struct Dumped<K> {
    /// Its key.
    pub key: K,
    /// What it says.
    pub entry: Exception,
    /// Its flow's slot; `None` if no service has the flow any more.
    pub slot: Option<(TableId, u32)>,
    /// How long its service keeps a flow without packets.
    pub timeout: Duration,
}

/// The kernel's clock, read before the dump began.
#[derive(Clone, Copy, Debug)]
pub struct Jiffies {
    /// Now; it wraps.
    pub now: u32,
    /// Jiffies in a second.
    pub hertz: u32,
}

/// Why an exception goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No service has its flow.
    NoService,
    /// Nothing was seen for the entry timeout.
    Idle,
    /// The flow ended, and nothing was seen for [`CLOSING_TIME`].
    Closed,
    /// Its backend is dead, or another has its index.
    Unusable,
    /// It says the same as its slot, which is MIXED.
    Redundant,
    /// Its slot is settled: nobody looks.
    Settled,
}

/// A slot's word, and whether it is ripe.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) place: Place,
    pub(super) slot: Slot,
    pub(super) ripe: bool,
}

/// What is to become of an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes.
    Delete(Reason),
    /// It becomes COMMITTED with this owner.
    Rewrite(BackendRef),
    /// It stays.
    Keep,
}

/// The verdict on one exception, whatever the others of its slot are.
pub(super) fn judge<K>(
    dumped: &Dumped<K>,
    held: Option<Held>,
    clock: Jiffies,
    usable: &impl Fn(BackendRef) -> bool,
) -> Verdict {
    let entry = &dumped.entry;
    if let Some(reason) = over(dumped, held, clock) {
        return Verdict::Delete(reason);
    }
    let (owner, fallback) = (entry.owner(), entry.fallback());
    let tentative = entry.state() == ExceptionState::Tentative;
    let heir = match usable(owner) {
        true => owner,
        false if tentative && usable(fallback) => fallback,
        false => return Verdict::Delete(Reason::Unusable),
    };
    let rewritten = heir != owner;
    let committed = entry.state() == ExceptionState::Committed || rewritten;
    let same = |held: Held| held.ripe && heir.index() == held.slot.current();
    if committed && held.is_some_and(same) {
        Verdict::Delete(Reason::Redundant)
    } else if rewritten {
        Verdict::Rewrite(heir)
    } else {
        Verdict::Keep
    }
}

/// Why an exception goes whomever it names.
fn over<K>(dumped: &Dumped<K>, held: Option<Held>, clock: Jiffies) -> Option<Reason> {
    let idle = clock.since(dumped.entry.last_seen());
    let closing = dumped.entry.state() == ExceptionState::Closing;
    if dumped.slot.is_none() {
        Some(Reason::NoService)
    } else if idle >= clock.jiffies(dumped.timeout) {
        Some(Reason::Idle)
    } else if closing && idle >= clock.jiffies(CLOSING_TIME) {
        Some(Reason::Closed)
    } else if held.is_some_and(|held| held.slot.is_settled()) {
        Some(Reason::Settled)
    } else {
        None
    }
}

/// Whether an exception that stays, owned by `owner`, says something else than its slot, which then
/// can't be settled.
pub(super) fn differs(entry: &Exception, owner: BackendRef, slot: Slot) -> bool {
    let tentative = entry.state() == ExceptionState::Tentative;
    owner.index() != slot.current() || tentative && entry.fallback().index() != slot.current()
}

impl Jiffies {
    /// Time since a stamp. One from after the clock was read is now: other CPUs go on.
    fn since(self, stamp: u32) -> u32 {
        let elapsed = self.now.wrapping_sub(stamp);
        if elapsed > i32::MAX as u32 {
            0
        } else {
            elapsed
        }
    }

    /// A duration, at most what can be told from a stamp to come.
    fn jiffies(self, duration: Duration) -> u32 {
        let jiffies = duration.as_millis() * u128::from(self.hertz) / 1000;
        u32::try_from(jiffies).map_or(i32::MAX as u32, |n| n.min(i32::MAX as u32))
    }
}
