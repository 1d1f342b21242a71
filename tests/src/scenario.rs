//! The whole of it: network, servers, agent; requests and uploads through them. The demo and the
//! namespace tests are this with other numbers.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    addresses::{self, BACKENDS, Family},
    clients::{self, Answer, LIMIT},
    decapsulator::Outcomes,
    http::{self, Request},
    interrupt,
    network::Network,
    nginx::{Nginx, Site},
    progress::Progress,
    report::{Observed, Report},
    services::{self, Mode, PORT, SERVICES, Service},
    sluice::{self, Sluice},
    stage::Stage,
};

/// How long logs and counters may lag behind the answers.
const LAG: Duration = Duration::from_secs(5);

/// Everything that runs, in the order that it is stopped in.
pub struct Scenario {
    sluice: Sluice,
    nginx: Vec<Nginx>,
    network: Network,
    stage: Stage,
}

impl Scenario {
    /// Sets everything up and waits until it is ready for requests. `title` names namespaces and
    /// folder.
    pub fn set_up(title: &str, binary: &Path, progress: &Progress) -> Result<Self> {
        let stage = Stage::set_up(title)?;
        progress.step("namespaces: client, router, gateway, switch, three backends");
        let network = Network::set_up(&stage)?;
        network.wait_until_connected()?;
        progress.step("nginx in every backend");
        let servers = network.backends.iter().enumerate();
        let nginx = servers
            .map(|(index, namespace)| {
                let folder = stage.folder().join(format!("nginx{}", index + 1));
                Nginx::start(namespace, &folder, &sites(index))
            })
            .collect::<Result<_>>()?;
        progress.step("sluice run in the gateway");
        let configuration = services::configuration(stage.folder(), &stage.bpf());
        let mut sluice = Sluice::start(binary, &network.gateway, stage.folder(), &configuration)?;
        sluice.wait_until_ready(&network.gateway)?;
        Ok(Self {
            sluice,
            nginx,
            network,
            stage,
        })
    }

    /// The agent.
    pub fn sluice(&mut self) -> &mut Sluice {
        &mut self.sluice
    }

    /// The network that all of it runs in.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The run's name and folder.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Sends `count` requests, each its own connection from its own client.
    pub fn send(&self, count: u32, progress: &Progress) -> Result<Vec<Answer>> {
        progress.start(count);
        let watch = |answer: &Answer| progress.advance(answer.result.is_ok());
        let answers = clients::send(&self.network.client, &clients::orders(count), &watch);
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
        self.network.decapsulator(backend).outcomes()
    }

    /// The ends of all logs, for whoever has to find out what went wrong.
    pub fn logs(&self) -> String {
        let mut text = format!("sluice's log:\n{}\n", self.sluice.log_end());
        for (index, nginx) in self.nginx.iter().enumerate() {
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
        let client = &self.network.client;
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
        let arrived = self.nginx[position].uploaded(service.name, &name)?;
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
            for (backend, nginx) in service.backends.iter().zip(&self.nginx) {
                logged.push((backend.name, nginx.logged(service.name)?));
            }
        }
        let metrics = sluice::scrape(&self.network.gateway).map_err(|error| format!("{error:#}"));
        Ok(Observed { logged, metrics })
    }
}

/// What the nginx of the backend namespace at `index` serves: each service where its mode's
/// packets arrive.
fn sites(index: usize) -> Vec<Site> {
    let site = |service: &Service| {
        let host = match service.mode {
            Mode::FullNat => BACKENDS[index],
            Mode::Ipip => service.address,
        };
        let listen = host
            .both()
            .map(|ip| SocketAddr::new(ip, service.backend_port));
        Site {
            service: service.name.to_owned(),
            backend: service.backends[index].name.to_owned(),
            listen: listen.to_vec(),
        }
    };
    SERVICES.iter().map(site).collect()
}
