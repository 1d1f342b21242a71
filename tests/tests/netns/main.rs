//! Ring 3: real clients and real servers with Sluice between them, in network namespaces. Needs
//! root and nginx; without them the tests fail, they are not skipped.

mod receiver;

use sluice_tests::{
    addresses::Family, progress::Progress, scenario::Scenario, services::SERVICES, sluice,
};

fn scenario(title: &str) -> Scenario {
    let binary = sluice::binary().unwrap();
    Scenario::set_up(&format!("sluice-{title}"), &binary, &Progress::new()).unwrap()
}

#[test]
fn requests_are_balanced_in_every_mode_and_family() {
    let mut scenario = scenario("balance");
    let answers = scenario.send(400, &Progress::new()).unwrap();
    let report = scenario.report(400, answers).unwrap();
    let problems = report.problems();
    assert!(
        problems.is_empty(),
        "{problems:#?}\n{report}\n{}",
        scenario.logs()
    );
    for backend in 0..3 {
        let outcomes = scenario.tunnel_outcomes(backend).unwrap();
        assert!(outcomes.decapsulated > 0, "{outcomes:?}");
        assert_eq!(
            (outcomes.refused, outcomes.malformed),
            (0, 0),
            "{outcomes:?}"
        );
    }
    scenario.sluice().stop().unwrap();
}

#[test]
fn uploads_arrive_whole_in_every_mode_and_family() {
    let scenario = scenario("upload");
    for service in &SERVICES {
        for family in Family::ALL {
            let uploaded = scenario.upload(service, family, 100_000);
            assert!(
                uploaded.is_ok(),
                "{:#}\n{}",
                uploaded.unwrap_err(),
                scenario.logs()
            );
        }
    }
}

#[test]
fn without_the_agent_nothing_is_answered() {
    let mut scenario = scenario("killed");
    scenario.sluice().stop().unwrap();
    let answers = scenario.send(200, &Progress::new()).unwrap();
    assert!(
        answers.iter().all(|answer| answer.result.is_err()),
        "{answers:#?}"
    );
    let problems = scenario.report(200, answers).unwrap().problems();
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains("requests failed")),
        "{problems:?}"
    );
}
