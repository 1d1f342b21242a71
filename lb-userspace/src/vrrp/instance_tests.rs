//! Instances: two families that move together, packets that are heeded or refused, and what is said of other hosts.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{
    instance::{Instance, Notice, Refusal, Step},
    machine::{Action, RESIGNS, Reason, Role},
    packet::{Advert, Checksum, HOP_LIMIT, Malformed, Received, Version},
};
use crate::model::{Family, VirtualAddress, Vrrp};

const SECOND: Duration = Duration::from_secs(1);
const DOWN: Duration = Duration::from_nanos(3_609_375_000);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn config(families: &[Family]) -> Vrrp {
    let address = |family: &Family| VirtualAddress {
        ip: ip(match family {
            Family::Ipv4 => "198.18.0.10",
            Family::Ipv6 => "fd00:18::10",
        }),
        length: 24,
    };
    let has_ipv6 = families.contains(&Family::Ipv6);
    Vrrp {
        name: "gateway".into(),
        interface: "eth0".into(),
        vrid: 51,
        priority: 100,
        interval: SECOND,
        version: Version::V3,
        addresses: families.iter().map(address).collect(),
        link_local: has_ipv6.then(|| Vrrp::default_link_local(51)),
        preempt: Some(Duration::ZERO),
        accept: true,
        refresh: 60 * SECOND,
        unicast_peers: vec![],
        sources: vec![],
        checksum: Checksum::PseudoHeader,
        password: None,
        sync_group: None,
        track: vec![],
        notify: None,
    }
}

fn sources() -> BTreeMap<Family, IpAddr> {
    let both = [
        (Family::Ipv4, ip("198.18.0.2")),
        (Family::Ipv6, ip("fe80::2")),
    ];
    both.into()
}

/// An instance that takes part since then.
fn able(config: Vrrp, now: Instant) -> Instance {
    let mut instance = Instance::new(config);
    instance.able(&sources(), now);
    instance
}

/// One that has the addresses since then.
fn master(config: Vrrp, now: Instant) -> Instance {
    let mut instance = able(config, now.checked_sub(DOWN).unwrap());
    instance.due(now);
    instance
}

/// Hands an instance an advert, of a host that is configured like it but for what is said.
fn hears(
    instance: &mut Instance,
    (family, from): (Family, &str),
    now: Instant,
    change: impl FnOnce(&mut Advert),
) -> Vec<Step> {
    let mut advert = instance.advert(family, 100);
    change(&mut advert);
    let (source, group) = (ip(from), group(family));
    let payload = advert.write(source, group, Checksum::PseudoHeader);
    let packet = Received {
        source,
        destination: group,
        hop_limit: HOP_LIMIT,
        payload: &payload,
    };
    instance.received(&packet, now)
}

fn group(family: Family) -> IpAddr {
    ip(match family {
        Family::Ipv4 => "224.0.0.18",
        Family::Ipv6 => "ff02::12",
    })
}

fn roles(instance: &Instance) -> [Role; 2] {
    Family::ALL.map(|family| instance.role(family))
}

fn changes(steps: &[Step]) -> Vec<(Family, Role, Reason)> {
    let changed = steps.iter().filter_map(|step| match step {
        Step::Do(family, Action::Changed(role, reason)) => Some((*family, *role, *reason)),
        _ => None,
    });
    changed.collect()
}

fn said(steps: &[Step]) -> Vec<Notice> {
    let said = steps.iter().filter_map(|step| match step {
        Step::Say(_, _, notice) => Some(*notice),
        Step::Do(..) => None,
    });
    said.collect()
}

#[test]
fn both_families_take_their_addresses_at_once() {
    let now = Instant::now();
    let mut instance = able(config(&Family::ALL), now);
    assert_eq!(instance.deadline(), Some(now + DOWN));
    let steps = instance.due(now + DOWN);
    let expected = [
        (Family::Ipv4, Role::Master, Reason::Silence),
        (Family::Ipv6, Role::Master, Reason::OtherFamily),
    ];
    assert_eq!(changes(&steps), expected);
}

#[test]
fn one_family_that_is_missed_takes_the_other_along() {
    let now = Instant::now();
    let mut instance = able(config(&Family::ALL), now);
    // A host of lower priority is heard over IPv6, and not missed yet.
    let later = now + 2 * SECOND;
    hears(&mut instance, (Family::Ipv6, "fe80::1"), later, |a| {
        a.priority = 99
    });
    let steps = instance.due(now + DOWN);
    assert_eq!(changes(&steps).len(), 2, "{steps:?}");
    assert_eq!(roles(&instance), [Role::Master; 2]);
}

#[test]
fn a_family_does_not_join_below_a_better_master() {
    let now = Instant::now();
    let mut instance = able(config(&Family::ALL), now);
    let later = now + 2 * SECOND;
    hears(&mut instance, (Family::Ipv6, "fe80::1"), later, |a| {
        a.priority = 200
    });
    instance.due(now + DOWN);
    assert_eq!(roles(&instance), [Role::Master, Role::Backup]);
}

#[test]
fn a_family_that_gives_way_takes_the_other_along() {
    let now = Instant::now();
    let mut instance = master(config(&Family::ALL), now);
    assert_eq!(roles(&instance), [Role::Master; 2]);
    let steps = hears(&mut instance, (Family::Ipv6, "fe80::1"), now, |a| {
        a.priority = 200
    });
    let expected = [
        (Family::Ipv6, Role::Backup, Reason::HigherPriority),
        (Family::Ipv4, Role::Backup, Reason::OtherFamily),
    ];
    assert_eq!(changes(&steps), expected);
    assert!(steps.contains(&Step::Do(Family::Ipv4, Action::Send(RESIGNS))));
    // Nobody takes it: it comes back, and alone.
    hears(
        &mut instance,
        (Family::Ipv6, "fe80::1"),
        now + 3 * SECOND,
        |a| a.priority = 200,
    );
    instance.due(now + DOWN);
    assert_eq!(roles(&instance), [Role::Master, Role::Backup]);
}

#[test]
fn what_keeps_one_from_taking_part_keeps_both() {
    let now = Instant::now();
    let mut instance = master(config(&Family::ALL), now);
    let steps = instance.unable(now);
    assert_eq!(roles(&instance), [Role::Fault; 2]);
    for family in Family::ALL {
        for action in [Action::RemoveAddresses, Action::Send(RESIGNS)] {
            assert!(steps.contains(&Step::Do(family, action)), "{steps:?}");
        }
    }
    assert_eq!(instance.deadline(), None);
    instance.able(&sources(), now);
    assert_eq!(roles(&instance), [Role::Backup; 2]);
}

#[test]
fn adverts_name_the_link_local_address_first() {
    let instance = Instance::new(config(&Family::ALL));
    let advert = instance.advert(Family::Ipv6, 100);
    assert_eq!(
        advert.addresses,
        [ip("fe80::200:5eff:fe00:233"), ip("fd00:18::10")]
    );
    let advert = instance.advert(Family::Ipv4, 100);
    assert_eq!(advert.addresses, [ip("198.18.0.10")]);
}

#[test]
fn what_is_refused_is_counted_by_name_and_said_once() {
    let now = Instant::now();
    let mut instance = able(config(&[Family::Ipv4]), now);
    let deadline = instance.deadline();
    let peer = (Family::Ipv4, "198.18.0.3");
    let own = (Family::Ipv4, "198.18.0.2");
    let first = hears(&mut instance, own, now, |_| {});
    assert_eq!(said(&first), [Notice::Own]);
    assert_eq!(hears(&mut instance, own, now, |_| {}), []);
    hears(&mut instance, peer, now, |a| a.version = Version::V2);
    let none = hears(&mut instance, peer, now, |a| a.addresses.clear());
    let no_address = Refusal::Malformed(Malformed::NoAddress);
    assert_eq!(said(&none), [Notice::Refused(no_address)]);
    // Another virtual router's is nothing to this one.
    assert_eq!(hears(&mut instance, peer, now, |a| a.vrid = 52), []);
    let (counters, heard) = instance.heard(Family::Ipv4).unwrap();
    let expected = [
        (no_address, 1),
        (Refusal::Own, 2),
        (Refusal::OtherVersion, 1),
    ];
    assert_eq!(counters.refused, expected.into());
    assert_eq!((counters.received, heard), (0, None));
    assert_eq!(instance.deadline(), deadline);
}

#[test]
fn version_2_wants_the_same_interval_and_password() {
    let now = Instant::now();
    let mut config = config(&[Family::Ipv4]);
    config.version = Version::V2;
    config.password = Some("secret".into());
    let mut instance = able(config, now);
    let peer = (Family::Ipv4, "198.18.0.3");
    hears(&mut instance, peer, now, |a| a.password = None);
    hears(&mut instance, peer, now, |a| a.interval = 2 * SECOND);
    hears(&mut instance, peer, now, |_| {});
    let (counters, heard) = instance.heard(Family::Ipv4).unwrap();
    let expected = [(Refusal::Password, 1), (Refusal::OtherInterval, 1)];
    assert_eq!(counters.refused, expected.into());
    assert_eq!((counters.received, heard.is_some()), (1, true));
}

#[test]
fn who_is_named_is_heard_alone() {
    let now = Instant::now();
    let mut config = config(&[Family::Ipv4]);
    config.unicast_peers = vec![ip("198.18.0.3")];
    let mut instance = able(config, now);
    let payload = |source| {
        let advert = Instance::new(instance.config().clone()).advert(Family::Ipv4, 100);
        advert.write(source, ip("198.18.0.2"), Checksum::Packet)
    };
    let packets = [
        ("198.18.0.3", "198.18.0.2"),
        ("198.18.0.4", "198.18.0.2"),
        ("198.18.0.3", "224.0.0.18"),
    ];
    let packets = packets.map(|(from, to)| (ip(from), ip(to), payload(ip(from))));
    for (source, destination, payload) in &packets {
        let packet = Received {
            source: *source,
            destination: *destination,
            hop_limit: 64,
            payload,
        };
        instance.received(&packet, now);
    }
    let (counters, _) = instance.heard(Family::Ipv4).unwrap();
    let expected = [(Refusal::Destination, 1), (Refusal::Stranger, 1)];
    assert_eq!(
        (counters.received, &counters.refused),
        (1, &expected.into())
    );
}

#[test]
fn what_is_odd_about_another_host_is_said_when_it_begins() {
    let now = Instant::now();
    let mut instance = able(config(&[Family::Ipv4]), now);
    let peer = (Family::Ipv4, "198.18.0.3");
    let odd = |advert: &mut Advert| {
        advert.interval = 2 * SECOND;
        advert.addresses.push(ip("198.18.0.11"));
    };
    let steps = hears(&mut instance, peer, now, odd);
    let expected = [
        Notice::OtherInterval,
        Notice::OtherAddresses,
        Notice::Checksum(Checksum::PseudoHeader),
    ];
    assert_eq!(said(&steps), expected);
    assert_eq!(hears(&mut instance, peer, now, odd), []);
    let (_, heard) = instance.heard(Family::Ipv4).unwrap();
    assert_eq!(heard.map(|peer| peer.same_addresses), Some(false));
}

#[test]
fn two_masters_are_said_to_be_there_if_it_lasts() {
    let now = Instant::now();
    let mut instance = master(config(&[Family::Ipv4]), now);
    let lesser = |instance: &mut Instance| {
        let peer = (Family::Ipv4, "198.18.0.3");
        said(&hears(instance, peer, now, |a| a.priority = 50))
    };
    assert_eq!(lesser(&mut instance).len(), 1, "its checksum");
    assert_eq!(lesser(&mut instance), []);
    assert_eq!(lesser(&mut instance), [Notice::TwoMasters]);
    assert_eq!(lesser(&mut instance), []);
    let (counters, _) = instance.heard(Family::Ipv4).unwrap();
    assert_eq!(counters.contested, 4);
}

#[test]
fn another_configuration_changes_no_role() {
    let now = Instant::now();
    let mut instance = master(config(&[Family::Ipv4]), now);
    let same = instance.config().clone();
    assert_eq!(instance.configure(same.clone(), now), []);
    let mut other = same;
    other.priority = 90;
    let steps = instance.configure(other.clone(), now);
    assert_eq!(steps, [Step::Do(Family::Ipv4, Action::Send(90))]);
    other.addresses.push(VirtualAddress {
        ip: ip("198.18.0.11"),
        length: 24,
    });
    let steps = instance.configure(other, now);
    let expected = [Action::AddAddresses, Action::Announce];
    assert_eq!(steps, expected.map(|action| Step::Do(Family::Ipv4, action)));
}
