//! Keeps the tables what they should be: after each change of configuration, next hops or addresses, and as time
//! goes on for slots and flows. Joins `state`, `slots`, `flows` and the reconciler, and decides nothing.

use std::{collections::BTreeMap, net::IpAddr, time::Instant};

use tracing::{debug, error, info, warn};

use crate::{
    flows,
    kernel::DataPlane,
    net::Snapshot as NextHops,
    slots::Jiffies,
    state::{self, Hop, Inputs, Registry, Time},
    unix_time::unix_now,
};

use super::{
    Agent,
    record::About,
    steering::{self, Sweeper},
    view::Configured,
};

impl Agent {
    /// Brings the tables to what configuration and next hops ask for now.
    pub(super) fn reconcile(&mut self, plane: &mut DataPlane) -> anyhow::Result<()> {
        let written = self.try_reconcile(plane);
        self.up_to_date(written)
    }

    /// Takes note of whether the kernel has what it should. What it has not is tried again at the next tick, and
    /// shown until then; until then nothing is done that counts on it.
    pub(super) fn up_to_date(&self, written: anyhow::Result<()>) -> anyhow::Result<()> {
        let error = written.as_ref().err().map(|error| format!("{error:#}"));
        if let Some(error) = self.view.falls_behind(error) {
            error!("{error}");
        }
        written
    }

    fn try_reconcile(&mut self, plane: &mut DataPlane) -> anyhow::Result<()> {
        let snapshot = self.hops.borrow_and_update().clone();
        self.follow_sources(&snapshot);
        let configured = self.view.configured();
        let now = Instant::now();
        let grace = |address| configured.in_tables.grace_at(address);
        self.ways.follow(usable(&snapshot), grace, now);
        let mut hops = self.ways.hops(now);
        hops.extend(self.probes.hops());
        let own = self.addresses.borrow().clone();
        let links = self.devices();
        let time = Time {
            now,
            unix: unix_now(),
        };
        let said = self.overriding.said();
        let standings = self.health.follow(&configured.in_tables, said, time);
        let inputs = Inputs {
            config: &configured.in_tables,
            ids: &configured.ids,
            own: &own,
            links: &links,
            hops: &hops,
            standings,
            hertz: self.hertz,
        };
        let desired = state::desired(inputs, &mut self.owners);
        let wanted = steering::wanted(&configured.in_tables, &configured.ids, &desired);
        self.runner.change(wanted, steering::clock());
        self.check_sample();
        (self.tables, self.answering) = (desired.tables, desired.answering);
        let operations = self.write(plane)?;
        info!(
            operations,
            backends = self.tables.backends.len(),
            of = configured.ids.backends.len() + configured.ids.probed.len(),
            "tables written"
        );
        self.probes
            .reach(&configured.config, &configured.ids, &self.tables);
        let answering = self.answering.clone();
        self.view.applied(&self.tables, answering, snapshot);
        self.count_drained();
        self.show_slots();
        Ok(())
    }

    /// Writes the tables with the slots as they are now; returns how many operations that took.
    pub(super) fn write(&mut self, plane: &mut DataPlane) -> anyhow::Result<usize> {
        let about = About {
            seed_fingerprint: &self.view.agent.seed_fingerprint,
            hertz: self.hertz,
            ports: self.constants.ports,
            features: self.features_in_tables(),
        };
        self.records.keep(plane, &self.registry, about)?;
        self.tables.slots.extend(self.runner.slots());
        self.tables.old_tables = self.runner.old_tables([self.seed.k0, self.seed.k1]);
        Ok(self.reconciler.reconcile(&self.tables)?)
    }

    /// Writes what is left to write, if anything is.
    pub(super) fn finish(&mut self, plane: &mut DataPlane) -> anyhow::Result<()> {
        let is_left = self.unfinished || self.view.behind().is_some() || self.records.has_failed();
        if is_left {
            self.catch_up(plane)?;
        }
        Ok(())
    }

    /// Moves the phases of slots on, and sweeps the exceptions if it is `time` to.
    pub(super) fn tend(&mut self, plane: &mut DataPlane, time: bool) -> anyhow::Result<()> {
        if self.finish(plane).is_err() {
            return Ok(());
        }
        let exceptions = &self.exceptions;
        let now = Instant::now();
        let advanced = self.runner.advance(now, |id| exceptions.unrecorded(id))?;
        if advanced {
            self.check_sample();
            let written = self.write(plane).map(drop);
            self.up_to_date(written)?;
        }
        // No flow is recorded after slots have gone on: what is counted then is all that there is.
        if (time || advanced) && (self.runner.is_moving() || self.exceptions.used()? != [0, 0]) {
            self.sweep(plane)?;
        }
        let done = self.runner.done_with();
        if !done.is_empty() {
            self.reconciler.wait_for_readers()?;
            done.into_iter()
                .for_each(|table| self.registry.release_table(table));
            self.renumber(plane, &self.registry.clone())?;
        }
        let configured = self.view.configured();
        let grace = |address| configured.in_tables.grace_at(address);
        let grace_in = |pool: &str| configured.in_tables.grace_in(pool);
        let time = Time {
            now,
            unix: unix_now(),
        };
        if self.removals.is_due(time.unix) {
            self.end_removed(plane, None)?;
        }
        let standings = self.health.standings();
        if self.ways.is_due(grace, now) || standings.is_due(grace_in, time) {
            self.reconcile(plane)?;
        }
        self.count_drained();
        self.show_slots();
        Ok(())
    }

    pub(super) fn sweep(&mut self, plane: &mut DataPlane) -> anyhow::Result<()> {
        let configured = self.view.configured();
        let sweeper = Sweeper {
            config: &configured.in_tables,
            ids: &configured.ids,
            answering: &self.answering,
            seed: self.seed,
            clock: Jiffies {
                now: plane.program().jiffies()?,
                hertz: self.hertz,
            },
        };
        self.registry.indices_mut().begin(&self.runner.named());
        let swept = sweeper.sweep(
            &mut self.runner,
            &mut self.exceptions,
            &mut self.reconciler,
            &mut self.tables,
        );
        // Words may be settled that are not stored.
        self.unfinished |= swept.is_err();
        let swept = swept?;
        debug!(
            entries = swept.entries,
            deleted = swept.deleted,
            "exceptions swept"
        );
        let mut named = self.runner.named();
        named.extend(&swept.named);
        self.registry.indices_mut().finish(&named);
        self.runner.shorten_logs(steering::clock());
        Ok(())
    }

    /// Deletes flows that have been silent for too long, and counts the others. Once none is left from
    /// before its pool began to cross families, none is looked for.
    pub(super) fn sweep_flows(&mut self, plane: &mut DataPlane) -> anyhow::Result<()> {
        let clock = flows::Clock {
            now: plane.program().jiffies()?,
            hertz: self.hertz,
            timeouts: &self.tables.timeouts,
        };
        let configured = self.view.configured();
        let ids = &configured.ids;
        let is_unmapped = |key: &_, entry: &_| ids.is_unmapped(key, entry);
        let swept = self.flows.sweep(clock, is_unmapped)?;
        debug!(entries = ?swept.entries, deleted = swept.deleted, "flows swept");
        if self.following.is_over() {
            self.end_removed(plane, Some(&swept.of_services))?;
        }
        if ids.looks_for_unmapped() && !swept.unmapped {
            self.renumber(plane, &self.registry.without_unmapped())?;
        }
        Ok(())
    }

    /// Gives numbers anew to the same configuration, out of `registry`, and has the tables follow.
    pub(super) fn renumber(
        &mut self,
        plane: &mut DataPlane,
        registry: &Registry,
    ) -> anyhow::Result<()> {
        self.number(registry)?;
        self.reconcile(plane)
    }

    /// Takes note of the addresses that the kernel would send from. The last one known stays while
    /// there is no way; where the rest leaves no numbers, those before stay in use.
    fn follow_sources(&mut self, snapshot: &NextHops) {
        let mut sources = self.registry.outer_sources().clone();
        for (&address, resolution) in snapshot.iter() {
            let hop = resolution.next_hop();
            if let Some(source) = hop.and_then(|hop| hop.preferred_source) {
                sources.insert(address, source);
            }
        }
        if sources == *self.registry.outer_sources() {
            return;
        }
        let mut registry = self.registry.clone();
        registry.sends_from(sources);
        if let Err(error) = self.number(&registry) {
            error!("outer headers keep their source addresses: {error:#}");
        }
    }

    fn number(&mut self, registry: &Registry) -> anyhow::Result<()> {
        let configured = self.view.configured();
        let in_tables = self.removals.in_tables(&configured.config);
        let (registry, ids) = registry.assign(&in_tables)?;
        self.registry = registry;
        self.view.configure(Configured {
            in_tables,
            ids,
            ..configured.as_ref().clone()
        });
        Ok(())
    }

    /// Takes note of this host's addresses. Where they have no room beside the rest, those before
    /// stay in use.
    pub(super) fn host_changed(&mut self, plane: &mut DataPlane) -> anyhow::Result<()> {
        let addresses = self.addresses.borrow_and_update().as_ref().clone();
        let mut registry = self.registry.clone();
        registry.host_has(addresses);
        self.renumber(plane, &registry)
    }

    /// Has the view show the slots as they are now.
    pub(super) fn show_slots(&self) {
        let configured = self.view.configured();
        let now = Instant::now();
        let tables = configured.ids.tables.iter();
        let status = tables.filter_map(|(&key, &id)| Some((key, self.runner.status(id, now)?)));
        let used = self.exceptions.used().unwrap_or_else(|error| {
            warn!("counting exceptions: {error}");
            [0, 0]
        });
        self.view.slots(status, used);
    }
}

/// The next hops that are resolved, as the tables need them.
fn usable(snapshot: &NextHops) -> BTreeMap<IpAddr, Hop> {
    let resolved = snapshot.iter().filter_map(|(&address, resolution)| {
        let hop = resolution.next_hop()?;
        let (ifindex, mac, mtu) = (hop.device.0, hop.mac, hop.mtu);
        let source = hop.preferred_source;
        Some((
            address,
            Hop {
                ifindex,
                mac,
                mtu,
                source,
                lost: None,
            },
        ))
    });
    resolved.collect()
}
