//! When checks run and what their results make of them, in virtual time.

use proptest::prelude::*;

use super::*;
use crate::health::{advice::Advice, outcome::Phase, testing::PACE};

const REFUSED: Outcome = Outcome::Failed(Failure::Refused);
const UP: Advice = Advice {
    up: true,
    ..Advice::NONE
};

fn said_down() -> Outcome {
    Outcome::Failed(Failure::Agent("`down`".into()))
}

/// A check, run as its deadlines say.
struct Bench {
    machine: Machine,
    now: Instant,
}

impl Bench {
    fn new(pace: Pace, seed: u64) -> Self {
        let now = Instant::now();
        let machine = Machine::new(pace, seed, now);
        Self { machine, now }
    }

    /// Starts a run when it is due; when that was.
    fn start(&mut self) -> Instant {
        self.now = self.machine.deadline();
        assert_eq!(self.machine.wake(self.now), Due::Start);
        self.now
    }

    /// One run, of no time.
    fn run(&mut self, outcome: &Outcome) -> Option<Transition> {
        self.start();
        self.machine.ended(outcome, self.now)
    }

    /// Runs until something changes, five times at most.
    fn until_change(&mut self, outcome: &Outcome) -> Option<(usize, String)> {
        (1..=5).find_map(|n| {
            let cause = self.run(outcome)?.cause;
            Some((n, cause.of(&"198.18.1.11:8080")))
        })
    }
}

fn initial(initial: Initial) -> Pace {
    Pace { initial, ..PACE }
}

#[test]
fn results_in_a_row_change_the_status() {
    let refused =
        |nth: &str| format!("connect to 198.18.1.11:8080 refused, {nth} failure in a row");
    let answers = |nth: &str| format!("198.18.1.11:8080 answers, {nth} success in a row");
    // The initial state, what comes, after how many runs it changes.
    for (begins, outcome, runs, cause) in [
        (Initial::Up, &REFUSED, 1, refused("1st")),
        (Initial::FullyUp, &REFUSED, 3, refused("3rd")),
        (Initial::Down, &Outcome::PASSED, 1, answers("1st")),
        (Initial::FullyDown, &Outcome::PASSED, 2, answers("2nd")),
    ] {
        let mut bench = Bench::new(initial(begins), 1);
        assert_eq!(bench.until_change(outcome), Some((runs, cause)), "{begins}");
        assert_eq!(bench.until_change(outcome), None, "once");
    }
}

#[test]
fn what_agrees_with_the_status_starts_the_count_anew() {
    let mut bench = Bench::new(initial(Initial::Up), 1);
    assert_eq!(bench.run(&Outcome::PASSED), None);
    for outcome in [&REFUSED, &REFUSED, &Outcome::PASSED, &REFUSED, &REFUSED] {
        assert_eq!(bench.run(outcome), None);
    }
    assert!(bench.run(&REFUSED).is_some());
    for outcome in [&Outcome::PASSED, &REFUSED, &Outcome::PASSED] {
        assert_eq!(bench.run(outcome), None);
    }
    assert_eq!(bench.machine.status(), Status::Down);
    assert!(bench.run(&Outcome::PASSED).is_some());
}

#[test]
fn what_says_nothing_changes_nothing() {
    let mut bench = Bench::new(PACE, 1);
    let unknown = [
        Outcome::Unknown(Unknown::Local("too many open files".into())),
        Outcome::Unknown(Unknown::NoAgent(Failure::Refused)),
    ];
    assert_eq!(bench.run(&REFUSED), None);
    assert_eq!(bench.run(&REFUSED), None);
    for outcome in unknown.iter().cycle().take(10) {
        assert_eq!(bench.run(outcome), None);
    }
    let (runs, cause) = bench.until_change(&REFUSED).unwrap();
    assert_eq!(runs, 1);
    assert!(cause.ends_with("3rd failure in a row"), "{cause}");
}

#[test]
fn what_an_agent_says_counts_at_once() {
    let mut bench = Bench::new(PACE, 1);
    let down = bench.until_change(&said_down());
    assert_eq!(
        down,
        Some((1, "the agent at 198.18.1.11:8080 says `down`".into()))
    );
    let up = bench.until_change(&Outcome::Passed(UP));
    assert_eq!(
        up,
        Some((1, "the agent at 198.18.1.11:8080 says `up`".into()))
    );
}

#[test]
fn advice_is_that_of_the_last_success() {
    let drain = Advice {
        drain: true,
        ..Advice::NONE
    };
    let mut bench = Bench::new(PACE, 1);
    bench.run(&Outcome::Passed(drain));
    bench.run(&REFUSED);
    assert_eq!(bench.machine.advice(), drain);
    bench.run(&Outcome::PASSED);
    assert_eq!(bench.machine.advice(), Advice::NONE);
}

#[test]
fn a_run_that_takes_too_long_is_overdue_and_another_does_not_begin_beside_it() {
    let mut bench = Bench::new(PACE, 1);
    bench.run(&Outcome::PASSED);
    let began = bench.start();
    let overdue = began + PACE.timeout;
    assert_eq!(bench.machine.deadline(), overdue);
    let early = overdue - Duration::from_nanos(1);
    assert_eq!(bench.machine.wake(early), Due::Nothing);
    assert_eq!(bench.machine.wake(overdue), Due::Overdue);
    let late = began + 3 * PACE.interval;
    assert_eq!(bench.machine.wake(late), Due::Missed);
    let timed_out = Outcome::Failed(Failure::TimedOut(Phase::Connecting, PACE.timeout));
    assert_eq!(bench.machine.ended(&timed_out, late), None);
    assert_eq!(bench.machine.deadline(), late, "at once, since it is late");
    // A result that comes after all.
    assert_eq!(bench.machine.ended(&REFUSED, late), None);
    assert_eq!(bench.machine.deadline(), late);
}

#[test]
fn the_next_run_comes_an_interval_after_the_last_began() {
    let mut bench = Bench::new(PACE, 1);
    bench.run(&Outcome::PASSED);
    let began = bench.start();
    let ended = began + PACE.timeout / 2;
    bench.machine.ended(&Outcome::PASSED, ended);
    assert_eq!(bench.machine.deadline(), began + PACE.interval);
}

#[test]
fn checks_that_begin_together_spread() {
    let now = Instant::now();
    let mut first = Vec::new();
    let mut second = Vec::new();
    for seed in 0..1000 {
        let mut machine = Machine::new(PACE, seed, now);
        let due = machine.deadline();
        first.push(due - now);
        machine.wake(due);
        machine.ended(&Outcome::PASSED, due);
        second.push(machine.deadline() - due);
    }
    for (times, within) in [(first, SOON), (second, PACE.interval)] {
        let tenth = |n: u32| {
            let range = within / 10 * n..within / 10 * (n + 1);
            times.iter().filter(|time| range.contains(*time)).count()
        };
        let tenths: Vec<usize> = (0..10).map(tenth).collect();
        assert_eq!(tenths.iter().sum::<usize>(), 1000, "{tenths:?}");
        assert!(tenths.iter().all(|n| (50..150).contains(n)), "{tenths:?}");
    }
}

#[test]
fn a_check_at_another_pace_goes_on_with_what_is_known() {
    let now = Instant::now();
    let slow = Pace {
        interval: Duration::from_secs(60),
        initial: Initial::Down,
        ..PACE
    };
    let machine = Machine::resumed(slow, Status::Up, UP, 1, now);
    assert_eq!((machine.status(), machine.advice()), (Status::Up, UP));
}

#[test]
fn ordinals_read_as_they_are_spoken() {
    let spoken: Vec<String> = [1, 2, 3, 4, 11, 12, 13, 21, 101, 111]
        .map(|n| nth(n, "x"))
        .into();
    let expected = "1st 2nd 3rd 4th 11th 12th 13th 21st 101st 111th";
    assert_eq!(spoken.join(" ").replace(" x", ""), expected);
}

fn outcomes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..3u8, 0..60)
}

proptest! {
    /// Up and down take turns, and none comes before as many results in a row as are asked for.
    #[test]
    fn transitions_take_turns(outcomes in outcomes(), rise in 1..4u16, fall in 1..4u16, seed: u64) {
        let pace = Pace {
            rise: rise.try_into().unwrap(),
            fall: fall.try_into().unwrap(),
            ..PACE
        };
        let mut bench = Bench::new(pace, seed);
        let mut in_a_row: (u8, u16) = (9, 0);
        for outcome in outcomes {
            let result = match outcome {
                0 => Outcome::PASSED,
                1 => REFUSED,
                _ => Outcome::Unknown(Unknown::Local(String::new())),
            };
            if outcome < 2 {
                let again = in_a_row.0 == outcome;
                in_a_row = (outcome, if again { in_a_row.1 + 1 } else { 1 });
            }
            let before = bench.machine.status();
            match bench.run(&result) {
                Some(transition) => {
                    prop_assert_ne!(transition.to, before);
                    let needed = if transition.to == Status::Up { rise } else { fall };
                    prop_assert!(outcome < 2 && in_a_row.1 >= needed);
                }
                None => prop_assert_eq!(bench.machine.status(), before),
            }
        }
    }

    /// Every pause is within the jitter, whatever the seed.
    #[test]
    fn pauses_keep_to_the_jitter(seed: u64, jitter in 0..10_000u64) {
        let pace = Pace { jitter: Duration::from_millis(jitter), ..PACE };
        let mut bench = Bench::new(pace, seed);
        bench.run(&Outcome::PASSED);
        let mut last = bench.start();
        bench.machine.ended(&Outcome::PASSED, last);
        for _ in 0..20 {
            let began = bench.start();
            bench.machine.ended(&REFUSED, began);
            let pause = began - last;
            prop_assert!(pause >= pace.interval - pace.jitter && pause <= pace.interval + pace.jitter);
            last = began;
        }
    }
}
