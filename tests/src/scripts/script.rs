//! The form of a script, in which files lie one after the other (Go's txtar): words of what it shows, then
//! sections, each behind a line `-- NAME --`. The section `steps` says what happens:
//!
//! ```text
//! load FILE             the section becomes the configuration, and is applied
//! refuse FILE ERROR     it is refused, with the text of the section ERROR; nothing is written
//! reach ADDRESS …       next hops towards these are resolved, and applied
//! lose ADDRESS …        they are not any more
//! down POOL BACKEND     its checks find a backend down, and that is applied
//! up POOL BACKEND       they find it up again
//! drain POOL BACKEND    an operator drains it, and that is applied
//! end POOL BACKEND THEN the same, and its deadline has come: its flows are `reset`, or `drop`ped
//! undrain POOL BACKEND  it is not drained any more
//! fail after N          N more operations go well, and the next one fails; then all do again
//! dump SECTION          the tables are as the section says
//! operations SECTION    what was done since the last time, one a line
//! ```

use std::{fmt, net::IpAddr};

use lb_userspace::overrides::{Change, Drain, Then};

use super::host::NOW;

/// A script.
pub(super) struct Script {
    about: String,
    sections: Vec<(String, String)>,
}

/// Something that happens, or is looked at.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Load(String),
    Refuse(String, String),
    Reach(Vec<IpAddr>),
    Lose(Vec<IpAddr>),
    Check {
        pool: String,
        backend: String,
        up: bool,
    },
    Say {
        pool: String,
        backend: String,
        change: Change,
    },
    FailAfter(usize),
    Dump(String),
    Operations(String),
}

impl Script {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut script = Self {
            about: String::new(),
            sections: Vec::new(),
        };
        for line in text.split_inclusive('\n') {
            let name = line.trim_end().strip_prefix("-- ");
            let name = name.and_then(|rest| rest.strip_suffix(" --"));
            match (name, script.sections.last_mut()) {
                (Some(name), _) => script.sections.push((name.to_owned(), String::new())),
                (None, Some((_, section))) => section.push_str(line),
                (None, None) => script.about.push_str(line),
            }
        }
        if script.about.trim().is_empty() {
            return Err("it does not say what it shows".into());
        }
        Ok(script)
    }

    /// A section's text; none is as good as an empty one.
    pub(super) fn section(&self, name: &str) -> &str {
        let section = self.sections.iter().find(|(known, _)| known == name);
        section.map_or("", |(_, text)| text)
    }

    pub(super) fn replace(&mut self, name: &str, text: String) {
        match self.sections.iter_mut().find(|(known, _)| known == name) {
            Some((_, section)) => *section = text,
            None => self.sections.push((name.to_owned(), text)),
        }
    }

    /// The steps, counted from 1.
    pub(super) fn steps(&self) -> Result<Vec<(usize, Step)>, String> {
        let lines = self.section("steps").lines();
        let steps = lines.enumerate().map(|(n, line)| {
            let step = step(line).ok_or_else(|| format!("no step: {line:?}"))?;
            Ok((n + 1, step))
        });
        let steps: Vec<_> = steps.collect::<Result<_, String>>()?;
        match steps.iter().any(|(_, step)| matches!(step, Step::Dump(_))) {
            true => Ok(steps),
            false => Err("nothing is looked at".into()),
        }
    }
}

fn step(line: &str) -> Option<Step> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let addresses = |words: &[&str]| {
        let addresses = words.iter().map(|word| word.parse().ok());
        addresses.collect::<Option<Vec<IpAddr>>>()
    };
    Some(match words.as_slice() {
        ["load", file] => Step::Load((*file).into()),
        ["refuse", file, error] => Step::Refuse((*file).into(), (*error).into()),
        ["reach", some @ ..] => Step::Reach(addresses(some)?),
        ["lose", some @ ..] => Step::Lose(addresses(some)?),
        [word @ ("down" | "up"), pool, backend] => Step::Check {
            pool: (*pool).into(),
            backend: (*backend).into(),
            up: *word == "up",
        },
        ["drain", pool, backend] => say(pool, backend, drained(None, Then::Leave)),
        ["end", pool, backend, "reset"] => say(pool, backend, drained(Some(NOW), Then::Reset)),
        ["end", pool, backend, "drop"] => say(pool, backend, drained(Some(NOW), Then::Drop)),
        ["undrain", pool, backend] => say(pool, backend, Change::Undrain),
        ["fail", "after", operations] => Step::FailAfter(operations.parse().ok()?),
        ["dump", section] => Step::Dump((*section).into()),
        ["operations", section] => Step::Operations((*section).into()),
        _ => return None,
    })
}

fn say(pool: &str, backend: &str, change: Change) -> Step {
    Step::Say {
        pool: pool.into(),
        backend: backend.into(),
        change,
    }
}

fn drained(deadline: Option<u64>, then: Then) -> Change {
    Change::Drain(Drain {
        since_unix_seconds: NOW,
        deadline_unix_seconds: deadline,
        then,
    })
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.about)?;
        let mut sections = self.sections.iter();
        sections.try_for_each(|(name, text)| write!(f, "-- {name} --\n{text}"))
    }
}
