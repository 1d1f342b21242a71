//! What the agent shows of itself: joins the configuration with the counters, the next hops and the backends'
//! `health`.

mod health;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::sync::watch;
use tracing::warn;

use crate::{
    health::Snapshot as Health,
    kernel::{self, Attachment, CounterReader},
    model::{
        Backend, BackendAddress, Config, Family, Forward, Pool, PoolIndex, Service, ServiceIndex,
    },
    net::{NextHop, Resolution, Snapshot as NextHops},
    overrides::Overrides,
    plan::Tables,
    slots::{EpochStatus, HoldUp, TableStatus},
    state::{self, Ids, Link, PoolFamily},
    stats::{
        AddressView, AgentView, BackendView, ChangeView, CountersView, ExceptionsView,
        FallbackView, HoldUpCause, HoldUpView, InterfaceView, Mode, NextHopView, PoolView,
        Readiness, RemainingView, ServiceView, SlotsView, Snapshot, Source, Verdicts,
    },
    unix_time::unix_now,
};

/// What is shown, beside what changes while the agent runs.
pub(super) struct View {
    pub(super) configured: Mutex<Arc<Configured>>,
    /// Exceptions that there may be of each family.
    pub(super) limit: u64,
    pub(super) agent: AgentView,
    pub(super) started: Instant,
    pub(super) counters: CounterReader,
    pub(super) health: watch::Receiver<Arc<Health>>,
    pub(super) now: Mutex<Now>,
}

/// The configuration that the agent works by.
#[derive(Clone)]
pub(super) struct Configured {
    pub(super) config: Config,
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
    pub(super) fn first(overrides: Overrides) -> Self {
        Self {
            overrides,
            generation: 1,
            taken: unix_now(),
            ..Self::default()
        }
    }
}

/// The pool that answers for each family of a service.
type Answering = BTreeMap<(ServiceIndex, Family), PoolIndex>;

/// A view at one moment.
struct Moment<'a> {
    view: &'a View,
    configured: &'a Configured,
    now: &'a Now,
    health: &'a Health,
}

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

impl Moment<'_> {
    fn snapshot(&self) -> Snapshot {
        let (configured, now) = (self.configured, self.now);
        let pools = configured.config.pools.iter().enumerate();
        let warnings = now.behind.iter().chain(&configured.warnings);
        Snapshot {
            agent: AgentView {
                uptime_seconds: self.view.started.elapsed().as_secs(),
                generation: now.generation,
                taken_unix_seconds: now.taken,
                warnings: warnings.cloned().collect(),
                reload_error: now.reload_error.clone(),
                ..self.view.agent.clone()
            },
            readiness: self.readiness(),
            interfaces: self.interfaces(),
            services: self.services(),
            pools: pools
                .map(|(n, pool)| self.pool(n, pool, |_| true))
                .collect(),
            exceptions: now.exceptions,
        }
    }

    /// The interfaces whose packets the program handles, and `unknown` if it has met packets of
    /// others (a bond's members have numbers of their own).
    fn interfaces(&self) -> Vec<InterfaceView> {
        let unknown = Served {
            attachment: Attachment {
                name: "unknown".into(),
                ifindex: 0,
                mode: kernel::Mode::Generic("the agent does not know this interface".into()),
            },
            lower: None,
        };
        let served = self.now.served.iter();
        let mut views: Vec<_> = served.map(|served| self.interface(served)).collect();
        let unknown = self.interface(&unknown);
        if unknown.verdicts.received > 0 {
            views.push(unknown);
        }
        views
    }

    fn interface(&self, Served { attachment, lower }: &Served) -> InterfaceView {
        let device = self
            .configured
            .ids
            .devices
            .get(&attachment.name)
            .copied()
            .unwrap_or_default();
        let counts = read(self.view.counters.outcomes(device));
        let (mode, mode_reason) = match &attachment.mode {
            kernel::Mode::Native => (Mode::Native, None),
            kernel::Mode::Generic(reason) => (Mode::Generic, Some(reason.clone())),
        };
        InterfaceView {
            name: attachment.name.clone(),
            index: attachment.ifindex,
            lower: lower.clone(),
            mode,
            mode_reason,
            verdicts: Verdicts::of(|o| counts.get(o.code() as usize).copied().unwrap_or_default()),
        }
    }

    fn services(&self) -> Vec<ServiceView> {
        let tracked = self.configured.config.tracked();
        let services = self
            .configured
            .config
            .services
            .iter()
            .zip(&self.configured.ids.services)
            .zip(tracked)
            .enumerate()
            .map(|(n, ((service, &id), tracked))| {
                let pool = &self.configured.config.pools[service.pool];
                let counters = read(self.view.counters.service(id));
                ServiceView {
                    name: service.name.clone(),
                    listen: service.listen.iter().map(ToString::to_string).collect(),
                    pool: pool.name.clone(),
                    scheduler: service.scheduler,
                    forward: pool.forward,
                    tracked: tracked.is_some(),
                    fallback: self.fallback(n, service),
                    counters: CountersView::of(&counters, pool.forward),
                }
            });
        services.collect()
    }

    fn fallback(&self, index: ServiceIndex, service: &Service) -> Option<FallbackView> {
        let fallback = service.fallback?;
        let answers = |family: &Family| {
            let listens = service.listen.iter();
            let mut families = listens.map(|listen| Family::of(listen.address.ip()));
            let answering = self.now.answering.get(&(index, *family));
            families.any(|of| of == *family) && answering == Some(&fallback)
        };
        Some(FallbackView {
            pool: self.configured.config.pools[fallback].name.clone(),
            answers: Family::ALL.into_iter().filter(answers).collect(),
        })
    }

    /// A pool, with those of its backends that are to be shown.
    fn pool(&self, index: PoolIndex, pool: &Pool, shown: impl Fn(&Backend) -> bool) -> PoolView {
        let backends = pool.backends.iter().enumerate();
        let backends = backends.filter(|(_, backend)| shown(backend));
        let health = self.health.pools.get(&pool.name);
        let health = health.filter(|_| !pool.checks.is_empty());
        PoolView {
            name: pool.name.clone(),
            forward: pool.forward,
            source: pool.source.iter().map(ToString::to_string).collect(),
            backends: backends
                .map(|(n, b)| self.backend((index, n), pool, b))
                .collect(),
            slots: Family::ALL
                .iter()
                .filter_map(|family| self.now.slots.get(&(index, *family)).cloned())
                .collect(),
            health: health.map_or_else(Vec::new, |pool| health::modes(pool)),
        }
    }

    fn backend(
        &self,
        (pool, n): (PoolIndex, usize),
        settings: &Pool,
        backend: &Backend,
    ) -> BackendView {
        let backends = &self.configured.ids.backends;
        let index = |family| Some(backends.get(&(pool, n, family))?.index());
        let indices: Vec<u32> = Family::ALL.into_iter().filter_map(index).collect();
        let mut counters = lb_common::abi::Counters::default();
        indices
            .iter()
            .for_each(|&n| counters += read(self.view.counters.backend(n)));
        let tables = Family::ALL
            .iter()
            .filter(|f| self.configured.ids.tables.contains_key(&(pool, **f)));
        let share: f64 = indices.iter().filter_map(|n| self.now.shares.get(n)).sum();
        let overrides = &self.now.overrides;
        let weight = overrides.weight(&settings.name, &backend.name, backend.weight);
        let health = |ip| {
            let pool = self.health.pools.get(&settings.name)?;
            health::of(pool, &backend.name, Family::of(ip), weight)
        };
        let address = |address: &BackendAddress| AddressView {
            address: address.to_string(),
            next_hop: self.next_hop(settings, address.ip),
            in_tables: index(Family::of(address.ip))
                .is_some_and(|n| self.now.in_tables.contains(&n)),
            health: health(address.ip),
        };
        BackendView {
            name: backend.name.clone(),
            weight: backend.weight.value(),
            overridden: overrides.get(&settings.name, &backend.name).copied(),
            remaining: self.remaining(pool, &indices),
            share: share / tables.count().max(1) as f64,
            addresses: backend.addresses.iter().map(address).collect(),
            counters: CountersView::of(&counters, settings.forward),
        }
    }

    /// What is left of a pool's backend, by its indices, if it is drained.
    fn remaining(&self, pool: PoolIndex, indices: &[u32]) -> Option<RemainingView> {
        let counted = indices.iter().filter_map(|n| self.now.drained.get(n));
        let (tracked, seen) = counted.copied().reduce(|a, b| (a.0 + b.0, a.1 + b.1))?;
        let config = &self.configured.config;
        let services = config.services.iter().zip(config.tracked());
        let users = services.filter(|(service, _)| service.pools().any(|used| used == pool));
        let (recording, others): (Vec<_>, Vec<_>) =
            users.partition(|(_, tracked)| tracked.is_some());
        let slots = Family::ALL.map(|family| self.now.slots.get(&(pool, family)));
        let changes = slots.into_iter().flatten().flat_map(|slots| &slots.changes);
        let moving = changes.filter(|change| change.moving > 0);
        let left = moving.map(|change| change.held_up.map_or(0, |by| by.seconds));
        Some(RemainingView {
            tracked: (!recording.is_empty()).then_some(tracked),
            seen: (!others.is_empty()).then_some(seen),
            settle_seconds: left.max().filter(|_| !others.is_empty()),
        })
    }

    fn next_hop(&self, pool: &Pool, address: IpAddr) -> NextHopView {
        let unresolved = |reason: String| NextHopView::Unresolved { reason };
        match self.now.hops.get(&address) {
            None => unresolved("not asked for yet".into()),
            Some(Resolution::Unresolved(reason)) => unresolved(reason.to_string()),
            Some(Resolution::Resolved(hop)) if lacks_outer_source(pool, address, hop) => {
                unresolved(
                    "no source address for the outer header: give the pool a `source`".into(),
                )
            }
            Some(Resolution::Resolved(NextHop {
                device, mac, mtu, ..
            })) => match self.device(device.0) {
                None => unresolved(format!(
                    "its route leads through interface {device}, which is not among \
                         agent.interfaces"
                )),
                Some(attachment) => NextHopView::Resolved {
                    device: attachment.name.clone(),
                    mac: mac.map(|byte| format!("{byte:02x}")).join(":"),
                    mtu: *mtu,
                },
            },
        }
    }

    /// The device of ours that has this number.
    fn device(&self, ifindex: u32) -> Option<&Attachment> {
        let mut devices = self.now.served.iter().map(|served| &served.attachment);
        devices.find(|device| device.ifindex == ifindex)
    }

    fn readiness(&self) -> Readiness {
        let is_served = |name: &String| self.now.served.iter().any(|s| s.attachment.name == *name);
        let missing = |name: &&String| !is_served(name);
        let not_ready = |reason: String| Readiness::NotReady { reason };
        if !self.now.applied {
            return not_ready("the tables are not written yet".into());
        }
        match self.configured.config.agent.interfaces.iter().find(missing) {
            Some(name) => not_ready(format!("the program is not attached to {name}")),
            None => Readiness::Ready,
        }
    }
}

impl Source for View {
    fn snapshot(&self) -> Snapshot {
        self.look(|moment| moment.snapshot())
    }
}

fn slots_view(family: Family, status: &TableStatus) -> SlotsView {
    let [settled, moving, mixed] = status.phases;
    SlotsView {
        family,
        settled,
        moving,
        mixed,
        changes: status.epochs.iter().map(change_view).collect(),
    }
}

fn change_view(epoch: &EpochStatus) -> ChangeView {
    let held_up = |by: HoldUp| HoldUpView {
        by: match by {
            HoldUp::SettleTime(_) => HoldUpCause::SettleTime,
            HoldUp::UnrecordedData(_) => HoldUpCause::UnrecordedData,
            HoldUp::UnrecordedOpens(_) => HoldUpCause::UnrecordedOpens,
        },
        seconds: by.remaining().as_secs(),
    };
    ChangeView {
        age_seconds: epoch.start.elapsed().as_secs(),
        moving: epoch.moving,
        mixed: epoch.mixed,
        held_up: epoch.hold_up.map(held_up),
    }
}

/// Whether packets can't be sent to a backend since nothing says where from.
fn lacks_outer_source(pool: &Pool, address: IpAddr, hop: &NextHop) -> bool {
    let family = Family::of(address);
    matches!(pool.forward, Forward::Ipip | Forward::Gue)
        && hop.preferred_source.is_none()
        && !pool
            .source
            .iter()
            .any(|source| Family::of(source.ip) == family)
}

/// Counters, or zeros and a line in the log.
fn read<T: Default>(counters: Result<T, kernel::Error>) -> T {
    counters.unwrap_or_else(|error| {
        warn!("reading counters: {error}");
        T::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::fixtures;

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
