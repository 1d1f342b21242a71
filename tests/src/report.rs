//! The judgement: every request answered rightly, shares as the weights ask, three counts equal.

use std::collections::HashMap;

use crate::{
    addresses::Family,
    clients::Answer,
    metrics::Metrics,
    nginx::Logged,
    services::{Backend, SERVICES, Service},
};

mod table;

/// How far, in standard deviations, a backend's count may be from its share: chance alone goes
/// beyond that in one of 16,000 counts.
const DEVIATIONS: f64 = 4.0;

/// What servers and agent recorded.
pub struct Observed {
    /// Access logs by backend.
    pub logged: Vec<(&'static str, Vec<Logged>)>,
    /// One scrape, or why there is none.
    pub metrics: Result<Metrics, String>,
}

/// Everything that a run found out.
pub struct Report {
    ordered: u32,
    answers: Vec<Answer>,
    observed: Observed,
}

/// How often a backend answered over a family, beside how often it should have.
struct Share {
    service: &'static Service,
    family: Family,
    backend: &'static Backend,
    answered: usize,
    expected: f64,
    /// Distance in standard deviations.
    deviation: f64,
}

/// New connections of a backend as three parties counted them.
struct Count {
    service: &'static Service,
    backend: &'static Backend,
    clients: usize,
    nginx: usize,
    metrics: Option<f64>,
    /// Whether nginx logged exactly the numbers that clients had answered.
    same_numbers: bool,
}

impl Report {
    /// A report on `answers`, of which there should be `ordered`.
    pub fn new(ordered: u32, answers: Vec<Answer>) -> Self {
        let observed = Observed {
            logged: Vec::new(),
            metrics: Err("not asked yet".to_owned()),
        };
        Self {
            ordered,
            answers,
            observed,
        }
    }

    /// Takes what was recorded instead of what it had before.
    pub fn observe(&mut self, observed: Observed) {
        self.observed = observed;
    }

    /// Whether clients, access logs and metrics tell the same.
    pub fn counts_agree(&self) -> bool {
        self.counts().iter().all(Count::agrees)
    }

    /// Whether any request was answered wrongly or not at all.
    pub fn has_failures(&self) -> bool {
        self.failures().next().is_some() || self.answers.len() != self.ordered as usize
    }

    /// Everything that is not as it should be; empty after a good run.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let (failed, sent) = (self.failures().count(), self.answers.len());
        if failed > 0 {
            problems.push(format!("{failed} of {sent} requests failed"));
        }
        if sent != self.ordered as usize {
            problems.push(format!("gave up after {sent} of {} requests", self.ordered));
        }
        if let Err(error) = &self.observed.metrics {
            problems.push(error.clone());
        }
        problems.extend(self.unfair_shares());
        // Without metrics, which was said above, only the other two can differ.
        let silent = self.observed.metrics.is_err();
        let differing = self
            .counts()
            .into_iter()
            .filter(|c| !(c.agrees() || silent && c.same_numbers));
        problems.extend(differing.map(|count| {
            let metrics = count
                .metrics
                .map_or("nothing".to_owned(), |value| value.to_string());
            format!(
                "{}: clients count {}, nginx {}{}, /metrics {metrics}",
                count.backend.name,
                count.clients,
                count.nginx,
                if count.same_numbers {
                    ""
                } else {
                    " (of other numbers)"
                },
            )
        }));
        problems
    }

    /// Backends that answered too often or too rarely to be by chance, each in a line.
    pub fn unfair_shares(&self) -> Vec<String> {
        let far = self.shares().into_iter().filter(|share| !share.is_fair());
        let lines = far.map(|share| {
            format!(
                "{} answered {} requests over {}, {:+.1} standard deviations from its share",
                share.backend.name, share.answered, share.family, share.deviation
            )
        });
        lines.collect()
    }

    /// Answers that are none, each in a line.
    fn failures(&self) -> impl Iterator<Item = String> {
        self.answers.iter().filter_map(|Answer { order, result }| {
            let error = result.as_ref().err()?;
            let (number, name) = (order.number, order.service.name);
            Some(format!(
                "request {number} from {} to {name}: {error}",
                order.from
            ))
        })
    }

    fn shares(&self) -> Vec<Share> {
        let mut answered = HashMap::<_, usize>::new();
        for Answer { order, result } in &self.answers {
            if let Ok(backend) = result {
                *answered.entry((*backend, order.family)).or_default() += 1;
            }
        }
        let count = |backend: &Backend, family| {
            answered
                .get(&(backend.name, family))
                .copied()
                .unwrap_or_default()
        };
        let mut shares = Vec::new();
        for service in &SERVICES {
            for family in Family::ALL {
                let total = service.backends.iter().map(|b| count(b, family)).sum();
                shares.extend(service.backends.iter().map(|backend| {
                    Share::new(service, family, backend, count(backend, family), total)
                }));
            }
        }
        shares
    }

    fn counts(&self) -> Vec<Count> {
        let pairs = SERVICES
            .iter()
            .flat_map(|s| s.backends.iter().map(move |b| (s, b)));
        pairs
            .map(|(service, backend)| self.count(service, backend))
            .collect()
    }

    fn count(&self, service: &'static Service, backend: &'static Backend) -> Count {
        let right = self
            .answers
            .iter()
            .filter(|answer| answer.result == Ok(backend.name));
        let mut asked: Vec<String> = right
            .map(|answer| answer.order.number.to_string())
            .collect();
        let logs = self
            .observed
            .logged
            .iter()
            .filter(|(name, _)| *name == backend.name);
        let lines = logs.flat_map(|(_, lines)| lines);
        let gets = lines.filter(|line| line.method == "GET" && line.status == 200);
        let mut logged: Vec<String> = gets.map(|line| line.number.clone()).collect();
        asked.sort_unstable();
        logged.sort_unstable();
        let labels = [("pool", service.name), ("backend", backend.name)];
        let metrics = self.observed.metrics.as_ref().ok();
        Count {
            service,
            backend,
            clients: asked.len(),
            nginx: logged.len(),
            metrics: metrics.and_then(|m| m.sum("sluice_backend_new_flows_total", &labels)),
            same_numbers: asked == logged,
        }
    }
}

impl Share {
    fn new(
        service: &'static Service,
        family: Family,
        backend: &'static Backend,
        answered: usize,
        total: usize,
    ) -> Self {
        // Each connection goes to the backend or not: a binomial distribution.
        let (n, p) = (total as f64, service.share(backend));
        let expected = n * p;
        let deviation = match (n * p * (1.0 - p)).sqrt() {
            0.0 => 0.0,
            sigma => (answered as f64 - expected) / sigma,
        };
        Self {
            service,
            family,
            backend,
            answered,
            expected,
            deviation,
        }
    }

    fn is_fair(&self) -> bool {
        self.deviation.abs() <= DEVIATIONS
    }
}

impl Count {
    fn agrees(&self) -> bool {
        self.same_numbers && self.metrics == Some(self.clients as f64)
    }
}

#[cfg(test)]
mod tests;
