//! The text, what becomes of damage, and times that can't be true.

use super::*;
use crate::slots::testing::{DRAINED, Shape, UP, at, inputs};

fn log() -> Log<Shape> {
    Log {
        base: Base {
            version: VERSION,
            last_epoch: 6,
            inputs: inputs(31, 0, &[("a", UP)]),
            starts: vec![Started {
                epoch: 6,
                time: Some(UnixTime(100)),
            }],
            moving: vec![MovingSlots {
                epoch: 6,
                previous: "a".into(),
                slots: vec![3, 4, 30],
            }],
            mixed: vec![MixedSlots {
                epoch: 6,
                slots: vec![5],
            }],
        },
        entries: vec![
            Entry::Changed {
                epoch: Some(7),
                time: Some(UnixTime(200)),
                inputs: inputs(31, 0, &[("a", DRAINED)]),
            },
            Entry::Mixed { epoch: 6 },
        ],
    }
}

#[test]
fn what_was_written_is_read() {
    let text = log().text().unwrap();
    assert_eq!(text.lines().count(), 3);
    let read = Log::<Shape>::read(&text);
    assert_eq!(read.log, Some(log()));
    assert!(read.damage.is_none());
}

#[test]
fn the_text_is_this() {
    let changed = concat!(
        r#"{"event":"changed","epoch":7,"time":200,"inputs":{"shape":{"slots":31,"salt":0},"#,
        r#""backends":{"a":{"weight":0,"available":false,"alive":true}}}}"#,
        "\n",
    );
    let lines: Vec<_> = log()
        .entries
        .iter()
        .map(|entry| entry.line().unwrap())
        .collect();
    assert_eq!(lines, [changed, "{\"event\":\"mixed\",\"epoch\":6}\n"]);
}

#[test]
fn a_damaged_tail_is_named_and_what_is_before_it_used() {
    let text = log().text().unwrap();
    // However much of the last line is lost.
    let last = text.trim_end().rfind('\n').unwrap() + 1;
    for end in last + 1..text.len() - 1 {
        let read = Log::<Shape>::read(&text[..end]);
        assert_eq!(read.log.unwrap().entries, log().entries[..1]);
        assert!(matches!(read.damage, Some(Error::Line { line: 3, .. })));
    }
    let torn = text.replace("\"changed\"", "\0\0");
    let read = Log::<Shape>::read(&torn);
    assert_eq!(read.log.unwrap().entries, []);
    let message = read.damage.unwrap().to_string();
    assert!(
        message.starts_with("line 2 of the slot history"),
        "{message}"
    );
}

#[test]
fn without_a_base_there_is_nothing() {
    let read = Log::<Shape>::read("");
    assert!(read.log.is_none());
    assert!(matches!(read.damage, Some(Error::Empty)));
    let read = Log::<Shape>::read("{\"version\":1}\n");
    assert!(read.log.is_none());
    assert!(matches!(read.damage, Some(Error::Line { line: 1, .. })));
    let read = Log::<Shape>::read("{\"version\":2,\"whatever\":true}\n");
    assert!(read.log.is_none());
    assert!(matches!(read.damage, Some(Error::Version { found: 2 })));
}

#[test]
fn a_time_that_can_not_be_true_is_now() {
    let start = Instant::now();
    let clock = at(start, 10_000);
    let UnixTime(now) = clock.unix;
    let of = |seconds| clock.instant(Some(UnixTime(seconds)));
    assert_eq!(of(now - 5), clock.now - Duration::from_secs(5));
    assert_eq!(of(now), clock.now);
    assert_eq!(of(now + 1), clock.now);
    assert_eq!(of(100), clock.now, "logged before the clock was set");
    assert_eq!(clock.instant(None), clock.now);
}

#[test]
fn a_beginning_is_found_again_on_the_wall() {
    let start = Instant::now();
    let clock = at(start, 10_000);
    let then = clock.unix(start + Duration::from_secs(7_000));
    assert_eq!(then, at(start, 7_000).unix);
    assert_eq!(clock.instant(Some(then)), at(start, 7_000).now);
}
