//! Which backends POOL, POOL/BACKEND or BACKEND means. Pure.

use crate::stats::{BackendView, PoolView};

/// Why a name means nothing, or too much.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SelectError {
    #[error("no pool is called `{pool}`; there {}", are(.pools))]
    NoPool { pool: String, pools: Vec<String> },
    #[error("pool `{pool}` has no backend `{backend}`; there {}", are(.backends))]
    NoBackend {
        pool: String,
        backend: String,
        backends: Vec<String>,
    },
    #[error("no pool and no backend is called `{name}`; of pools there {}", are(.pools))]
    Nothing { name: String, pools: Vec<String> },
    #[error("`{name}` can mean {}: name one of these", .candidates.join(", "))]
    Ambiguous {
        name: String,
        candidates: Vec<String>,
    },
}

/// The pools, reduced to what `name` means. A pool whose name a backend has as well is `POOL/`.
pub(super) fn select(pools: Vec<PoolView>, name: &str) -> Result<Vec<PoolView>, SelectError> {
    let (pool, backend) = match name.split_once('/') {
        Some((pool, "")) => (pool.to_owned(), None),
        Some((pool, backend)) => (pool.to_owned(), Some(backend.to_owned())),
        None => meaning(&pools, name)?,
    };
    let names = pools.iter().map(|pool| pool.name.clone()).collect();
    let Some(mut found) = pools.into_iter().find(|candidate| candidate.name == pool) else {
        return Err(SelectError::NoPool { pool, pools: names });
    };
    if let Some(backend) = backend {
        let backends = names_of(&found.backends);
        found.backends.retain(|candidate| candidate.name == backend);
        if found.backends.is_empty() {
            return Err(SelectError::NoBackend {
                pool,
                backend,
                backends,
            });
        }
    }
    Ok(vec![found])
}

/// The one pool, or the one pool and backend, with that name.
fn meaning(pools: &[PoolView], name: &str) -> Result<(String, Option<String>), SelectError> {
    let as_pool = pools.iter().filter(|pool| pool.name == name);
    let as_backend = pools.iter().filter(|pool| {
        let mut backends = pool.backends.iter();
        backends.any(|backend| backend.name == name)
    });
    let mut meanings: Vec<_> = as_pool
        .map(|pool| (pool.name.clone(), None))
        .chain(as_backend.map(|pool| (pool.name.clone(), Some(name.to_owned()))))
        .collect();
    match meanings.len() {
        1 => Ok(meanings.remove(0)),
        0 => Err(SelectError::Nothing {
            name: name.to_owned(),
            pools: pools.iter().map(|pool| pool.name.clone()).collect(),
        }),
        _ => {
            let candidates = meanings.into_iter().map(|(pool, backend)| match backend {
                Some(backend) => format!("backend {pool}/{backend}"),
                None => format!("pool {pool}/"),
            });
            Err(SelectError::Ambiguous {
                name: name.to_owned(),
                candidates: candidates.collect(),
            })
        }
    }
}

fn names_of(backends: &[BackendView]) -> Vec<String> {
    backends
        .iter()
        .map(|backend| backend.name.clone())
        .collect()
}

/// `is none`, `is a`, `are a, b`: not too many of them.
fn are(names: &[String]) -> String {
    const MOST: usize = 10;
    let shown = names[..names.len().min(MOST)].join(", ");
    match names.len() {
        0 => "is none".to_owned(),
        1 => format!("is {shown}"),
        2..=MOST => format!("are {shown}"),
        n => format!("are {shown} and {} more", n - MOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sample;

    /// Pools `web` (web1, web2) and `dns` (dns1), and one more with a backend of each kind of name.
    fn pools() -> Vec<PoolView> {
        let mut pools = sample::healthy().pools;
        let mut more = pools[0].clone();
        more.name = "more".into();
        more.backends[0].name = "dns".into();
        pools.push(more);
        pools
    }

    fn selected(name: &str) -> String {
        match select(pools(), name) {
            Ok(pools) => {
                let paths = pools.iter().flat_map(|pool| {
                    let backends = pool.backends.iter();
                    backends.map(|backend| format!("{}/{}", pool.name, backend.name))
                });
                paths.collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn names_mean_what_they_should() {
        for (name, expected) in [
            ("web", "web/web1 web/web2"),
            ("web/", "web/web1 web/web2"),
            ("web1", "web/web1"),
            ("web/web2", "web/web2"),
            ("more/web2", "more/web2"),
            ("dns/", "dns/dns1"),
            (
                "web2",
                "`web2` can mean backend web/web2, backend more/web2: name one of these",
            ),
            (
                "dns",
                "`dns` can mean pool dns/, backend more/dns: name one of these",
            ),
            (
                "web/dns1",
                "pool `web` has no backend `dns1`; there are web1, web2",
            ),
            (
                "dns/web1",
                "pool `dns` has no backend `web1`; there is dns1",
            ),
            (
                "wbe/web1",
                "no pool is called `wbe`; there are web, dns, more",
            ),
            (
                "wbe",
                "no pool and no backend is called `wbe`; of pools there are web, dns, more",
            ),
        ] {
            assert_eq!(selected(name), expected, "{name}");
        }
    }
}
