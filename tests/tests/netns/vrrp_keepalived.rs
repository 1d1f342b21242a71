//! Addresses that move between a host with Sluice and one with keepalived, by each version, family and way that both have,
//! in both directions. At intervals of which a machine with other things to do misses no three.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use lb_userspace::vrrp::packet::Version;
use sluice_tests::wait;

use super::{
    vrrp_capture::{Capture, Said},
    vrrp_site::{FLOATING, Lan},
};

/// What both are told.
struct Case {
    title: &'static str,
    version: u8,
    is_ipv6: bool,
    is_unicast: bool,
}

impl Case {
    fn address(&self) -> &'static str {
        FLOATING[usize::from(self.is_ipv6)]
    }

    fn host(&self, number: u8) -> String {
        match self.is_ipv6 {
            true => format!("fd00:18::{number}"),
            false => format!("198.18.0.{number}"),
        }
    }

    /// Sluice, on host 1.
    fn ours(&self, priority: u8) -> String {
        let (version, address) = (self.version, self.address());
        let interval = if version == 2 { "1s" } else { "500ms" };
        let mut lines = format!(
            "version = {version}\npriority = {priority}\ninterval = \"{interval}\"\naddresses = [\"{address}\"]\n"
        );
        if self.is_unicast {
            lines += &format!("unicast_peers = [\"{}\"]\n", self.host(2));
        }
        if version == 2 {
            lines += "password = \"secret\"\n";
        }
        lines
    }

    /// keepalived, on host 2, with the priority 100.
    fn theirs(&self) -> String {
        let version = self.version;
        let interval = if version == 2 { "1" } else { "0.5" };
        let link_local = if self.is_ipv6 {
            "fe80::200:5eff:fe00:233/64\n"
        } else {
            ""
        };
        let mut lines = format!(
            "version {version}\npriority 100\nadvert_int {interval}\nvirtual_ipaddress {{\n{link_local}{}\n}}\n",
            self.address()
        );
        if self.is_unicast {
            let (own, other) = (self.host(2), self.host(1));
            lines += &format!("unicast_src_ip {own}\nunicast_peer {{\n{other}\n}}\n");
        }
        if version == 2 {
            lines += "authentication {\nauth_type PASS\nauth_pass secret\n}\n";
        }
        lines
    }

    fn run(&self) {
        let lan = Lan::set_up(&format!("vrrp-keepalived-{}", self.title), 2);
        let captures = [1, 2].map(|number| lan.capture(number));
        let address = self.address();
        let mut theirs = lan.keepalived(2, &self.theirs());
        theirs.wait_until("MASTER", address);

        // Ours is better: it takes over, resigns, is killed, and comes back.
        let mut ours = lan.agent(1, &self.ours(150));
        ours.wait_until("master");
        theirs.wait_until("BACKUP", address);
        ours.sluice.stop().unwrap();
        theirs.wait_until("MASTER", address);
        assert!(!lan.has(1, address));
        ours.start_again();
        ours.wait_until("master");
        theirs.wait_until("BACKUP", address);
        ours.sluice.kill().unwrap();
        theirs.wait_until("MASTER", address);
        assert!(lan.has(1, address));
        ours.start_again();
        ours.wait_until("master");
        theirs.wait_until("BACKUP", address);
        self.assert_heard(&ours.instance().unwrap());

        // Theirs is.
        ours.reload(&self.ours(50));
        theirs.wait_until("MASTER", address);
        ours.wait_until("backup");
        theirs.stop();
        ours.wait_until("master");
        assert_eq!(
            ours.transitions("master", "resignation"),
            1,
            "{}",
            theirs.log()
        );
        let mut theirs = lan.keepalived(2, &self.theirs());
        theirs.wait_until("MASTER", address);
        ours.wait_until("backup");
        theirs.kill();
        ours.wait_until("master");
        assert!(ours.transitions("master", "silence") >= 1);
        self.assert_heard(&ours.instance().unwrap());
        let [said, theirs] = captures.map(Capture::end);
        self.assert_said(&said, 1, &[0, 50, 150]);
        self.assert_said(&theirs, 2, &[0, 100]);
        let [first, other] = [&said, &theirs].map(|said| &said.adverts[0]);
        assert_eq!(first.advert.addresses, other.advert.addresses);
        assert_eq!(first.advert.interval, other.advert.interval);
        assert_eq!(first.advert.password, other.advert.password);
        assert_eq!(first.checksum, other.checksum);
    }

    /// All that a host said on the wire was as both should have it: adverts of these priorities, and announcements.
    fn assert_said(&self, said: &Said, number: u8, priorities: &[u8]) {
        let own: IpAddr = self.host(number).parse().unwrap();
        let group: IpAddr = match self.is_ipv6 {
            true => "ff02::12".parse().unwrap(),
            false => "224.0.0.18".parse().unwrap(),
        };
        let peer = self.host(3 - number).parse().unwrap();
        let version = if self.version == 2 {
            Version::V2
        } else {
            Version::V3
        };
        for seen in &said.adverts {
            // keepalived leaves it to the kernel where it says so to IPv6 hosts one by one.
            let expected = if number == 2 && self.is_unicast && self.is_ipv6 {
                64
            } else {
                255
            };
            assert_eq!(seen.hop_limit, expected, "{seen:?}");
            assert_eq!(
                seen.to,
                if self.is_unicast { peer } else { group },
                "{seen:?}"
            );
            assert_eq!(seen.is_to_group, !self.is_unicast, "{seen:?}");
            let is_link_local = matches!(seen.from, IpAddr::V6(ip) if ip.is_unicast_link_local());
            assert!(seen.from == own || is_link_local, "{seen:?}");
            assert_eq!(seen.advert.vrid, 51, "{seen:?}");
            assert_eq!(seen.advert.version, version, "{seen:?}");
        }
        let said_priorities = said.adverts.iter().map(|seen| seen.advert.priority);
        let said_priorities: BTreeSet<u8> = said_priorities.collect();
        assert_eq!(said_priorities, priorities.iter().copied().collect());
        let floating: IpAddr = self.address().split('/').next().unwrap().parse().unwrap();
        let told = said.announced.iter().filter(|ip| **ip == floating).count();
        // It became the master at least twice.
        assert!(told >= 6, "{told}");
    }

    /// Nothing of it was odd.
    fn assert_heard(&self, instance: &serde_json::Value) {
        let family = &instance["families"][0];
        assert!(family["peer"]["address"].is_string(), "{instance}");
        assert_eq!(family["peer"]["same_addresses"], true, "{instance}");
        assert_eq!(
            family["refused"].as_object().map(|refused| refused.len()),
            Some(0),
            "{instance}"
        );
        assert_eq!(
            instance["errors"].as_object().map(|errors| errors.len()),
            Some(0),
            "{instance}"
        );
    }
}

/// A test for each.
macro_rules! cases {
    ($($name:ident: $title:literal, $version:literal, $is_ipv6:literal, $is_unicast:literal;)+) => {$(
        #[test]
        fn $name() {
            let case = Case {
                title: $title,
                version: $version,
                is_ipv6: $is_ipv6,
                is_unicast: $is_unicast,
            };
            case.run();
        }
    )+};
}

cases! {
    vrrp_version_3_of_ipv4: "v3", 3, false, false;
    vrrp_version_3_of_ipv4_unicast: "v3u", 3, false, true;
    vrrp_version_3_of_ipv6: "v3ip6", 3, true, false;
    vrrp_version_3_of_ipv6_unicast: "v3ip6u", 3, true, true;
    vrrp_version_2: "v2", 2, false, false;
    vrrp_version_2_unicast: "v2u", 2, false, true;
}

/// Whoever has the addresses says how often it says so, and is missed by that.
#[test]
fn vrrp_version_3_of_unequal_intervals() {
    let lan = Lan::set_up("vrrp-keepalived-unequal", 2);
    let address = FLOATING[0];
    let theirs = |interval: &str| {
        format!(
            "version 3\npriority 100\nadvert_int {interval}\nvirtual_ipaddress {{\n{address}\n}}\n"
        )
    };
    let ours = |priority: u8, interval: &str| {
        format!("priority = {priority}\ninterval = \"{interval}\"\naddresses = [\"{address}\"]\n")
    };
    // Three of its own intervals are fifteen seconds.
    let mut other = lan.keepalived(2, &theirs("0.3"));
    other.wait_until("MASTER", address);
    let mut own = lan.agent(1, &ours(50, "5s"));
    own.wait_until("backup");
    wait::until("an advert", Duration::from_secs(10), || {
        let peer = own.instance()?["families"][0]["peer"].clone();
        Ok((peer["interval_ms"] == 300).then_some(()))
    })
    .unwrap();
    other.kill();
    let took = own.wait_until("master");
    assert!(took < Duration::from_secs(8), "{took:?}");
    own.sluice.stop().unwrap();

    let mut own = lan.agent(1, &ours(150, "300ms"));
    own.wait_until("master");
    let other = lan.keepalived(2, &theirs("5"));
    other.wait_until("BACKUP", address);
    // It says so before it has heard of any.
    thread::sleep(Duration::from_secs(1));
    own.sluice.kill().unwrap();
    let begun = Instant::now();
    other.wait_until("MASTER", address);
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
}
