//! The programs that tests and demo start, and how they are installed where apt-get is.

use anyhow::{Context, Result, bail};

use crate::{executable, process, root, workspace::Workspace};

/// An executable and the Debian package that brings it.
pub(crate) struct Needed {
    executable: &'static str,
    package: &'static str,
}

const fn needed(executable: &'static str, package: &'static str) -> Needed {
    Needed {
        executable,
        package,
    }
}

/// What tests and demo start.
pub(crate) const NEEDED: [Needed; 9] = [
    needed("nginx", "nginx-light"),
    needed("ip", "iproute2"),
    needed("ethtool", "ethtool"),
    needed("nft", "nftables"),
    needed("haproxy", "haproxy"),
    needed("etcd", "etcd-server"),
    needed("dnsmasq", "dnsmasq-base"),
    needed("keepalived", "keepalived"),
    needed("pg_createcluster", "postgresql"),
];

/// What guests with another kernel are made with.
pub(crate) const FOR_GUESTS: [Needed; 6] = [
    needed("qemu-system-x86_64", "qemu-system-x86"),
    needed("busybox", "busybox-static"),
    needed("cpio", "cpio"),
    needed("modprobe", "kmod"),
    needed("xz", "xz-utils"),
    needed("zstd", "zstd"),
];

/// Installs the packages named as arguments.
///
/// A policy-rc.d is Debian's way to keep a package from starting its service; one that is there
/// already stays. Servers would also start at the next boot, so their units are disabled: we only get
/// here with a package of that name if the machine did not have it before.
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
    case "$package" in
    nginx-light) unit=nginx ;;
    haproxy) unit=haproxy ;;
    etcd-server) unit=etcd ;;
    keepalived) unit=keepalived ;;
    postgresql) unit=postgresql ;;
    *) continue ;;
    esac
    if command -v systemctl >/dev/null; then
        systemctl --quiet disable "$unit.service" || true
    fi
done
"#;

/// Installs what of these is missing, and only that.
pub(crate) fn ensure(workspace: &Workspace, needed: &[Needed]) -> Result<()> {
    let missing = missing(needed);
    if missing.is_empty() {
        return Ok(());
    }
    let names = list(missing.iter().map(|needed| needed.executable));
    if executable::find("apt-get").is_none() {
        bail!("these executables are needed: {names}; install them (there is no apt-get here)");
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
    let names = list(self::missing(needed).iter().map(|needed| needed.executable));
    if !names.is_empty() {
        bail!("still missing after the installation: {names}");
    }
    Ok(())
}

fn missing(needed: &[Needed]) -> Vec<&Needed> {
    let is_missing = |needed: &&Needed| executable::find(needed.executable).is_none();
    needed.iter().filter(is_missing).collect()
}

fn list(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
