//! What becomes of the kernel's neighbour entries: kept, taken over, asked once, left alone.

use lb_userspace::net::Resolver;

use super::{PEER, Pair, eventually, ip, resolved, want};

#[test]
fn fixed_and_foreign_neighbours_are_left_alone() {
    let pair = Pair::set_up("fixed");
    for arguments in [
        "neigh add 198.18.1.50 lladdr 02:00:00:00:00:50 dev eth nud permanent",
        "neigh add 198.18.1.51 lladdr 02:00:00:00:00:51 dev eth extern_learn",
        "neigh add 198.18.1.2 dev eth managed",
        "neigh add 198.18.1.53 lladdr 02:00:00:00:00:53 dev eth nud noarp",
    ] {
        pair.gateway(arguments);
    }
    pair.inside(async || {
        let resolver = Resolver::start().unwrap();
        let fixed = || (pair.neighbour("198.18.1.50"), pair.neighbour("198.18.1.51"));
        let before = fixed();
        want(
            &resolver,
            &["198.18.1.50", "198.18.1.51", "198.18.1.2", "198.18.1.53"],
        );
        resolved(&resolver, "198.18.1.50", [2, 0, 0, 0, 0, 0x50]).await;
        resolved(&resolver, "198.18.1.51", [2, 0, 0, 0, 0, 0x51]).await;
        resolved(&resolver, "198.18.1.53", [2, 0, 0, 0, 0, 0x53]).await;
        resolved(&resolver, "198.18.1.2", PEER).await;
        resolver.probe(pair.index(), ip("198.18.1.50"));
        resolver.probe(pair.index(), ip("198.18.1.2"));
        // Made permanent while it is kept for us: the operator's from then on.
        want(
            &resolver,
            &["198.18.1.50", "198.18.1.51", "198.18.1.2", "198.18.1.11"],
        );
        resolved(&resolver, "198.18.1.11", PEER).await;
        pair.gateway("neigh replace 198.18.1.11 lladdr 02:00:00:00:00:52 dev eth nud permanent");
        resolved(&resolver, "198.18.1.11", [2, 0, 0, 0, 0, 0x52]).await;
        resolver.stop().await;
        assert_eq!(fixed(), before);
        assert!(pair.neighbour("198.18.1.11").contains("PERMANENT"));
        assert!(pair.neighbour("198.18.1.2").contains("managed"));
    });
}

#[test]
fn a_flushed_neighbour_is_asked_for_again() {
    let pair = Pair::set_up("flush");
    pair.inside(async || {
        let resolver = Resolver::start().unwrap();
        want(&resolver, &["198.18.1.11", "fd00:1::11"]);
        for address in ["198.18.1.11", "fd00:1::11"] {
            resolved(&resolver, address, PEER).await;
        }
        pair.gateway("neigh flush all");
        for address in ["198.18.1.11", "fd00:1::11"] {
            resolved(&resolver, address, PEER).await;
            let managed = || pair.neighbour(address).contains("managed");
            eventually(&format!("{address} is kept again"), managed).await;
        }
        resolver.stop().await;
    });
}

#[test]
fn a_probe_has_the_kernel_resolve_a_client_once() {
    let pair = Pair::set_up("probe");
    pair.inside(async || {
        let resolver = Resolver::start().unwrap();
        for address in ["198.18.1.11", "fd00:1::11"] {
            assert_eq!(pair.neighbour(address), "");
            resolver.probe(pair.index(), ip(address));
            let known = || pair.neighbour(address).contains("02:00:00:00:00:11");
            eventually(&format!("{address} is known"), known).await;
            assert!(!pair.neighbour(address).contains("managed"));
        }
        resolver.stop().await;
    });
}

#[test]
fn the_next_run_takes_over_what_a_killed_one_left() {
    let pair = Pair::set_up("adopt");
    pair.gateway("neigh add 198.18.1.11 dev eth managed proto 83");
    pair.inside(async || {
        let resolver = Resolver::start().unwrap();
        want(&resolver, &["198.18.1.11"]);
        resolved(&resolver, "198.18.1.11", PEER).await;
        resolver.stop().await;
        assert!(!pair.neighbour("198.18.1.11").contains("managed"));
    });
}
