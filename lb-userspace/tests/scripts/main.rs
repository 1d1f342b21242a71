//! Scripts: configurations, what happens, and what the tables must hold then, from files to tables that are
//! plain collections. One file in `cases` a story; what a file may say is `script`'s, what it does `host`'s.
//!
//! `UPDATE_SCRIPTS=1 cargo test -p lb-userspace --test scripts` writes into the files what came out: to be read
//! before it is committed.

mod dump;
mod host;
mod script;

use std::{env, fs, path::PathBuf};

use host::Host;
use script::{Script, Step};

#[test]
fn every_script_goes_as_it_says() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/cases");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 5, "the scripts are not there");
    let failures: Vec<String> = files.into_iter().filter_map(|file| run(&file)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Runs a script; what differs from what it says, if anything does.
fn run(file: &PathBuf) -> Option<String> {
    let text = fs::read_to_string(file).unwrap();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let mut script = Script::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut host = Host::default();
    let mut failures = Vec::new();
    for (number, step) in script
        .steps()
        .unwrap_or_else(|error| panic!("{name}: {error}"))
    {
        let place = format!("{name}, step {number}");
        let (section, found) = match step {
            Step::Load(section) => {
                let loaded = host.load(script.section(&section));
                loaded.unwrap_or_else(|error| panic!("{place}: {error}"));
                continue;
            }
            Step::Refuse(section, expected) => {
                let before = host.tables();
                let refused = host.load(script.section(&section));
                let error = refused
                    .err()
                    .unwrap_or_else(|| panic!("{place}: it was taken"));
                assert_eq!(host.tables(), before, "{place}: something was written");
                (expected, error.trim_end().to_owned() + "\n")
            }
            Step::Reach(addresses) => {
                host.reach(&addresses);
                continue;
            }
            Step::Lose(addresses) => {
                host.lose(&addresses);
                continue;
            }
            Step::FailAfter(operations) => {
                host.fail_after(operations);
                continue;
            }
            Step::Dump(section) => {
                let text = dump::text(&host);
                (section, text)
            }
            Step::Operations(section) => {
                let text = host.take_operations();
                (section, text)
            }
        };
        if script.section(&section) != found {
            let expected = script.section(&section);
            failures.push(format!(
                "{place}: {section}: expected\n{expected}--- found\n{found}---"
            ));
            script.replace(&section, found);
        }
    }
    if env::var_os("UPDATE_SCRIPTS").is_some() && !failures.is_empty() {
        fs::write(file, script.to_string()).unwrap();
    }
    (!failures.is_empty()).then(|| failures.join("\n"))
}
