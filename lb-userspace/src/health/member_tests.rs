//! What backends are and weigh, in virtual time.

use super::*;
use crate::health::advice::Share;

const UP: Opinion = Opinion {
    status: Status::Up,
    advice: Advice::NONE,
};
const DOWN: Opinion = Opinion {
    status: Status::Down,
    advice: Advice::NONE,
};
const MINUTE: Duration = Duration::from_secs(60);

/// The weight of a backend that is configured with this one.
fn has(member: &Member, configured: u16, settings: &Health, now: Instant) -> Weight {
    super::weight(
        weight(configured),
        member.advice(),
        member.step(settings, now),
    )
}

fn weight(n: u16) -> Weight {
    Weight::new(n).unwrap()
}

fn damped() -> Health {
    Health {
        flap_damping: Some(FlapDamping {
            downs: 3.try_into().unwrap(),
            within: 10 * MINUTE,
            hold: 5 * MINUTE,
        }),
        ..Health::default()
    }
}

fn slow() -> Health {
    Health {
        slow_start: Some(MINUTE),
        ..Health::default()
    }
}

#[test]
fn a_backend_is_up_if_all_of_its_checks_are() {
    let settings = Health::default();
    let now = Instant::now();
    for (opinions, state) in [
        (&[][..], State::Up),
        (&[UP, UP], State::Up),
        (&[UP, DOWN], State::Down),
        (&[DOWN], State::Down),
    ] {
        assert_eq!(Member::new(opinions).state(), state);
        let mut member = Member::new(&[UP]);
        let events = member.judge(opinions, &settings, now);
        let expected: &[Event] = match state {
            State::Down => &[Event::Down],
            State::Up | State::Held => &[],
        };
        assert_eq!((events.as_slice(), member.state()), (expected, state));
        assert_eq!(member.judge(opinions, &settings, now), [], "once");
    }
}

#[test]
fn a_backend_that_comes_back_starts_slowly() {
    let settings = slow();
    let start = Instant::now();
    let mut member = Member::new(&[UP]);
    assert_eq!(has(&member, 200, &settings, start), weight(200));
    assert_eq!(member.deadline(&settings, start), None, "nothing happened");
    member.judge(&[DOWN], &settings, start);
    assert_eq!(member.judge(&[UP], &settings, start), [Event::Up]);

    // From deadline to deadline, a step each.
    let mut now = start;
    for step in 1..=10 {
        assert_eq!(member.step(&settings, now), Some(step));
        assert_eq!(has(&member, 200, &settings, now), weight(20 * step as u16));
        assert_eq!(has(&member, 1, &settings, now), weight(1));
        assert_eq!(has(&member, 0, &settings, now), weight(0));
        let next = member.deadline(&settings, now).unwrap();
        assert!(next > now && next < start + MINUTE / 10 * step + Duration::from_millis(1));
        now = next;
        assert_eq!(member.judge(&[UP], &settings, now), []);
    }
    assert_eq!(member.step(&settings, now), None);
    assert_eq!(has(&member, 200, &settings, now), weight(200));
    assert_eq!(member.deadline(&settings, now), None);
}

#[test]
fn a_slow_start_that_is_configured_away_is_over() {
    let start = Instant::now();
    let mut member = Member::new(&[DOWN]);
    member.judge(&[UP], &slow(), start);
    assert_eq!(member.step(&slow(), start), Some(1));
    member.judge(&[UP], &Health::default(), start);
    assert_eq!(member.step(&slow(), start), None);
}

#[test]
fn one_that_keeps_going_down_is_held_down() {
    let settings = damped();
    let start = Instant::now();
    let at = |minutes: u32| start + MINUTE * minutes;
    let mut member = Member::new(&[UP]);
    for minute in [0, 1] {
        assert_eq!(member.judge(&[DOWN], &settings, at(minute)), [Event::Down]);
        assert_eq!(member.judge(&[UP], &settings, at(minute)), [Event::Up]);
    }
    assert_eq!(
        member.judge(&[DOWN], &settings, at(2)),
        [Event::Flapping(3)]
    );
    assert_eq!(member.judge(&[UP], &settings, at(3)), [Event::Held]);
    assert_eq!(member.state(), State::Held);
    assert_eq!(member.deadline(&settings, at(3)), Some(at(7)));
    // Down again meanwhile: it is held from then on.
    assert_eq!(
        member.judge(&[DOWN], &settings, at(4)),
        [Event::Flapping(4)]
    );
    assert_eq!(member.judge(&[UP], &settings, at(5)), [Event::Held]);
    assert_eq!(member.judge(&[UP], &settings, at(8)), []);
    assert_eq!(member.judge(&[UP], &settings, at(9)), [Event::Released]);
    assert_eq!((member.state(), member.held_until()), (State::Up, None));
    // What is long ago is forgotten.
    assert_eq!(member.judge(&[DOWN], &settings, at(20)), [Event::Down]);
}

#[test]
fn hold_ends_with_the_configuration_that_asked_for_it() {
    let now = Instant::now();
    let mut member = Member::new(&[UP]);
    for _ in 0..3 {
        member.judge(&[DOWN], &damped(), now);
        member.judge(&[UP], &damped(), now);
    }
    assert_eq!(member.state(), State::Held);
    assert_eq!(
        member.judge(&[UP], &Health::default(), now),
        [Event::Released]
    );
}

#[test]
fn agents_set_the_weight() {
    let advised = |advice| Opinion {
        status: Status::Up,
        advice,
    };
    let half = Advice {
        weight: Some(Share::Percent(50)),
        ..Advice::NONE
    };
    let drain = Advice {
        drain: true,
        ..Advice::NONE
    };
    let settings = slow();
    let now = Instant::now();
    let mut member = Member::new(&[UP]);
    let events = member.judge(&[UP, advised(half)], &settings, now);
    assert_eq!(events, [Event::Advised(half)]);
    assert_eq!(has(&member, 200, &settings, now), weight(100));
    // A drain of one of them is enough; and it is up all the while.
    member.judge(&[advised(drain), advised(half)], &settings, now);
    assert_eq!(has(&member, 200, &settings, now), weight(0));
    assert_eq!(member.state(), State::Up);
    let ready = Event::Advised(Advice::NONE);
    assert_eq!(member.judge(&[UP], &settings, now), [ready]);
}
