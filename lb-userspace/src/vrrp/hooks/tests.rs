//! Hooks that are run: which, with what, one at a time, and not for ever.

use std::{fs, path::Path, time::Instant};

use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    testing::{call, told, transition},
    *,
};
use crate::{
    model::{Family, Notify},
    process::testing::{lives, number_in, wait_until},
    vrrp::machine::Role,
};

/// What tells changes, and a folder for what hooks write.
struct Stage {
    folder: TempDir,
    transitions: UnboundedSender<Transition>,
    events: Events,
    notified: Notified,
    hooks: Hooks,
}

impl Stage {
    fn set_up() -> Self {
        let (transitions, heard) = mpsc::unbounded_channel();
        let (events, notified) = (Events::new(), Notified::default());
        Self {
            folder: tempfile::tempdir().unwrap(),
            transitions,
            hooks: Hooks::start(heard, events.clone(), notified.clone()),
            events,
            notified,
        }
    }

    /// A hook that is a script, in the folder: `$1` and so on are what it is told.
    fn hook(&self, script: &str) -> Notify {
        let script = format!("cd {}; {script}", self.folder.path().display());
        Notify {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script, "hook".into()],
            timeout: Duration::from_secs(30),
        }
    }

    fn send(&self, transition: Transition) {
        self.transitions.send(transition).unwrap();
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn outcomes(&self) -> BTreeMap<String, u64> {
        let mut counted = notify_view(&self.notified).outcomes;
        counted.retain(|_, count| *count > 0);
        counted
    }

    /// Stops it; what hooks wrote into `said`.
    async fn end(self) -> (String, TempDir) {
        self.hooks.stop().await;
        (read(&self.folder.path().join("said")), self.folder)
    }
}

fn notify_view(notified: &Notified) -> NotifyView {
    let view = InstanceView {
        name: "gateway".into(),
        notify: Some(NotifyView::default()),
        ..InstanceView::default()
    };
    notified.shown_in(vec![view]).remove(0).notify.unwrap()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

fn counted(outcomes: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let outcomes = outcomes.iter();
    outcomes.map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

#[test]
fn a_call_says_all_that_is_known() {
    let mut transition = told(Role::Fault, 150, call(1).notify().clone());
    transition.fault = Some("the interface is down".into());
    let call = Call::of(transition, 7).unwrap();
    let arguments = ["--quiet", "gateway", "fault", "silence", "150"];
    assert_eq!(call.arguments(), arguments);
    let environment = call.environment();
    let environment: Vec<_> = environment.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let expected = [
        ("SLUICE_INSTANCE", "gateway"),
        ("SLUICE_ROLE", "fault"),
        ("SLUICE_REASON", "silence"),
        ("SLUICE_PRIORITY", "150"),
        ("SLUICE_INTERFACE", "eth0"),
        ("SLUICE_VRID", "51"),
        ("SLUICE_ADDRESSES", "198.18.0.10/24 fd00:18::10/24"),
        ("SLUICE_FAULT", "the interface is down"),
        ("SLUICE_EVENT", "7"),
    ];
    assert_eq!(environment, expected);
}

#[tokio::test]
async fn hooks_are_told_each_role_once_in_order() {
    let stage = Stage::set_up();
    let hook = stage.hook("sleep 0.05; echo \"$* $SLUICE_EVENT$HOME\" >> said");
    let send = |role, priority| stage.send(told(role, priority, hook.clone()));
    send(Role::Backup, 100);
    send(Role::Master, 100);
    // The families part and meet again.
    let mut apart = told(Role::Master, 100, hook.clone());
    apart.roles.insert(Family::Ipv6, Role::Backup);
    stage.send(apart);
    send(Role::Master, 120);
    // No hook any more: its next role is not told.
    stage.send(transition(Role::Fault, 100));
    send(Role::Backup, 100);
    let (events, notified) = (stage.events.clone(), stage.notified.clone());
    wait_until(|| notify_view(&notified).outcomes["done"] == 2).await;
    let (said, _folder) = stage.end().await;
    let expected = "gateway backup silence 100 1\ngateway master silence 100 2\ngateway backup silence 100 6\n";
    assert_eq!(said, expected);
    assert_eq!(notify_view(&notified).outcomes["done"], 3);
    let events = events.since(0).events.into_iter();
    let roles = events.map(|event| match event.what {
        What::Vrrp(event) => event.role,
        other => panic!("{other:?}"),
    });
    let roles: Vec<_> = roles.collect();
    let expected = ["backup", "master", "apart", "master", "fault", "backup"];
    assert_eq!(roles, expected);
}

#[tokio::test]
async fn a_hook_that_hangs_is_killed_with_all_that_it_started() {
    let stage = Stage::set_up();
    let hangs = "case $2 in master) trap '' TERM; echo $$ > parent; sh -c 'echo $$ > child; sleep 60; :'; :;; esac";
    let mut hook = stage.hook(&format!("{hangs}; echo $2 >> said"));
    hook.timeout = Duration::from_millis(700);
    stage.send(told(Role::Master, 100, hook.clone()));
    stage.send(told(Role::Backup, 100, hook));
    let (parent, child) = (stage.file("parent"), stage.file("child"));
    wait_until(|| number_in(&parent).is_some() && number_in(&child).is_some()).await;
    let processes = [number_in(&parent).unwrap(), number_in(&child).unwrap()];
    wait_until(|| !processes.into_iter().any(lives)).await;
    let expected = counted(&[("done", 1), ("timeout", 1)]);
    wait_until(|| stage.outcomes() == expected).await;
    let events = stage.events.since(0).events.into_iter();
    let failed: Vec<_> = events
        .filter_map(|event| match event.what {
            What::HookFailed(failed) => Some((failed.instance, failed.outcome)),
            _ => None,
        })
        .collect();
    assert_eq!(failed, [("gateway".into(), "timeout".into())]);
    assert_eq!(stage.end().await.0, "backup\n");
}

#[tokio::test]
async fn what_fails_is_counted_with_its_reason() {
    let stage = Stage::set_up();
    let failure = || notify_view(&stage.notified).failure;
    stage.send(told(Role::Master, 100, stage.hook("exit 3")));
    wait_until(|| failure().is_some()).await;
    assert_eq!(failure().unwrap(), "it ended with status 3");
    stage.send(told(Role::Backup, 100, stage.hook("kill -9 $$")));
    wait_until(|| failure().unwrap() == "signal 9 ended it").await;
    let mut missing = stage.hook("");
    missing.program = "/nonexistent/notify".into();
    stage.send(told(Role::Master, 100, missing));
    wait_until(|| failure().unwrap().starts_with("it can't be run: ")).await;
    let expected = counted(&[("failed", 1), ("not_started", 1), ("signal", 1)]);
    assert_eq!(stage.outcomes(), expected);
    stage.send(told(Role::Backup, 100, stage.hook("exit 0")));
    wait_until(|| failure().is_none()).await;
}

#[tokio::test]
async fn the_last_role_is_told_before_the_end_though_one_before_hangs() {
    let stage = Stage::set_up();
    let hook = stage.hook("echo $2 >> said; case $2 in master) sleep 60;; esac");
    stage.send(told(Role::Master, 100, hook.clone()));
    let said = stage.file("said");
    wait_until(|| read(&said) == "master\n").await;
    for role in [Role::Fault, Role::Backup] {
        stage.send(told(role, 100, hook.clone()));
    }
    let (notified, begun) = (stage.notified.clone(), Instant::now());
    let (said, _folder) = stage.end().await;
    assert!(begun.elapsed() < FAREWELL, "{:?}", begun.elapsed());
    assert_eq!(said, "master\nbackup\n");
    let outcomes = notify_view(&notified).outcomes;
    let of = ["done", "timeout", "skipped"].map(|name| outcomes[name]);
    assert_eq!(of, [1, 1, 1]);
}
