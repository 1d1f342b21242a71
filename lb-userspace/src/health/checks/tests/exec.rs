//! Programs.

use std::time::Instant;

use super::*;
use crate::{
    health::Advice,
    model::probe::Exec,
    process::testing::{lives, number_in, wait_until},
};

fn shell(script: &str, agent: bool) -> Probe {
    Probe::Exec(Exec {
        program: "/bin/sh".into(),
        arguments: vec![
            "-c".into(),
            script.into(),
            "check".into(),
            "argument".into(),
        ],
        environment: vec![("NAME".into(), "value".into())],
        agent,
    })
}

fn target() -> SocketAddr {
    "198.18.1.11:8080".parse().unwrap()
}

#[tokio::test]
async fn the_exit_status_counts() {
    assert_eq!(
        run(&shell("exit 0", false), target()).await,
        Outcome::PASSED
    );
    let two = Failure::Exit(2, "disk full".into());
    assert_eq!(
        failure(&shell("echo disk full; echo more; exit 2", false), target()).await,
        two
    );
    let complains = Failure::Exit(3, "on stderr".into());
    assert_eq!(
        failure(&shell("echo on stderr >&2; exit 3", false), target()).await,
        complains
    );
    assert_eq!(
        failure(&shell("kill -9 $$", false), target()).await,
        Failure::Signal(9)
    );
}

#[tokio::test]
async fn it_gets_its_arguments_and_no_more_than_its_environment() {
    let script = "test \"$1 $NAME $SLUICE_ADDRESS:$SLUICE_PORT\" = 'argument value 198.18.1.11:8080' \
        && test -z \"$HOME$CARGO\" && test \"$PWD\" = /";
    assert_eq!(run(&shell(script, false), target()).await, Outcome::PASSED);
}

#[tokio::test]
async fn what_can_not_be_started_fails() {
    let probe = Probe::Exec(Exec {
        program: "/nonexistent/check".into(),
        arguments: vec![],
        environment: vec![],
        agent: false,
    });
    let found = failure(&probe, target()).await;
    assert!(matches!(found, Failure::NotStarted(_)), "{found:?}");
}

#[tokio::test]
async fn its_first_line_may_set_the_weight() {
    let drain = Outcome::Passed(Advice {
        drain: true,
        ..Advice::NONE
    });
    assert_eq!(run(&shell("echo drain", true), target()).await, drain);
}

#[tokio::test]
async fn much_output_is_read_and_little_kept() {
    let script = "head -c 1000000 /dev/zero | tr '\\0' x; exit 1";
    match failure(&shell(script, false), target()).await {
        Failure::Exit(1, words) => assert!(words.len() <= 120, "{} bytes", words.len()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_it_leaves_behind_is_not_waited_for() {
    let began = Instant::now();
    let outcome = run(&shell("sleep 20 & exit 0", false), target()).await;
    assert_eq!(outcome, Outcome::PASSED);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn it_is_killed_at_its_timeout_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let (parent, child) = (folder.path().join("parent"), folder.path().join("child"));
    let script = format!(
        "trap '' TERM; echo $$ > {}; sh -c 'echo $$ > {}; sleep 60; :' ; :",
        parent.display(),
        child.display()
    );
    let probe = shell(&script, false);
    let prober = Prober::default();
    let prepared = Arc::new(prober.prepare(&probe));
    let progress = Arc::<Progress>::default();
    let place = Target {
        service: None,
        ip: target().ip(),
        port: None,
    };
    let task = tokio::spawn(prober.run(prepared, place, Arc::clone(&progress)));
    wait_until(|| number_in(&parent).is_some() && number_in(&child).is_some()).await;
    let processes = [number_in(&parent).unwrap(), number_in(&child).unwrap()];
    assert!(processes.into_iter().all(lives));
    assert_eq!(progress.phase(), Phase::Running);
    task.abort();
    wait_until(|| !processes.into_iter().any(lives)).await;
}
