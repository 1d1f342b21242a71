//! Everything but the agent: the network, and a server in each backend.

use std::{net::SocketAddr, path::Path};

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
                let folder = stage.folder().join(format!("nginx{}", index + 1));
                Nginx::start(namespace, &folder, &sites(index))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            nginx,
            network,
            stage,
        })
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
