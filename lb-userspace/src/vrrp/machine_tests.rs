//! The state tables of RFC 9568, sections 6.4.1 to 6.4.3, every cell: what happens to a router, what it does then, what it is
//! and how long it waits.

use std::time::{Duration, Instant};

use super::{
    machine::{Action, Event, OWNER, RESIGNS, Reason, Role, Router, Settings},
    packet::Version,
};

/// `state`, `event` -> what is done; what it is, and when it wants to be called. The router has the priority 100, an interval of
/// a second and the address 198.18.0.2; it preempts at once where nothing else is said. The state `waits` is a backup that
/// does so after ten seconds, `stays` one that never does, `under` one that hears a better master, `owner` a router of priority 255.
/// Of a sync group are `group`, a backup that has heard nobody for long enough, `ready`, which has been told so, and `ours`, an owner.
const TABLE: &str = "
fault   able                 -> changed backup able;                              backup 3.609375s
owner   able                 -> send 255, add, announce, changed master owner;    master 1s
fault   unable               -> ;                                                 fault
fault   heard 200 .3         -> ;                                                 fault
fault   heard 0 .3           -> ;                                                 fault
fault   resign               -> ;                                                 fault
fault   deadline             -> ;                                                 fault
fault   join                 -> ;                                                 fault
fault   leave                -> ;                                                 fault
fault   take                 -> ;                                                 fault
fault   priority 50          -> ;                                                 fault

backup  able                 -> ;                                                 backup 3.609375s
backup  unable               -> changed fault unable;                             fault
backup  heard 200 .3         -> ;                                                 backup 3.609375s after
backup  heard 200 .3 2s      -> ;                                                 backup 7.21875s after
backup  heard 100 .1         -> ;                                                 backup 3.609375s after
backup  heard 99 .3          -> ;                                                 backup 3.609375s
stays   heard 99 .3          -> ;                                                 backup 3.609375s after
waits   heard 99 .3          -> ;                                                 backup 3.609375s after
backup  heard 0 .3           -> ;                                                 backup 6.09375ms after
backup  resign               -> ;                                                 backup 3.609375s
backup  deadline             -> ;                                                 backup 3.609375s
backup  join                 -> send 100, add, announce, changed master other family; master 1s after
under   join                 -> ;                                                 backup 3.609375s
backup  leave                -> ;                                                 backup 3.609375s
backup  take                 -> ;                                                 backup 3.609375s
backup  priority 200         -> ;                                                 backup 3.21875s
backup  priority 255         -> send 255, add, announce, changed master owner;    master 1s after

silence deadline             -> send 100, add, announce, changed master silence;  master 1s after
left    deadline             -> send 100, add, announce, changed master resignation; master 1s after
below   deadline             -> send 100, add, announce, changed master preemption; master 1s after

master  able                 -> ;                                                 master 1s
master  unable               -> remove, send 0, changed fault unable;             fault
master  heard 200 .1         -> remove, send 100, changed backup higher priority; backup 3.609375s after
master  heard 200 .1 2s      -> remove, send 100, changed backup higher priority; backup 7.21875s after
master  heard 100 .3         -> remove, send 100, changed backup higher address;  backup 3.609375s after
master  heard 100 .1         -> send 100, announce;                               master 1s after
master  heard 99 .3          -> send 100, announce;                               master 1s after
master  heard 0 .3           -> send 100, announce;                               master 1s after
master  resign               -> remove, send 0, changed backup resigned;          backup 3.609375s after
master  join                 -> ;                                                 master 1s
master  leave                -> remove, send 0, changed backup other family;      backup 3.609375s after
master  take                 -> ;                                                 master 1s
master  priority 50          -> send 50;                                          master 1s after
due     deadline             -> send 100;                                         master 1s after

ours    able                 -> changed backup able;                              backup 0s after
group   take                 -> ;                                                 backup 0s after
group   deadline             -> ;                                                 backup
ready   take                 -> send 100, add, announce, changed master silence;  master 1s after
ready   join                 -> send 100, add, announce, changed master other family; master 1s after
ready   unable               -> changed fault unable;                             fault
ready   deadline             -> ;                                                 backup
ready   leave                -> ;                                                 backup
ready   heard 200 .3         -> ;                                                 backup 3.609375s after
ready   heard 99 .3          -> ;                                                 backup
ready   heard 0 .3           -> ;                                                 backup 6.09375ms after
ready   priority 50          -> ;                                                 backup 3.8046875s
";

/// When everything in the table happens, counted from when the router got its state.
const AFTER: Duration = Duration::from_millis(500);

fn settings(priority: u8, preempt: Option<Duration>) -> Settings {
    Settings {
        version: Version::V3,
        priority,
        interval: Duration::from_secs(1),
        preempt,
        refresh: Duration::from_secs(60),
        address: "198.18.0.2".parse().unwrap(),
        grouped: false,
    }
}

fn heard(words: &[&str]) -> Event {
    let number = words[1].trim_start_matches('.');
    let interval = words.get(2).map_or("1s", |words| words);
    Event::Heard {
        priority: words[0].parse().unwrap(),
        from: format!("198.18.0.{number}").parse().unwrap(),
        interval: humantime::parse_duration(interval).unwrap(),
    }
}

fn event(text: &str) -> Event {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[0] {
        "able" => Event::Able,
        "unable" => Event::Unable,
        "resign" => Event::Resign,
        "deadline" => Event::Deadline,
        "join" => Event::Join,
        "leave" => Event::Leave(Reason::OtherFamily),
        "take" => Event::Take,
        "heard" => heard(&words[1..]),
        "priority" => Event::Settings(settings(words[1].parse().unwrap(), Some(Duration::ZERO))),
        word => panic!("no event {word}"),
    }
}

/// A router in a state at a time, and the time when the next thing happens.
fn router(state: &str, start: Instant) -> (Router, Instant) {
    let (priority, preempt) = match state {
        "owner" | "ours" => (OWNER, Some(Duration::ZERO)),
        "stays" => (100, None),
        "waits" => (100, Some(Duration::from_secs(10))),
        _ => (100, Some(Duration::ZERO)),
    };
    let settings = Settings {
        grouped: ["group", "ready", "ours"].contains(&state),
        ..settings(priority, preempt)
    };
    let mut router = Router::new(settings);
    let mut now = start + AFTER;
    match state {
        "fault" | "owner" | "ours" => {}
        "group" | "ready" => {
            router.on(Event::Able, start);
            now = router.deadline().unwrap();
            if state == "ready" {
                router.on(Event::Deadline, now);
            }
        }
        "backup" | "stays" | "waits" => drop(router.on(Event::Able, start)),
        "under" => {
            router.on(Event::Able, start);
            router.on(heard(&["100", ".3"]), start);
        }
        "silence" => {
            router.on(Event::Able, start);
            now = router.deadline().unwrap();
        }
        "left" | "below" => {
            router.on(Event::Able, start);
            let says = if state == "left" { "0 .3" } else { "99 .3" };
            let words: Vec<&str> = says.split(' ').collect();
            router.on(heard(&words), start);
            now = router.deadline().unwrap();
        }
        "master" | "due" => {
            router.on(Event::Able, start);
            let silent = router.deadline().unwrap();
            let taken = start.checked_sub(Duration::from_secs(1)).unwrap();
            router = Router::new(settings);
            router.on(Event::Able, taken.checked_sub(silent - start).unwrap());
            router.on(Event::Deadline, taken);
            // It announces once more.
            router.on(Event::Deadline, start);
            if state == "due" {
                now = router.deadline().unwrap();
            }
        }
        state => panic!("no state {state}"),
    }
    (router, now)
}

fn told(actions: &[Action]) -> String {
    let told = actions.iter().map(|action| match action {
        Action::Send(RESIGNS) => "send 0".to_owned(),
        Action::Send(priority) => format!("send {priority}"),
        Action::AddAddresses => "add".to_owned(),
        Action::RemoveAddresses => "remove".to_owned(),
        Action::Announce => "announce".to_owned(),
        Action::Changed(role, reason) => format!("changed {} {reason}", role.name()),
    });
    told.collect::<Vec<_>>().join(", ")
}

#[test]
fn every_cell_of_the_state_tables() {
    let start = Instant::now() + Duration::from_secs(3600);
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        let (given, expected) = line.split_once("->").unwrap();
        let (state, happens) = given.split_once(' ').unwrap();
        let (does, is) = expected.split_once(';').unwrap();
        let (mut router, now) = router(state, start);
        let actions = router.on(event(happens), now);
        assert_eq!(told(&actions), does.trim(), "{line}");
        let words: Vec<&str> = is.split_whitespace().collect();
        assert_eq!(router.role().name(), words[0], "{line}");
        let from = match words.get(2) {
            Some(_) => now,
            None if state == "owner" => now,
            None => start,
        };
        let mut expected = words
            .get(1)
            .map(|wait| from + humantime::parse_duration(wait).unwrap());
        if words[0] == "backup" && state == "fault" {
            expected = expected.map(|at| at + AFTER);
        }
        assert_eq!(router.deadline(), expected, "{line}");
    }
}

#[test]
fn a_delay_counts_from_the_first_advert_of_a_lesser_master() {
    let (mut router, mut now) = router("waits", Instant::now());
    let second = Duration::from_secs(1);
    let lesser = heard(&["99", ".3"]);
    // It is counted for ten seconds, and then no more.
    for _ in 0..=9 {
        router.on(lesser, now);
        assert_eq!(
            router.deadline(),
            Some(now + Duration::from_nanos(3_609_375_000))
        );
        now += second;
    }
    let until = router.deadline();
    router.on(lesser, now);
    assert_eq!(router.deadline(), until);
    let actions = router.on(Event::Deadline, until.unwrap());
    assert!(told(&actions).ends_with("changed master preemption"));
}

#[test]
fn a_master_says_so_every_interval_and_announces_again_and_seldom() {
    let (mut router, _) = router("master", Instant::now());
    let mut done = vec![];
    let mut now = router.deadline().unwrap();
    let begun = now;
    while now - begun < Duration::from_secs(62) {
        done.extend(router.on(Event::Deadline, now));
        now = router.deadline().unwrap();
    }
    let count = |what: Action| done.iter().filter(|action| **action == what).count();
    assert_eq!(count(Action::Send(100)), 62);
    assert_eq!(count(Action::Announce), 1);
    // One who comes late sends one advert, not those that it missed.
    let late = now + Duration::from_secs(30);
    assert_eq!(router.on(Event::Deadline, late), [Action::Send(100)]);
}

#[test]
fn a_master_that_is_contested_announces_at_once_and_then_once_a_second() {
    let (mut router, now) = router("master", Instant::now());
    let lesser = heard(&["99", ".3"]);
    let interval = Duration::from_millis(10);
    let announces = |actions: Vec<Action>| actions.contains(&Action::Announce);
    let mut times = vec![];
    for number in 0..250 {
        let at = now + number * interval;
        let mut actions = router.on(lesser, at);
        actions.extend(router.on(Event::Deadline, at));
        if announces(actions) {
            times.push(number);
        }
    }
    // At once, again after a second, and with the next advert since that did not help.
    assert_eq!(times, [0, 100, 101, 201, 202]);
}

#[test]
fn who_has_resigned_does_not_come_back_while_another_is_there() {
    let start = Instant::now();
    let (mut router, mut now) = router("master", start);
    router.on(Event::Resign, now);
    let lesser = heard(&["99", ".3"]);
    for _ in 0..20 {
        router.on(lesser, now);
        assert_eq!(
            router.deadline(),
            Some(now + Duration::from_nanos(3_609_375_000))
        );
        now += Duration::from_secs(1);
    }
    // But takes over if that one is gone, and preempts from then on as before.
    router.on(Event::Deadline, router.deadline().unwrap());
    assert_eq!(router.role(), Role::Master);
}
