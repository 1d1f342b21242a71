//! Everything but the agent: the network, and a server in each backend.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    addresses::BACKENDS,
    network::Network,
    nginx::{Nginx, Site},
    progress::Progress,
    scenario::Scenario,
    services::{Configuration, Mode, SERVICES, Service},
    sluice::Sluice,
    stage::Stage,
};

/// What the agent will be put into, in the order that it is stopped in.
pub struct Surroundings {
    /// The servers, by backend.
    pub nginx: Vec<Nginx>,
    /// The network that all of it runs in.
    pub network: Network,
    /// The run's name and folder.
    pub stage: Stage,
}

impl Surroundings {
    /// Sets everything up and waits until the servers can be reached. `title` names namespaces and
    /// folder.
    pub fn set_up(title: &str, progress: &Progress) -> Result<Self> {
        let stage = Stage::set_up(title)?;
        progress.step("namespaces: client, router, gateway, switch, three backends");
        let network = Network::set_up(&stage)?;
        network.wait_until_connected()?;
        progress.step("nginx in every backend");
        let servers = network.backends.iter().enumerate();
        let nginx = servers
            .map(|(index, namespace)| {
                Nginx::start(namespace, &server_folder(&stage, index), &sites(index))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            nginx,
            network,
            stage,
        })
    }

    /// Starts the server of a backend anew, with the files that it had.
    pub fn start_server(&mut self, index: usize) -> Result<()> {
        let folder = server_folder(&self.stage, index);
        let namespace = &self.network.backends[index];
        self.nginx[index] = Nginx::start(namespace, &folder, &sites(index))?;
        Ok(())
    }

    /// The usual configuration.
    pub fn configuration(&self) -> Configuration {
        Configuration::new(self.stage.folder(), &self.stage.bpf())
    }

    /// Starts the agent in the gateway, and waits for nothing.
    pub fn start(self, binary: &Path, configuration: &Configuration) -> Result<Scenario> {
        let sluice = Sluice::start(binary, &self.network.gateway, configuration)?;
        Ok(Scenario::new(sluice, self))
    }
}

fn server_folder(stage: &Stage, index: usize) -> PathBuf {
    stage.folder().join(format!("nginx{}", index + 1))
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
