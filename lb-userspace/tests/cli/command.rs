//! Runs the binary.

use std::{path::Path, process::Command};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `sluice` in `folder`, whose `control.sock` it takes for the agent's. The folder's name is
/// left out of what it says.
pub(crate) fn sluice(folder: &Path, words: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(words)
        .current_dir(folder)
        .env_remove("COLUMNS")
        .env("SLUICE_CONTROL", folder.join("control.sock"))
        .output()
        .expect("the binary was built with this test");
    let text = |bytes| {
        let text = String::from_utf8(bytes).expect("sluice writes UTF-8");
        text.replace(&folder.display().to_string(), "FOLDER")
    };
    Ended {
        code: output.status.code().expect("no signal ended it"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Compares with the snapshot of that name.
pub(crate) fn assert_text(name: &str, text: &str) {
    insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!(name, text);
    });
}
