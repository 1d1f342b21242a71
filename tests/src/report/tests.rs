//! Reports on runs that never were: a good one, and each way to be bad.

use std::fmt::Write as _;

use super::*;
use crate::{clients::orders, services::Mode};

/// Answers that follow the weights exactly, the logs to them, and the metrics.
fn good(count: u32) -> (Vec<Answer>, Observed) {
    let mut turn = HashMap::<_, u16>::new();
    let mut answers = Vec::new();
    for order in orders(count) {
        let turn = turn.entry((order.service.name, order.family)).or_default();
        let mut position =
            *turn * 50 % order.service.backends.iter().map(|b| b.weight).sum::<u16>();
        *turn += 1;
        let backend = order.service.backends.iter().find(|backend| {
            let hit = position < backend.weight;
            position = position.saturating_sub(backend.weight);
            hit
        });
        answers.push(Answer {
            order,
            result: Ok(backend.unwrap().name),
        });
    }
    let mut logged = Vec::new();
    let mut text = String::new();
    for (service, backend) in SERVICES
        .iter()
        .flat_map(|s| s.backends.iter().map(move |b| (s, b)))
    {
        let own = answers
            .iter()
            .filter(|answer| answer.result == Ok(backend.name));
        let lines: Vec<Logged> = own.map(log_line).collect();
        let labels = format!("pool=\"{}\",backend=\"{}\"", service.name, backend.name);
        writeln!(
            text,
            "sluice_backend_new_flows_total{{{labels}}} {}",
            lines.len()
        )
        .unwrap();
        logged.push((backend.name, lines));
    }
    (
        answers,
        Observed {
            logged,
            metrics: Ok(Metrics::parse(&text).unwrap()),
        },
    )
}

fn log_line(answer: &Answer) -> Logged {
    let number = answer.order.number.to_string();
    Logged {
        method: "GET".to_owned(),
        number,
        status: 200,
        client: answer.order.from,
    }
}

fn problems(answers: Vec<Answer>, observed: Observed) -> Vec<String> {
    let mut report = Report::new(600, answers);
    report.observe(observed);
    report.problems()
}

#[test]
fn a_good_run_has_no_problems() {
    let (answers, observed) = good(600);
    assert_eq!(problems(answers, observed), Vec::<String>::new());
}

#[test]
fn a_failed_request_is_a_problem() {
    let (mut answers, observed) = good(600);
    answers[7].result = Err("reset".to_owned());
    let problems = problems(answers, observed);
    assert_eq!(problems[0], "1 of 600 requests failed");
}

#[test]
fn a_missing_answer_is_a_problem() {
    let (mut answers, observed) = good(600);
    answers.pop();
    assert_eq!(
        problems(answers, observed)[0],
        "gave up after 599 of 600 requests"
    );
}

#[test]
fn a_log_of_other_requests_is_a_problem() {
    let (answers, mut observed) = good(600);
    observed.logged[0].1[0].number = "4711".to_owned();
    let problems = problems(answers, observed);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("(of other numbers)"), "{problems:?}");
}

#[test]
fn silent_metrics_are_a_problem() {
    let (answers, mut observed) = good(600);
    observed.metrics = Err("nobody there".to_owned());
    assert_eq!(problems(answers, observed)[0], "nobody there");
}

#[test]
fn an_unfair_share_is_a_problem() {
    let web = SERVICES
        .iter()
        .find(|service| service.mode == Mode::FullNat)
        .unwrap();
    // Of 150 requests 75 are expected, give or take 6.1.
    let share = |answered| Share::new(web, Family::Ipv4, &web.backends[0], answered, 150);
    assert!(share(99).is_fair());
    assert!(!share(100).is_fair());
    assert!(share(51).is_fair());
    assert!(!share(50).is_fair());
}
