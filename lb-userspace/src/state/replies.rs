//! Whose the replies of `nat` backends are: what a reply says of itself is the backend's end that it
//! comes from. Ends that several services need tell nothing; those services record their flows
//! ([`Config::tracked`]), and which of them a reply belongs to, its flow says.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::model::{Config, Family, Listen, ReplyEnd, ServiceIndex, reply_ends};

use super::ids::BackendId;

/// Whom an end answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replier {
    /// The service, or one of those that record their flows.
    pub(super) service: ServiceIndex,
    /// Whether a reply's flow says whose it is.
    pub(super) recorded: bool,
    /// The address of it that replies leave with.
    pub(super) listen: Listen,
    /// The backend that they are counted for.
    pub(super) backend: BackendId,
}

/// Whom an end answers for, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// Where the tables say more.
    pub(super) number: u32,
    /// The service.
    pub(super) service: u32,
    /// Whether a reply's flow says whose it is.
    pub(super) recorded: bool,
    /// The backend.
    pub(super) backend: u32,
    /// The address that replies leave with, of the backend's family.
    pub(super) leaves_from: SocketAddr,
}

/// Every end that answers. A backend that is in the service's pool and in its
/// fallback counts as the pool's.
pub(super) fn repliers(config: &Config) -> BTreeMap<ReplyEnd, Replier> {
    let mut repliers = BTreeMap::new();
    let services = config.services.iter().zip(config.tracked()).enumerate();
    for (n, (service, tracked)) in services {
        for pool in service.pools() {
            for (backend, listen, end) in reply_ends(service, &config.pools[pool]) {
                repliers.entry(end).or_insert(Replier {
                    service: n,
                    recorded: tracked.is_some(),
                    listen,
                    backend: (pool, backend, Family::of(end.0)),
                });
            }
        }
    }
    repliers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Forward, Protocol},
        state::fixtures::{backend, config, ip, pool, service},
    };

    fn with_nat(services: &[(&str, &str)]) -> Config {
        let mut config = config();
        let backends = vec![
            backend("a", 100, &["198.18.1.1:8080", "fd00:1::1"]),
            backend("b", 0, &["198.18.1.2"]),
        ];
        config.pools = vec![pool("nat", Forward::Nat, &[], backends)];
        let services = services.iter();
        let services = services.map(|(name, listen)| service(name, 0, &[listen]));
        config.services = services.collect();
        config
    }

    #[test]
    fn each_port_of_a_backend_answers_for_its_service() {
        let config = with_nat(&[("web", "198.18.0.10:80"), ("six", "[fd00::10]:80")]);
        let repliers = repliers(&config);
        let found = repliers.iter().map(|(end, replier)| {
            let Replier { listen, .. } = replier;
            assert!(!replier.recorded);
            (*end, (replier.service, listen.address.to_string()))
        });
        let tcp = Protocol::Tcp;
        let web = (0, "198.18.0.10:80".to_owned());
        let expected = [
            ((ip("198.18.1.1"), 8080, tcp), web.clone()),
            ((ip("198.18.1.2"), 80, tcp), web),
            ((ip("fd00:1::1"), 80, tcp), (1, "[fd00::10]:80".to_owned())),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_end_that_two_services_need_answers_by_what_is_recorded() {
        let config = with_nat(&[("web", "198.18.0.10:80"), ("alias", "198.18.0.11:80")]);
        assert!(config.tracked().iter().all(Option::is_some));
        let repliers = repliers(&config);
        assert_eq!(repliers.len(), 2, "one for each backend");
        assert!(repliers.values().all(|replier| replier.recorded));
    }

    #[test]
    fn other_modes_bring_no_replies() {
        assert_eq!(repliers(&config()), BTreeMap::new());
    }
}
