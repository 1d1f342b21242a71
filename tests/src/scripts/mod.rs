//! Scripts: configurations, what happens, and what the tables must hold then, from files to tables, whether these
//! are plain collections or the kernel's. One file in `tests/scripts` a story; what a file may say is `script`'s,
//! what it does `host`'s, which tables there are `held`'s.
//!
//! `UPDATE_SCRIPTS=1 cargo test -p sluice-tests --test host scripts` writes into the files what came out: to be read
//! before it is committed.

mod dump;
mod held;
mod host;
mod script;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

pub use held::{Held, KernelHeld};
pub use host::LINKS;

pub(crate) use host::Only;

use host::Host;
use lb_userspace::kernel::FakeTables;
use script::{Script, Step};

/// Runs every script on tables that are plain collections; what differs from what they say.
pub fn run_all_on_collections() -> Vec<String> {
    run_all(|| Ok(FakeTables::default()))
}

/// Runs every script, each on new tables; what differs from what they say.
pub fn run_all<T: Held>(new: impl Fn() -> Result<T, String>) -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let entries = fs::read_dir(&folder).expect("the folder of scripts");
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    assert!(files.len() >= 5, "the scripts are not there");
    let failures = files.into_iter().filter_map(|file| {
        let tables = new().map_err(|error| format!("{}: {error}", file.display()));
        tables.map_or_else(Some, |tables| run(&file, tables))
    });
    failures.collect()
}

/// Runs a script; what differs from what it says, if anything does.
fn run<T: Held>(file: &Path, tables: T) -> Option<String> {
    let name = file.display();
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut script = Script::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut host = Host::new(tables);
    let mut failures = Vec::new();
    let steps = script.steps();
    for (number, step) in steps.unwrap_or_else(|error| panic!("{name}: {error}")) {
        let place = format!("{name}, step {number}");
        let Some((section, found)) = take(&mut host, &script, step, &place) else {
            continue;
        };
        let expected = script.section(&section);
        if expected != found {
            failures.push(format!(
                "{place}: {section}: expected\n{expected}--- found\n{found}---"
            ));
            script.replace(&section, found);
        }
    }
    if env::var_os("UPDATE_SCRIPTS").is_some() && !failures.is_empty() {
        fs::write(file, script.to_string()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    (!failures.is_empty()).then(|| failures.join("\n"))
}

/// Does a step; where it looks at something, the section to compare with and what was found.
fn take<T: Held>(
    host: &mut Host<T>,
    script: &Script,
    step: Step,
    place: &str,
) -> Option<(String, String)> {
    match step {
        Step::Load(section) => {
            let loaded = host.load(script.section(&section));
            loaded.unwrap_or_else(|error| panic!("{place}: {error}"));
            None
        }
        Step::Refuse(section, expected) => {
            let before = host.tables();
            let Err(error) = host.load(script.section(&section)) else {
                panic!("{place}: it was taken");
            };
            assert_eq!(host.tables(), before, "{place}: something was written");
            Some((expected, error.trim_end().to_owned() + "\n"))
        }
        Step::Reach(addresses) => {
            host.reach(&addresses);
            None
        }
        Step::Lose(addresses) => {
            host.lose(&addresses);
            None
        }
        Step::Check { pool, backend, up } => {
            host.check((&pool, &backend), up);
            None
        }
        Step::Say {
            pool,
            backend,
            change,
        } => {
            host.say((&pool, &backend), change);
            None
        }
        Step::FailAfter(operations) => {
            host.fail_after(operations);
            None
        }
        Step::Dump(section) => Some((section, dump::text(&host.tables()))),
        Step::Operations(section) => Some((section, host.take_operations())),
    }
}
