//! Which backends POOL, POOL/BACKEND or BACKEND means. Pure.

/// Why a name means nothing, or too much.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// There is no such pool.
    #[error("no pool is called `{pool}`; there {}", are(.pools))]
    NoPool {
        /// The name.
        pool: String,
        /// Those that there are.
        pools: Vec<String>,
    },
    /// The pool has no such backend.
    #[error("pool `{pool}` has no backend `{backend}`; there {}", are(.backends))]
    NoBackend {
        /// The pool.
        pool: String,
        /// The name.
        backend: String,
        /// Those that it has.
        backends: Vec<String>,
    },
    /// Nothing has that name.
    #[error("no pool and no backend is called `{name}`; of pools there {}", are(.pools))]
    Nothing {
        /// The name.
        name: String,
        /// The pools that there are.
        pools: Vec<String>,
    },
    /// Several have it.
    #[error("`{name}` can mean {}: name one of these", .candidates.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// What it can mean, in words.
        candidates: Vec<String>,
    },
}

/// What a name means: a backend of a pool, or all of them, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The pool.
    pub pool: usize,
    /// Its backend; absent: all.
    pub backend: Option<usize>,
}

/// A pool's name, and those of its backends.
pub type Names<'a> = (&'a str, Vec<&'a str>);

/// What `name` means. A pool whose name a backend has as well is `POOL/`.
pub fn find(pools: &[Names<'_>], name: &str) -> Result<Selected, SelectError> {
    let Some((pool, backend)) = name.split_once('/') else {
        return meaning(pools, name);
    };
    let Some(found) = pools.iter().position(|(candidate, _)| *candidate == pool) else {
        return Err(SelectError::NoPool {
            pool: pool.to_owned(),
            pools: pools.iter().map(|(name, _)| (*name).to_owned()).collect(),
        });
    };
    if backend.is_empty() {
        return Ok(Selected {
            pool: found,
            backend: None,
        });
    }
    let backends = &pools[found].1;
    match backends.iter().position(|candidate| *candidate == backend) {
        Some(n) => Ok(Selected {
            pool: found,
            backend: Some(n),
        }),
        None => Err(SelectError::NoBackend {
            pool: pool.to_owned(),
            backend: backend.to_owned(),
            backends: backends.iter().map(|&name| name.to_owned()).collect(),
        }),
    }
}

/// The one pool, or the one backend, with that name.
fn meaning(pools: &[Names<'_>], name: &str) -> Result<Selected, SelectError> {
    let numbered = || pools.iter().enumerate();
    let as_pool = numbered().filter(|(_, (pool, _))| *pool == name);
    let as_pool = as_pool.map(|(pool, _)| Selected {
        pool,
        backend: None,
    });
    let as_backend = numbered().filter_map(|(pool, (_, backends))| {
        let n = backends.iter().position(|backend| *backend == name)?;
        Some(Selected {
            pool,
            backend: Some(n),
        })
    });
    let meanings: Vec<Selected> = as_pool.chain(as_backend).collect();
    match meanings[..] {
        [only] => Ok(only),
        [] => Err(SelectError::Nothing {
            name: name.to_owned(),
            pools: pools.iter().map(|(pool, _)| (*pool).to_owned()).collect(),
        }),
        _ => {
            let candidates = meanings.iter().map(|found| {
                let (pool, backends) = &pools[found.pool];
                match found.backend {
                    Some(n) => format!("backend {pool}/{}", backends[n]),
                    None => format!("pool {pool}/"),
                }
            });
            Err(SelectError::Ambiguous {
                name: name.to_owned(),
                candidates: candidates.collect(),
            })
        }
    }
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
