//! Addresses that move between hosts, in the agent: those of an agent that was killed are given up before anything else, the
//! instances begin once the program is attached (which may reset a card), and give their addresses up before the agent ends.
//! Which addresses it moves is on disk before it takes any, so that those of another agent of this host are left alone.
//! Wires, and decides nothing.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::Context as _;
use tracing::{error, warn};

use crate::{
    model::{Config, Family, VirtualAddress},
    state_file, vrrp,
};

use super::Agent;

/// Addresses of all instances.
type Moving = BTreeSet<VirtualAddress>;

impl Agent {
    /// Gives up what an agent before has left behind.
    pub(super) async fn give_up_what_was_left(&self) {
        let before = state_file::read::<Moving>(&self.moving_file());
        let mut left = before.unwrap_or_else(|error| {
            warn!("addresses of an agent before may stay here: {error:#}");
            None
        });
        let moving = moving(&self.view.configured().config);
        left.get_or_insert_default().extend(moving);
        if let Err(error) = vrrp::clear(&left.unwrap_or_default()).await {
            warn!("addresses that another host may have by now may be here: {error}");
        }
    }

    /// Has the instances of the configuration in use run, and no others.
    pub(super) async fn float(&mut self) -> anyhow::Result<()> {
        let configured = self.view.configured();
        let moving = moving(&configured.config);
        // What goes is still there until it has gone.
        let all: Moving = self.floats.union(&moving).copied().collect();
        if all != self.floats {
            state_file::write(&self.moving_file(), &all)?;
            self.floats = all;
        }
        let followed = self.routers.follow(&configured.config.vrrp).await;
        followed.context("starting VRRP")
    }

    /// The same after a reload, which it does not undo.
    pub(super) async fn float_anew(&mut self) {
        if let Err(error) = self.float().await {
            error!("{error:#}");
        }
    }

    fn moving_file(&self) -> PathBuf {
        let state = &self.view.configured().config.agent.state;
        state.join("vrrp.json")
    }
}

fn moving(config: &Config) -> Moving {
    let instances = config.vrrp.iter();
    let addresses = instances.flat_map(|vrrp| {
        let families = Family::ALL.into_iter();
        families.flat_map(|family| vrrp.in_family(family))
    });
    addresses.collect()
}
