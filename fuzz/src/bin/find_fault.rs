//! Tells whether the packet path that this was built with has a fault: by the oracle, and if that finds
//! none, by the packet cases. Says which finds one. Ends with status 0 if there is none, 1 if there is.

use std::{panic, process::ExitCode};

use ring0::{
    cases::{self, ring::run},
    host::HostRing,
    oracle::{Met, check},
};

/// Stories that the oracle reads, at most.
const STORIES: u64 = 300;

fn main() -> ExitCode {
    panic::set_hook(Box::new(|_| {}));
    let found = panic::catch_unwind(|| by_oracle().or_else(by_row));
    match found {
        Ok(None) => {
            println!("nothing");
            ExitCode::SUCCESS
        }
        Ok(Some(found)) => {
            println!("{found}");
            ExitCode::FAILURE
        }
        Err(_) => {
            println!("a panic");
            ExitCode::FAILURE
        }
    }
}

fn by_oracle() -> Option<String> {
    let mut met = Met::default();
    let wrong = (0..STORIES).find(|seed| check(*seed, &mut met).is_err())?;
    Some(format!("the oracle, story {wrong}"))
}

fn by_row() -> Option<String> {
    let mut ring = HostRing::default();
    let wrong = cases::all()
        .into_iter()
        .find(|case| run(case, &mut ring).is_err())?;
    Some(format!("row {:?}", wrong.name))
}
