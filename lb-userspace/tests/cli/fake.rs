//! Agents that are made up.

use std::{
    io::{Read, Write},
    os::unix::net::UnixListener,
    path::Path,
    sync::Arc,
    thread,
};

use lb_userspace::{
    changes::Changes,
    config::{Disk, load},
    control::{self, Action, Answer, Done, Maintained, Planned, Refusal, Requests, Resigned},
    events::{Events, MaintenanceEvent, What},
    stats::{Snapshot, Source},
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::oneshot};

/// The real control server, with a snapshot from a file. It stops with this. Its configuration is `sluice.toml`
/// in its folder; it has none before that.
pub(crate) struct FakeAgent {
    folder: TempDir,
    _stop: oneshot::Sender<()>,
    _runtime: Runtime,
}

struct Fixed(Snapshot);

impl Source for Fixed {
    fn snapshot(&self) -> Snapshot {
        self.0.clone()
    }
}

/// Two that happened before the agent ended.
fn events() -> Events {
    let events = Events::new();
    for on in [true, false] {
        events.tell(What::Maintenance(MaintenanceEvent { on }));
    }
    events.end();
    events
}

impl FakeAgent {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = serde_json::from_str(include_str!("snapshot.json")).unwrap();
        let runtime = Runtime::new().unwrap();
        let (stop, stopped) = oneshot::channel();
        let socket = {
            let _inside = runtime.enter();
            control::bind(&folder.path().join("control.sock")).unwrap()
        };
        let stopped = async { drop(stopped.await) };
        let (actions, requests) = control::channel();
        let source = Arc::new(Fixed(snapshot));
        runtime.spawn(control::serve(socket, source, actions, events(), stopped));
        let config = folder.path().join("sluice.toml");
        thread::spawn(move || act(requests, &config));
        Self {
            folder,
            _stop: stop,
            _runtime: runtime,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Does what is asked.
fn act(mut requests: Requests, config: &Path) {
    let done = |action| -> Done {
        let refused = |report| Refusal::from(&anyhow::Error::from(report));
        match action {
            Action::Reload => {
                load(config, &Disk).map_err(refused)?;
                Ok(Answer::Planned(Planned {
                    changes: Changes::default(),
                    warnings: vec!["all is not well".into()],
                }))
            }
            Action::Rollback => Err("there is no configuration before this one"
                .to_owned()
                .into()),
            Action::Plan(next) => {
                let used = load(config, &Disk).map_err(refused)?;
                let next = next.load().map_err(refused)?;
                Ok(Answer::Planned(Planned {
                    changes: Changes::between(&used.config, &next.config),
                    warnings: vec![],
                }))
            }
            Action::Sample(_, time) => Err(format!("flows are not counted for {time:?}").into()),
            Action::Override(asked) => Err(format!("{asked:?}").into()),
            Action::Maintain(on) => Ok(Answer::Maintained(Maintained {
                maintenance: on,
                instances: vec![],
            })),
            Action::Resign(instance) if instance == "gateway" => Ok(Answer::Resigned(Resigned {
                instances: vec![instance, "inside".into()],
            })),
            Action::Resign(instance) => Err(format!("no instance is named `{instance}`").into()),
        }
    };
    while let Some((action, asker)) = requests.blocking_recv() {
        asker.tell(done(action));
    }
}

/// A socket that answers its first client always the same.
pub(crate) struct Canned {
    folder: TempDir,
}

impl Canned {
    pub(crate) fn start(answer: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("control.sock")).unwrap();
        thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 4096]).unwrap();
            client.write_all(answer.as_bytes()).unwrap();
        });
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}
