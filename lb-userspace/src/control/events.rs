//! `/api/v1/events`: what happened after an event, as one body; or, with `follow=true`, as lines that go on for as long as
//! the agent runs and the client reads.

use futures_util::stream;
use hyper::{Response, StatusCode};

use super::{
    api::{EventLine, Happened, Refusal},
    server::json,
};
use crate::{
    events::{Batch, Events, Follower},
    http::{self, Content},
};

/// A JSON object in each line.
const LINES: &str = "application/x-ndjson";

/// What a client wants to hear.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    since: Option<u64>,
    follow: bool,
}

/// What a query is answered.
pub(super) fn answer(query: &str, events: &Events) -> Response<Content> {
    match wanted(query) {
        Err(error) => json(StatusCode::BAD_REQUEST, Refusal::from(error)).map(http::whole),
        Ok(Wanted {
            since,
            follow: false,
        }) => {
            let Batch { missed, events } = events.since(since.unwrap_or(0));
            json(StatusCode::OK, Happened { missed, events }).map(http::whole)
        }
        Ok(Wanted {
            since,
            follow: true,
        }) => match events.follow(since) {
            Ok(follower) => http::response(StatusCode::OK, LINES, followed(follower)),
            Err(error) => {
                let refusal = Refusal::from(error.to_string());
                json(StatusCode::SERVICE_UNAVAILABLE, refusal).map(http::whole)
            }
        },
    }
}

fn wanted(query: &str) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("since", number)) => {
                let number = number.parse();
                let number = number.map_err(|_| format!("`{part}` names no event's number"))?;
                wanted.since = Some(number);
            }
            Some(("follow", "true")) => wanted.follow = true,
            Some(("follow", "false")) => wanted.follow = false,
            _ => return Err(format!("`{part}`: there are since=NUMBER and follow=true")),
        }
    }
    Ok(wanted)
}

fn followed(follower: Follower) -> Content {
    http::parts(stream::unfold(follower, async |mut follower| {
        let batch = follower.next().await?;
        Some((lines(batch), follower))
    }))
}

fn lines(batch: Batch) -> String {
    let gap = (batch.missed > 0).then_some(EventLine::Gap {
        missed: batch.missed,
    });
    let events = batch.events.into_iter().map(EventLine::Event);
    // Plain data, which can always be written.
    let lines = gap.into_iter().chain(events);
    let lines = lines.filter_map(|line| serde_json::to_string(&line).ok());
    lines.map(|line| line + "\n").collect()
}

#[cfg(test)]
pub(super) mod testing {
    use futures_util::FutureExt;
    use http_body_util::BodyExt;

    use super::*;

    /// A response that is all there, and ends.
    pub(in crate::control) fn text(response: Response<Content>) -> Response<String> {
        let (parts, content) = response.into_parts();
        let collected = content.collect().now_or_never().unwrap().unwrap();
        let text = String::from_utf8(collected.to_bytes().to_vec()).unwrap();
        Response::from_parts(parts, text)
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::text, *};
    use crate::events::{MaintenanceEvent, What};

    fn events(count: usize) -> Events {
        let events = Events::new();
        for n in 0..count {
            let on = n % 2 == 0;
            events.tell(What::Maintenance(MaintenanceEvent { on }));
        }
        events
    }

    #[test]
    fn those_after_a_number_are_one_body() {
        let answered = text(answer("since=1", &events(3)));
        assert_eq!(answered.status(), StatusCode::OK);
        let read: Happened = serde_json::from_str(answered.body()).unwrap();
        let numbers: Vec<_> = read.events.iter().map(|event| event.sequence).collect();
        assert_eq!((read.missed, numbers), (0, vec![2, 3]));
    }

    #[test]
    fn followers_get_lines_and_gaps_have_a_name() {
        let events = events(1100);
        events.end();
        let answered = text(answer("follow=true&since=1", &events));
        assert_eq!(answered.status(), StatusCode::OK);
        let lines: Vec<EventLine> = answered
            .body()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0], EventLine::Gap { missed: 75 });
        let numbers: Vec<u64> = lines[1..]
            .iter()
            .map(|line| match line {
                EventLine::Event(event) => event.sequence,
                EventLine::Gap { missed } => panic!("{missed}"),
            })
            .collect();
        assert_eq!(numbers, (77..=1100).collect::<Vec<_>>());
    }

    #[test]
    fn a_query_that_says_nothing_is_refused() {
        for query in ["since=x", "since", "follow=yes", "until=3"] {
            let answered = text(answer(query, &events(1)));
            assert_eq!(answered.status(), StatusCode::BAD_REQUEST, "{query}");
        }
    }

    #[test]
    fn one_follower_too_many_is_refused() {
        let events = events(0);
        let all: Vec<_> = (0..crate::events::MOST_FOLLOWERS)
            .map(|_| answer("follow=true", &events))
            .collect();
        let refused = text(answer("follow=true", &events));
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(all);
        assert_eq!(answer("follow=true", &events).status(), StatusCode::OK);
    }
}
