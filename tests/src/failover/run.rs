//! All runs, in order. Whatever ends them, dropping what they own ends all that they started.

use std::path::Path;

use anyhow::{Context, Result};

use crate::{interrupt, lan::Lan, progress::Progress};

use super::{
    event::{Event, Kind},
    interval::Interval,
    outcome::Outcome,
    plan::Plan,
    router::Product,
    row::Row,
    site::Site,
};

/// Runs a plan with `binary` as our agent, and tells each row as it comes. `title` names namespaces and folder. What could
/// not be run is told as an error, after which it goes on with what is next.
pub fn run(
    title: &str,
    plan: &Plan,
    binary: &Path,
    progress: &Progress,
    mut tell: impl FnMut(Result<Row>) -> Result<()>,
) -> Result<()> {
    for &interval in &plan.intervals {
        for &product in &plan.products {
            progress.step(&format!(
                "{product}, {interval}: namespaces, two hosts, a client"
            ));
            let ran = run_site(
                title,
                plan,
                (product, interval),
                binary,
                progress,
                &mut tell,
            );
            interrupt::check()?;
            if let Err(error) = ran {
                tell(Err(error).with_context(|| format!("{product}, {interval}")))?;
            }
        }
    }
    Ok(())
}

/// All events of a product at an interval.
fn run_site(
    title: &str,
    plan: &Plan,
    (product, interval): (Product, Interval),
    binary: &Path,
    progress: &Progress,
    tell: &mut impl FnMut(Result<Row>) -> Result<()>,
) -> Result<()> {
    let lan = Lan::set_up(title, Site::HOSTS)?;
    let mut site = Site::start(&lan, product, interval, binary)?;
    for event in plan.events(product) {
        let runs = plan.runs(interval);
        progress.step(&format!("{product}, {interval}: {event}, {runs} times"));
        let row = |name, kind, outcomes| Row {
            name,
            kind,
            interval,
            product,
            outcomes,
        };
        let (away, back) = repeat(&mut site, event, runs)?;
        tell(Ok(row(event.name(), event.kind(), away)))?;
        if let Some(name) = event.end() {
            tell(Ok(row(name, Kind::Return, back)))?;
        }
    }
    Ok(())
}

/// What an event comes to so many times, and its end.
fn repeat(site: &mut Site<'_>, event: Event, runs: u32) -> Result<(Vec<Outcome>, Vec<Outcome>)> {
    let (mut all, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        interrupt::check()?;
        let (away, back) = site.suffer(event)?;
        all.push(away);
        ends.extend(back);
    }
    Ok((all, ends))
}
