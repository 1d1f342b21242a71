//! The programs that tests and demo start, and how they are installed where apt-get is.

use anyhow::{Context, Result, bail};

use crate::{executable, process, root, workspace::Workspace};

/// An executable and the Debian package that brings it.
struct Needed {
    executable: &'static str,
    package: &'static str,
}

const NEEDED: [Needed; 4] = [
    Needed {
        executable: "nginx",
        package: "nginx-light",
    },
    Needed {
        executable: "bpftool",
        package: "bpftool",
    },
    Needed {
        executable: "ip",
        package: "iproute2",
    },
    Needed {
        executable: "ethtool",
        package: "ethtool",
    },
];

/// Installs the packages named as arguments.
///
/// A policy-rc.d is Debian's way to keep a package from starting its service; one that is there
/// already stays. nginx would also start at the next boot, so its unit is disabled: we only get
/// here with a package of that name if the machine had no nginx before.
const INSTALL: &str = r#"
set -eu
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
install() { apt-get install --yes --no-install-recommends "$@"; }
if ! apt-cache show "$@" >/dev/null 2>&1; then
    apt-get update
fi
install "$@" || { apt-get update && install "$@"; }
for package; do
    if [ "$package" = nginx-light ] && command -v systemctl >/dev/null; then
        systemctl --quiet disable nginx.service || true
    fi
done
"#;

/// Installs what is missing, and only that.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    let missing: Vec<_> = missing().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = list(missing.iter().map(|needed| needed.executable));
    if executable::find("apt-get").is_none() {
        bail!(
            "tests and demo need these executables: {names}; install them (there is no apt-get here)"
        );
    }
    let packages = list(missing.iter().map(|needed| needed.package));
    root::acquire(workspace, &format!("installing {packages}"))?;
    println!("packages: installing {packages} (services are not started)");
    process::output(
        root::command(workspace, "sh")
            .args(["-c", INSTALL, "sh"])
            .args(missing.iter().map(|needed| needed.package)),
    )
    .with_context(|| format!("installing {packages} failed: install them by hand"))?;
    still_missing()
}

fn still_missing() -> Result<()> {
    let names = list(missing().map(|needed| needed.executable));
    if !names.is_empty() {
        bail!("still missing after the installation: {names}");
    }
    Ok(())
}

fn missing() -> impl Iterator<Item = &'static Needed> {
    NEEDED
        .iter()
        .filter(|needed| executable::find(needed.executable).is_none())
}

fn list(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
