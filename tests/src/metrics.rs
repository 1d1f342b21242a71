//! Prometheus's text format 0.0.4, read back.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// One line of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// Everything that one scrape returned.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
}

impl Metrics {
    /// Reads a scrape's text.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| sample(line).with_context(|| format!("odd line {line:?}")));
        Ok(Self {
            samples: samples.collect::<Result<_>>()?,
        })
    }

    /// Every sample called `name`.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.name == name)
    }

    /// The sum of the samples called `name` that have all of `labels`; nothing if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |sample: &&Sample| {
            labels
                .iter()
                .all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value))
        };
        self.named(name)
            .filter(fits)
            .map(|sample| sample.value)
            .reduce(|a, b| a + b)
    }
}

/// `name{label="value",…} number [timestamp]`
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (key, value, after) = label(rest)?;
            labels.insert(key, value);
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// `key="value"` with `\\`, `\"` and `\n` in the value; and what follows it.
fn label(text: &str) -> Option<(String, String, &str)> {
    let (key, rest) = text.split_once("=\"")?;
    let mut value = String::new();
    let mut characters = rest.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((key.to_owned(), value, &rest[at + 1..])),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (_, other) => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_and_summed() {
        let text =
            "# HELP a b\n# TYPE a counter\na{x=\"1\",y=\"q\\\"}\\\\\"} 3\na{x=\"2\"} 4\nb 0.5\n";
        let metrics = Metrics::parse(text).unwrap();
        assert_eq!(metrics.sum("a", &[]), Some(7.0));
        assert_eq!(metrics.sum("a", &[("y", "q\"}\\")]), Some(3.0));
        assert_eq!(metrics.sum("b", &[]), Some(0.5));
        assert_eq!(metrics.sum("c", &[]), None);
        assert!(Metrics::parse("a{x=\"1} 3").is_err());
    }
}
