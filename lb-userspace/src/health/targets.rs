//! Which checks run against whom: what a configuration asks of each backend at each address that a
//! service reaches, so that what is asked twice of the same target runs once.
//!
//! A pool's backends are judged together, once for each family that its services listen on: in modes
//! that cross families, that may be backends at addresses of both.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    model::{
        Backend, BackendAddress, Check, Config, Family, Forward, Health, Pace, Pool, PoolIndex,
        Probe, Through, Weight,
    },
    overrides::Overrides,
};

/// All that is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// Pools in the order of the configuration.
    pub pools: Vec<PoolTargets>,
}

/// What is checked of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTargets {
    /// Its name.
    pub name: String,
    /// What follows from how many are up.
    pub health: Health,
    /// Its backends, each at each address that it is reached at.
    pub members: Vec<MemberTargets>,
    /// Who of them answers services of a family, by index.
    pub groups: BTreeMap<Family, Vec<usize>>,
}

/// What is checked of a backend at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberTargets {
    /// The backend's name.
    pub backend: String,
    /// Where it is reached.
    pub address: BackendAddress,
    /// Its weight, before health has its say.
    pub weight: Weight,
    /// Its tier.
    pub priority: u8,
    /// What must be up for it to be.
    pub runs: Vec<Run>,
}

/// A backend at one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberId {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub backend: String,
    /// The family of the address.
    pub family: Family,
}

/// One check of one target: there is one of it, however many pools ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// What is asked,
    pub probe: Arc<Probe>,
    /// whom,
    pub target: Target,
    /// and how often.
    pub pace: Pace,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The address.
    pub ip: IpAddr,
    /// The port, of checks that have one.
    pub port: Option<u16>,
    /// The service that it is asked through, if it is.
    pub service: Option<ByService>,
}

/// How a backend is asked through a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByService {
    /// The service's address.
    pub address: SocketAddr,
    /// How packets get from there to the backend.
    pub forward: Forward,
}

impl Target {
    /// The address and port that packets to it have as they leave; port 0 where there is none.
    pub fn socket(self) -> SocketAddr {
        let own = SocketAddr::new(self.ip, self.port.unwrap_or(0));
        self.service.map_or(own, |service| service.address)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        BackendAddress {
            ip: self.ip,
            port: self.port,
        }
        .fmt(f)?;
        match self.service {
            Some(ByService { address, .. }) => write!(f, " through {address}"),
            None => Ok(()),
        }
    }
}

/// As commands name it, with the family where a backend has two.
impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} ({})", self.pool, self.backend, self.family)
    }
}

impl MemberTargets {
    /// The family of its address.
    pub fn family(&self) -> Family {
        Family::of(self.address.ip)
    }
}

impl Targets {
    /// All that a configuration asks for, with the weights that operators leave.
    pub fn of(config: &Config, overrides: &Overrides) -> Self {
        let pools = config.pools.iter().enumerate();
        let mut pools: Vec<PoolTargets> = pools.map(|(n, pool)| of_pool(config, n, pool)).collect();
        for pool in &mut pools {
            for member in &mut pool.members {
                member.weight = overrides.weight(&pool.name, &member.backend, member.weight);
            }
        }
        Self { pools }
    }
}

fn of_pool(config: &Config, index: PoolIndex, pool: &Pool) -> PoolTargets {
    let asking = Asking {
        pool,
        port: config.service_port(index),
        checks: pool
            .checks
            .iter()
            .map(|check| Asked {
                probe: Arc::new(check.probe.clone()),
                check,
                at: config.asked_at(index, check),
            })
            .collect(),
    };
    let mut members: Vec<MemberTargets> = Vec::new();
    let mut known: BTreeMap<(&str, Family), usize> = BTreeMap::new();
    let mut groups: BTreeMap<Family, Vec<usize>> = BTreeMap::new();
    for family in families(config, index, pool) {
        let reached = pool.reachable(family);
        let group = reached.map(|(backend, address)| {
            // A backend has one address of a family.
            let key = (backend.name.as_str(), Family::of(address.ip));
            *known.entry(key).or_insert_with(|| {
                members.push(asking.member(backend, address));
                members.len() - 1
            })
        });
        groups.insert(family, group.collect());
    }
    PoolTargets {
        name: pool.name.clone(),
        health: pool.health.clone(),
        members,
        groups,
    }
}

/// The families of a pool's services; of its backends, where no service uses it.
fn families(config: &Config, index: PoolIndex, pool: &Pool) -> BTreeSet<Family> {
    let users = config.services.iter();
    let users = users.filter(|service| service.pools().any(|used| used == index));
    let listens = users.flat_map(|service| &service.listen);
    let families: BTreeSet<Family> = listens.map(|l| Family::of(l.address.ip())).collect();
    if !families.is_empty() {
        return families;
    }
    let addresses = pool.backends.iter().flat_map(|backend| &backend.addresses);
    addresses.map(|address| Family::of(address.ip)).collect()
}

/// What is asked of a pool's backends.
struct Asking<'a> {
    pool: &'a Pool,
    /// The port of its services.
    port: Option<u16>,
    checks: Vec<Asked<'a>>,
}

/// One check.
struct Asked<'a> {
    probe: Arc<Probe>,
    check: &'a Check,
    /// The services' addresses, if it goes through services.
    at: BTreeSet<SocketAddr>,
}

impl Asking<'_> {
    fn member(&self, backend: &Backend, address: BackendAddress) -> MemberTargets {
        let runs = self
            .checks
            .iter()
            .flat_map(|asked| match asked.check.through {
                Through::Backend => vec![self.directly(asked, address)],
                Through::Service => self.by_services(asked, backend, address),
            });
        MemberTargets {
            backend: backend.name.clone(),
            address,
            weight: backend.weight,
            priority: backend.priority,
            runs: runs.collect(),
        }
    }

    fn directly(&self, Asked { probe, check, .. }: &Asked<'_>, address: BackendAddress) -> Run {
        let port = check.port.or(address.port).or(self.port);
        Run {
            probe: Arc::clone(probe),
            target: Target {
                ip: check.address.unwrap_or(address.ip),
                // Instances on ports of their own share the echo requests of their host.
                port: port.filter(|_| !matches!(**probe, Probe::Icmp)),
                service: None,
            },
            pace: check.pace,
        }
    }

    /// A run for each of the services' addresses that reaches the backend at this address of its own.
    fn by_services(
        &self,
        Asked { probe, check, at }: &Asked<'_>,
        backend: &Backend,
        address: BackendAddress,
    ) -> Vec<Run> {
        let forward = self.pool.forward;
        let reaches = |service: &&SocketAddr| {
            let family = Family::of(service.ip());
            forward.address(family, &backend.addresses) == Some(&address)
        };
        let run = |service: &SocketAddr| Run {
            probe: Arc::clone(probe),
            target: Target {
                ip: address.ip,
                port: address.port,
                service: Some(ByService {
                    address: *service,
                    forward,
                }),
            },
            pace: check.pace,
        };
        at.iter().filter(reaches).map(run).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Forward, Service},
        state::fixtures::{self, backend, ip, pool, service},
    };

    fn config(services: Vec<Service>, pools: Vec<Pool>) -> Config {
        Config {
            services,
            pools,
            ..fixtures::config()
        }
    }

    fn check(probe: Probe) -> Check {
        Check {
            probe,
            address: None,
            port: None,
            through: Through::Backend,
            pace: crate::health::testing::PACE,
        }
    }

    fn tcp() -> Check {
        check(Probe::Tcp(Default::default()))
    }

    fn asked(targets: &Targets) -> Vec<String> {
        let members = targets.pools.iter().flat_map(|pool| &pool.members);
        let runs = members.flat_map(|member| &member.runs);
        runs.map(|run| format!("{} {}", run.probe, run.target))
            .collect()
    }

    #[test]
    fn a_port_is_the_checks_the_backends_or_the_services() {
        let mut web = pool(
            "web",
            Forward::FullNat,
            &["198.18.1.254"],
            vec![
                backend("a", 1, &["198.18.1.1:8080"]),
                backend("b", 1, &["198.18.1.2"]),
            ],
        );
        let own = Check {
            port: Some(9000),
            address: Some(ip("127.0.0.1")),
            ..tcp()
        };
        web.checks = vec![tcp(), own, check(Probe::Icmp)];
        let services = vec![service("web", 0, &["198.18.0.10:80", "198.18.0.11:80"])];
        let targets = Targets::of(&config(services, vec![web]), &Overrides::default());
        let expected = [
            "tcp 198.18.1.1:8080",
            "tcp 127.0.0.1:9000",
            "icmp 198.18.1.1",
            "tcp 198.18.1.2:80",
            "tcp 127.0.0.1:9000",
            "icmp 198.18.1.2",
        ];
        assert_eq!(asked(&targets), expected);
    }

    #[test]
    fn a_service_is_gone_through_at_each_address_that_leads_to_the_backend() {
        let backends = vec![
            backend("a", 1, &["198.18.1.1:8080", "fd00::1"]),
            backend("b", 1, &["198.18.1.2"]),
        ];
        let through = |port| Check {
            port,
            through: Through::Service,
            ..tcp()
        };
        let of = |forward, check: Check| {
            let mut web = pool("web", forward, &[], backends.clone());
            web.checks = vec![check];
            let listen = ["198.18.0.10:80", "198.18.0.10:443", "[fd00:18::10]:80"];
            let config = config(vec![service("web", 0, &listen)], vec![web]);
            asked(&Targets::of(&config, &Overrides::default()))
        };
        let expected = [
            "tcp 198.18.1.1:8080 through 198.18.0.10:80",
            "tcp fd00::1 through [fd00:18::10]:80",
            "tcp 198.18.1.2 through 198.18.0.10:80",
        ];
        assert_eq!(
            of(Forward::Nat, through(Some(80)))[..],
            [expected[0], expected[2], expected[1]]
        );
        // Each port that there is.
        assert_eq!(of(Forward::Nat, through(None)).len(), 5);
        // Where the mode crosses families, the other address will do.
        let crossing = of(Forward::FullNat, through(Some(80)));
        assert!(crossing.contains(&"tcp 198.18.1.2 through [fd00:18::10]:80".to_owned()));
        assert_eq!(crossing.len(), 4);
        let Target { service, .. } = Targets::of(
            &config(vec![service("web", 0, &["198.18.0.10:80"])], {
                let mut web = pool("web", Forward::Dsr, &[], backends.clone());
                web.checks = vec![through(None)];
                vec![web]
            }),
            &Overrides::default(),
        )
        .pools[0]
            .members[0]
            .runs[0]
            .target;
        assert_eq!(service.map(|service| service.forward), Some(Forward::Dsr));
    }

    #[test]
    fn backends_are_checked_where_services_reach_them() {
        let both = ["198.18.1.1", "fd00::1"];
        let backends = || vec![backend("a", 1, &both), backend("b", 1, &["198.18.1.2"])];
        let pools = |forward| {
            let mut pool = pool("web", forward, &[], backends());
            pool.checks = vec![check(Probe::Icmp)];
            vec![pool]
        };
        let v4 = || vec![service("web", 0, &["198.18.0.10:80"])];
        let v6 = || vec![service("web", 0, &["[fd00:18::10]:80"])];
        let of = |services, forward| {
            Targets::of(&config(services, pools(forward)), &Overrides::default())
        };
        assert_eq!(
            asked(&of(v4(), Forward::Nat)),
            ["icmp 198.18.1.1", "icmp 198.18.1.2"]
        );
        assert_eq!(asked(&of(v6(), Forward::Nat)), ["icmp fd00::1"]);
        // Where the mode crosses families, the other address will do.
        let crossing = of(v6(), Forward::FullNat);
        assert_eq!(asked(&crossing), ["icmp fd00::1", "icmp 198.18.1.2"]);
        assert_eq!(crossing.pools[0].groups[&Family::Ipv6], [0, 1]);
        let two = of([v4(), v6()].concat(), Forward::FullNat);
        assert_eq!(two.pools[0].groups[&Family::Ipv4], [0, 1]);
        assert_eq!(two.pools[0].groups[&Family::Ipv6], [2, 1]);
        // Nobody uses it: an agent without services follows its health all the same.
        assert_eq!(asked(&of(vec![], Forward::Nat)).len(), 3);
    }
}
