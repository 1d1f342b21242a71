//! Configurations that follow each other.

use super::*;

#[test]
fn a_reload_without_a_change_plans_nothing() {
    let mut host = Host::default();
    assert!(host.load(&config()) > 0);
    assert_eq!(host.load(&config()), 0);
    let mut turned = config();
    turned.pools[0].backends.reverse();
    turned.services.reverse();
    assert_eq!(host.load(&turned), 0);
}

#[test]
fn a_backend_that_comes_back_is_written_as_it_was() {
    let mut without = config();
    without.pools[0].backends.remove(0);
    let mut host = Host::default();
    host.load(&config());
    let first = host.fake.tables.clone();
    host.load(&without);
    assert_eq!(host.fake.tables.backends.len(), first.backends.len());
    host.load(&config());
    assert_eq!(host.fake.tables, first);
}

#[test]
fn a_pool_of_another_size_has_two_tables_until_one_is_released() {
    let mut host = Host::default();
    host.load(&config());
    let mut large = config();
    large.pools[1].slots = TableSize::Medium;
    let (mut registry, ids) = host.registry.assign(&large).unwrap();
    let (links, hops) = (links(), hops(&ALL));
    let inputs = Inputs {
        config: &large,
        ids: &ids,
        own: &BTreeSet::new(),
        links: &links,
        hops: &hops,
        standings: &Standings::default(),
        hertz: 250,
    };
    let desired = state::desired(inputs, &mut Memo::default());
    let key = (1, Family::Ipv4);
    let (new, old) = (ids.tables[&key], ids.old_tables[&key]);
    let index = ids.backends[&(1, 0, Family::Ipv4)].index();
    for table in [new, old] {
        assert_eq!(desired.owners[&table].len(), table.size.slots() as usize);
        assert!(desired.owners[&table].iter().all(|&n| n == index));
    }
    registry.release_table(old);
    let (_, ids) = registry.assign(&large).unwrap();
    assert!(ids.old_tables.is_empty());
    assert_eq!(ids.tables[&key], new);
}

/// Configurations of a few names, in any combination and order.
fn configs() -> impl Strategy<Value = Config> {
    let backends = subsequence(vec!["a", "b", "c", "d"], 0..=4).prop_shuffle();
    let (nat, large, six) = (any::<bool>(), any::<bool>(), any::<bool>());
    let one = (backends, nat, 0..3usize, 0..2u16, large, six);
    let pools = prop::collection::vec(one, 3);
    let services = subsequence((0..6u16).collect::<Vec<_>>(), 0..=6).prop_shuffle();
    let everything = (pools, services, any::<[u8; 6]>(), any::<bool>());
    everything.prop_map(|(pools, services, leads, vlan)| {
        let pools = pools.into_iter().enumerate();
        let pools = pools.map(|(n, (backends, nat, sources, port, large, six))| {
            let backend = |name: &&str| {
                let (address, port) = (1 + name.as_bytes()[0] % 2, 8000 + port);
                let v4 = format!("198.18.1.{address}");
                let v6 = format!("fd00:1::{address}");
                match nat {
                    true if six && *name == "a" => backend(name, 100, &[&v6]),
                    true => backend(
                        name,
                        100,
                        &[&format!("{v4}:{port}"), &format!("[{v6}]:{port}")],
                    ),
                    false => backend(name, 100, &[&v4]),
                }
            };
            let forward = match (nat, sources) {
                (true, 0) => Forward::Nat,
                (true, _) => Forward::FullNat,
                (false, _) => Forward::Ipip,
            };
            let sources = &["198.18.1.254", "198.18.1.253", "198.18.1.252"][..=sources];
            let backends = backends.iter().map(backend).collect();
            let mut pool = pool(&format!("pool-{n}"), forward, sources, backends);
            if large {
                pool.slots = TableSize::Medium;
            }
            pool
        });
        let services = services.into_iter().map(|n| {
            let lead = usize::from(leads[usize::from(n)] % 3);
            let mut listen = vec![format!("198.18.0.{n}:80"), format!("[fd00::{n}]:80")];
            if lead == 1 {
                let wide = [
                    format!("198.18.0.{n}:8{n}00-8{n}99/tcp"),
                    format!("[fd00:{n}::/32]:*/udp"),
                ];
                listen.extend(wide);
            }
            let listen: Vec<&str> = listen.iter().map(String::as_str).collect();
            service(&format!("service-{n}"), lead, &listen)
        });
        let mut config = Config {
            services: services.collect(),
            pools: pools.collect(),
            ..config()
        };
        config.agent.interfaces.truncate(if vlan { 3 } else { 2 });
        config
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// From any configuration to any other, and on: every step is safe, and the last one reaches
    /// what was asked for.
    #[test]
    fn configurations_follow_each_other(configs in prop::collection::vec((configs(), any::<bool>()), 1..6)) {
        let mut host = Host::default();
        for (config, sweep) in configs {
            host.load(&config);
            prop_assert_eq!(host.load(&config), 0);
            if sweep {
                host.sweep();
                host.sweep();
            }
            // Without histories, no slot says that it moves: old tables go at once.
            let (_, ids) = host.registry.assign(&config).unwrap();
            ids.old_tables.values().for_each(|t| host.registry.release_table(*t));
        }
    }

    /// Wherever the way from one configuration to another fails, the next pass reaches what is wanted by then,
    /// a third one or the same; and then there is nothing left to do.
    #[test]
    fn a_failure_anywhere_is_made_up_for(
        [first, second, third] in [configs(), configs(), configs()],
        again: bool,
        at: prop::sample::Index,
    ) {
        let (mut registry, mut memo) = (Registry::default(), Memo::default());
        let mut reconciler = Reconciler::new(FakeTables::default());
        let mut wanted = |config: &Config| {
            let (next, ids) = registry.assign(config).unwrap();
            registry = next;
            with_memo(config, &ids, &ALL, &mut memo)
        };
        let [first, second] = [wanted(&first), wanted(&second)];
        let third = if again { second.clone() } else { wanted(&third) };
        reconciler.reconcile(&first).unwrap();
        let operations = plan::diff(&first, &second).len();
        if operations > 0 {
            reconciler.kernel.fails_after = Some(at.index(operations));
            reconciler.reconcile(&second).unwrap_err();
        }
        reconciler.kernel.fails_after = None;
        reconciler.reconcile(&third).unwrap();
        prop_assert_eq!(plan::diff(&reconciler.kernel.tables, &third), []);
        let writes = reconciler.kernel.writes;
        prop_assert_eq!(reconciler.reconcile(&third).unwrap(), 0);
        prop_assert_eq!(reconciler.kernel.writes, writes);
    }
}
