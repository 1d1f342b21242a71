//! The loaded programs with their tables filled, run on single frames, and what they count.

use std::{collections::BTreeSet, fmt};

use anyhow::{Context, Result};
use aya::programs::TestRunOptions;
use lb_common::{
    abi::{Counters, RecordLimits, Seed},
    datapath::{DropReason, Egress, Outcome, PassReason},
};
use lb_userspace::{
    kernel::{Constants, CounterReader, Features, KernelTables as _, MapTables, Program as Sluice},
    model::Config,
    plan::{self, Tables},
    state::{self, Ids, Inputs, Link, Memo, Standings},
};

use super::{
    cases::Program,
    floors::Floors,
    site::{Service, Site},
};

/// What is measured.
pub(super) struct Target {
    sluice: Sluice,
    floors: Floors,
    counters: CounterReader,
    /// Indices of the backends' counters.
    backends: Vec<u32>,
    /// Holds the slot tables.
    _tables: MapTables,
    device: u16,
    context: Context24,
    output: Vec<u8>,
}

/// A `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
type Context24 = [u8; 24];

/// What became of a frame.
pub(super) struct Answer<'a> {
    pub(super) action: u32,
    pub(super) frame: &'a [u8],
    pub(super) nanoseconds: u32,
}

/// All that Sluice has counted for the interface and the services.
#[derive(Clone, PartialEq)]
pub(super) struct Counts {
    /// By [`Outcome::code`].
    pub(super) outcomes: Vec<u64>,
    /// By [`Service::id`].
    pub(super) services: Vec<Counters>,
}

impl fmt::Debug for Counts {
    /// Outcomes that came up, by name, and services that had packets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passes = PassReason::ALL.iter().map(|&reason| Outcome::Pass(reason));
        let drops = DropReason::ALL.iter().map(|&reason| Outcome::Drop(reason));
        let outcomes = [Outcome::Forward(Egress::Transmit)].into_iter();
        let outcomes = outcomes.chain(passes).chain(drops);
        let counted =
            outcomes.map(|outcome| (outcome.name(), self.outcomes[outcome.code() as usize]));
        let services = Service::ALL.iter().zip(&self.services);
        f.debug_map()
            .entries(counted.filter(|(_, count)| *count > 0))
            .entries(services.filter(|(_, counters)| **counters != Counters::default()))
            .finish()
    }
}

impl Target {
    /// Loads the programs and fills the tables. In the site's namespace, since a device's number
    /// is looked up there.
    pub(super) fn load(site: &Site, link: Link) -> Result<Self> {
        let config = &site.config;
        let ids = Ids::assign(config)?;
        let mut sluice = Sluice::load(&constants(config, &ids)?)?;
        let (links, hops) = Site::facts(link);
        let inputs = Inputs {
            config,
            ids: &ids,
            own: &BTreeSet::new(),
            links: &links,
            hops: &hops,
            standings: &Standings::default(),
            hertz: sluice.hertz(),
        };
        let desired = state::desired(inputs, &mut Memo::default()).settled(&ids);
        let mut tables = sluice.take_tables()?;
        for operation in plan::diff(&Tables::default(), &desired) {
            tables.apply(&operation)?;
        }
        let mut context = [0; 24];
        context[12..16].copy_from_slice(&link.ifindex.to_ne_bytes());
        Ok(Self {
            counters: sluice.take_counters()?,
            sluice,
            floors: Floors::load()?,
            backends: desired.backends.into_keys().collect(),
            _tables: tables,
            device: *ids
                .devices
                .values()
                .next()
                .context("no device has an index")?,
            context,
            output: vec![0; 256],
        })
    }

    /// Runs a program on a frame that comes in through the interface.
    pub(super) fn send(&mut self, program: Program, frame: &[u8]) -> Result<Answer<'_>> {
        self.context[4..8].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut self.output),
            ctx_in: Some(&self.context),
            repeat: 1,
            ..TestRunOptions::default()
        };
        let result = match program {
            Program::FloorDrop => self.floors.run("floor_drop", options)?,
            Program::FloorTx => self.floors.run("floor_tx", options)?,
            Program::Sluice => self.sluice.test_run(options)?,
        };
        let length = (result.data_size_out as usize).min(self.output.len());
        Ok(Answer {
            action: result.return_value,
            frame: &self.output[..length],
            nanoseconds: result.duration.as_nanos() as u32,
        })
    }

    /// Reads the counters of the interface and of all services.
    pub(super) fn counts(&self) -> Result<Counts> {
        let services = Service::ALL
            .iter()
            .map(|service| self.counters.service(service.id()));
        Ok(Counts {
            outcomes: self.counters.outcomes(self.device)?,
            services: services.collect::<Result<_, _>>()?,
        })
    }

    /// The sum of all backends' counters.
    pub(super) fn backends(&self) -> Result<Counters> {
        let mut sum = Counters::default();
        for &index in &self.backends {
            sum += self.counters.backend(index)?;
        }
        Ok(sum)
    }

    /// Instructions that the verifier walked in Sluice's program, where the kernel says so.
    pub(super) fn verified(&self) -> Option<u32> {
        self.sluice.verified_instructions()
    }
}

fn constants(config: &Config, ids: &Ids) -> Result<Constants> {
    // Linux's default range of local ports: the host's own is no matter in a namespace.
    let ports = state::source_ports(32_768, 60_999).context("no source ports")?;
    let seed = config.agent.seed.context("no seed in the configuration")?;
    Ok(Constants {
        seed: Seed::from(seed.0),
        salt: ids.salt,
        ports,
        backends: config.agent.backends,
        flows: config.agent.flows,
        limits: RecordLimits {
            capacity: config.agent.exceptions,
            rate: config.agent.exception_rate,
        },
        replies: config.agent.replies,
        features: Features::default(),
        debug: false,
    })
}
