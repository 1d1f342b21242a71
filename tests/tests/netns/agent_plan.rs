//! Live flows that a plan counts where nothing records them: exactly those that are seen, and none moves by that.

use std::{
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use sluice_tests::{
    addresses::{Family, TUNNEL, client},
    services::PORT,
    sluice::Sluice,
};

use super::{
    binary,
    site::{Site, ask_over, tunnel},
};

/// A connection, and the server that it is to.
struct Kept {
    stream: TcpStream,
    server: String,
}

impl Kept {
    fn open(site: &Site, family: Family, number: u32) -> Self {
        let to = SocketAddr::new(TUNNEL.of(family), PORT);
        let mut stream = site.connect(client(family, number), to).unwrap();
        let server = ask_over(&mut stream).unwrap();
        Self { stream, server }
    }

    fn assert_stays(&mut self) {
        assert_eq!(ask_over(&mut self.stream).unwrap(), self.server);
    }
}

/// Connections of clients of one family.
fn kept(site: &Site, family: Family, count: u32) -> Vec<Kept> {
    let numbers = 0..count;
    numbers.map(|n| Kept::open(site, family, n)).collect()
}

fn assert_stay(kept: &mut [Kept]) {
    kept.iter_mut().for_each(Kept::assert_stays);
}

/// A plan that counts for so long, under way: its slots are watched.
fn counting(site: &Site, time: &str) -> Child {
    let mut command = Command::new(binary());
    command.args(["plan", "--output", "json", "--sample", time, "--control"]);
    command.arg(site.sluice.control());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut plan = command.spawn().unwrap();
    let began = site.wait_for("watched slots, or why not", |status| {
        let unsettled = status["unsettled"].as_array()?;
        let ended = plan.try_wait().unwrap().map(|_| false);
        (!unsettled.is_empty()).then_some(true).or(ended)
    });
    assert!(began, "{:?}", said(plan));
    plan
}

/// What it said: on standard output, and what it complained of.
fn said(plan: Child) -> (String, String) {
    let output = plan.wait_with_output().unwrap();
    let [printed, complained] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (printed, complained)
}

/// Exceptions of IPv4 and IPv6.
fn recorded(status: &Value) -> (u64, u64) {
    let of = |family: &str| status["exceptions"][family].as_u64().unwrap();
    (of("ipv4"), of("ipv6"))
}

/// Nothing is left of a count: all slots are settled, and nothing is recorded.
fn wait_until_settled(site: &Site) {
    site.wait_for("settled slots", |status| {
        let settled = status["unsettled"].as_array()?.is_empty();
        (settled && recorded(status) == (0, 0)).then_some(())
    });
}

#[test]
fn a_plan_counts_the_flows_that_it_would_touch_and_moves_none() {
    let site = Site::start("plan-sample", &tunnel("1h", &[100; 3]), |_| {});
    let (mut seen, mut silent) = (kept(&site, Family::Ipv4, 60), kept(&site, Family::Ipv4, 30));
    let mut ipv6 = kept(&site, Family::Ipv6, 20);
    wait_until_settled(&site);
    site.write(&tunnel("1h", &[100, 100, 300]));

    let plan = counting(&site, "10s");
    assert_stay(&mut seen);
    assert_stay(&mut ipv6);
    let (code, _, complained) = site.say(&["plan", "--sample", "5s"]);
    assert_eq!(code, Some(1));
    assert!(
        complained.contains("flows are being counted for another plan"),
        "{complained}"
    );
    assert_stay(&mut seen);
    let (printed, complained) = said(plan);
    let planned: Value = serde_json::from_str(&printed).expect(&complained);
    let counted = |n: usize| {
        let seen = &planned["changes"]["slots"][n]["seen"];
        assert_eq!(
            (&seen["seconds"], &seen["at_least"]),
            (&json!(10), &json!(false))
        );
        seen["flows"].as_u64().unwrap()
    };
    let counted = (counted(0), counted(1));
    assert!(0 < counted.0 && counted.0 < 60, "{counted:?}");
    wait_until_settled(&site);
    assert_stay(&mut silent);
    assert_stay(&mut seen);

    // What the reload then records of the same flows is what was counted.
    let (code, _, complained) = site.say(&["reload"]);
    assert_eq!(code, Some(0), "{complained}");
    assert_stay(&mut seen);
    assert_stay(&mut ipv6);
    site.wait_for("as many recorded flows as were counted", |status| {
        (recorded(status) == counted).then_some(())
    });
    assert_stay(&mut silent);
}

#[test]
fn what_changes_while_flows_are_counted_ends_that_and_no_flow() {
    let site = Site::start("plan-changes", &tunnel("1h", &[100; 3]), |_| {});
    let mut kept = kept(&site, Family::Ipv4, 40);
    site.write(&tunnel("1h", &[100, 100, 300]));

    let plan = counting(&site, "60s");
    assert_stay(&mut kept);
    let (code, _, complained) = site.say(&["drain", "tunnel/backend1"]);
    assert_eq!(code, Some(0), "{complained}");
    let (_, complained) = said(plan);
    assert!(complained.contains("has changed"), "{complained}");
    assert_stay(&mut kept);
    for number in 100..140 {
        let opened = Kept::open(&site, Family::Ipv4, number);
        assert_ne!(opened.server, "tunnel1");
    }
    let (code, _, _) = site.say(&["undrain", "tunnel/backend1"]);
    assert_eq!(code, Some(0));
    assert_stay(&mut kept);
}

#[test]
fn slots_that_an_agent_leaves_watched_are_given_back_by_the_next_one() {
    let even = tunnel("1h", &[100; 3]);
    let mut site = Site::start("plan-left", &even, |_| {});
    let mut kept = kept(&site, Family::Ipv4, 40);
    for end in [Sluice::kill, Sluice::stop] {
        site.write(&tunnel("1h", &[100, 100, 300]));
        let plan = counting(&site, "60s");
        assert_stay(&mut kept);
        end(&mut site.sluice).unwrap();
        drop(said(plan));
        assert_stay(&mut kept);
        site.restart(&even);
        wait_until_settled(&site);
        assert_stay(&mut kept);
    }
}
