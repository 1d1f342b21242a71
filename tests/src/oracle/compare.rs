//! Runs a story through the packet path and through the model, compares after each step, and makes a
//! story that differs as short as it gets.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use lb_common::datapath::{AnswerReason, DropReason, Outcome, PassReason};

use super::{
    across::mapped,
    generate,
    model::{Answer, Model},
    modes::modes,
    packet::Arrival,
    site::Site,
    sound::{is_sound, is_sound_within},
    story::{Incoming, Known, Step, Story, request},
    tags::has_tag,
};
use crate::{
    cases::{case::HEADROOM, ring::Verdict, tagging::Plan},
    host::{HostPacket, HostTables, decide},
};

/// Steps of a story.
const STEPS: usize = 150;

/// Bytes of a frame that are shown of a difference.
const SHOWN: usize = 120;

/// What was met, how often.
#[derive(Clone, Debug)]
pub struct Met {
    /// Stories.
    pub stories: u64,
    /// Frames.
    pub frames: u64,
    /// By verdict.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// By mode, and by phase and kind of packet.
    pub modes: BTreeMap<String, u64>,
}

impl Default for Met {
    fn default() -> Self {
        let passes = PassReason::ALL.iter().map(|reason| Outcome::Pass(*reason));
        let drops = DropReason::ALL.iter().map(|reason| Outcome::Drop(*reason));
        let answers = AnswerReason::ALL.iter();
        let answers = answers.map(|reason| Outcome::Answer(*reason));
        let possible = passes
            .chain(drops)
            .chain(answers)
            .filter(|outcome| !never(*outcome));
        let names = possible.map(Outcome::name).chain(["forwarded"]);
        Self {
            stories: 0,
            frames: 0,
            verdicts: names.map(|name| (name, 0)).collect(),
            modes: modes(),
        }
    }
}

/// The verdicts that no packet gets while the tables agree and the second program is there.
fn never(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Pass(PassReason::NotRead) | Outcome::Drop(DropReason::Inconsistent)
    )
}

impl Met {
    /// What was never met.
    pub fn missing(&self) -> Vec<String> {
        let verdicts = self.verdicts.iter().filter(|(_, times)| **times == 0);
        let modes = self.modes.iter().filter(|(_, times)| **times == 0);
        let verdicts = verdicts.map(|(name, _)| (*name).into());
        verdicts
            .chain(modes.map(|(name, _)| name.clone()))
            .collect()
    }

    fn add(&mut self, answer: &Answer) {
        self.frames += 1;
        *self.verdicts.entry(answer.outcome.name()).or_default() += 1;
        for mode in &answer.met {
            *self.modes.entry(mode.clone()).or_default() += 1;
        }
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} stories, {} frames", self.stories, self.frames)?;
        let share = |times: u64| times as f64 / self.frames.max(1) as f64 * 100.0;
        for (name, times) in &self.verdicts {
            writeln!(f, "  {name:32}{times:9}{:8.3} %", share(*times))?;
        }
        for (name, times) in &self.modes {
            writeln!(f, "  {name:32}{times:9}{:8.3} %", share(*times))?;
        }
        Ok(())
    }
}

/// Runs the story of a seed; if model and packet path differ, what a short story shows.
pub fn check(seed: u64, met: &mut Met) -> Result<(), String> {
    met.stories += 1;
    let story = generate::story(seed, STEPS);
    let Err(different) = run(&story, met) else {
        return Ok(());
    };
    let (short, different) = shrink(story, different);
    let mut text = format!(
        "the story of seed {seed:#x}, shortened:\n{:?}\n",
        short.site
    );
    for (n, step) in short.steps.iter().enumerate() {
        let _ = writeln!(text, "{n}: {step:?}");
    }
    Err(format!(
        "{text}at step {}:\n{}",
        different.step, different.text
    ))
}

/// Where model and packet path differ.
pub(super) struct Difference {
    step: usize,
    pub(super) text: String,
}

/// Leaves out as many steps as can be while they differ.
fn shrink(mut story: Story, mut different: Difference) -> (Story, Difference) {
    story.steps.truncate(different.step + 1);
    let mut chunk = story.steps.len();
    while chunk > 0 {
        let mut start = 0;
        while start < story.steps.len() {
            let mut shorter = story.clone();
            let end = (start + chunk).min(story.steps.len());
            shorter.steps.drain(start..end);
            match run(&shorter, &mut Met::default()) {
                Err(still) => (story, different) = (shorter, still),
                Ok(()) => start += chunk,
            }
        }
        chunk /= 2;
    }
    (story, different)
}

/// Runs a story through both.
pub(super) fn run(story: &Story, met: &mut Met) -> Result<(), Difference> {
    let mut site = story.site.clone();
    let mut model = Model::new(site.clone());
    let plan = plan(&site);
    let world = |site: &Site| plan.map_or(site.world(), |plan| plan.world(&site.world()));
    let mut tables = HostTables::new(world(&site));
    let mut known = Known::default();
    for (n, step) in story.steps.iter().enumerate() {
        match step {
            Step::Request(_)
            | Step::Reply(_)
            | Step::Ping(_)
            | Step::Notice(_)
            | Step::Bytes(_) => {
                let Some(incoming) = step.frame(&site, &known) else {
                    continue;
                };
                let answer = frame(&mut model, &mut tables, plan, &incoming)
                    .map_err(|text| Difference { step: n, text })?;
                if let (Some(who), Outcome::Forward(_), Some(frame)) =
                    (step.request(), answer.outcome, &answer.frame)
                {
                    known.note(who, frame);
                }
                met.add(&answer);
            }
            Step::Advance(seconds) => {
                model.advance(*seconds);
                tables.advance(*seconds);
            }
            Step::Forget {
                client,
                service,
                replies,
            } => {
                let flow = match known.ends.get(&(*client, *service)) {
                    Some(left) if *replies => left.back(),
                    _ => request(&site.services[*service], *client),
                };
                model.forget(flow);
                // In one of the tables it is by its mapped addresses.
                if !tables.evict(flow.into()) {
                    tables.evict(mapped(flow).into());
                }
            }
            Step::Change(change) => {
                change.make(&mut site);
                model.set_site(site.clone());
                tables.set_world(world(&site));
            }
        }
    }
    Ok(())
}

/// In which VLANs the packet path has the frames of a site; the model's have no tags.
fn plan(site: &Site) -> Option<Plan> {
    match site.seed[0] % 4 {
        0 => Some(Plan::One),
        1 => Some(Plan::Two),
        _ => None,
    }
}

/// Has both handle a frame; in what they differ.
fn frame(
    model: &mut Model,
    tables: &mut HostTables,
    plan: Option<Plan>,
    incoming: &Incoming,
) -> Result<Answer, String> {
    let Incoming {
        ingress,
        bytes,
        headroom,
    } = incoming;
    // One that has tags of its own gets no others. Tags are the last to take room, of which all have enough.
    let tagged = has_tag(bytes);
    let headroom = if tagged || plan.is_some() {
        HEADROOM
    } else {
        *headroom
    };
    let answer = model.handle(Arrival {
        headroom,
        ..incoming.arrival()
    });
    tables.arrive(ingress.ifindex);
    let sent = match plan {
        Some(plan) if !tagged => plan.put_on(ingress.device, bytes),
        _ => bytes.clone(),
    };
    let (outcome, after) = decide(HostPacket::new(&sent, headroom), tables);
    let (verdict, to) = (outcome.into(), tables.leaves(outcome).unwrap_or_default());
    let after = match plan {
        Some(plan) if !tagged || verdict != Verdict::Pass => {
            plan.take_off(verdict, (ingress.device, to), &after)
        }
        _ => after,
    };
    let mut wrong = Differences::default();
    wrong.note("outcome", answer.outcome, outcome);
    wrong.note("device", answer.device, tables.leaves(outcome));
    match outcome {
        Outcome::Forward(_) | Outcome::Answer(_) => {
            wrong.note_frames(answer.frame.as_deref().unwrap_or_default(), &after);
            let sound = is_sound_within(&after) || !is_sound(bytes);
            wrong.note("sound, as etherparse has it", true, sound);
        }
        Outcome::Pass(_) => wrong.note("untouched", true, *bytes == after),
        Outcome::Drop(_) => {}
    }
    wrong.note("neighbours", &answer.wanted, &tables.take_wanted());
    wrong.note("unrecorded", &answer.unrecorded, &tables.take_unrecorded());
    wrong.note("counters", model.counts(), &tables.counts());
    if wrong.0.is_empty() {
        return Ok(answer);
    }
    Err(format!(
        "{}of a frame through {}:\n  {}",
        wrong.0,
        ingress.name,
        start_of(bytes)
    ))
}

/// In what they differ, as a text.
#[derive(Default)]
struct Differences(String);

impl Differences {
    fn note<T: PartialEq + fmt::Debug>(&mut self, what: &str, model: T, path: T) {
        if model != path {
            let _ = writeln!(
                self.0,
                "  {what}:\n    the model   {model:?}\n    the program {path:?}"
            );
        }
    }

    fn note_frames(&mut self, model: &[u8], path: &[u8]) {
        if model != path {
            self.note("start of the frame", start_of(model), start_of(path));
            self.note("length of the frame", model.len(), path.len());
            let same = model.iter().zip(path).position(|(a, b)| a != b);
            self.note("first byte that differs", None, same);
        }
    }
}

/// The bytes of a frame that are shown of it.
fn start_of(frame: &[u8]) -> String {
    let start = frame.iter().take(SHOWN);
    start.map(|byte| format!("{byte:02x}")).collect()
}
