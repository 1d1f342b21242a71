//! Another configuration while the agent runs: read and checked as at a start, numbered beside the one
//! before, then applied. One that fails anywhere before that leaves everything as it is.

use anyhow::bail;
use tracing::{error, info};

use crate::model::{self, Config};

use super::{
    Agent, addresses,
    prepare::{self, Checked, has_nat, has_nat_ranges, has_prefixes},
    view::Configured,
};

impl Agent {
    /// Reads the configuration again; what is wrong with it goes to the log and the view.
    pub(super) async fn reload(&mut self) {
        match self.try_reload().await {
            Ok(generation) => {
                info!(generation, "configuration reloaded");
                self.view.reloaded(Ok(generation));
            }
            Err(error) => {
                error!("reload failed, the configuration before stays in use: {error:#}");
                self.view.reloaded(Err(format!("{error:#}")));
            }
        }
    }

    async fn try_reload(&mut self) -> anyhow::Result<u64> {
        let path = self.view.agent.config.clone();
        let Checked {
            config, warnings, ..
        } = prepare::check(path.as_ref()).await?;
        let before = self.view.configured();
        if let Some(key) = needs_restart(&before.config, &config) {
            bail!("{key} differs: that needs a restart of the agent");
        }
        let (registry, ids) = self.registry.assign(&config)?;
        let abandoned = ids.abandoned.clone();
        self.resolver.want(addresses(&config));
        let generation = before.generation + 1;
        self.registry = registry;
        self.view.configure(Configured {
            config,
            ids,
            warnings,
            generation,
        });
        self.reconcile()?;
        abandoned
            .into_iter()
            .for_each(|table| self.registry.release_table(table));
        Ok(generation)
    }
}

/// What differs that is fixed when the agent starts, if anything does.
fn needs_restart(before: &Config, after: &Config) -> Option<&'static str> {
    let model::Agent {
        interfaces,
        control,
        stats,
        state,
        pin,
        seed,
        flows,
        exceptions,
        exception_rate,
        replies,
        debug,
    } = &before.agent;
    let agent = &after.agent;
    let keys = [
        ("agent.interfaces", *interfaces != agent.interfaces),
        ("agent.control", *control != agent.control),
        ("agent.stats", *stats != agent.stats),
        ("agent.state", *state != agent.state),
        ("agent.pin", *pin != agent.pin),
        ("agent.seed", *seed != agent.seed),
        ("agent.flows", *flows != agent.flows),
        ("agent.exceptions", *exceptions != agent.exceptions),
        (
            "agent.exception_rate",
            *exception_rate != agent.exception_rate,
        ),
        (
            "the rates of ICMP errors and resets",
            *replies != agent.replies,
        ),
        ("agent.debug", *debug != agent.debug),
        (
            "the first or last pool in nat mode",
            has_nat(before) != has_nat(after),
        ),
        (
            "the first or last range of ports or prefix of a service in nat mode",
            has_nat_ranges(before) != has_nat_ranges(after),
        ),
        (
            "the first or last prefix that a service listens on",
            has_prefixes(before) != has_prefixes(after),
        ),
    ];
    let differs = keys.into_iter().find(|(_, differs)| *differs);
    differs.map(|(key, _)| key)
}
