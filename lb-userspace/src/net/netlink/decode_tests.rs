//! Messages as the kernel sends them, and what is made of them.

use rtnetlink::packet_route::{
    link::LinkHeader,
    route::{RouteCacheInfo, RouteProtocol},
};

use super::*;

fn entry(state: NeighbourState) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = 2;
    message.header.state = state;
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet(Ipv4Addr::new(198, 18, 0, 1))),
        NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 1]),
    ];
    message
}

fn keeper(message: &NeighbourMessage) -> Keeper {
    neighbour(message).unwrap().1.keeper
}

#[test]
fn only_valid_neighbours_have_an_address() {
    let states = [
        (NeighbourState::Reachable, true),
        (NeighbourState::Stale, true),
        (NeighbourState::Delay, true),
        (NeighbourState::Probe, true),
        (NeighbourState::Permanent, true),
        (NeighbourState::Noarp, true),
        (NeighbourState::Incomplete, false),
        (NeighbourState::Failed, false),
        (NeighbourState::None, false),
    ];
    for (state, valid) in states {
        let (place, decoded) = neighbour(&entry(state)).unwrap();
        assert_eq!(place, (IfIndex(2), Ipv4Addr::new(198, 18, 0, 1).into()));
        assert_eq!(decoded.mac.is_some(), valid, "{state:?}");
        assert_eq!(decoded.failed, state == NeighbourState::Failed);
    }
}

#[test]
fn the_keeper_is_told_by_state_flags_and_protocol() {
    let mut message = entry(NeighbourState::Reachable);
    assert_eq!(keeper(&message), Keeper::Nobody);
    message
        .attributes
        .push(NeighbourAttribute::Protocol(SLUICE));
    assert_eq!(keeper(&message), Keeper::Nobody, "released");
    message
        .attributes
        .push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    assert_eq!(keeper(&message), Keeper::Sluice);
    message.header.state = NeighbourState::Permanent;
    assert_eq!(keeper(&message), Keeper::Fixed);
    message.header.state = NeighbourState::Stale;
    message.header.flags = NeighbourFlags::ExtLearned;
    assert_eq!(keeper(&message), Keeper::Fixed);

    let mut message = entry(NeighbourState::Stale);
    let validated = NeighbourAttribute::ExtFlags(NeighbourExtFlags::ExtValidated);
    message.attributes.push(validated);
    assert_eq!(keeper(&message), Keeper::Fixed);

    let mut message = entry(NeighbourState::Reachable);
    message
        .attributes
        .push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    message
        .attributes
        .push(NeighbourAttribute::Protocol(RouteProtocol::Zebra));
    assert_eq!(keeper(&message), Keeper::Another);
}

#[test]
fn proxies_and_bridge_entries_are_no_neighbours() {
    let mut proxy = entry(NeighbourState::Permanent);
    proxy.header.flags = NeighbourFlags::Proxy;
    assert_eq!(neighbour(&proxy), None);
    let mut bridge = entry(NeighbourState::Reachable);
    bridge.attributes.remove(0);
    assert_eq!(neighbour(&bridge), None);
}

#[test]
fn a_port_that_leaves_its_bridge_is_not_gone() {
    let mut message = LinkMessage::default();
    message.header = LinkHeader {
        interface_family: AddressFamily::Bridge,
        ..Default::default()
    };
    assert_eq!(event(RouteNetlinkMessage::DelLink(message)), None);
}

fn looked_up(attributes: Vec<RouteAttribute>) -> Route {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.kind = RouteType::Unicast;
    message.attributes = attributes;
    route(&message)
}

#[test]
fn a_gateway_of_the_other_family_comes_as_via() {
    let gateway: Ipv6Addr = "fe80::1".parse().unwrap();
    let route = looked_up(vec![
        RouteAttribute::Oif(2),
        RouteAttribute::Via(RouteVia::Inet6(gateway)),
    ]);
    let expected = Route::Unicast {
        device: IfIndex(2),
        gateway: Some(gateway.into()),
        preferred_source: None,
        mtu: None,
    };
    assert_eq!(route, expected);
}

#[test]
fn a_learned_path_mtu_is_not_the_routes() {
    let mtu = |expires| {
        // struct rta_cacheinfo: clntref, lastuse, expires, error, used, id, ts, tsage.
        let mut bytes = [0; 32];
        bytes[8..12].copy_from_slice(&u32::to_ne_bytes(expires));
        let info = RouteCacheInfo::parse(&bytes).unwrap();
        let route = looked_up(vec![
            RouteAttribute::Oif(2),
            RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400)]),
            RouteAttribute::CacheInfo(info),
        ]);
        match route {
            Route::Unicast { mtu, .. } => mtu,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(mtu(0), Some(1400));
    assert_eq!(mtu(60_000), None);
}

#[test]
fn a_default_route_has_no_destination() {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet6;
    let expected = Prefix {
        address: Ipv6Addr::UNSPECIFIED.into(),
        length: 0,
    };
    assert_eq!(
        event(RouteNetlinkMessage::NewRoute(message)),
        Some(Event::Route(expected))
    );
}
