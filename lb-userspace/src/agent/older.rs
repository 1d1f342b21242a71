//! While the agent's tables take the place of others: has what those have recorded of flows come along, so that none
//! of them notices. Wires, and decides nothing but how often.
//!
//! ```text
//!  program that packets meet    before ─────────────────► asking ───────────────────────► alone
//!  what knows of a flow         the tables before         these, then those before         these
//!  carried                                    flows ──►          all, round by round ──►         what came last
//! ```
//! A flow's source port is taken before new flows take ports; an exception comes along only once the program before
//! sees no more packets of flows that have one here. While this goes on nothing else changes the tables: slots move
//! on by the exceptions here, and some are still there.

use tracing::{error, info, warn};

use crate::kernel::{Carried, DataPlane, Error, ExceptionTables, OlderTables};

use super::{Agent, inherited::Older};

/// Rounds after which what is new each time is left to the last one.
const ROUNDS: usize = 8;

/// The tables before these, while not all that they know is in these.
pub(super) struct Following {
    older: Vec<OlderTables>,
    carried: Carried,
}

impl Following {
    /// Tells what is going to come along, and what is not.
    pub(super) fn open(older: &[Older], plane: &DataPlane) -> Result<Self, Error> {
        let open = |Older { set, layouts }: &Older| {
            let (tables, lost) = OlderTables::open(set, layouts, plane.set())?;
            let from = set.path().display();
            info!("{from}: its flows come along, and then it is no more");
            lost.iter().for_each(|what| warn!("{from}: {what}"));
            Ok(tables)
        };
        Ok(Self {
            older: older.iter().map(open).collect::<Result<_, Error>>()?,
            carried: Carried::default(),
        })
    }

    /// Whether all of it is in these.
    pub(super) fn is_over(&self) -> bool {
        self.older.is_empty()
    }

    fn carry(&mut self, how: impl Fn(&OlderTables, &mut Carried) -> Result<(), Error>) -> Carried {
        let mut round = Carried::default();
        for tables in &self.older {
            if let Err(error) = how(tables, &mut round) {
                error!("flows of the tables before may end: {error}");
            }
        }
        self.carried = self.carried.then(round);
        round
    }

    /// Whether anything was new.
    fn carry_all(&mut self, exceptions: &mut ExceptionTables) -> Result<bool, Error> {
        let round = self.carry(|tables, round| {
            tables.carry_flows(round)?;
            tables.carry_exceptions(round)
        });
        exceptions.count_inserted(round.exceptions)?;
        Ok(!round.is_nothing())
    }
}

impl Agent {
    /// Has flows come along that the program before still decides on.
    pub(super) fn carry_ahead(&mut self) {
        self.following.carry(OlderTables::carry_flows);
    }

    /// Has all come along that the tables before know, and has those go. The program that asks theirs runs.
    pub(super) fn follow_none(&mut self, plane: &mut DataPlane) -> anyhow::Result<()> {
        if self.following.is_over() {
            return Ok(());
        }
        let alone = plane.load(&self.constants)?;
        self.reconciler.wait_for_readers()?;
        for _ in 0..ROUNDS {
            if !self.following.carry_all(&mut self.exceptions)? {
                break;
            }
        }
        self.run(plane, alone)?;
        self.reconciler.wait_for_readers()?;
        self.following.carry_all(&mut self.exceptions)?;
        self.following.older.clear();
        plane.follow_none()?;
        let Carried {
            flows,
            affinities,
            exceptions: [ipv4, ipv6],
            refused,
        } = self.following.carried;
        info!(
            flows,
            affinities,
            exceptions = ipv4 + ipv6,
            refused,
            "what the tables before knew of flows has come along"
        );
        self.sweep_flows(plane)
    }
}
