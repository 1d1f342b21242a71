//! What an agent says beside "I am here": its words, as HAProxy's agent checks have them, and what
//! they make of a weight.
//!
//! Each answer stands for itself: what it does not say is as the configuration has it. (HAProxy keeps
//! `drain` until `ready` comes; there, too, agents say both.)

use std::{fmt, num::NonZeroU32};

use crate::model::Weight;

const HUNDRED: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// What one answer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// The weight that it wants.
    pub weight: Option<Share>,
    /// Whether it wants no new flows.
    pub drain: bool,
    /// Whether it says in so many words that it is up.
    pub up: bool,
}

/// A weight, as agents give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// In place of the configured one.
    Weight(Weight),
    /// Of the configured one, percent.
    Percent(u16),
}

/// What an answer was understood as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is there.
    Advice(Advice),
    /// It is down: in its own words.
    Down(String),
}

impl Advice {
    /// No advice at all.
    pub const NONE: Self = Self {
        weight: None,
        drain: false,
        up: false,
    };

    /// The weight of a backend that is configured with this one. What has one keeps at least 1 of
    /// it, unless it asks for none; what has none stays without.
    pub fn of(self, configured: Weight) -> Weight {
        match self.weight {
            _ if self.drain || configured == Weight::ZERO => Weight::ZERO,
            None => configured,
            Some(Share::Weight(weight)) => weight,
            Some(Share::Percent(0)) => Weight::ZERO,
            Some(Share::Percent(percent)) => configured.share(percent.into(), HUNDRED),
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.drain, self.weight) {
            (true, _) => f.write_str("drain"),
            (false, None) => f.write_str("ready"),
            (false, Some(Share::Weight(weight))) => write!(f, "weight: {}", weight.value()),
            (false, Some(Share::Percent(percent))) => write!(f, "{percent}%"),
        }
    }
}

/// Reads the first line of an agent's answer: words between spaces, tabs and commas. `None` if none of
/// them means anything.
///
/// `up`, `ready`, `drain`, `maint` (as drain), `down`, `fail`, `failed`, `stopped` (with what follows as its
/// reason), `75%`, `weight: 50` (or `weight:50`, `weight=50`); `maxconn:30` is passed over.
pub(super) fn read(answer: &str) -> Option<Said> {
    let line = answer.trim_start().lines().next()?.trim();
    let (line, reason) = match line.split_once('#') {
        Some((line, reason)) => (line, Some(reason.trim())),
        None => (line, None),
    };
    let mut found = Found::default();
    let mut words = line
        .split([' ', '\t', ','])
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase);
    while let Some(word) = words.next() {
        found.word(&word, &mut words);
    }
    found.said(reason)
}

/// What a header with advice says: the words of [`read`], or a weight alone.
pub(super) fn read_header(value: &str) -> Option<Said> {
    match weight(value.trim()) {
        Some(share) => Some(Said::Advice(Advice {
            weight: Some(share),
            ..Advice::NONE
        })),
        None => read(value),
    }
}

#[derive(Default)]
struct Found {
    any: bool,
    down: Option<String>,
    advice: Advice,
}

impl Found {
    fn word(&mut self, word: &str, rest: &mut impl Iterator<Item = String>) {
        let known = match word {
            "up" => {
                self.advice.up = true;
                true
            }
            "ready" => true,
            "drain" | "maint" => {
                self.advice.drain = true;
                true
            }
            "down" | "fail" | "failed" | "stopped" => {
                self.down = Some(word.to_owned());
                true
            }
            "weight" | "weight:" | "weight=" => self.weight(rest.next().as_deref()),
            _ => match word
                .strip_prefix("weight:")
                .or(word.strip_prefix("weight="))
            {
                Some(digits) => self.weight(Some(digits)),
                None if word.ends_with('%') => self.weight(Some(word)),
                None => false,
            },
        };
        self.any |= known;
    }

    fn weight(&mut self, digits: Option<&str>) -> bool {
        let share = digits.and_then(weight);
        self.advice.weight = share.or(self.advice.weight);
        share.is_some()
    }

    fn said(self, reason: Option<&str>) -> Option<Said> {
        let reason = reason.filter(|reason| !reason.is_empty());
        match self.down {
            Some(word) => Some(Said::Down(match reason {
                Some(reason) => format!("`{word}`: {}", shown(reason)),
                None => format!("`{word}`"),
            })),
            None if self.any => Some(Said::Advice(self.advice)),
            None => None,
        }
    }
}

/// `50` or `75%`.
fn weight(text: &str) -> Option<Share> {
    let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    match text.strip_suffix('%') {
        Some(digits) if plain(digits) => {
            let percent = digits.parse().ok().filter(|percent| *percent <= 1000);
            percent.map(Share::Percent)
        }
        None if plain(text) => Weight::new(text.parse().ok()?).map(Share::Weight),
        Some(_) | None => None,
    }
}

/// Text of a peer as messages show it: one line, not too long, nothing that a terminal obeys.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 120;
    let line = text.lines().next().unwrap_or_default().trim();
    let end = line.floor_char_boundary(MOST);
    line[..end]
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weight_of(n: u16) -> Weight {
        Weight::new(n).unwrap()
    }

    fn advice(text: &str) -> Advice {
        match read(text) {
            Some(Said::Advice(advice)) => advice,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn words_of_agents_are_understood() {
        let configured = weight_of(200);
        for (text, weight) in [
            ("ready", 200),
            ("up\n", 200),
            ("drain\r\n", 0),
            ("maint", 0),
            ("75%", 150),
            ("up 50%\n", 100),
            ("ready,up,150%", 300),
            ("weight: 50", 50),
            ("Weight:50\nmore", 50),
            ("weight=7 maxconn:30", 7),
            ("weight 0", 0),
            ("0%", 0),
            ("1%", 2),
            ("drain 50%", 0),
        ] {
            assert_eq!(advice(text).of(configured).value(), weight, "{text}");
        }
        assert_eq!(advice("1%").of(weight_of(10)), weight_of(1), "not none");
        assert_eq!(advice("1000%").of(weight_of(9000)).value(), Weight::MAX);
    }

    #[test]
    fn what_is_down_says_why() {
        let down = |words: &str| Some(Said::Down(words.into()));
        assert_eq!(read("down"), down("`down`"));
        assert_eq!(read("FAILED # no disk\n"), down("`failed`: no disk"));
        assert_eq!(read("up down"), down("`down`"), "the worse of two");
        assert_eq!(read("stopped#\x1b[31mx"), down("`stopped`:  [31mx"));
    }

    #[test]
    fn what_means_nothing_is_no_advice() {
        for text in [
            "",
            "\n",
            "hello",
            "weight",
            "weight: x",
            "%",
            "<html>",
            "50",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_header_may_be_a_weight_alone() {
        let expected = |share| Advice {
            weight: Some(share),
            ..Advice::NONE
        };
        let advice = |value| match read_header(value) {
            Some(Said::Advice(advice)) => advice,
            other => panic!("{other:?}"),
        };
        assert_eq!(advice(" 50 "), expected(Share::Weight(weight_of(50))));
        assert_eq!(advice("75%"), expected(Share::Percent(75)));
        assert!(advice("drain").drain);
        assert_eq!(read_header("10001"), None);
    }

    proptest! {
        #[test]
        fn any_answer(text in ".{0,80}") {
            let _ = read(&text);
            let _ = read_header(&text);
        }
    }
}
