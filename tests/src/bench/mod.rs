//! What a packet costs: Sluice's own program beside floors, one `BPF_PROG_TEST_RUN` per packet.
//!
//! ```text
//! site     a namespace with a veth, routes, neighbours; and the configuration that is measured
//! frame    packets of flow number n, by etherparse        cases    what is sent, what must come
//! target   the loaded programs, and what they count       rounds   case by case, round by round
//! figures  medians                                        report   a table, and JSON
//! ```
//!
//! How one measures a packet program without fooling oneself, and so what all of this keeps to:
//! each call gets a fresh frame (a repeat count would feed the program its own output); the time is
//! the kernel's; every packet's verdict, length and next hop are checked, and after every turn the
//! counters that prove which path it took; the cases take turns, so that noise hits all alike; the
//! thread stays on one core; figures are set beside floors of the same run.

mod cases;
mod figures;
mod floors;
mod frame;
mod report;
mod rounds;
mod site;
mod target;

use anyhow::Result;

pub use cases::Case;
pub use figures::Figures;
pub use report::Report;

use crate::stage::Stage;
use site::Site;

/// What namespace and folder are called by.
pub const TITLE: &str = "sluice-bench";

/// What `bench packet` is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Packets that are timed for each case; rounded up to whole turns.
    pub packets: u32,
}

/// Nanoseconds that a packet takes from call to call, roughly, kernel and checks included.
const EACH: f64 = 2300.0;

impl Options {
    /// The line that says what is about to happen, and how long it takes.
    pub fn announcement(self) -> String {
        let cases = cases::all(self.packets);
        let timed = rounds::timed(self.packets);
        let sent: u32 = cases
            .iter()
            .map(|case| rounds::sent(case, self.packets))
            .sum();
        let seconds = 2.0 + EACH * f64::from(sent) / 1e9;
        format!(
            "{} cases, {timed} packets timed for each: about {seconds:.0} s",
            cases.len()
        )
    }
}

/// Measures all cases. Needs root. Fails if a packet goes another way than its case says.
pub fn run(options: Options) -> Result<Report> {
    let stage = Stage::set_up(TITLE)?;
    let site = Site::set_up(&stage, options)?;
    let cases = cases::all(options.packets);
    site.run(|link| {
        let mut target = target::Target::load(&site, link)?;
        let figures = rounds::measure(&mut target, &cases, options.packets)?;
        Ok(Report {
            cases: cases.into_iter().zip(figures).collect(),
            verified: target.verified(),
            machine: report::Machine::read()?,
        })
    })
}
