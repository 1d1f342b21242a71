//! The whole of it: network, servers, agent; requests and uploads through them. The demo and the
//! namespace tests are this with other numbers.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    addresses::{self, Family},
    clients::{self, Answer, LIMIT},
    decapsulator::Outcomes,
    http::{self, Request},
    interrupt,
    metrics::Metrics,
    network::Network,
    progress::Progress,
    report::{Observed, Report},
    services::{Configuration, PORT, SERVICES, Service},
    sluice::{self, Sluice},
    stage::Stage,
    surroundings::Surroundings,
};

/// How long logs and counters may lag behind the answers.
const LAG: Duration = Duration::from_secs(5);

/// Everything that runs, in the order that it is stopped in.
pub struct Scenario {
    sluice: Sluice,
    surroundings: Surroundings,
}

impl Scenario {
    /// Sets everything up and waits until it is ready for requests. `title` names namespaces and
    /// folder.
    pub fn set_up(title: &str, binary: &Path, progress: &Progress) -> Result<Self> {
        let surroundings = Surroundings::set_up(title, progress)?;
        progress.step("sluice run in the gateway");
        let configuration = surroundings.configuration();
        let mut scenario = surroundings.start(binary, &configuration)?;
        let gateway = &scenario.surroundings.network.gateway;
        scenario.sluice.wait_until_ready(gateway)?;
        Ok(scenario)
    }

    pub(crate) fn new(sluice: Sluice, surroundings: Surroundings) -> Self {
        Self {
            sluice,
            surroundings,
        }
    }

    /// Starts another agent in place of the one that was stopped.
    pub fn restart(&mut self, binary: &Path, configuration: &Configuration) -> Result<()> {
        let gateway = &self.surroundings.network.gateway;
        self.sluice = Sluice::start(binary, gateway, configuration)?;
        self.sluice.wait_until_ready(gateway)
    }

    /// Waits until the agent is ready with all next hops known but `count`.
    pub fn wait_until_unresolved(&mut self, count: u32) -> Result<()> {
        let gateway = &self.surroundings.network.gateway;
        self.sluice.wait_until_unresolved(gateway, count)
    }

    /// What the agent counts.
    pub fn scrape(&self) -> Result<Metrics> {
        sluice::scrape(&self.network().gateway)
    }

    /// The agent.
    pub fn sluice(&mut self) -> &mut Sluice {
        &mut self.sluice
    }

    /// The network that all of it runs in.
    pub fn network(&self) -> &Network {
        &self.surroundings.network
    }

    /// The run's name and folder.
    pub fn stage(&self) -> &Stage {
        &self.surroundings.stage
    }

    /// Sends `count` requests, each its own connection from its own client.
    pub fn send(&self, count: u32, progress: &Progress) -> Result<Vec<Answer>> {
        progress.start(count);
        let watch = |answer: &Answer| progress.advance(answer.result.is_ok());
        let answers = clients::send(&self.network().client, &clients::orders(count), &watch);
        progress.finish();
        answers
    }

    /// Holds the answers against weights, access logs and metrics. Waits a little for the latter
    /// two, which may lag.
    pub fn report(&self, ordered: u32, answers: Vec<Answer>) -> Result<Report> {
        let deadline = Instant::now() + LAG;
        let mut report = Report::new(ordered, answers);
        loop {
            interrupt::check()?;
            report.observe(self.observe()?);
            // With failures the counts have no reason to meet.
            if report.counts_agree() || report.has_failures() || Instant::now() > deadline {
                return Ok(report);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Uploads `size` bytes to a service and compares what arrived; returns the backend's name.
    pub fn upload(&self, service: &'static Service, family: Family, size: usize) -> Result<String> {
        self.try_upload(service, family, size)
            .with_context(|| format!("upload to {} over {family}", service.name))
    }

    /// What a backend's end of the tunnel did with frames.
    pub fn tunnel_outcomes(&self, backend: usize) -> Result<Outcomes> {
        self.network().decapsulator(backend).outcomes()
    }

    /// The ends of all logs, for whoever has to find out what went wrong.
    pub fn logs(&self) -> String {
        let mut text = format!("sluice's log:\n{}\n", self.sluice.log_end());
        for (index, nginx) in self.surroundings.nginx.iter().enumerate() {
            let errors = nginx.errors();
            if !errors.is_empty() {
                text.push_str(&format!("nginx in backend{}:\n{errors}\n", index + 1));
            }
        }
        text
    }

    fn try_upload(&self, service: &Service, family: Family, size: usize) -> Result<String> {
        let name = format!("{}-{family}", service.name);
        let body: Vec<u8> = (0..size).map(|at| (at * 31 + at / 256) as u8).collect();
        let path = format!("/upload/{name}");
        let request = Request {
            method: "PUT",
            path: &path,
            body: &body,
        };
        let to = SocketAddr::new(service.address.of(family), PORT);
        let from = addresses::client(family, 0);
        let client = &self.network().client;
        let response = client.run(|| http::exchange(Some(from), to, &request, LIMIT))?;
        // 201: stored and new; 204: stored over an earlier one.
        ensure!(
            [201, 204].contains(&response.status),
            "status {}",
            response.status
        );
        let answered_by = response.header("x-service");
        ensure!(
            answered_by == service.name,
            "answered by service {answered_by:?}"
        );
        let backend = response.header("x-backend");
        let position = service
            .backends
            .iter()
            .position(|known| known.name == backend);
        let position = position.with_context(|| format!("{backend:?} is no backend of it"))?;
        let arrived = self.surroundings.nginx[position].uploaded(service.name, &name)?;
        ensure!(
            arrived == body,
            "{} of {size} bytes arrived, or others",
            arrived.len()
        );
        Ok(backend.to_owned())
    }

    fn observe(&self) -> Result<Observed> {
        let mut logged = Vec::new();
        for service in &SERVICES {
            for (backend, nginx) in service.backends.iter().zip(&self.surroundings.nginx) {
                logged.push((backend.name, nginx.logged(service.name)?));
            }
        }
        let metrics = self.scrape().map_err(|error| format!("{error:#}"));
        Ok(Observed { logged, metrics })
    }
}
