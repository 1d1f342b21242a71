//! What is read of this host, and the offloads that are turned off.

use lb_userspace::net::{Delivery, Host, LinkKind, deliveries, offload};

use super::{OURS, Pair, ip};

#[test]
fn tells_the_hosts_facts() {
    let pair = Pair::set_up("host");
    for arguments in [
        "addr add 198.18.20.1/32 dev lo",
        "route add local 198.18.21.0/24 dev lo",
        "route add local fd00:21::/64 dev lo",
        "route add default via 198.18.1.2",
        "route add blackhole 198.18.23.0/24",
    ] {
        pair.gateway(arguments);
    }
    for (key, value) in [
        ("ipv4/conf/eth/forwarding", "1"),
        ("ipv6/conf/eth/forwarding", "0"),
        ("ipv4/ip_local_port_range", "40000 50000"),
    ] {
        pair.gateway.sysctl(key, value).unwrap();
    }
    pair.inside(async || {
        let host = Host::read().await.unwrap();
        assert_eq!(
            (host.local_ports.first, host.local_ports.last),
            (40000, 50000)
        );
        let eth = host.interface("eth").unwrap();
        assert_eq!((eth.index, eth.mac), (pair.index(), Some(OURS)));
        assert_eq!(
            (eth.mtu, eth.up, eth.carrier, eth.kind),
            (1500, true, true, LinkKind::Ethernet)
        );
        assert_eq!(
            (eth.forwarding_ipv4, eth.forwarding_ipv6),
            (Some(true), Some(false))
        );
        assert_eq!(host.interface("lo").unwrap().kind, LinkKind::Loopback);
        assert!(host.carries(ip("198.18.20.1")) && host.carries(ip("fd00:1::1")));
        let cases = [
            ("198.18.20.1", Delivery::Local),
            ("198.18.1.1", Delivery::Local),
            ("198.18.21.7", Delivery::Local),
            ("fd00:21::7", Delivery::Local),
            ("fd00:1::1", Delivery::Local),
            ("198.18.1.77", Delivery::Routed),
            ("fd00:1::77", Delivery::Routed),
            ("198.18.22.1", Delivery::Absent),
            ("198.18.23.1", Delivery::Absent),
            ("fd00:22::1", Delivery::Absent),
        ];
        let found = deliveries(cases.map(|(address, _)| ip(address)))
            .await
            .unwrap();
        for (address, expected) in cases {
            assert_eq!(found[&ip(address)], expected, "{address}");
        }
    });
}

#[test]
fn what_takes_tags_out_is_turned_off_and_read_back() {
    let pair = Pair::set_up("offload");
    pair.inside(async || {
        let first = offload::turn_off("eth").unwrap();
        assert_eq!(first.rx_vlan, offload::Offload::TurnedOff);
        assert_eq!(first.rx_stag, offload::Offload::TurnedOff);
        assert_eq!(first.lro, offload::Offload::WasOff);
        let second = offload::turn_off("eth").unwrap();
        assert_eq!(second.rx_vlan, offload::Offload::WasOff);
        assert_eq!(second.rx_stag, offload::Offload::WasOff);
    });
}
