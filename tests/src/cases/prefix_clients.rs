//! Clients of a service that records its flows in `nat` mode, whose addresses lie in a prefix that another
//! service listens on: what a backend sends to them is that one's, and so are errors about what they sent.

use lb_common::{
    abi::{Direction, ServiceTraits},
    datapath::PassReason,
};

use super::{
    case::{Case, Expected},
    messages::{Kind, Message, quote},
    outputs::{answered, forwarded, opened},
    places::{BACK, BACKEND, Flavour, Pool, ROUTER, UPLINK, Way},
    ranges::{ALL, GROUP, masked, row},
};

pub(super) fn rows() -> Vec<Case> {
    let both = |flavour| [replies(flavour), errors(flavour)].concat();
    Flavour::ALL.into_iter().flat_map(both).collect()
}

/// Clients of a service that records its flows have addresses in a prefix of another one.
fn clients_in_a_prefix(flavour: Flavour, what: &str, other: Pool, traits: ServiceTraits) -> Case {
    let pool = Pool::OneSided;
    row(flavour, pool, format!("{what} into a prefix of {other}")).world(|world| {
        world.set_traits(flavour, pool, ServiceTraits::TRACKED);
        world.add_prefix(masked(flavour.client(Way::Router).ip(), 16), 16, GROUP);
        world.add_ports_with(flavour, other, GROUP, ALL, traits);
    })
}

/// Other services that record their flows.
const OTHERS: [(Pool, ServiceTraits); 3] = [
    (
        Pool::Ipip,
        ServiceTraits::TRACKED.and(ServiceTraits::STEERED),
    ),
    (
        Pool::Dsr,
        ServiceTraits::TRACKED.and(ServiceTraits::STEERED),
    ),
    (Pool::Nat, ServiceTraits::TRACKED),
];

/// Recorded or not, what a backend sends to a service is that service's: it does not meet the flow whose
/// client has such an address, unless that is the service's own.
fn replies(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::OneSided;
    let (request, reply) = (flavour.request(pool), flavour.reply(pool));
    let case = |other, traits| {
        let what = "a reply of a recorded flow";
        clients_in_a_prefix(flavour, what, other, traits)
    };
    let tracked = ServiceTraits::TRACKED;
    let others = OTHERS.into_iter().map(|(other, traits)| {
        case(other, traits)
            .frame(&request, opened(flavour, pool, &request))
            .frame(&reply, opened(flavour, other, &reply))
            .frame(&reply, forwarded(flavour, other, &reply))
    });
    let own = case(pool, tracked)
        .frame(&request, opened(flavour, pool, &request))
        .frame(&reply, answered(flavour, pool, &reply));
    others.chain([own]).collect()
}

/// Nor does an error about a packet that such a client sent: the answers to that are the other service's.
fn errors(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::OneSided;
    let request = flavour.request(pool);
    let sent = request.clone().hops(62).sized(200);
    let left = sent
        .clone()
        .ends(sent.source(), flavour.backend(pool))
        .bytes();
    let length = flavour.version.header() + 64;
    let ends = [flavour.version.link(77, 7), sent.source().ip()];
    let error = Message::new(Kind::PortUnreachable, ends, [0; 4], &quote(&left, length))
        .arrives(BACKEND, BACK);
    let case = |other, traits| {
        let case = clients_in_a_prefix(flavour, "an error", other, traits);
        case.frame(&request, opened(flavour, pool, &request))
    };
    let others = OTHERS.into_iter().map(|(other, traits)| {
        let passes = Expected::passed(PassReason::Icmp);
        case(other, traits).bytes(BACK, error.bytes(), passes)
    });
    let output = error
        .clone()
        .ends(flavour.service(pool).ip(), sent.source().ip())
        .body(&quote(&sent.bytes(), length))
        .hop()
        .link(UPLINK.mac, ROUTER);
    let relayed = Expected::relayed(BACK, output.bytes(), UPLINK);
    let counted = relayed.counted_as(flavour, pool, Direction::Out, error.ip_length());
    let own = case(pool, ServiceTraits::TRACKED).bytes(BACK, error.bytes(), counted);
    others.chain([own]).collect()
}
