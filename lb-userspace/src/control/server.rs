//! The agent's end of the control socket.

use std::{future::Future, sync::Arc, time::Duration};

use hyper::{Response, StatusCode, body::Bytes, http::HeaderValue};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    actions::{Action, Actions, Asked},
    api::{
        self, Body, DrainBody, MaintenanceBody, PlanBody, Pools, Refusal, ResignBody, Resource,
        Services, Status, VERSION, VERSION_HEADER, Vrrp, WeightBody, Who,
    },
    events,
    socket::Socket,
};
use crate::{
    events::Events,
    http::{self, Content, Limits, Method, Question},
    overrides::{Change, Drain},
    stats::Source,
    unix_time::unix_now,
};

const LIMITS: Limits = Limits {
    // The files of a configuration of a hundred thousand backends have some ten million.
    body: 16 << 20,
    // Longer than the commands wait for what the agent has to do.
    lifetime: Duration::from_secs(150),
};

/// Answers clients until `stop` is done; then removes the socket.
pub async fn serve(
    socket: Socket,
    source: Arc<dyn Source>,
    actions: Actions,
    happened: Events,
    stop: impl Future<Output = ()> + Send,
) {
    let answer = move |question: &Question| answer(question, &*source, &actions, &happened);
    http::serve(socket, LIMITS, answer, stop).await;
}

fn answer(
    question: &Question,
    source: &dyn Source,
    actions: &Actions,
    happened: &Events,
) -> Response<Content> {
    let mut response = match api::resource(&question.path) {
        Err(error) => json(StatusCode::NOT_FOUND, Refusal::from(error)).map(http::whole),
        Ok(Resource::Events) if question.method == Method::Read => {
            events::answer(&question.query, happened)
        }
        Ok(resource) => asked(resource, question, source, actions).map(http::whole),
    };
    let headers = response.headers_mut();
    headers.insert(VERSION_HEADER, HeaderValue::from_static(VERSION));
    response
}

fn asked(
    resource: Resource,
    question: &Question,
    source: &dyn Source,
    actions: &Actions,
) -> Response<String> {
    let body = match &question.body {
        Ok(body) => body,
        Err(unread) => return json(unread.status(), Refusal::from(unread.to_string())),
    };
    match (resource, question.method) {
        (Resource::Status, Method::Read) => json(StatusCode::OK, Status::from(source.snapshot())),
        (Resource::Services, Method::Read) => {
            json(StatusCode::OK, Services::from(source.snapshot()))
        }
        (Resource::Backends, Method::Read) => json(StatusCode::OK, Pools::from(source.snapshot())),
        (Resource::Vrrp, Method::Read) => json(StatusCode::OK, Vrrp::from(source.snapshot())),
        (
            Resource::Status
            | Resource::Services
            | Resource::Backends
            | Resource::Vrrp
            | Resource::Events,
            _,
        ) => refused("GET, HEAD"),
        (Resource::Reload, Method::Post) => done(Action::Reload, actions),
        (Resource::Rollback, Method::Post) => done(Action::Rollback, actions),
        (Resource::Plan, Method::Post) => plan(body, actions),
        (Resource::Drain, Method::Post) => with(body, actions, drain),
        (Resource::Undrain, Method::Post) => with(body, actions, undrain),
        (Resource::Weight, Method::Post) => with(body, actions, weigh),
        (Resource::Maintenance, Method::Post) => {
            with(body, actions, |MaintenanceBody { on }| Action::Maintain(on))
        }
        (Resource::Resign, Method::Post) => with(body, actions, |ResignBody { instance }| {
            Action::Resign(instance)
        }),
        (
            Resource::Reload
            | Resource::Rollback
            | Resource::Plan
            | Resource::Drain
            | Resource::Undrain
            | Resource::Weight
            | Resource::Maintenance
            | Resource::Resign,
            _,
        ) => refused("POST"),
    }
}

fn refused(methods: &'static str) -> Response<String> {
    let error = format!("only {methods} is served here");
    let refusal = json(StatusCode::METHOD_NOT_ALLOWED, Refusal::from(error));
    http::allowing(refusal, methods)
}

fn plan(body: &Bytes, actions: &Actions) -> Response<String> {
    let read = serde_json::from_slice::<PlanBody>(body);
    let read = read.map_err(|error| format!("the body holds no files of a configuration: {error}"));
    let asked = read.and_then(|read| Ok((read.sample()?, Box::new(read.files))));
    match asked {
        Ok((None, files)) => done(Action::Plan(files), actions),
        Ok((Some(time), files)) => done(Action::Sample(files, time), actions),
        Err(error) => json(StatusCode::BAD_REQUEST, Refusal::from(error)),
    }
}

/// Asks for what a body says.
fn with<T: DeserializeOwned>(
    body: &Bytes,
    actions: &Actions,
    asked: impl FnOnce(T) -> Action,
) -> Response<String> {
    match serde_json::from_slice(body) {
        Ok(read) => done(asked(read), actions),
        Err(error) => {
            let error = format!("the body does not say what to do: {error}");
            json(StatusCode::BAD_REQUEST, Refusal::from(error))
        }
    }
}

fn drain(body: DrainBody) -> Action {
    let now = unix_now();
    let deadline = body.deadline_seconds.map(|time| now.saturating_add(time));
    let drain = Drain {
        since_unix_seconds: now,
        deadline_unix_seconds: deadline,
        then: body.then,
    };
    Action::Override(Asked {
        who: body.who,
        change: Change::Drain(drain),
    })
}

fn undrain(who: Who) -> Action {
    let change = Change::Undrain;
    Action::Override(Asked { who, change })
}

fn weigh(body: WeightBody) -> Action {
    Action::Override(Asked {
        who: body.who,
        change: Change::Weigh(body.weight),
    })
}

fn done(action: Action, actions: &Actions) -> Response<String> {
    match actions.ask(action) {
        Ok(Ok(answer)) => json(StatusCode::OK, answer),
        Ok(Err(refusal)) => json(StatusCode::UNPROCESSABLE_ENTITY, refusal),
        Err(unheard) => {
            let refusal = Refusal::from(unheard.to_string());
            json(StatusCode::SERVICE_UNAVAILABLE, refusal)
        }
    }
}

pub(super) fn json(status: StatusCode, content: impl Serialize) -> Response<String> {
    match serde_json::to_string(&Body::new(content)) {
        Ok(body) => http::response(status, "application/json", body + "\n"),
        Err(error) => {
            let body = format!("this answer can't be written as JSON: {error}\n");
            http::response(StatusCode::INTERNAL_SERVER_ERROR, http::TEXT, body)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        changes::{Change, Changes, Kind},
        control::{Answer, actions},
        http::Unread,
        model::Weight,
        overrides::{Change as Said, Then},
        stats::sample::{self, Fixed},
    };

    fn question(path: &str, method: Method, body: &str) -> Question {
        Question {
            path: path.into(),
            query: String::new(),
            method,
            body: Ok(body.to_owned().into()),
        }
    }

    /// What is answered where nothing happened.
    fn answer(question: &Question, source: &dyn Source, actions: &Actions) -> Response<String> {
        let answered = super::answer(question, source, actions, &Events::new());
        events::testing::text(answered)
    }

    /// Asks where nobody does anything.
    fn ask(path: &str, method: Method) -> Response<String> {
        let (actions, _) = actions::channel();
        let question = question(path, method, "");
        answer(&question, &Fixed(sample::troubled()), &actions)
    }

    /// The form of a body is a snapshot, and that is what the path answers.
    fn assert_json(name: &str, path: &str, content: impl Serialize) {
        let body = Body::new(content);
        let text = serde_json::to_string_pretty(&body).unwrap();
        insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(name, text);
        });
        let response = ask(path, Method::Read);
        assert_eq!(response.status(), StatusCode::OK);
        let answered: serde_json::Value = serde_json::from_str(response.body()).unwrap();
        assert_eq!(answered, serde_json::to_value(&body).unwrap());
    }

    #[test]
    fn every_resource_has_its_form() {
        let snapshot = sample::troubled;
        assert_json("status", "/api/v1/status", Status::from(snapshot()));
        assert_json("services", "/api/v1/services", Services::from(snapshot()));
        assert_json("backends", "/api/v1/backends", Pools::from(snapshot()));
        assert_json("vrrp", "/api/v1/vrrp", Vrrp::from(snapshot()));
    }

    #[test]
    fn another_version_gets_an_error_that_any_client_can_read() {
        let response = ask("/api/v2/status", Method::Read);
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[VERSION_HEADER], VERSION);
        let any: api::Any = serde_json::from_str(response.body()).unwrap();
        assert_eq!(any.api, api::API);
        assert!(any.error.is_some());
    }

    #[test]
    fn what_is_read_is_not_posted_and_what_is_done_is_not_read() {
        for (path, method, allowed) in [
            ("/api/v1/status", Method::Post, "GET, HEAD"),
            ("/api/v1/reload", Method::Read, "POST"),
            ("/api/v1/plan", Method::Other, "POST"),
        ] {
            let response = ask(path, method);
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(response.headers()["allow"], allowed);
            assert_eq!(response.headers()[VERSION_HEADER], VERSION);
        }
    }

    #[test]
    fn what_is_asked_is_done_and_answered() {
        let (actions, mut requests) = actions::channel();
        let added = Change {
            name: "web".into(),
            kind: Kind::Added,
        };
        let changes = Changes {
            services: vec![added],
            ..Changes::default()
        };
        let planned = api::Planned {
            changes,
            warnings: vec![],
        };
        let answers = [Ok(Answer::Planned(planned)), Err("no".to_owned().into())];
        let agent = std::thread::spawn(move || {
            for answer in answers {
                let (_, asker) = requests.blocking_recv().unwrap();
                asker.tell(answer);
            }
        });
        let reload = question("/api/v1/reload", Method::Post, "");
        let ask = || answer(&reload, &Fixed(sample::healthy()), &actions);
        let (first, second) = (ask(), ask());
        agent.join().unwrap();
        let third = ask();
        let told = [&first, &second, &third].map(|r| (r.status().as_u16(), r.body().trim()));
        let changes = r#"{"agent":[],"services":[{"name":"web","change":"added"}],"pools":[],"backends":[],"vrrp":[],"slots":[],"restart":[]}"#;
        assert_eq!(
            told,
            [
                (200, &*format!(r#"{{"api":1,"changes":{changes}}}"#)),
                (422, r#"{"api":1,"error":"no"}"#),
                (503, r#"{"api":1,"error":"the agent stops"}"#),
            ]
        );
    }

    #[test]
    fn a_plan_of_no_files_is_refused() {
        let (actions, _requests) = actions::channel();
        let plan = question("/api/v1/plan", Method::Post, "services");
        let response = answer(&plan, &Fixed(sample::healthy()), &actions);
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert!(response.body().contains("no files of a configuration"));
        let mut too_long = plan;
        too_long.body = Err(Unread::TooLong(7));
        let response = answer(&too_long, &Fixed(sample::healthy()), &actions);
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert!(response.body().starts_with("{\"api\":1,\"error\":"));
    }

    #[test]
    fn flows_are_counted_for_a_time_that_has_an_end() {
        let (actions, mut requests) = actions::channel();
        let agent = std::thread::spawn(move || {
            let (action, asker) = requests.blocking_recv().unwrap();
            asker.tell(Err("no".to_owned().into()));
            action
        });
        let ask = |seconds: u64| {
            let body = format!(
                r#"{{"main":"/etc/x","texts":{{}},"matches":{{}},"sample_seconds":{seconds}}}"#
            );
            let plan = question("/api/v1/plan", Method::Post, &body);
            answer(&plan, &Fixed(sample::healthy()), &actions)
        };
        for seconds in [0, 61] {
            let response = ask(seconds);
            assert_eq!(response.status(), StatusCode::BAD_REQUEST);
            let error = format!("flows are counted for 1 to 60 s, not for {seconds} s");
            assert!(response.body().contains(&error), "{}", response.body());
        }
        assert_eq!(ask(60).status(), StatusCode::UNPROCESSABLE_ENTITY);
        let action = agent.join().unwrap();
        let time = Duration::from_secs(60);
        assert!(
            matches!(action, Action::Sample(_, asked) if asked == time),
            "{action:?}"
        );
    }

    #[test]
    fn what_instances_are_to_do_is_read_from_the_body() {
        let (actions, mut requests) = actions::channel();
        let agent = std::thread::spawn(move || {
            let mut asked = Vec::new();
            while let Some((action, asker)) = requests.blocking_recv() {
                asked.push(action);
                asker.tell(Err("no".to_owned().into()));
            }
            asked
        });
        for (path, body, status) in [
            (
                "maintenance",
                r#"{"on":true}"#,
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            ("maintenance", "{}", StatusCode::BAD_REQUEST),
            (
                "resign",
                r#"{"instance":"gateway"}"#,
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            ("resign", r#"{"instance":7}"#, StatusCode::BAD_REQUEST),
        ] {
            let question = question(&format!("/api/v1/{path}"), Method::Post, body);
            let answered = answer(&question, &Fixed(sample::healthy()), &actions);
            assert_eq!(answered.status(), status, "{path} {body}");
        }
        drop(actions);
        let expected = [Action::Maintain(true), Action::Resign("gateway".into())];
        assert_eq!(agent.join().unwrap(), expected);
    }

    #[test]
    fn what_operators_say_is_read_from_the_body() {
        let (actions, mut requests) = actions::channel();
        let agent = std::thread::spawn(move || {
            let mut asked = Vec::new();
            while let Some((action, asker)) = requests.blocking_recv() {
                asked.push(action);
                asker.tell(Err("no".to_owned().into()));
            }
            asked
        });
        let ask = |path: &str, body: &str| {
            let question = question(path, Method::Post, body);
            answer(&question, &Fixed(sample::healthy()), &actions).status()
        };
        for (path, body) in [
            (
                "drain",
                r#"{"target":"web/web1","deadline_seconds":600,"then":"reset"}"#,
            ),
            ("undrain", r#"{"address":"198.18.1.11"}"#),
            ("weight", r#"{"target":"web/web1","weight":10}"#),
            ("weight", r#"{"target":"web/web1","weight":null}"#),
        ] {
            let status = ask(&format!("/api/v1/{path}"), body);
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path} {body}");
        }
        for (path, body) in [
            ("drain", "x"),
            ("weight", r#"{"weight":10001}"#),
            ("weight", r#"{"target":"web"}"#),
        ] {
            let status = ask(&format!("/api/v1/{path}"), body);
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body}");
        }
        drop(actions);
        let asked = agent.join().unwrap();
        let changes: Vec<_> = asked
            .into_iter()
            .map(|action| match action {
                Action::Override(asked) => (asked.who, asked.change),
                other => panic!("{other:?}"),
            })
            .collect();
        let (who, Said::Drain(drain)) = &changes[0] else {
            panic!("{changes:?}");
        };
        assert_eq!(who.target.as_deref(), Some("web/web1"));
        let deadline = drain.deadline_unix_seconds.unwrap();
        assert_eq!(
            (deadline - drain.since_unix_seconds, drain.then),
            (600, Then::Reset)
        );
        assert_eq!(changes[1].0.address.as_deref(), Some("198.18.1.11"));
        assert_eq!(changes[1].1, Said::Undrain);
        assert_eq!(changes[2].1, Said::Weigh(Weight::new(10)));
        assert_eq!(changes[3].1, Said::Weigh(None));
    }
}
