//! Addresses that move between hosts, in the agent: those of an agent that was killed are given up before anything else, the
//! instances begin once the program is attached (which may reset a card), and give their addresses up before the agent ends.
//! What it may leave behind is on disk before it takes anything, so that another agent's of this host is left alone.
//! Wires, and decides nothing.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tracing::{error, info, warn};

use crate::{
    control::{Maintained, Resigned},
    events::{MaintenanceEvent, ResignEvent, What},
    kernel::DataPlane,
    state_file,
    vrrp::{self, Traces},
};

use super::Agent;

impl Agent {
    /// Gives up what an agent before has left behind.
    pub(super) async fn give_up_what_was_left(&self) {
        let before = state_file::read::<Traces>(&self.traces_file());
        let left = before.unwrap_or_else(|error| {
            warn!("addresses of an agent before may stay here: {error:#}");
            None
        });
        let ours = Traces::of(&self.view.configured().config.vrrp);
        if let Err(error) = vrrp::clear(&left.unwrap_or_default().and(ours)).await {
            warn!("addresses that another host may have by now may be here: {error}");
        }
    }

    /// Has the instances of the configuration in use run, and no others.
    pub(super) async fn float(&mut self, plane: &mut DataPlane) -> anyhow::Result<()> {
        let configured = self.view.configured();
        // What goes is still there until it has gone.
        let all = Traces::of(&configured.config.vrrp).and(self.traces.clone());
        if all != self.traces {
            state_file::write(&self.traces_file(), &all)?;
            self.traces = all;
        }
        self.tracking.follow(&configured.config).await;
        self.tell_data_plane(plane);
        let followed = self.routers.follow(&configured.config.vrrp).await;
        followed.context("starting VRRP")
    }

    /// The same after a reload, which it does not undo.
    pub(super) async fn float_anew(&mut self, plane: &mut DataPlane) {
        if let Err(error) = self.float(plane).await {
            error!("{error:#}");
        }
    }

    /// Keeps instances from having addresses, or does so no more; the next start does as well.
    pub(super) async fn maintain(&mut self, on: bool) -> anyhow::Result<Maintained> {
        let state = &self.view.configured().config.agent.state;
        state_file::write(&maintenance_file(state), &on)?;
        match on {
            true => info!("maintenance: this host gives its floating IPs up, and takes none"),
            false => info!("maintenance is over: this host takes part in VRRP again"),
        }
        let event = MaintenanceEvent { on };
        self.telling.tell(What::Maintenance(event));
        self.routers.maintain(on).await;
        Ok(Maintained {
            maintenance: on,
            instances: self.view.vrrp.all(),
        })
    }

    /// Has an instance, and those of its sync group, give their addresses up.
    pub(super) async fn resign(&self, name: &str) -> anyhow::Result<Resigned> {
        let instances = self.routers.resign(name).await?;
        info!("resigned, as an operator wants: {}", instances.join(", "));
        let event = ResignEvent {
            instances: instances.clone(),
        };
        self.telling.tell(What::Resign(event));
        Ok(Resigned { instances })
    }

    /// Gives all addresses up, before all else that ends: another host waits for them. Then that is told.
    pub(super) async fn give_up(&mut self) {
        self.routers.stop().await;
        self.telling.stop().await;
    }

    fn traces_file(&self) -> PathBuf {
        let state = &self.view.configured().config.agent.state;
        state.join("vrrp.json")
    }
}

/// Whether an operator has kept this host's instances from having addresses.
pub(super) fn maintenance(state: &Path) -> bool {
    let read = state_file::read(&maintenance_file(state));
    read.unwrap_or_else(|error| {
        warn!("VRRP takes part, whatever an operator said: {error:#}");
        None
    })
    .unwrap_or(false)
}

fn maintenance_file(state: &Path) -> PathBuf {
    state.join("maintenance.json")
}
