//! What the agent shows of itself: takes note of what changes, and shows it as it is at one `moment`.

mod health;
mod moment;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::sync::watch;

use crate::{
    health::Snapshot as Health,
    kernel::{Attachment, CounterReader},
    model::{Backend, Config, Family, PoolIndex, ServiceIndex},
    net::Snapshot as NextHops,
    overrides::Overrides,
    plan::Tables,
    slots::TableStatus,
    state::{self, Ids, Link, PoolFamily},
    stats::{AgentView, ExceptionsView, PoolView, RemovedView, SlotsView, Snapshot, Source},
    unix_time::unix_now,
    vrrp::{Notified, Views},
};

use moment::{Moment, slots_view};

/// What is shown, beside what changes while the agent runs.
pub(super) struct View {
    pub(super) configured: Mutex<Arc<Configured>>,
    /// Exceptions that there may be of each family.
    pub(super) limit: u64,
    pub(super) agent: AgentView,
    pub(super) started: Instant,
    pub(super) counters: CounterReader,
    pub(super) health: watch::Receiver<Arc<Health>>,
    pub(super) vrrp: Views,
    pub(super) notified: Notified,
    pub(super) now: Mutex<Now>,
}

/// The configuration that the agent works by.
#[derive(Clone)]
pub(super) struct Configured {
    pub(super) config: Config,
    /// The same, with the services that it has no more but that have flows: its own pools and services come first.
    pub(super) in_tables: Config,
    /// The numbers of all that is in the tables.
    pub(super) ids: Ids,
    /// What the operator should know of it.
    pub(super) warnings: Vec<String>,
    /// Counts the configurations that were taken since the start.
    pub(super) generation: u64,
}

/// What changes.
#[derive(Default)]
pub(super) struct Now {
    /// The devices whose packets the program handles.
    served: Vec<Served>,
    /// Where backends are reached.
    hops: NextHops,
    /// Backends that are in the tables, by index.
    in_tables: BTreeSet<u32>,
    /// The pool that answers for each family of a service.
    answering: Answering,
    /// Each backend's share of its slots, by index.
    shares: BTreeMap<u32, f64>,
    /// The slot tables, by pool and family.
    slots: BTreeMap<(PoolIndex, Family), SlotsView>,
    /// How many flows are recorded since their slots are not settled.
    exceptions: ExceptionsView,
    /// What operators say of backends.
    overrides: Overrides,
    /// Services that the configuration has no more, but that have flows.
    removed: Vec<RemovedView>,
    /// Flows of backends that are drained, by index: recorded by their services, and as exceptions.
    drained: BTreeMap<u32, (u64, u64)>,
    /// Whether the tables were written.
    applied: bool,
    /// Why the last reload failed, if it did.
    reload_error: Option<String>,
    /// Why the tables are not what they should be, if they are not.
    behind: Option<String>,
    /// The number of the configuration that the tables follow.
    generation: u64,
    /// When it was taken, in seconds since 1970.
    taken: u64,
}

/// A device whose packets the program handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Served {
    /// The device, and how the program runs: on it, or on the one below it.
    pub(super) attachment: Attachment,
    /// The device that the program runs on, if this is a VLAN device.
    pub(super) lower: Option<String>,
}

/// Devices whose packets the program handles once it is attached, of all of ours, in their order.
pub(super) fn served(attached: Vec<Attachment>, links: &BTreeMap<String, Link>) -> Vec<Served> {
    let on = |ifindex: u32| attached.iter().find(|a| a.ifindex == ifindex);
    let served = links.iter().filter_map(|(name, link)| {
        // It may have been renamed since it was attached to.
        let named = |mode| Attachment {
            name: name.clone(),
            ifindex: link.ifindex,
            mode,
        };
        let Some(vlan) = link.vlan else {
            let mode = on(link.ifindex)?.mode.clone();
            return Some(Served {
                attachment: named(mode),
                lower: None,
            });
        };
        let below = on(vlan.bottom)?;
        Some(Served {
            attachment: named(below.mode.clone()),
            lower: Some(below.name.clone()),
        })
    });
    served.collect()
}

impl Now {
    /// At the start, with the first configuration.
    pub(super) fn first(overrides: Overrides, removed: Vec<RemovedView>) -> Self {
        Self {
            overrides,
            removed,
            generation: 1,
            taken: unix_now(),
            ..Self::default()
        }
    }
}

/// The pool that answers for each family of a service.
type Answering = BTreeMap<(ServiceIndex, Family), PoolIndex>;

impl View {
    /// The configuration that the agent works by.
    pub(super) fn configured(&self) -> Arc<Configured> {
        let configured = self.configured.lock();
        // As with `lock`.
        Arc::clone(&configured.unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes note of another configuration.
    pub(super) fn configure(&self, configured: Configured) {
        let mut held = self
            .configured
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *held = Arc::new(configured);
    }

    /// Takes note of the devices whose packets the program handles.
    pub(super) fn serves(&self, served: Vec<Served>) {
        self.lock().served = served;
    }

    /// Takes note of how a reload ended: the number of the configuration that the tables follow now, or
    /// why they stay.
    pub(super) fn reloaded(&self, ended: Result<u64, String>) {
        let mut now = self.lock();
        match ended {
            Ok(generation) => {
                (now.generation, now.reload_error) = (generation, None);
                now.taken = unix_now();
            }
            Err(error) => now.reload_error = Some(error),
        }
    }

    /// Takes note of whether the tables are what they should be, and if not, why. Returns what there is to say
    /// of it, if that is new.
    pub(super) fn falls_behind(&self, error: Option<String>) -> Option<String> {
        let behind = |error| format!("the tables can't be written, which is tried again: {error}");
        let behind = error.map(behind);
        let before = mem::replace(&mut self.lock().behind, behind.clone());
        behind.filter(|now| before.as_ref() != Some(now))
    }

    /// Why the tables are not what they should be, if they are not.
    pub(super) fn behind(&self) -> Option<String> {
        self.lock().behind.clone()
    }

    /// Whether the last reload failed.
    pub(super) fn has_failed(&self) -> bool {
        self.lock().reload_error.is_some()
    }

    /// Takes note of what the tables hold now, and of the next hops that they were made from.
    pub(super) fn applied(&self, tables: &Tables, answering: Answering, hops: NextHops) {
        let shares = state::shares(&self.configured().ids, tables);
        let mut now = self.lock();
        let living = tables.backends.iter().filter(|(_, one)| one.is_alive());
        now.in_tables = living.map(|(n, _)| *n).collect();
        (now.shares, now.hops, now.applied) = (shares, hops, true);
        now.answering = answering;
    }

    /// These backends, by pool and name, in their pools.
    pub(super) fn pools_of(&self, names: &BTreeSet<(String, String)>) -> Vec<PoolView> {
        self.look(|moment| {
            let named: BTreeMap<&str, BTreeSet<&str>> =
                names
                    .iter()
                    .fold(BTreeMap::new(), |mut named, (pool, backend)| {
                        let backends: &mut BTreeSet<&str> = named.entry(pool).or_default();
                        backends.insert(backend);
                        named
                    });
            let pools = moment.configured.config.pools.iter().enumerate();
            let shown = pools.filter_map(|(n, pool)| {
                let backends = named.get(pool.name.as_str())?;
                let is_one = |backend: &Backend| backends.contains(backend.name.as_str());
                Some(moment.pool(n, pool, is_one))
            });
            shown.collect()
        })
    }

    /// Looks at it at one moment.
    fn look<T>(&self, look: impl FnOnce(&Moment<'_>) -> T) -> T {
        let health = Arc::clone(&self.health.borrow());
        let (configured, now) = (self.configured(), self.lock());
        look(&Moment {
            view: self,
            configured: &configured,
            now: &now,
            health: &health,
        })
    }

    /// Takes note of what operators say now.
    pub(super) fn overrides(&self, overrides: Overrides) {
        self.lock().overrides = overrides;
    }

    /// Takes note of the services that the configuration has no more, but that have flows.
    pub(super) fn removed(&self, removed: Vec<RemovedView>) {
        self.lock().removed = removed;
    }

    /// Takes note of the flows of backends that are drained, by index.
    pub(super) fn drained(&self, flows: BTreeMap<u32, (u64, u64)>) {
        self.lock().drained = flows;
    }

    /// Takes note of the slots, and of how many exceptions there are of IPv4 and of IPv6.
    pub(super) fn slots(
        &self,
        tables: impl Iterator<Item = (PoolFamily, TableStatus)>,
        [ipv4, ipv6]: [u64; 2],
    ) {
        let tables = tables.map(|(key, status)| (key, slots_view(key.1, &status)));
        let tables = tables.collect();
        let mut now = self.lock();
        now.slots = tables;
        now.exceptions = ExceptionsView {
            ipv4,
            ipv6,
            limit: self.limit,
        };
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Now> {
        // Nobody panics while holding it; if somebody did, what it holds is whole all the same.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for View {
    fn snapshot(&self) -> Snapshot {
        self.look(|moment| moment.snapshot())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel, state::fixtures};

    #[test]
    fn vlan_devices_are_served_where_the_device_below_is() {
        let links = fixtures::links();
        let on = |name: &str, mode: &kernel::Mode| Attachment {
            name: name.into(),
            ifindex: links[name].ifindex,
            mode: mode.clone(),
        };
        let generic = kernel::Mode::Generic("no driver support".into());
        let native = kernel::Mode::Native;
        let attached = vec![on("front", &native), on("back", &generic)];
        let on_itself = |name, mode| Served {
            attachment: on(name, mode),
            lower: None,
        };
        let vlan = Served {
            attachment: on("back.7", &generic),
            lower: Some("back".into()),
        };
        let expected = [
            on_itself("back", &generic),
            vlan,
            on_itself("front", &native),
        ];
        assert_eq!(served(attached, &links), expected);
        let without = vec![on("front", &native)];
        assert_eq!(served(without, &links), [on_itself("front", &native)]);
    }
}
