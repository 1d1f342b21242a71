//! Services that the configuration has no more, and whose recorded flows go as `on_down` says all the same: they stay
//! for `down_grace`, or are reset. Until then the tables are made from a configuration that has these services beside
//! its own, marked [`removed`](Service::removed), with pools that are gone too. When that time is over is the caller's
//! to know.

use crate::model::{Config, Listen, OnDown, Pool, PoolIndex, Protocol, Service, Tracking, lies_in};

/// The services of `before` that `after` has no more, and whose recorded flows are not simply over with that.
pub fn removed<'a>(before: &'a Config, after: &'a Config) -> impl Iterator<Item = &'a Service> {
    let services = before.services.iter().zip(before.tracked());
    services.filter_map(|(service, tracked)| {
        let stays = after.services.iter().any(|one| one.name == service.name);
        (tracked.is_some() && !stays && ends_of(service, after).next().is_some()).then_some(service)
    })
}

/// `config` with services that it has no more, each out of the configuration that had it last. Its own keep their places.
pub fn with_removed<'a>(
    config: &Config,
    removed: impl IntoIterator<Item = (&'a Config, &'a Service)>,
) -> Config {
    let mut with = config.clone();
    for (before, service) in removed {
        let listen: Vec<Listen> = ends_of(service, &with).collect();
        if listen.is_empty() || with.services.iter().any(|one| one.name == service.name) {
            continue;
        }
        let mut pool = |index: PoolIndex| place_of(&before.pools[index], &mut with.pools);
        let service = Service {
            pool: pool(service.pool),
            fallback: service.fallback.map(&mut pool),
            listen,
            // Whatever else made it so may be gone.
            tracking: Tracking::Full,
            echo: false,
            removed: true,
            ..service.clone()
        };
        with.services.push(service);
    }
    with
}

/// Where it listens that nothing of `config` has taken, as far as flows go on there or are reset: only TCP has a reset.
fn ends_of<'a>(service: &'a Service, config: &'a Config) -> impl Iterator<Item = Listen> + 'a {
    let listens = service.listen.iter().copied();
    let ends = listens.filter(|listen| match service.on_down {
        OnDown::Keep { .. } => true,
        OnDown::Reset => listen.protocol == Protocol::Tcp,
        OnDown::Reschedule => false,
    });
    ends.filter(|listen| !is_taken(listen, config))
}

fn is_taken(listen: &Listen, config: &Config) -> bool {
    let lies_here = |address| lies_in(address, listen.network());
    let mut listens = config.services.iter().flat_map(|service| &service.listen);
    listens.any(|other| overlap(listen, other))
        || config.pools.iter().any(|pool| {
            let backends = pool.backends.iter().flat_map(|backend| &backend.addresses);
            let sources = pool.source.iter().map(|source| source.ip);
            backends.map(|at| at.ip).chain(sources).any(lies_here)
        })
}

/// Whether a packet may be for both.
fn overlap(one: &Listen, other: &Listen) -> bool {
    let (a, b) = (one.network(), other.network());
    one.protocol == other.protocol
        && one.address.port() <= other.last_port
        && other.address.port() <= one.last_port
        && (lies_in(a.0, b) || lies_in(b.0, a))
}

/// The place of a pool among `pools`: of the one of its name, or it comes after them. Nobody is asked whether its backends
/// live.
fn place_of(pool: &Pool, pools: &mut Vec<Pool>) -> PoolIndex {
    let found = pools.iter().position(|one| one.name == pool.name);
    found.unwrap_or_else(|| {
        pools.push(Pool {
            checks: Vec::new(),
            ..pool.clone()
        });
        pools.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::state::fixtures;

    /// A configuration whose second service is recorded, and the same without that and its pool.
    fn both(on_down: OnDown) -> (Config, Config) {
        let mut before = fixtures::config();
        before.services[1].tracking = Tracking::Full;
        before.services[1].on_down = on_down;
        let mut after = before.clone();
        let pool = after.services.remove(1).pool;
        assert!(after.services.iter().all(|one| one.pool != pool), "fixture");
        assert_eq!(pool, after.pools.len() - 1, "fixture");
        after.pools.pop();
        (before, after)
    }

    fn joined(before: &Config, after: &Config) -> Config {
        with_removed(after, removed(before, after).map(|one| (before, one)))
    }

    const KEEP: OnDown = OnDown::Keep {
        grace: Duration::from_secs(30),
    };

    #[test]
    fn a_recorded_service_and_its_pool_stand_beside_the_configuration() {
        let (before, after) = both(KEEP);
        let with = joined(&before, &after);
        let service = with.services.last().unwrap();
        assert!(service.removed && service.name == before.services[1].name);
        assert_eq!(
            with.pools[service.pool].name,
            before.pools[before.services[1].pool].name
        );
        assert_eq!(with.services[..after.services.len()], after.services[..]);
        assert_eq!(with.pools[..after.pools.len()], after.pools[..]);
        assert_eq!(joined(&before, &before), before, "nothing is removed");
    }

    #[test]
    fn flows_that_would_go_elsewhere_or_are_not_recorded_are_over() {
        let (before, after) = both(OnDown::Reschedule);
        assert_eq!(joined(&before, &after), after);
        let (mut before, after) = both(KEEP);
        before.services[1].tracking = Tracking::Auto;
        assert_eq!(before.tracked()[1], None, "fixture");
        assert_eq!(joined(&before, &after), after);
    }

    #[test]
    fn only_tcp_is_reset() {
        let (mut before, after) = both(OnDown::Reset);
        let mut udp = before.services[1].listen[0];
        udp.protocol = Protocol::Udp;
        let mut tcp = udp;
        tcp.protocol = Protocol::Tcp;
        before.services[1].listen = vec![udp, tcp];
        let with = joined(&before, &after);
        assert_eq!(with.services.last().unwrap().listen, [tcp]);
    }

    #[test]
    fn what_another_has_taken_is_its_own() {
        let (before, mut after) = both(KEEP);
        let listen = before.services[1].listen[0];
        let mut range = listen;
        range.address.set_port(listen.address.port() - 1);
        range.last_port += 1;
        after.services[0].listen = vec![range];
        assert_eq!(joined(&before, &after), after);
        let (before, mut after) = both(KEEP);
        after.pools[0].backends[0].addresses[0].ip = before.services[1].listen[0].address.ip();
        let with = joined(&before, &after);
        let left = &before.services[1].listen[1..];
        assert_eq!(with.services.len() > after.services.len(), !left.is_empty());
    }
}
