//! Addresses that move between a host with Sluice and one with keepalived, by each version, family and way that both have,
//! in both directions. At intervals of which a machine with other things to do misses no three.

use super::vrrp_site::{FLOATING, Lan};

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
