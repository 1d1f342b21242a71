//! The pools that are shown: reduced to what a name means, and their backends.

use crate::{
    select::{SelectError, Selected, find},
    stats::{BackendView, PoolView},
};

/// Every backend with its pool.
pub(super) fn backends(pools: &[PoolView]) -> impl Iterator<Item = (&PoolView, &BackendView)> {
    let with_pool = |pool| move |backend| (pool, backend);
    pools
        .iter()
        .flat_map(move |pool| pool.backends.iter().map(with_pool(pool)))
}

/// The pools, reduced to what `name` means.
pub(super) fn select(pools: Vec<PoolView>, name: &str) -> Result<Vec<PoolView>, SelectError> {
    let names: Vec<_> = pools
        .iter()
        .map(|pool| {
            let backends = pool.backends.iter().map(|backend| backend.name.as_str());
            (pool.name.as_str(), backends.collect())
        })
        .collect();
    let Selected { pool, backend } = find(&names, name)?;
    let mut found = pools.into_iter().skip(pool).take(1).collect::<Vec<_>>();
    if let (Some(n), Some(pool)) = (backend, found.first_mut()) {
        pool.backends = vec![pool.backends.swap_remove(n)];
    }
    Ok(found)
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
