//! Decides what an instance of a sync group does because of the others: all of them have their addresses, or none. Pure.
//!
//! ```text
//!  one can't take part           ──► none does
//!  all would take over, or have  ──► all do
//!  one hears another master      ──► all leave the addresses to it
//! ```
//!
//! As keepalived's `vrrp_sync_group` has it, no one takes over before all would (vrrp_sync.c, `vrrp_sync_can_goto_master`).

use super::machine::Standing;

/// What an instance of a group is, which the others of it are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its group.
    pub(super) group: String,
    /// What it is by itself: the group aside, does it take part, and would it take over?
    pub(super) standing: Standing,
}

/// What the others of a group make an instance do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Stays,
    /// It takes its addresses.
    Takes,
    /// It gives them up.
    Leaves,
}

/// What an instance that is this does, where the others of its group are these.
pub(super) fn verdict(own: Standing, others: impl Iterator<Item = Standing>) -> Verdict {
    let mut all_would = true;
    let mut one_hears = false;
    for other in others {
        all_would &= matches!(other, Standing::Ready | Standing::Master);
        one_hears |= matches!(other, Standing::Fault | Standing::Backup);
    }
    match own {
        Standing::Ready if all_would => Verdict::Takes,
        Standing::Master if one_hears => Verdict::Leaves,
        _ => Verdict::Stays,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::vrrp::{
        machine::{Action, Event, Reason, Role, Router, Settings},
        packet::Version,
    };

    #[test]
    fn all_or_none() {
        use Standing::{Backup, Fault, Master, Ready, Waiting};
        let verdict = |own, others: &[Standing]| super::verdict(own, others.iter().copied());
        assert_eq!(verdict(Ready, &[]), Verdict::Takes);
        assert_eq!(verdict(Ready, &[Ready, Master]), Verdict::Takes);
        for waits in [Waiting, Backup, Fault] {
            assert_eq!(verdict(Ready, &[Ready, waits]), Verdict::Stays);
        }
        assert_eq!(verdict(Master, &[Ready, Waiting]), Verdict::Stays);
        for goes in [Backup, Fault] {
            assert_eq!(verdict(Master, &[Master, goes]), Verdict::Leaves);
            assert_eq!(verdict(Backup, &[goes]), Verdict::Stays);
        }
    }

    const INTERVAL: Duration = Duration::from_millis(100);

    /// Hosts on two networks, with a router on each, in one group; nothing is lost.
    struct Hosts {
        /// By host, then by network.
        routers: Vec<[Router; 2]>,
        /// The networks that a host is cut off from.
        cut: Vec<[bool; 2]>,
        now: Instant,
        /// For how long some host had one network and not the other.
        apart: Duration,
    }

    impl Hosts {
        fn of(priorities: &[u8]) -> Self {
            let router = |host: usize, priority: u8| {
                let mut router = Router::new(Settings {
                    version: Version::V3,
                    priority,
                    interval: INTERVAL,
                    preempt: Some(Duration::ZERO),
                    refresh: Duration::from_secs(60),
                    address: format!("198.18.0.{}", host + 1).parse().unwrap(),
                    grouped: true,
                });
                router.on(Event::Able, Instant::now());
                router
            };
            let routers = priorities.iter().enumerate();
            Self {
                routers: routers
                    .map(|(n, p)| [router(n, *p), router(n, *p)])
                    .collect(),
                cut: vec![[false; 2]; priorities.len()],
                now: Instant::now(),
                apart: Duration::ZERO,
            }
        }

        fn tell(&mut self, host: usize, network: usize, event: Event) {
            let actions = self.routers[host][network].on(event, self.now);
            for action in actions {
                if let Action::Send(priority) = action {
                    self.deliver(host, network, priority);
                }
            }
        }

        fn deliver(&mut self, from: usize, network: usize, priority: u8) {
            let heard = Event::Heard {
                from: format!("198.18.0.{}", from + 1).parse().unwrap(),
                priority,
                interval: INTERVAL,
            };
            for host in 0..self.routers.len() {
                if host != from && !self.cut[host][network] && !self.cut[from][network] {
                    self.tell(host, network, heard);
                }
            }
        }

        /// Until nobody makes another do anything any more.
        fn settle(&mut self) {
            loop {
                let mut quiet = true;
                for (host, network) in (0..self.routers.len()).flat_map(|h| [(h, 0), (h, 1)]) {
                    let [own, other] =
                        [network, 1 - network].map(|n| self.routers[host][n].standing());
                    let event = match verdict(own, std::iter::once(other)) {
                        Verdict::Stays => continue,
                        Verdict::Takes => Event::Take,
                        Verdict::Leaves => Event::Leave(Reason::SyncGroup),
                    };
                    quiet = false;
                    self.tell(host, network, event);
                }
                if quiet {
                    return;
                }
            }
        }

        fn run(&mut self, time: Duration) {
            const STEP: Duration = Duration::from_millis(1);
            let end = self.now + time;
            while self.now < end {
                self.now += STEP;
                for (host, network) in (0..self.routers.len()).flat_map(|h| [(h, 0), (h, 1)]) {
                    let deadline = self.routers[host][network].deadline();
                    if deadline.is_some_and(|deadline| deadline <= self.now) {
                        self.tell(host, network, Event::Deadline);
                    }
                }
                self.settle();
                let split =
                    |[a, b]: &[Router; 2]| (a.role() == Role::Master) != (b.role() == Role::Master);
                if self.routers.iter().any(split) {
                    self.apart += STEP;
                }
            }
        }

        fn masters(&self) -> Vec<usize> {
            let is_master =
                |host: &usize| self.routers[*host].iter().all(|r| r.role() == Role::Master);
            (0..self.routers.len()).filter(is_master).collect()
        }
    }

    #[test]
    fn the_best_host_has_both_networks() {
        let mut hosts = Hosts::of(&[150, 100]);
        hosts.run(Duration::from_secs(2));
        assert_eq!((hosts.masters(), hosts.apart), (vec![0], Duration::ZERO));
    }

    #[test]
    fn a_network_that_is_lost_takes_the_other_along() {
        let mut hosts = Hosts::of(&[150, 100]);
        hosts.run(Duration::from_secs(2));
        // It knows that its second cable is gone.
        hosts.cut[0][1] = true;
        hosts.tell(0, 1, Event::Unable);
        hosts.run(Duration::from_secs(2));
        assert_eq!((hosts.masters(), hosts.apart), (vec![1], Duration::ZERO));
        hosts.cut[0][1] = false;
        hosts.tell(0, 1, Event::Able);
        hosts.run(Duration::from_secs(2));
        assert_eq!((hosts.masters(), hosts.apart), (vec![0], Duration::ZERO));
    }

    #[test]
    fn a_host_that_hears_a_better_one_on_one_network_takes_neither() {
        let mut hosts = Hosts::of(&[150, 100]);
        hosts.run(Duration::from_secs(2));
        // Something between them has gone on one network: neither knows it.
        hosts.cut[0][1] = true;
        hosts.run(Duration::from_secs(5));
        assert_eq!((hosts.masters(), hosts.apart), (vec![0], Duration::ZERO));
    }

    #[test]
    fn an_owner_waits_for_its_group() {
        let mut hosts = Hosts::of(&[255, 100]);
        hosts.run(Duration::from_secs(2));
        assert_eq!((hosts.masters(), hosts.apart), (vec![0], Duration::ZERO));
    }
}
