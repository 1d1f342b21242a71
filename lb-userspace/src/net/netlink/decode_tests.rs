//! Messages as the kernel sends them, and what is made of them.

use rtnetlink::{
    packet_core::{NetlinkDeserializable as _, NetlinkHeader},
    packet_route::{
        link::{InfoKind, LinkHeader, VlanFlags},
        route::{RouteCacheInfo, RouteProtocol},
    },
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

/// Device 7, of this kind and data, over device 2.
fn device(info: Vec<LinkInfo>, more: &[LinkAttribute]) -> Link {
    let mut message = LinkMessage::default();
    message.header.index = 7;
    message.header.link_layer_type = LinkLayerType::Ether;
    message.attributes = vec![
        LinkAttribute::IfName("eth0.100".into()),
        LinkAttribute::Link(2),
    ];
    message.attributes.extend_from_slice(more);
    message.attributes.push(LinkAttribute::LinkInfo(info));
    let (index, link) = link(&message).unwrap();
    assert_eq!(index, IfIndex(7));
    link
}

fn vlan_data(id: u16, protocol: VlanProtocol) -> Vec<LinkInfo> {
    let flags = VlanFlags::ReorderHdr;
    let vlan = vec![
        InfoVlan::Protocol(protocol),
        InfoVlan::Id(id),
        InfoVlan::Flags((flags, flags)),
    ];
    vec![
        LinkInfo::Kind(InfoKind::Vlan),
        LinkInfo::Data(InfoData::Vlan(vlan)),
    ]
}

#[test]
fn a_vlan_device_has_a_tag_and_a_device_below() {
    let link = device(vlan_data(100, VlanProtocol::Ieee8021Q), &[]);
    assert_eq!(
        (link.kind, link.make.as_deref()),
        (LinkKind::Ethernet, Some("vlan"))
    );
    let vlan = |lower, protocol, id| {
        let tag = VlanTag { protocol, id };
        Some(Vlan { lower, tag })
    };
    assert_eq!(link.vlan, vlan(Some(IfIndex(2)), 0x8100, 100));
    let provider = device(vlan_data(300, VlanProtocol::Ieee8021Ad), &[]);
    assert_eq!(provider.vlan, vlan(Some(IfIndex(2)), 0x88a8, 300));
    let elsewhere = [LinkAttribute::LinkNetNsId(0)];
    let elsewhere = device(vlan_data(100, VlanProtocol::Ieee8021Q), &elsewhere);
    assert_eq!(elsewhere.vlan, vlan(None, 0x8100, 100));
}

#[test]
fn the_other_end_of_a_veth_is_no_device_below() {
    let link = device(vec![LinkInfo::Kind(InfoKind::Veth)], &[]);
    assert_eq!((link.vlan, link.make.as_deref()), (None, Some("veth")));
    let card = device(vec![], &[]);
    assert_eq!((card.vlan, card.make), (None, None));
}

/// The kernel's bytes for a VLAN device, as `ip link add link eth0 name eth0.100 type vlan id 100` makes
/// it: the parts that we read, and what is between them.
#[test]
fn a_vlan_device_is_read_from_its_bytes() {
    let attribute = |kind: u16, value: &[u8]| {
        let length = 4 + value.len() as u16;
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    // IFLA_VLAN_PROTOCOL, in network order; IFLA_VLAN_ID; IFLA_VLAN_FLAGS.
    let data = [
        attribute(5, &[0x81, 0]),
        attribute(1, &100u16.to_ne_bytes()),
        attribute(2, &[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
    ];
    // IFLA_INFO_KIND, IFLA_INFO_DATA.
    let info = [attribute(1, b"vlan\0"), attribute(2, &data.concat())];
    // struct ifinfomsg: family, padding, type (ARPHRD_ETHER), index, flags, change.
    let header = [0, 0, 1, 0, 7, 0, 0, 0, 0x43, 0, 1, 0, 0, 0, 0, 0];
    let message = [
        header.to_vec(),
        attribute(3, b"eth0.100\0"),
        attribute(4, &1500u32.to_ne_bytes()),
        attribute(5, &2u32.to_ne_bytes()),
        attribute(18, &info.concat()),
        attribute(1, &[2, 0, 0, 0, 0, 1]),
    ];
    let mut header = NetlinkHeader::default();
    header.message_type = libc::RTM_NEWLINK;
    let message = RouteNetlinkMessage::deserialize(&header, &message.concat()).unwrap();
    let tag = VlanTag {
        protocol: 0x8100,
        id: 100,
    };
    let lower = Some(IfIndex(2));
    let expected = Link {
        name: "eth0.100".into(),
        mac: Some([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        up: true,
        carrier: true,
        resolves: true,
        kind: LinkKind::Ethernet,
        make: Some("vlan".into()),
        vlan: Some(Vlan { lower, tag }),
    };
    assert_eq!(event(message), Some(Event::Link(IfIndex(7), expected)));
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
