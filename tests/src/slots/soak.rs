//! Everything that is checked of the slot machine, for a run that takes its time.

use std::fmt;

use super::{
    checker::{Checked, check},
    events::Setup,
    packets::Traffic,
    simulation::{self, Report},
    trace::Load,
};

/// What a soak run came to.
#[derive(Debug)]
pub struct Soak {
    /// The exhaustive checks, by name.
    pub checks: Vec<(String, Checked)>,
    /// The simulated hours.
    pub hours: Vec<Report>,
}

/// Checks everything, and simulates every scenario under this load.
pub fn soak(load: Load) -> Soak {
    let mut checks = Vec::new();
    for traffic in [Traffic::Tcp, Traffic::Udp, Traffic::Quic] {
        let all = Setup::all(traffic);
        let resets = Setup {
            resets: true,
            ..all
        };
        let resized = Setup {
            spoofs: true,
            ..Setup::resized(traffic)
        };
        for (name, setup) in [("", all), (", reset", resets), (", resized", resized)] {
            checks.push((format!("{traffic:?}{name}"), check(&setup)));
        }
    }
    Soak {
        checks,
        hours: simulation::soak(load),
    }
}

impl Soak {
    /// Whether no flow was broken within what is promised.
    pub fn holds(&self) -> bool {
        let checked = self.checks.iter().all(|(_, check)| check.broken.is_none());
        checked && self.hours.iter().all(|hour| hour.broken == 0)
    }
}

impl fmt::Display for Soak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, checked) in &self.checks {
            writeln!(f, "{name}: {checked}")?;
        }
        for hour in &self.hours {
            writeln!(f, "{hour}")?;
        }
        Ok(())
    }
}
