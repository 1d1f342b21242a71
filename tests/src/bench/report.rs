//! What came of a run: a table for people, and JSON.

use std::{fmt, fs};

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use nix::sys::utsname::uname;
use serde_json::{Value, json};

use super::{
    cases::{Case, PARSE_TX},
    figures::Figures,
};

/// All cases and their figures.
#[derive(Clone, Debug)]
pub struct Report {
    /// In the order of the table.
    pub cases: Vec<(Case, Figures)>,
    /// Instructions that the verifier walked, where the kernel says so.
    pub verified: Option<u32>,
    pub(super) machine: Machine,
}

/// What it was measured on.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    kernel: String,
    processor: String,
}

impl Machine {
    pub(super) fn read() -> Result<Self> {
        let kernel = uname()?.release().to_string_lossy().into_owned();
        let cpus = fs::read_to_string("/proc/cpuinfo").context("reading /proc/cpuinfo")?;
        let named = cpus
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let processor = named.and_then(|rest| rest.split_once(':'));
        let processor = processor.map_or("a nameless processor", |(_, name)| name.trim());
        Ok(Self {
            kernel,
            processor: processor.to_owned(),
        })
    }
}

impl Report {
    /// The figures of the first case of this name.
    fn figures(&self, name: &str) -> Option<Figures> {
        self.cases
            .iter()
            .find(|(case, _)| case.name == name)
            .map(|(_, figures)| *figures)
    }

    fn floor(&self) -> f64 {
        self.figures(PARSE_TX)
            .map_or(f64::NAN, |figures| figures.mean)
    }

    /// An object for each case.
    pub fn json(&self) -> Value {
        let floor = self.floor();
        let case = |(case, figures): &(Case, Figures)| {
            json!({
                "case": case.name,
                "method": "B",
                "flows": case.flows,
                "ns": {
                    "median": figures.median,
                    "p99": figures.p99,
                    "mean": rounded(figures.mean, 10.0),
                    "min": rounded(figures.lowest, 10.0),
                    "max": rounded(figures.highest, 10.0),
                },
                "floor": PARSE_TX,
                "ratio": rounded(figures.mean / floor, 1000.0),
            })
        };
        self.cases.iter().map(case).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { kernel, processor } = &self.machine;
        writeln!(
            f,
            "\nNanoseconds a packet (method B), Linux {kernel}, {processor}:"
        )?;
        let mut table = Table::new();
        table.load_style(UTF8_BORDERS_ONLY).set_header([
            "case",
            "flows",
            "p50",
            "p99",
            "mean",
            "over drop",
            "over parse-tx",
            "ratio",
        ]);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let (empty, floor) = (
            self.figures("floor drop").map_or(f64::NAN, |f| f.mean),
            self.floor(),
        );
        for (case, figures) in &self.cases {
            table.add_row([
                case.name.to_owned(),
                case.flows.to_string(),
                figures.median.to_string(),
                figures.p99.to_string(),
                format!("{:.1}", figures.mean),
                format!("{:.1}", figures.mean - empty),
                format!("{:.1}", figures.mean - floor),
                format!("{:.2}", figures.mean / floor),
            ]);
        }
        writeln!(f, "{table}")?;
        writeln!(
            f,
            "mean: of all but the slowest hundredth; ratio: of the mean to that of {PARSE_TX}.\n\
             Every packet's verdict, length and next hop were right, and every turn's counters."
        )?;
        match self.verified {
            Some(count) => writeln!(f, "The verifier walked {count} instructions."),
            None => writeln!(
                f,
                "This kernel does not say how many instructions it verified."
            ),
        }
    }
}

fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}
