//! How many instructions of each program the verifier may walk: as many as are accepted in
//! `lb-ebpf/verified.txt`, and a tenth more. A rise beyond that is accepted by a line with the reason,
//! which has to go when it is needed no more, so that the file shrinks again.
//!
//! ```text
//! sluice 200000                          what it was when last looked at
//! sluice 334747 flows have two tables    accepted beyond that, and why
//! ```

use anyhow::{Context, Result, bail};

/// What is accepted of one program.
#[derive(Debug, PartialEq, Eq)]
struct Accepted {
    usual: u32,
    /// What is accepted beyond that, with the reason.
    risen: Option<(u32, String)>,
}

/// Compares what was walked of a program with what is accepted; says what to do if it is too much.
pub(super) fn check(text: &str, program: &str, walked: u32) -> Result<()> {
    let Some(Accepted { usual, risen }) = read(text, program)? else {
        bail!("{program}: {walked} instructions were walked, and no line says how many may be");
    };
    let with_room = |accepted: u32| accepted + accepted / 10;
    match risen {
        None if walked > with_room(usual) => bail!(
            "{program}: {walked} instructions were walked, over a tenth more than {usual}: make it \
             less, or accept it with the line \"{program} {walked} REASON\""
        ),
        Some((risen, reason)) if walked > with_room(risen) => bail!(
            "{program}: {walked} instructions were walked, over a tenth more than the {risen} that \
             are accepted since {reason:?}"
        ),
        Some((risen, _)) if walked <= with_room(usual) => bail!(
            "{program}: {walked} instructions were walked, near the usual {usual} again: remove the \
             line that accepts {risen}"
        ),
        _ => Ok(()),
    }
}

fn read(text: &str, program: &str) -> Result<Option<Accepted>> {
    let mut accepted: Option<Accepted> = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.splitn(3, ' ');
        if words.next() != Some(program) {
            continue;
        }
        let number = words.next().unwrap_or_default();
        let number = number
            .parse()
            .with_context(|| format!("{line:?}: {number:?} is no number"))?;
        match (words.next(), &mut accepted) {
            (None, None) => {
                accepted = Some(Accepted {
                    usual: number,
                    risen: None,
                });
            }
            (Some(reason), Some(before)) if before.risen.is_none() => {
                before.risen = Some((number, reason.to_owned()));
            }
            _ => bail!("{line:?}: a program has one number, and then one with a reason at most"),
        }
    }
    Ok(accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# a comment\nclock 2\nsluice 1000\nsluice 2000 two tables\n";

    fn refused(text: &str, program: &str, walked: u32) -> String {
        check(text, program, walked).unwrap_err().to_string()
    }

    #[test]
    fn a_tenth_more_is_accepted() {
        check("sluice 1000", "sluice", 1100).unwrap();
        check("sluice 1000", "sluice", 3).unwrap();
        let refused = refused("sluice 1000", "sluice", 1101);
        assert!(refused.contains("\"sluice 1101 REASON\""), "{refused}");
    }

    #[test]
    fn what_is_accepted_with_a_reason_is_not_kept_for_nothing() {
        check(TEXT, "sluice", 1101).unwrap();
        check(TEXT, "sluice", 2200).unwrap();
        assert!(refused(TEXT, "sluice", 2201).contains("two tables"));
        assert!(refused(TEXT, "sluice", 1100).contains("remove the line"));
    }

    #[test]
    fn a_program_without_a_line_and_lines_that_say_nothing_are_refused() {
        assert!(refused(TEXT, "other", 1).contains("no line says"));
        assert!(refused("sluice many", "sluice", 1).contains("\"many\" is no number"));
        assert!(refused("sluice 1\nsluice 2", "sluice", 1).contains("one number"));
        assert!(refused("sluice 1 since then", "sluice", 1).contains("one number"));
    }
}
