//! What the processes say to each other: over the connections, and to the run.
//!
//! ```text
//! client ► backend   number (8 bytes, network order)
//! backend ► client   number                          its name (16 bytes, zeros behind it)
//! ```

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// Length of a question.
pub(super) const QUESTION: usize = 8;
/// Length of an answer.
pub(super) const ANSWER: usize = QUESTION + NAME;
/// Length of a name, zeros included.
const NAME: usize = 16;

/// A wait for an answer that is none of a network that is whole: shorter than a retransmission.
const NOTICED: Duration = Duration::from_millis(100);

/// The line by which the client says that every connection that was to be open is, or failed.
pub(super) const OPENED: &str = "opened";

/// A backend's name as answers carry it.
pub(super) fn padded(name: &str) -> Result<[u8; NAME]> {
    let mut padded = [0; NAME];
    let room = padded.get_mut(..name.len());
    let room = room.with_context(|| format!("{name:?} is longer than {NAME} bytes"))?;
    room.copy_from_slice(name.as_bytes());
    Ok(padded)
}

/// The number and the name in an answer.
pub(super) fn read(answer: &[u8; ANSWER]) -> Result<(u64, String)> {
    let (number, name) = answer
        .split_first_chunk::<QUESTION>()
        .context("answers are longer")?;
    let end = name.iter().position(|&byte| byte == 0);
    let name = std::str::from_utf8(&name[..end.unwrap_or(NAME)]).context("odd name")?;
    ensure!(!name.is_empty(), "no name");
    Ok((u64::from_be_bytes(*number), name.to_owned()))
}

/// What the client found: all that it knows of each connection.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Through Sluice.
    pub(super) connections: Vec<Connection>,
    /// Beside it.
    pub(super) controls: Vec<Connection>,
}

impl Outcome {
    /// How long after a time, by [`super::clock`], the first of the questions was answered through Sluice that were asked
    /// within so long of it and had to wait; `None` if none had to.
    pub(crate) fn served_again(&self, since: Duration, within: Duration) -> Option<Duration> {
        let longest = self.connections.iter().map(|connection| connection.longest);
        let asked = since..since + within;
        let waited = longest.filter(|wait| asked.contains(&wait.since) && wait.took >= NOTICED);
        waited.map(|wait| wait.since + wait.took - since).min()
    }

    /// How many connections had ended at a time.
    pub(crate) fn ended_before(&self, time: Duration) -> usize {
        let connections = self.connections.iter();
        let ended = connections.filter(|connection| connection.end != End::Alive);
        ended.filter(|connection| connection.ended < time).count()
    }
}

/// A connection's life. Times are of [`super::clock`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connection {
    /// Its place among its kind.
    pub(super) number: u32,
    /// When it was open.
    pub(super) opened: Option<Duration>,
    /// Who answered first.
    pub(super) backend: Option<String>,
    /// Answers, right or wrong.
    pub(super) answers: u64,
    /// Answers of others than the first, by name.
    pub(super) strays: BTreeMap<String, u64>,
    /// Answers with another number than was asked with: one too many, or one lost.
    pub(super) misnumbered: u64,
    /// The longest wait for an answer.
    pub(super) longest: Wait,
    /// How it was at the end, and when that came.
    pub(super) end: End,
    /// When that came.
    pub(super) ended: Duration,
}

/// A wait for an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Wait {
    /// How long it took, from when the question was due.
    pub(super) took: Duration,
    /// When it was due.
    pub(super) since: Duration,
}

/// How a connection was at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    /// Alive, every question answered.
    Alive,
    /// Open, but the last question was not answered in a fair time.
    Silent,
    /// Reset.
    Reset,
    /// Closed by the other end.
    Closed,
    /// Another error.
    Failed(String),
    /// It never opened.
    NotOpened(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_they_are_made() {
        let mut answer = [0; ANSWER];
        answer[..QUESTION].copy_from_slice(&7_u64.to_be_bytes());
        answer[QUESTION..].copy_from_slice(&padded("backend1").unwrap());
        assert_eq!(read(&answer).unwrap(), (7, "backend1".to_owned()));
        assert!(read(&[0; ANSWER]).is_err());
        assert!(padded("a name that is too long").is_err());
    }
}
