//! The agent at one moment, as it is shown: joins the configuration with the counters, the next hops and the backends'
//! `health`.

use std::net::IpAddr;

use lb_common::abi::{Counters, Handshakes};
use tracing::warn;

use crate::{
    health::Snapshot as Health,
    kernel::{self, Attachment},
    model::{Backend, BackendAddress, Family, Forward, Pool, PoolIndex, Service, ServiceIndex},
    net::{NextHop, Resolution},
    slots::{EpochStatus, HoldUp, TableStatus},
    stats::{
        AddressView, AgentView, BackendView, ChangeView, CountersView, FallbackView,
        HandshakesView, HoldUpCause, HoldUpView, InterfaceView, Mode, NextHopView, PoolView,
        Readiness, RemainingView, ServiceView, SlotsView, Snapshot, Verdicts,
    },
};

use super::{Configured, Now, Served, View, health};

/// A view at one moment.
pub(super) struct Moment<'a> {
    pub(super) view: &'a View,
    pub(super) configured: &'a Configured,
    pub(super) now: &'a Now,
    pub(super) health: &'a Health,
}

impl Moment<'_> {
    pub(super) fn snapshot(&self) -> Snapshot {
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
                removed: now.removed.clone(),
                ..self.view.agent.clone()
            },
            readiness: self.readiness(),
            interfaces: self.interfaces(),
            services: self.services(),
            pools: pools
                .map(|(n, pool)| self.pool(n, pool, |_| true))
                .collect(),
            exceptions: now.exceptions,
            vrrp: self.view.notified.shown_in(self.view.vrrp.all()),
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
    pub(super) fn pool(
        &self,
        index: PoolIndex,
        pool: &Pool,
        shown: impl Fn(&Backend) -> bool,
    ) -> PoolView {
        let backends = pool.backends.iter().enumerate();
        let backends = backends.filter(|(_, backend)| shown(backend));
        let health = self.health.pools.get(&pool.name);
        let health = health.filter(|_| !pool.checks.is_empty() || pool.health.passive);
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
        let mut counters = Counters::default();
        indices
            .iter()
            .for_each(|&n| counters += read(self.view.counters.backend(n)));
        let mut handshakes = Handshakes::default();
        indices
            .iter()
            .for_each(|&n| handshakes += read(self.view.counters.handshakes(n)));
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
            handshakes: HandshakesView::of(&handshakes, settings.forward),
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

pub(super) fn slots_view(family: Family, status: &TableStatus) -> SlotsView {
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
