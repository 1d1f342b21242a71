//! Debian's kernels, unpacked: fetched once for each series by an apt that has lists of its own, so that the
//! machine's sources stay as they are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{cache, process, root, workspace::Workspace};

/// Where kernels are looked for.
const SUITES: [&str; 2] = ["trixie", "trixie-backports"];

/// What Debian signs its lists with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An unpacked kernel.
pub(super) struct Kernel {
    /// Its release, as `uname -r` has it.
    pub(super) version: String,
    /// The image that is booted.
    pub(super) image: PathBuf,
    /// Where `lib/modules` is.
    pub(super) base: PathBuf,
}

/// The kernel of this series; fetched if it was not before.
pub(super) fn unpacked(workspace: &Workspace, series: &str) -> Result<Kernel> {
    let folder = cache::folder()?.join("kernels").join(series);
    if !folder.is_dir() {
        println!(
            "guest: fetching Linux {series} into {} (100 MB)",
            folder.display()
        );
        let parts = folder.with_file_name(format!("{series}.part-{}", std::process::id()));
        fetch(workspace, series, &parts)?;
        let unpacked = parts.join("unpacked");
        Kernel::at(&unpacked)?;
        fs::rename(&unpacked, &folder)
            .with_context(|| format!("moving the kernel to {}", folder.display()))?;
        fs::remove_dir_all(&parts).with_context(|| format!("removing {}", parts.display()))?;
    }
    Kernel::at(&folder)
}

impl Kernel {
    fn at(folder: &Path) -> Result<Self> {
        let bases = [folder.to_owned(), folder.join("usr")];
        for base in bases {
            let Ok(mut modules) = fs::read_dir(base.join("lib/modules")) else {
                continue;
            };
            let Some(Ok(release)) = modules.next() else {
                continue;
            };
            let version = release.file_name().to_string_lossy().into_owned();
            let image = folder.join(format!("boot/vmlinuz-{version}"));
            if image.is_file() {
                return Ok(Self {
                    version,
                    image,
                    base,
                });
            }
        }
        bail!(
            "{} has no kernel with its modules: remove it, to have it fetched anew",
            folder.display()
        );
    }
}

/// Downloads the newest package of the series into `folder`, and unpacks it there.
fn fetch(workspace: &Workspace, series: &str, folder: &Path) -> Result<()> {
    for sub in ["lists/partial", "cache/archives/partial", "unpacked"] {
        let sub = folder.join(sub);
        fs::create_dir_all(&sub).with_context(|| format!("making {}", sub.display()))?;
    }
    let sources = folder.join("sources.list");
    let mirror = mirror(workspace)?;
    let source = |suite| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
    fs::write(&sources, SUITES.map(source).concat())
        .with_context(|| format!("writing {}", sources.display()))?;
    let apt = |program: &str, arguments: &[&str]| {
        let mut command = workspace.command(program);
        command
            .arg(format!("-oDir::Etc::sourcelist={}", sources.display()))
            .arg("-oDir::Etc::sourceparts=/dev/null")
            .arg(format!("-oDir::State::lists={}/lists", folder.display()))
            .arg(format!("-oDir::Cache={}/cache", folder.display()))
            .arg("-oAPT::Sandbox::User=root")
            .arg("--quiet=2")
            .args(arguments)
            .current_dir(folder);
        process::output(&mut command)
    };
    apt("apt-get", &["update"])?;
    let names = apt(
        "apt-cache",
        &["pkgnames", &format!("linux-image-{series}.")],
    )?;
    let names = String::from_utf8_lossy(&names.stdout);
    let package = newest(&names, series).with_context(|| {
        let suites = SUITES.join(" and ");
        format!("{suites} have no kernel {series}: name another with --kernel")
    })?;
    apt("apt-get", &["download", package])?;
    let archive = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ending| ending == "deb"))
        .with_context(|| format!("apt-get downloaded no {package}"))?;
    process::output(
        workspace
            .command("dpkg-deb")
            .arg("--extract")
            .arg(archive)
            .arg(folder.join("unpacked")),
    )?;
    Ok(())
}

/// The mirror of Debian that the machine uses; where its lists were never fetched, they are.
fn mirror(workspace: &Workspace) -> Result<String> {
    let listed = || {
        let mut apt = workspace.command("apt-get");
        apt.args(["indextargets", "--format", "$(ORIGIN) $(REPO_URI)"]);
        let listed = process::output(apt.arg("Identifier: Packages"))?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        anyhow::Ok(main_mirror(&listed).map(str::to_owned))
    };
    if let Some(mirror) = listed()? {
        return Ok(mirror);
    }
    root::acquire(workspace, "apt-get update")?;
    process::output(root::command(workspace, "apt-get").arg("update"))?;
    listed()?.context("no source of this machine's apt is a mirror of Debian")
}

/// The first one of Debian in a list of origins and mirrors, but that of security updates.
fn main_mirror(listed: &str) -> Option<&str> {
    let mirrors = listed
        .lines()
        .filter_map(|line| line.strip_prefix("Debian "));
    let mut mirrors = mirrors.filter(|mirror| !mirror.contains("security"));
    mirrors.next().map(|mirror| mirror.trim_end_matches('/'))
}

/// The newest of these packages that is a kernel of the series, for ordinary machines.
fn newest<'a>(names: &'a str, series: &str) -> Option<&'a str> {
    let versions = names.lines().filter_map(|name| {
        let rest = name.strip_prefix("linux-image-")?.strip_prefix(series)?;
        let (patch, flavour) =
            rest.strip_prefix('.')?
                .split_once('-')
                .map(|(version, flavour)| {
                    (
                        version.split_once('+').map_or(version, |(patch, _)| patch),
                        flavour,
                    )
                })?;
        (flavour == "amd64").then_some((patch.parse::<u32>().ok()?, name))
    });
    versions.max().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_debians_and_has_more_than_security_updates() {
        let listed =
            "Others mirror:/other/\nDebian mirror:/debian-security/\nDebian mirror:/debian/\n";
        assert_eq!(main_mirror(listed), Some("mirror:/debian"));
        assert_eq!(main_mirror("Others mirror:/other/\n"), None);
    }

    #[test]
    fn the_newest_ordinary_kernel_is_chosen() {
        let names = "linux-image-6.18.9+deb13-amd64\nlinux-image-6.18.15+deb13-amd64\n\
                     linux-image-6.18.15+deb13-cloud-amd64\nlinux-image-6.18.15+deb13-amd64-dbg\n\
                     linux-image-6.1.2-amd64\nlinux-image-amd64\n";
        assert_eq!(
            newest(names, "6.18"),
            Some("linux-image-6.18.15+deb13-amd64")
        );
        assert_eq!(newest(names, "6.1"), Some("linux-image-6.1.2-amd64"));
        assert_eq!(newest(names, "6.12"), None);
    }
}
