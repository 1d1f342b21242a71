//! Next hops as routes, links and peers change, and why there is none.

use std::time::{Duration, Instant};

use lb_userspace::net::{Resolver, Unresolved};

use super::{PEER, Pair, fits, ip, resolved, unresolved, want};

#[test]
fn resolves_on_link_and_through_gateways_and_respects_the_routes_mtu() {
    let pair = Pair::set_up("resolve");
    pair.gateway("route add 198.18.5.0/24 via 198.18.1.2 mtu 1400 src 198.18.1.1");
    pair.gateway("route add fd00:5::/64 via fd00:1::2 mtu 1380");
    pair.gateway("route add 198.18.6.0/24 via inet6 fd00:1::2 dev eth");
    pair.inside(async || {
        let resolver = Resolver::start().unwrap();
        let wanted = [
            "198.18.1.11",
            "fd00:1::11",
            "198.18.5.1",
            "fd00:5::1",
            "198.18.6.1",
        ];
        want(&resolver, &wanted);
        let mut mtus = vec![];
        for address in wanted {
            let next_hop = resolved(&resolver, address, PEER).await;
            assert_eq!(next_hop.device, pair.index());
            mtus.push(next_hop.mtu);
            if ["198.18.1.11", "198.18.5.1"].contains(&address) {
                assert_eq!(next_hop.preferred_source, Some(ip("198.18.1.1")));
            }
        }
        assert_eq!(mtus, [1500, 1500, 1400, 1380, 1500]);
        let kept = pair.gateway("neigh show proto 83");
        assert_eq!(kept.matches(" managed ").count(), 4, "{kept}");
        resolver.stop().await;
        let left = pair.gateway("neigh show");
        assert!(!left.contains("managed"), "{left}");
        assert!(
            left.contains("198.18.1.11 dev eth lladdr 02:00:00:00:00:11"),
            "{left}"
        );
    });
}

#[test]
fn follows_routes() {
    let pair = Pair::set_up("routes");
    pair.inside(async || {
        let resolver = Resolver::start().unwrap();
        want(&resolver, &["198.18.1.11", "198.18.7.1"]);
        resolved(&resolver, "198.18.1.11", PEER).await;
        unresolved(&resolver, "198.18.7.1", Unresolved::NoRoute).await;
        pair.gateway("route add 198.18.7.0/24 via 198.18.1.11 mtu 1300");
        assert_eq!(resolved(&resolver, "198.18.7.1", PEER).await.mtu, 1300);
        pair.gateway("route change 198.18.7.0/24 via 198.18.1.11 mtu 1200");
        fits(&resolver, "198.18.7.1", 1200).await;
        pair.gateway("route del 198.18.7.0/24");
        unresolved(&resolver, "198.18.7.1", Unresolved::NoRoute).await;
        pair.gateway("route add blackhole 198.18.7.0/24");
        unresolved(&resolver, "198.18.7.1", Unresolved::Blackhole).await;
        resolver.stop().await;
    });
}

#[test]
fn follows_the_peers_address_and_the_link() {
    const NEW: [u8; 6] = [2, 0, 0, 0, 0, 0x22];
    let pair = Pair::set_up("follow");
    pair.inside(async || {
        let resolver = Resolver::start().unwrap();
        want(&resolver, &["198.18.1.11", "fd00:1::11"]);
        resolved(&resolver, "198.18.1.11", PEER).await;
        resolved(&resolver, "fd00:1::11", PEER).await;

        // The peer gets another card, and says so.
        pair.peer("link set peer address 02:00:00:00:00:22");
        pair.speak("198.18.1.11", "198.18.1.1");
        resolved(&resolver, "198.18.1.11", NEW).await;
        pair.speak("fd00:1::11", "fd00:1::1");
        resolved(&resolver, "fd00:1::11", NEW).await;

        // The device's MTU, and the device.
        pair.gateway("link set eth mtu 1450");
        fits(&resolver, "198.18.1.11", 1450).await;
        pair.gateway("link set eth down");
        let down = || Unresolved::DeviceDown {
            device: "eth".into(),
        };
        unresolved(&resolver, "198.18.1.11", down()).await;
        unresolved(&resolver, "fd00:1::11", down()).await;
        pair.gateway("link set eth up");
        pair.gateway("addr replace fd00:1::1/64 dev eth nodad");
        resolved(&resolver, "198.18.1.11", NEW).await;
        resolved(&resolver, "fd00:1::11", NEW).await;
        resolver.stop().await;
    });
}

#[test]
fn outlives_its_cable_for_ten_seconds() {
    let pair = Pair::set_up("cable");
    pair.inside(async || {
        let resolver = Resolver::start().unwrap();
        want(&resolver, &["198.18.1.11"]);
        resolved(&resolver, "198.18.1.11", PEER).await;
        let start = Instant::now();
        pair.peer("link set peer down");
        let no_carrier = Unresolved::NoCarrier {
            device: "eth".into(),
        };
        unresolved(&resolver, "198.18.1.11", no_carrier).await;
        assert!(start.elapsed() > Duration::from_secs(9));
        resolver.stop().await;
    });
}

#[test]
fn says_why_not() {
    let pair = Pair::set_up("reasons");
    for arguments in [
        "route add prohibit 198.18.8.0/24",
        "route add unreachable 198.18.9.0/24",
        "route add blackhole fd00:8::/64",
        "route add prohibit fd00:9::/64",
        "route add unreachable fd00:a::/64",
        "route add local 198.18.10.0/24 dev lo",
        "tuntap add tun0 mode tun",
        "link set tun0 up",
        "route add 198.18.11.0/24 dev tun0",
    ] {
        pair.gateway(arguments);
    }
    let silent = |neighbour| Unresolved::NoNeighbour {
        neighbour: ip(neighbour),
        device: "eth".into(),
    };
    let cases = [
        ("198.18.8.1", Unresolved::Prohibited),
        ("198.18.9.1", Unresolved::Unreachable),
        ("198.18.12.1", Unresolved::NoRoute),
        ("fd00:8::1", Unresolved::Blackhole),
        ("fd00:9::1", Unresolved::Prohibited),
        ("fd00:a::1", Unresolved::Unreachable),
        ("fd00:b::1", Unresolved::NoRoute),
        ("198.18.10.1", Unresolved::ThisHost),
        ("198.18.1.1", Unresolved::ThisHost),
        ("fd00:1::1", Unresolved::ThisHost),
        ("127.0.0.1", Unresolved::ThisHost),
        ("198.18.1.255", Unresolved::Broadcast),
        ("224.0.0.18", Unresolved::Multicast),
        ("ff02::12", Unresolved::Multicast),
        (
            "198.18.11.1",
            Unresolved::NotEthernet {
                device: "tun0".into(),
            },
        ),
        ("198.18.1.99", silent("198.18.1.99")),
        ("fd00:1::99", silent("fd00:1::99")),
    ];
    pair.inside(async || {
        let resolver = Resolver::start().unwrap();
        want(&resolver, &cases.each_ref().map(|(address, _)| *address));
        for (address, reason) in cases {
            unresolved(&resolver, address, reason).await;
        }
        resolver.stop().await;
    });
}

#[test]
fn lost_events_are_made_up_for() {
    let pair = Pair::set_up("overrun");
    let routes = (0..60_000u32).map(|n| {
        let [.., third, fourth] = n.to_be_bytes();
        format!("route add 198.19.{third}.{fourth}/32 dev eth metric {n}\n")
    });
    let mut batch: String = routes.collect();
    batch.push_str("route add 198.18.40.0/24 via 198.18.1.11\n");
    let file = pair.stage.folder().join("batch");
    std::fs::write(&file, batch).unwrap();
    pair.inside(async || {
        let resolver = Resolver::start().unwrap();
        want(&resolver, &["198.18.1.11", "198.18.40.1"]);
        resolved(&resolver, "198.18.1.11", PEER).await;
        // The runtime's only thread is held up by this until all is done, so the socket overflows.
        pair.gateway(&format!("-batch {}", file.display()));
        resolved(&resolver, "198.18.40.1", PEER).await;
        resolver.stop().await;
    });
}
