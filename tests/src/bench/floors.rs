//! The floors of `tests/ebpf`, loaded.

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    programs::{TestRun as _, TestRunOptions, TestRunResult, Xdp},
};

use crate::programs;

/// The programs.
pub(super) struct Floors {
    object: Ebpf,
}

impl Floors {
    pub(super) fn load() -> Result<Self> {
        let mut object = programs::object()?;
        for name in ["floor_drop", "floor_tx"] {
            let program = programs::program(&mut object, name)?;
            program
                .load()
                .with_context(|| format!("could not load program {name}"))?;
        }
        Ok(Self { object })
    }

    /// Runs one of them.
    pub(super) fn run(&self, name: &str, options: TestRunOptions<'_>) -> Result<TestRunResult> {
        let program = self
            .object
            .program(name)
            .with_context(|| format!("no program {name}"))?;
        let program: &Xdp = program.try_into()?;
        Ok(program.test_run(options)?)
    }
}
