//! Which services record every flow, and why. All others are hash-determined and record exceptions.

use std::{collections::HashMap, net::IpAddr};

use super::{Config, Family, Forward, Listen, Pool, PoolIndex, Protocol, Service, Tracking};

/// Why a service records every flow: the first of these that holds, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackedBecause {
    /// In a pool's mode each flow has a port of its own.
    Mode {
        /// The pool.
        pool: PoolIndex,
    },
    /// Its `tracking` says so.
    Asked,
    /// No hash answers for its scheduler.
    Scheduler,
    /// A client keeps its backend: `affinity`.
    Affinity,
    /// A backend has a cap of live flows: `max_flows`.
    MaxFlows {
        /// The pool.
        pool: PoolIndex,
        /// The backend's place in it.
        backend: usize,
    },
    /// In `nat`, a reply doesn't tell which of the service's addresses and ports it is from: it
    /// listens on a range of ports or on a prefix.
    ManyEnds {
        /// That.
        listen: Listen,
    },
    /// In `nat`, replies from a backend could be this service's or another's.
    SharedBackend {
        /// The pool.
        pool: PoolIndex,
        /// The backend's place in it.
        backend: usize,
        /// The address that needs it, of this service.
        listen: Listen,
        /// The other address that needs it, perhaps of this service too.
        other: Listen,
    },
}

impl Config {
    /// Why each service records every flow, by its index; `None` where only exceptions are.
    pub fn tracked(&self) -> Vec<Option<TrackedBecause>> {
        let claims = Claims::of(self);
        let services = self.services.iter();
        services
            .map(|service| tracked(self, service, &claims))
            .collect()
    }
}

fn tracked(config: &Config, service: &Service, claims: &Claims) -> Option<TrackedBecause> {
    let mut pools = service.pools();
    if let Some(pool) = pools.find(|pool| config.pools[*pool].forward.takes_ports()) {
        return Some(TrackedBecause::Mode { pool });
    }
    if service.tracking == Tracking::Full {
        return Some(TrackedBecause::Asked);
    }
    if !service.scheduler.is_hash_determined() {
        return Some(TrackedBecause::Scheduler);
    }
    if service.affinity.is_some() {
        return Some(TrackedBecause::Affinity);
    }
    capped(config, service)
        .or_else(|| many_ends(config, service))
        .or_else(|| claims.shared(config, service))
}

fn capped(config: &Config, service: &Service) -> Option<TrackedBecause> {
    service.pools().find_map(|pool| {
        let mut backends = config.pools[pool].backends.iter();
        let backend = backends.position(|backend| backend.max_flows.is_some())?;
        Some(TrackedBecause::MaxFlows { pool, backend })
    })
}

fn many_ends(config: &Config, service: &Service) -> Option<TrackedBecause> {
    let is_nat = |pool: PoolIndex| config.pools[pool].forward == Forward::Nat;
    let mut listens = service.listen.iter();
    let listen = *listens.find(|listen| !listen.is_exact())?;
    let nat = service.pools().any(is_nat);
    nat.then_some(TrackedBecause::ManyEnds { listen })
}

/// What the reply of a `nat` backend is known by: where it comes from. Port 0 is any port.
pub type ReplyEnd = (IpAddr, u16, Protocol);

/// Who needs the replies of each end. Where there are two, a reply alone doesn't tell whose it is.
struct Claims {
    /// The first two addresses that need an end's.
    ends: HashMap<ReplyEnd, (Listen, Option<Listen>)>,
    /// The ranges of ports that a backend serves at ports of its own.
    ranges: HashMap<(IpAddr, Protocol), Vec<Listen>>,
}

impl Claims {
    fn of(config: &Config) -> Self {
        let mut claims = Self {
            ends: HashMap::new(),
            ranges: HashMap::new(),
        };
        for service in &config.services {
            for pool in service.pools() {
                for (_, listen, end) in reply_ends(service, &config.pools[pool]) {
                    claims.add(listen, end);
                }
            }
        }
        claims
    }

    fn add(&mut self, listen: Listen, end: ReplyEnd) {
        let (address, port, protocol) = end;
        if port == 0 {
            let ranges = self.ranges.entry((address, protocol)).or_default();
            return ranges.push(listen);
        }
        let (first, second) = self.ends.entry(end).or_insert((listen, None));
        if *first != listen {
            second.get_or_insert(listen);
        }
    }

    /// Another that needs the replies of this end, which `listen` needs.
    fn other(&self, listen: Listen, end: ReplyEnd) -> Option<Listen> {
        let (address, port, protocol) = end;
        let (first, second) = *self.ends.get(&end)?;
        let same = second.map(|second| if first == listen { second } else { first });
        let ranges = self.ranges.get(&(address, protocol));
        same.or_else(|| {
            let mut ranges = ranges?.iter();
            ranges.find(|range| range.has_port(port)).copied()
        })
    }

    fn shared(&self, config: &Config, service: &Service) -> Option<TrackedBecause> {
        service.pools().find_map(|pool| {
            reply_ends(service, &config.pools[pool]).find_map(|(backend, listen, end)| {
                let other = self.other(listen, end)?;
                Some(TrackedBecause::SharedBackend {
                    pool,
                    backend,
                    listen,
                    other,
                })
            })
        })
    }
}

/// The ends that replies to a service come from, of a `nat` pool: with the backend's place in it,
/// and the address that is answered for.
pub fn reply_ends(
    service: &Service,
    pool: &Pool,
) -> impl Iterator<Item = (usize, Listen, ReplyEnd)> {
    let nat = Some(pool).filter(|pool| pool.forward == Forward::Nat);
    let backends = nat
        .into_iter()
        .flat_map(|pool| pool.backends.iter().enumerate());
    backends.flat_map(|(n, backend)| {
        service.listen.iter().filter_map(move |listen| {
            let family = Family::of(listen.address.ip());
            let address = Forward::Nat.address(family, &backend.addresses)?;
            let port = address.port.unwrap_or(match listen.is_single_port() {
                true => listen.address.port(),
                false => 0,
            });
            Some((n, *listen, (address.ip, port, listen.protocol)))
        })
    })
}
