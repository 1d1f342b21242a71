//! What an agent tells of its changes: notify hooks and `sluice events`.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;
use sluice_tests::wait;

use super::{
    binary,
    vrrp_site::{Agent, Lan},
};

/// How long what is told may take.
const PATIENCE: Duration = Duration::from_secs(30);

const ADDRESSES: &str = "addresses = [\"198.18.0.10/24\"]\ninterval = \"100ms\"\n";

/// `sluice events --follow`, ended with this.
struct Following {
    process: Child,
    lines: mpsc::Receiver<String>,
}

impl Following {
    fn start(agent: &Agent<'_>) -> Self {
        let mut command = Command::new(binary());
        command
            .args(["events", "--follow", "--since", "0", "--output", "json"])
            .arg("--control")
            .arg(agent.sluice.control());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (told, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Self { process, lines }
    }

    /// Waits for an event of that kind, and skips what comes before.
    fn wait_for(&self, kind: &str, key: &str, value: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["kind"] == kind && event[key] == value {
                return event;
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// The lines for a hook that is a script.
fn hook(script: &str) -> String {
    format!("notify = [\"/bin/sh\", \"-c\", '''{script}''', \"hook\"]\n")
}

#[test]
fn each_role_is_told_hooks_and_events() {
    let lan = Lan::set_up("vrrp-notify-roles", 2);
    let said = lan.folder(1).join("said");
    let script = format!(
        "echo \"$* $SLUICE_INSTANCE $SLUICE_ROLE $SLUICE_ADDRESSES\" >> {}",
        said.display()
    );
    let lines = format!("{ADDRESSES}priority = 100\n{}", hook(&script));
    let one = lan.agent(1, &lines);
    one.wait_until("master");
    let following = Following::start(&one);
    let event = following.wait_for("vrrp", "role", "master");
    assert_eq!(event["priority"], 100);
    let name = event["instance"].as_str().unwrap().to_owned();

    let two = lan.agent(2, &format!("{ADDRESSES}priority = 200\n"));
    two.wait_until("master");
    let event = following.wait_for("vrrp", "role", "backup");
    assert_eq!(event["reason"], "higher_priority");
    lan.host(1).ip("link set eth0 down").unwrap();
    following.wait_for("vrrp", "role", "fault");

    let roles = || {
        let text = fs::read_to_string(&said).unwrap_or_default();
        let lines = text.lines().map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [instance, role, _reason, priority, of, same, addresses] = words[..] else {
                panic!("{line}");
            };
            assert_eq!((instance, of, same), (&*name, &*name, role), "{line}");
            assert_eq!((priority, addresses), ("100", "198.18.0.10/24"), "{line}");
            role.to_owned()
        });
        lines.collect::<Vec<_>>()
    };
    wait::until("the hook to be told of the fault", PATIENCE, || {
        let told = roles();
        let last = told.rchunks(3).next().unwrap_or_default();
        Ok((last == ["master", "backup", "fault"]).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {:?}\n{}", roles(), one.sluice.log()));
    let listed = one.run(&["events"]);
    assert!(
        listed.contains(&format!("vrrp {name} is master")),
        "{listed}"
    );
    assert!(
        listed.contains(&format!("vrrp {name} is fault")),
        "{listed}"
    );
}

#[test]
fn a_hook_that_hangs_is_killed_and_counted_and_no_advert_waits() {
    let lan = Lan::set_up("vrrp-notify-hang", 2);
    let lines = format!(
        "{ADDRESSES}priority = 200\nnotify_timeout = \"2s\"\n{}",
        hook("trap \"\" TERM; sleep 600; :")
    );
    let one = lan.agent(1, &lines);
    one.wait_until("master");
    let two = lan.agent(2, &format!("{ADDRESSES}priority = 100\n"));
    two.wait_until("backup");
    let following = Following::start(&one);
    let event = following.wait_for("hook_failed", "outcome", "timeout");
    assert_eq!(event["instance"], one.instance().unwrap()["name"]);
    wait::until("the hook to be counted", PATIENCE, || {
        let outcomes = one.instance()?["notify"]["outcomes"].clone();
        Ok((outcomes["timeout"].as_u64() >= Some(1)).then_some(()))
    })
    .unwrap();
    // The other one has heard the master all the time.
    assert_eq!(two.transitions("master", "silence"), 0);
    let shown = one.run(&["vrrp"]);
    assert!(
        shown.contains("its notify hook failed: it took too long"),
        "{shown}"
    );
}
