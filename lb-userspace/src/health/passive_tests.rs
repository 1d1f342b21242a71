//! What clients' connections say of a backend, in virtual time: a sample each second.

use lb_common::abi::BackendRef;
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A backend that is looked at once a second.
struct Watched {
    passive: Passive,
    now: Instant,
    backend: BackendRef,
    counted: Handshakes,
    /// Whether its checks have passed.
    passed: bool,
}

impl Watched {
    fn new() -> Self {
        let mut watched = Self {
            passive: Passive::default(),
            now: Instant::now(),
            backend: BackendRef::new(1, 0),
            counted: Handshakes::default(),
            passed: true,
        };
        watched.look();
        watched
    }

    fn look(&mut self) -> bool {
        let sample = Sample {
            at: self.now,
            backend: self.backend,
            handshakes: self.counted,
        };
        self.passive.look(sample, self.passed)
    }

    /// A second in which so many SYNs come, so many are answered, and so many refused.
    fn second(&mut self, syns: u64, answered: u64, refused: u64) -> bool {
        self.now += SECOND;
        self.counted += Handshakes {
            syns,
            answered,
            refused,
        };
        self.look()
    }

    /// Seconds like this, until it is another than before; how many.
    fn until_it_changes(&mut self, (syns, answered, refused): (u64, u64, u64)) -> usize {
        let changes = |n: &usize| *n == 1000 || self.second(syns, answered, refused);
        (1..).find(changes).unwrap()
    }

    fn cause(&self) -> &str {
        self.passive.hold().map_or("", |hold| &hold.cause)
    }

    fn hold(&self) -> Duration {
        self.passive.hold().unwrap().length
    }
}

const SILENT: (u64, u64, u64) = (10, 0, 0);
const REFUSES: (u64, u64, u64) = (10, 0, 10);
const ANSWERS: (u64, u64, u64) = (10, 10, 0);
const IDLE: (u64, u64, u64) = (0, 0, 0);

fn fails(how: (u64, u64, u64)) -> Watched {
    let mut watched = Watched::new();
    (0..5).for_each(|_| assert!(!watched.second(10, 10, 0)));
    watched.until_it_changes(how);
    assert_eq!(watched.passive.status(), Status::Down);
    watched
}

#[test]
fn one_that_does_not_answer_is_down_when_its_syns_have_had_their_time() {
    let mut watched = Watched::new();
    (0..5).for_each(|_| assert!(!watched.second(10, 10, 0)));
    assert_eq!(watched.until_it_changes(SILENT), 4);
    assert_eq!(watched.cause(), "10 SYNs of clients unanswered within 4s");
    assert_eq!(watched.hold(), HOLD);
}

#[test]
fn one_that_refuses_is_down_at_once() {
    let mut watched = Watched::new();
    assert_eq!(watched.until_it_changes(REFUSES), 1);
    assert_eq!(
        watched.cause(),
        "10 of 10 SYNs of clients refused by reset within 1s"
    );
    // Whatever it answered before.
    watched = fails(REFUSES);
    assert_eq!(
        watched.cause(),
        "10 of 20 SYNs of clients refused by reset within 2s"
    );
    // Half of its ports.
    watched = fails((10, 5, 5));
    assert!(watched.cause().contains("5 of 10"), "{}", watched.cause());
}

#[test]
fn few_failures_are_none() {
    let mut watched = Watched::new();
    let (few, none) = (LEAST - 1, (LEAST, LEAST - 1, 0));
    assert!(!watched.second(few, 0, 0));
    assert_eq!(watched.until_it_changes(IDLE), 1000);
    assert!(!watched.second(few, 0, few));
    assert_eq!(watched.until_it_changes(IDLE), 1000);
    // Those that one answer comes for have one that goes without.
    assert_eq!(watched.until_it_changes(none), 1000);
    // One a client sends again and again, a second after the window that it is in.
    for _ in 0..100 {
        assert!(!watched.second(1, 0, 0));
        (0..3).for_each(|_| assert!(!watched.second(0, 0, 0)));
    }
}

#[test]
fn one_whose_answers_are_on_their_way_is_not_failing() {
    let mut watched = Watched::new();
    for _ in 0..100 {
        assert!(!watched.second(1000, 0, 0));
        assert!(!watched.second(0, 0, 0));
        assert!(!watched.second(0, 1000, 0));
    }
}

#[test]
fn one_that_is_down_comes_back_when_its_hold_is_over() {
    let mut watched = fails(SILENT);
    assert_eq!(watched.until_it_changes(IDLE), 10);
    assert_eq!(watched.passive.status(), Status::Up);
    assert_eq!(watched.passive.came_back_after(), Some(HOLD));
}

#[test]
fn what_was_under_way_when_it_went_down_does_not_hold_it_down() {
    for how in [SILENT, REFUSES] {
        let mut watched = fails(how);
        let (syns, answered, refused) = how;
        (0..2).for_each(|_| assert!(!watched.second(syns, answered, refused)));
        assert_eq!(watched.until_it_changes(IDLE), 8);
        assert_eq!(watched.passive.status(), Status::Up);
    }
}

#[test]
fn it_does_not_come_back_before_its_checks_have_passed() {
    let mut watched = fails(SILENT);
    watched.passed = false;
    assert_eq!(watched.until_it_changes(IDLE), 1000);
    watched.passed = true;
    assert_eq!(watched.until_it_changes(IDLE), 1);
}

#[test]
fn one_that_fails_again_is_down_for_longer_each_time() {
    let mut watched = fails(REFUSES);
    let mut holds = vec![watched.hold().as_secs()];
    for _ in 0..7 {
        watched.until_it_changes(IDLE);
        watched.until_it_changes(REFUSES);
        holds.push(watched.hold().as_secs());
    }
    assert_eq!(holds, [10, 20, 40, 80, 160, 300, 300, 300]);
    // It has to answer for as long as it was down.
    watched.until_it_changes(IDLE);
    (0..299).for_each(|_| assert!(!watched.second(10, 10, 0)));
    watched.until_it_changes(REFUSES);
    assert_eq!(watched.hold(), HOLD);
    // That nobody asked it proves nothing.
    watched.until_it_changes(IDLE);
    assert_eq!(watched.until_it_changes(IDLE), 1000);
    watched.until_it_changes(REFUSES);
    assert_eq!(watched.hold(), 2 * HOLD);
}

#[test]
fn one_that_fails_while_it_is_used_all_the_same_stays_down() {
    let mut watched = fails(SILENT);
    assert_eq!(watched.until_it_changes(SILENT), 10);
    assert_eq!(watched.passive.status(), Status::Down);
    assert_eq!(watched.hold(), 2 * HOLD);
    assert_eq!(watched.until_it_changes(ANSWERS), 20);
    assert_eq!(watched.passive.status(), Status::Up);
}

#[test]
fn counts_of_another_entry_are_not_compared() {
    let mut watched = Watched::new();
    for generation in 1..10 {
        watched.backend = BackendRef::new(1, generation);
        watched.counted.syns += 1_000_000;
        assert!(!watched.second(1_000, 0, 1_000), "{generation}");
        // As many as had to be there at first.
        watched.counted = Handshakes::default();
    }
}

#[test]
fn an_agent_that_was_held_up_judges_as_one_that_was_not() {
    let mut watched = Watched::new();
    watched.now += 20 * SECOND;
    watched.second(0, 0, 0);
    watched.now += 4 * SECOND;
    // It can't be told when they came.
    assert!(!watched.second(1_000, 0, 0));
    assert_eq!(watched.until_it_changes(IDLE), 3);
}

#[test]
fn what_is_left_of_a_hold_goes_on() {
    let mut watched = Watched::new();
    watched.passive = Passive::resumed(Hold {
        cause: "as before".into(),
        length: 4 * HOLD,
        until: watched.now + 5 * SECOND,
    });
    assert_eq!(watched.cause(), "as before");
    assert_eq!(watched.until_it_changes(IDLE), 5);
    watched.until_it_changes(REFUSES);
    assert_eq!(watched.hold(), 8 * HOLD);
}

/// A second of a backend's life: SYNs, of which so many are answered, and so many refused.
fn seconds(most_refused: u64) -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
    prop::collection::vec((1..50u64, 0..50u64, 0..=most_refused), 1..100)
}

proptest! {
    #[test]
    fn whom_nobody_asks_is_never_down(idle in 1..1000usize) {
        let mut watched = Watched::new();
        for _ in 0..idle {
            prop_assert!(!watched.second(0, 0, 0));
        }
    }

    /// Whatever goes unanswered beside it, and while fewer are refused than answered.
    #[test]
    fn who_answers_within_the_patience_is_never_down(seconds in seconds(49)) {
        let mut watched = Watched::new();
        for (answered, unanswered, refused) in seconds {
            let refused = refused.min(answered - 1);
            let syns = answered + unanswered + refused;
            prop_assert!(!watched.second(syns, answered, refused));
        }
    }

    /// Nobody is down for ever whom nobody asks any more, if its checks pass: a hold, and another by what was last.
    #[test]
    fn a_hold_ends(seconds in seconds(49), fails in any::<bool>()) {
        let mut watched = Watched::new();
        for (syns, answered, refused) in seconds {
            let answered = if fails { 0 } else { answered.min(syns) };
            watched.second(syns, answered, refused);
        }
        if watched.passive.status() == Status::Down {
            prop_assert!(watched.hold() <= LONGEST_HOLD);
            for _ in 0..2 * LONGEST_HOLD.as_secs() {
                watched.second(0, 0, 0);
            }
            prop_assert_eq!(watched.passive.status(), Status::Up);
        }
    }
}
