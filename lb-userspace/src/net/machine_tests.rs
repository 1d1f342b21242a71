//! The machine in virtual time: readings of the kernel's state in, resolutions and requests out.

use super::*;
use crate::net::facts::{InterfaceAddress, Link, LinkKind, Prefix};

const ETH: IfIndex = IfIndex(2);
const OTHER: IfIndex = IfIndex(3);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(name: &str) -> Link {
    Link {
        name: name.into(),
        mac: Some([2, 0, 0, 0, 0, 0xff]),
        mtu: 1500,
        up: true,
        carrier: true,
        resolves: true,
        kind: LinkKind::Ethernet,
        make: None,
        vlan: None,
    }
}

fn unicast(device: IfIndex, gateway: Option<&str>) -> Route {
    Route::Unicast {
        device,
        gateway: gateway.map(ip),
        preferred_source: None,
        mtu: None,
    }
}

fn known(mac: [u8; 6]) -> Neighbour {
    Neighbour {
        mac: Some(mac),
        failed: false,
        keeper: Keeper::Sluice,
    }
}

const ASKED: Neighbour = Neighbour {
    mac: None,
    failed: false,
    keeper: Keeper::Sluice,
};
const FAILED: Neighbour = Neighbour {
    mac: None,
    failed: true,
    keeper: Keeper::Sluice,
};

/// One wanted destination, 198.18.1.11, on-link on eth.
struct Lan {
    machine: Machine,
    facts: Facts,
    start: Instant,
}

const WANTED: &str = "198.18.1.11";

impl Lan {
    fn new() -> Self {
        let mut facts = Facts::default();
        facts.links.insert(ETH, link("eth"));
        facts.links.insert(OTHER, link("other"));
        facts.routes.insert(ip(WANTED), unicast(ETH, None));
        Self {
            machine: Machine::default(),
            facts,
            start: Instant::now(),
        }
    }

    /// Steps at `seconds` after the start.
    fn at(&mut self, seconds: u64) -> Step {
        self.machine.step(
            self.facts.clone(),
            self.start + Duration::from_secs(seconds),
        )
    }

    fn route(&mut self, route: Route) {
        self.facts.routes.insert(ip(WANTED), route);
    }

    fn neighbour(&mut self, entry: Option<Neighbour>) {
        let place = (ETH, ip(WANTED));
        match entry {
            Some(entry) => self.facts.neighbours.insert(place, entry),
            None => self.facts.neighbours.remove(&place),
        };
    }

    fn link(&mut self, change: impl FnOnce(&mut Link)) {
        change(self.facts.links.get_mut(&ETH).unwrap());
    }
}

/// The next hop's address, or the reason as an operator reads it.
fn shown(step: &Step) -> Result<[u8; 6], String> {
    match &step.resolutions[&ip(WANTED)] {
        Resolution::Resolved(next_hop) => Ok(next_hop.mac),
        Resolution::Unresolved(reason) => Err(reason.to_string()),
    }
}

fn reason(step: &Step) -> String {
    shown(step).unwrap_err()
}

#[test]
fn a_new_destination_is_asked_for_and_then_resolved() {
    let mut lan = Lan::new();
    let step = lan.at(0);
    assert_eq!(
        reason(&step),
        "waiting for 198.18.1.11 on eth to answer ARP"
    );
    assert_eq!(step.requests, [Request::Create((ETH, ip(WANTED)))]);
    lan.neighbour(Some(ASKED));
    let step = lan.at(0);
    assert_eq!(
        reason(&step),
        "waiting for 198.18.1.11 on eth to answer ARP"
    );
    assert_eq!((step.requests, step.deadline), (vec![], None));
    lan.neighbour(Some(known(MAC)));
    assert_eq!(shown(&lan.at(1)), Ok(MAC));
}

#[test]
fn every_type_of_route_has_its_reason() {
    let mut lan = Lan::new();
    let cases = [
        (Route::Refused(libc::ENETUNREACH), "no route to it"),
        (Route::Refused(libc::EINVAL), "its route is a blackhole"),
        (
            Route::Refused(libc::EACCES),
            "its route is of type prohibit",
        ),
        (
            Route::Refused(libc::EHOSTUNREACH),
            "its route is of type unreachable",
        ),
        (
            Route::Refused(libc::EAGAIN),
            "the route look-up failed: Resource temporarily unavailable (os error 11)",
        ),
        (Route::Local, "it is an address of this host"),
        (Route::Broadcast, "it is a broadcast address"),
        (Route::Multicast, "it is a multicast address"),
        (Route::Anycast, "it is an anycast address of this host"),
        (
            Route::Encapsulating,
            "its route encapsulates (ip route … encap)",
        ),
        (unicast(IfIndex(9), None), "its device, index 9, is gone"),
    ];
    for (route, expected) in cases {
        lan.route(route);
        let step = lan.at(0);
        assert_eq!((reason(&step).as_str(), step.requests), (expected, vec![]));
    }
}

#[test]
fn devices_that_send_no_frames_are_named() {
    let mut lan = Lan::new();
    lan.link(|link| link.kind = LinkKind::None);
    assert_eq!(reason(&lan.at(0)), "its device eth is not Ethernet");
    lan.link(|link| {
        *link = Link {
            carrier: false,
            ..super::tests::link("eth")
        }
    });
    assert_eq!(reason(&lan.at(0)), "its device eth has no carrier");
    lan.link(|link| link.up = false);
    let step = lan.at(0);
    assert_eq!(reason(&step), "its device eth is down");
    assert_eq!(step.requests, [], "nobody can be asked there");
}

#[test]
fn the_gateway_is_the_neighbour_and_may_be_of_the_other_family() {
    let mut lan = Lan::new();
    lan.route(unicast(ETH, Some("fe80::1")));
    assert_eq!(lan.at(0).requests, [Request::Create((ETH, ip("fe80::1")))]);
    lan.facts
        .neighbours
        .insert((ETH, ip("fe80::1")), known(MAC));
    assert_eq!(shown(&lan.at(0)), Ok(MAC));
}

#[test]
fn the_mtu_is_the_routes_but_never_above_the_devices() {
    let mut lan = Lan::new();
    lan.neighbour(Some(known(MAC)));
    for (route, expected) in [(None, 1500), (Some(1400), 1400), (Some(9000), 1500)] {
        lan.route(Route::Unicast {
            device: ETH,
            gateway: None,
            preferred_source: None,
            mtu: route,
        });
        let step = lan.at(0);
        assert_eq!(
            step.resolutions[&ip(WANTED)].next_hop().unwrap().mtu,
            expected
        );
    }
}

#[test]
fn a_lost_neighbour_is_kept_for_the_grace_only() {
    let mut lan = Lan::new();
    lan.neighbour(Some(known(MAC)));
    lan.at(0);
    lan.neighbour(Some(FAILED));
    let step = lan.at(5);
    assert_eq!(shown(&step), Ok(MAC));
    assert_eq!(step.deadline, Some(lan.start + Duration::from_secs(15)));
    lan.neighbour(Some(ASKED));
    assert_eq!(
        shown(&lan.at(14)),
        Ok(MAC),
        "asking again does not start the grace anew"
    );
    let step = lan.at(15);
    assert_eq!(reason(&step), "198.18.1.11 on eth does not answer ARP");
    assert_eq!(step.deadline, None);
    lan.neighbour(Some(known([2, 0, 0, 0, 0, 2])));
    assert_eq!(shown(&lan.at(20)), Ok([2, 0, 0, 0, 0, 2]));
}

#[test]
fn a_neighbour_that_comes_back_starts_a_new_grace() {
    let mut lan = Lan::new();
    lan.neighbour(Some(known(MAC)));
    lan.at(0);
    lan.neighbour(None);
    assert_eq!(shown(&lan.at(9)), Ok(MAC));
    lan.neighbour(Some(known(MAC)));
    lan.at(12);
    lan.neighbour(Some(FAILED));
    assert_eq!(shown(&lan.at(18)), Ok(MAC));
    assert_eq!(shown(&lan.at(27)), Ok(MAC));
    assert!(shown(&lan.at(28)).is_err());
}

#[test]
fn silence_is_silence_while_the_kernel_asks_again() {
    let mut lan = Lan::new();
    lan.neighbour(Some(FAILED));
    lan.at(0);
    lan.neighbour(Some(ASKED));
    assert_eq!(reason(&lan.at(5)), "198.18.1.11 on eth does not answer ARP");
}

#[test]
fn a_device_set_down_counts_at_once_and_explains_the_missing_route() {
    let mut lan = Lan::new();
    lan.neighbour(Some(known(MAC)));
    lan.at(0);
    // The kernel takes the routes and neighbours of the device along.
    lan.link(|link| (link.up, link.carrier) = (false, false));
    lan.route(Route::Refused(libc::ENETUNREACH));
    lan.neighbour(None);
    assert_eq!(reason(&lan.at(1)), "its device eth is down");
    lan.link(|link| (link.up, link.carrier) = (true, true));
    lan.route(unicast(ETH, None));
    let step = lan.at(2);
    assert_eq!(
        reason(&step),
        "waiting for 198.18.1.11 on eth to answer ARP"
    );
    assert_eq!(step.requests, [Request::Create((ETH, ip(WANTED)))]);
}

#[test]
fn a_device_that_was_down_from_the_start_explains_it_too() {
    let mut lan = Lan::new();
    lan.link(|link| link.up = false);
    lan.route(Route::Refused(libc::ENETUNREACH));
    let address = InterfaceAddress {
        device: ETH,
        address: ip("198.18.1.1"),
        prefix: 24,
    };
    lan.facts.addresses.push(address);
    assert_eq!(reason(&lan.at(0)), "its device eth is down");
}

#[test]
fn a_cable_may_be_out_for_the_grace() {
    let mut lan = Lan::new();
    lan.neighbour(Some(known(MAC)));
    lan.at(0);
    lan.link(|link| link.carrier = false);
    lan.neighbour(None);
    assert_eq!(shown(&lan.at(1)), Ok(MAC));
    assert_eq!(reason(&lan.at(11)), "its device eth has no carrier");
}

#[test]
fn a_removed_route_counts_at_once() {
    let mut lan = Lan::new();
    lan.neighbour(Some(known(MAC)));
    lan.at(0);
    lan.route(Route::Refused(libc::ENETUNREACH));
    assert_eq!(reason(&lan.at(1)), "no route to it");
}

#[test]
fn a_new_gateway_takes_over_once_it_answers() {
    let mut lan = Lan::new();
    lan.neighbour(Some(known(MAC)));
    lan.at(0);
    lan.route(unicast(OTHER, Some("198.18.2.1")));
    let step = lan.at(1);
    assert_eq!(
        shown(&step),
        Ok(MAC),
        "the old one, until the new one answers"
    );
    let gateway = (OTHER, ip("198.18.2.1"));
    let expected = [
        Request::Release((ETH, ip(WANTED))),
        Request::Create(gateway),
    ];
    assert_eq!(step.requests, expected);
    lan.facts
        .neighbours
        .insert(gateway, known([2, 0, 0, 0, 0, 9]));
    let step = lan.at(1);
    assert_eq!(
        step.resolutions[&ip(WANTED)].next_hop().unwrap().device,
        OTHER
    );
}

#[test]
fn fixed_and_foreign_entries_are_used_but_not_touched() {
    for keeper in [Keeper::Fixed, Keeper::Another] {
        let mut lan = Lan::new();
        lan.neighbour(Some(Neighbour {
            mac: Some(MAC),
            failed: false,
            keeper,
        }));
        let step = lan.at(0);
        assert_eq!((shown(&step), step.requests), (Ok(MAC), vec![]));
        lan.facts.routes.clear();
        assert_eq!(lan.at(1).requests, []);
        let entries = lan.facts.neighbours.clone();
        assert_eq!(lan.machine.retire(entries), []);
    }
}

#[test]
fn an_entry_that_was_made_fixed_is_not_released() {
    let mut lan = Lan::new();
    lan.neighbour(Some(known(MAC)));
    lan.at(0);
    lan.neighbour(Some(Neighbour {
        mac: Some(MAC),
        failed: false,
        keeper: Keeper::Fixed,
    }));
    let entries = lan.facts.neighbours.clone();
    assert_eq!(lan.machine.retire(entries), []);
}

#[test]
fn what_the_kernel_learned_is_kept_and_released_at_the_end() {
    let mut lan = Lan::new();
    lan.neighbour(Some(Neighbour {
        mac: Some(MAC),
        failed: false,
        keeper: Keeper::Nobody,
    }));
    let step = lan.at(0);
    assert_eq!(
        (shown(&step), step.requests),
        (Ok(MAC), vec![Request::Keep((ETH, ip(WANTED)))])
    );
    lan.neighbour(Some(known(MAC)));
    assert_eq!(lan.at(0).requests, []);
    let entries = lan.facts.neighbours.clone();
    assert_eq!(
        lan.machine.retire(entries),
        [Request::Release((ETH, ip(WANTED)))]
    );
}

#[test]
fn an_unwanted_neighbour_is_released_unless_another_destination_needs_it() {
    let mut lan = Lan::new();
    let gateway = (ETH, ip("198.18.1.1"));
    lan.facts
        .routes
        .insert(ip("198.18.5.1"), unicast(ETH, Some("198.18.1.1")));
    lan.facts
        .routes
        .insert(ip("198.18.5.2"), unicast(ETH, Some("198.18.1.1")));
    lan.facts.neighbours.insert(gateway, known(MAC));
    lan.neighbour(Some(known(MAC)));
    lan.at(0);
    lan.facts.routes.remove(&ip("198.18.5.1"));
    assert_eq!(lan.at(1).requests, []);
    lan.facts.routes.remove(&ip("198.18.5.2"));
    assert_eq!(lan.at(2).requests, [Request::Release(gateway)]);
}

#[test]
fn a_kernel_that_does_not_heed_is_asked_once_a_second() {
    let mut lan = Lan::new();
    lan.neighbour(Some(Neighbour {
        mac: None,
        failed: false,
        keeper: Keeper::Nobody,
    }));
    let keep = vec![Request::Keep((ETH, ip(WANTED)))];
    let step = lan.at(0);
    assert_eq!(
        (step.requests, step.deadline),
        (keep.clone(), Some(lan.start + RETRY))
    );
    assert_eq!(lan.at(0).requests, []);
    assert_eq!(lan.at(1).requests, keep);
}

#[test]
fn only_events_that_may_change_something_concern_it() {
    let mut lan = Lan::new();
    lan.neighbour(Some(known(MAC)));
    lan.at(0);
    let place = (ETH, ip(WANTED));
    let prefix = |address, length| {
        Event::Route(Prefix {
            address: ip(address),
            length,
        })
    };
    let concerns = [
        Event::Link(
            ETH,
            Link {
                mtu: 1400,
                ..link("eth")
            },
        ),
        Event::LinkGone(ETH),
        Event::Neighbour(place, FAILED),
        Event::NeighbourGone(place),
        prefix("198.18.0.0", 15),
        prefix("0.0.0.0", 0),
        Event::Address,
        Event::Rule,
        Event::Overrun,
    ];
    for event in concerns {
        assert!(lan.machine.concerns(&event), "{event:?}");
    }
    let others = [
        Event::Link(ETH, link("eth")),
        Event::LinkGone(IfIndex(9)),
        Event::Neighbour(place, known(MAC)),
        Event::Neighbour((ETH, ip("198.18.1.12")), FAILED),
        Event::NeighbourGone((OTHER, ip(WANTED))),
        prefix("198.18.2.0", 24),
        prefix("::", 0),
    ];
    for event in others {
        assert!(!lan.machine.concerns(&event), "{event:?}");
    }
}
