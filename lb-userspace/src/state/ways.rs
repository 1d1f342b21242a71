//! Ways to backends over time: a next hop that was lost is held, for as long as flows are kept that go
//! there (`on_down = "keep"`). Whose flows those are is `desired`'s to say, by how long ago it was lost.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::desired::Hop;

/// The next hops that there are, and those that were lost not long ago.
#[derive(Clone, Debug, Default)]
pub struct Ways(BTreeMap<IpAddr, Way>);

#[derive(Clone, Copy, Debug)]
struct Way {
    hop: Hop,
    lost: Option<Instant>,
}

impl Ways {
    /// Takes note of the next hops that are resolved now; all others are lost. Those that flows are
    /// not kept for any more are forgotten: `grace` says how long they are, by address.
    pub fn follow(
        &mut self,
        resolved: BTreeMap<IpAddr, Hop>,
        grace: impl Fn(IpAddr) -> Duration,
        now: Instant,
    ) {
        for (address, way) in &mut self.0 {
            if !resolved.contains_key(address) {
                way.lost.get_or_insert(now);
            }
        }
        let resolved = resolved.into_iter();
        self.0
            .extend(resolved.map(|(address, hop)| (address, Way { hop, lost: None })));
        self.0
            .retain(|&address, way| !way.is_over(grace(address), now));
    }

    /// Whether a lost one is due to be forgotten.
    pub fn is_due(&self, grace: impl Fn(IpAddr) -> Duration, now: Instant) -> bool {
        let mut ways = self.0.iter();
        ways.any(|(&address, way)| way.is_over(grace(address), now))
    }

    /// All of them, lost ones with the time since.
    pub fn hops(&self, now: Instant) -> BTreeMap<IpAddr, Hop> {
        let hop = |(&address, way): (&IpAddr, &Way)| {
            let lost = way.lost.map(|lost| now.saturating_duration_since(lost));
            (address, Hop { lost, ..way.hop })
        };
        self.0.iter().map(hop).collect()
    }
}

impl Way {
    fn is_over(&self, grace: Duration, now: Instant) -> bool {
        let lost = self.lost.map(|lost| now.saturating_duration_since(lost));
        lost.is_some_and(|lost| lost >= grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::fixtures::{hops, ip};

    const GRACE: Duration = Duration::from_secs(30);

    #[test]
    fn a_lost_way_is_held_for_its_grace_and_is_itself_again_after() {
        let (kept, other) = ("198.18.1.1", "198.18.1.2");
        let grace = |address| match address == ip(kept) {
            true => GRACE,
            false => Duration::ZERO,
        };
        let (start, mut ways) = (Instant::now(), Ways::default());
        let lost = |ways: &Ways, now| {
            let hops = ways.hops(now).into_iter();
            hops.map(|(address, hop)| (address, hop.lost))
                .collect::<Vec<_>>()
        };
        ways.follow(hops(&[kept, other]), grace, start);
        assert_eq!(lost(&ways, start), [(ip(kept), None), (ip(other), None)]);
        ways.follow(hops(&[]), grace, start);
        let later = start + GRACE / 2;
        assert_eq!(lost(&ways, later), [(ip(kept), Some(GRACE / 2))]);
        // Told again that it is lost, it was lost when it was.
        ways.follow(hops(&[]), grace, later);
        assert_eq!(lost(&ways, later), [(ip(kept), Some(GRACE / 2))]);
        assert!(!ways.is_due(grace, later));
        let end = start + GRACE;
        assert!(ways.is_due(grace, end));
        let mut back = ways.clone();
        back.follow(hops(&[kept]), grace, later);
        assert_eq!(lost(&back, end), [(ip(kept), None)]);
        ways.follow(hops(&[]), grace, end);
        assert_eq!(lost(&ways, end), []);
    }
}
