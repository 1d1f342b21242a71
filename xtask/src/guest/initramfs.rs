//! The guest's first file system: busybox, and the modules that it takes to reach the host's root.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::kernel::Kernel;
use crate::{process, workspace::Workspace};

/// Modules by which the host's files are reached.
const MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/// Puts the host's root together, of what is read from it and what is written to memory, and goes on in it.
const INIT: &str = r#"#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do $b insmod "$module"; done
share() { $b mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,cache=loose$3" "$1" "$2"; }
share root /host ,ro && $b mount -t tmpfs tmpfs /memory && $b mkdir /memory/upper /memory/work &&
    $b mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /root ||
    $b poweroff -f
cd /root
$b mkdir -p lib/modules guest
for folder in proc sys dev; do $b mount -o move "/$folder" "/root/$folder"; done
$b mkdir -p dev/pts dev/shm
$b mount -t devpts devpts dev/pts
for folder in run dev/shm; do $b mount -t tmpfs tmpfs "$folder"; done
$b mount -t cgroup2 cgroup2 sys/fs/cgroup
$b mount -t bpf bpf sys/fs/bpf
share modules /root/lib/modules ,ro
share job /root/guest
exec $b chroot /root /bin/sh /guest/script
"#;

/// The packed file system for this kernel; made once.
pub(super) fn packed(workspace: &Workspace, kernel: &Kernel) -> Result<PathBuf> {
    let folder = kernel
        .image
        .parent()
        .context("the kernel's image has no folder")?;
    let packed = folder.join("initramfs");
    if !packed.is_file() {
        let tree = folder.join("initramfs.tree");
        let _ = fs::remove_dir_all(&tree);
        fill(workspace, kernel, &tree)?;
        let part = folder.join("initramfs.part");
        let pack = "cd \"$1\" && find . | cpio --quiet --create --format newc >\"$2\"";
        process::output(
            workspace
                .command("sh")
                .args(["-c", pack, "sh"])
                .arg(&tree)
                .arg(&part),
        )?;
        fs::rename(&part, &packed).with_context(|| format!("making {}", packed.display()))?;
        fs::remove_dir_all(&tree).with_context(|| format!("removing {}", tree.display()))?;
    }
    Ok(packed)
}

fn fill(workspace: &Workspace, kernel: &Kernel, tree: &Path) -> Result<()> {
    for folder in [
        "bin", "modules", "proc", "sys", "dev", "host", "memory", "root",
    ] {
        let folder = tree.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let busybox = crate::executable::find("busybox").context("no busybox")?;
    fs::copy(busybox, tree.join("bin/busybox")).context("copying busybox")?;
    let init = tree.join("init");
    fs::write(&init, INIT).context("writing init")?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    let version = kernel.version.as_str();
    let base = kernel.base.as_path();
    process::output(workspace.command("depmod").arg("-b").arg(base).arg(version))?;
    let mut files = Vec::new();
    for module in MODULES {
        let listed = process::output(workspace.command("modprobe").arg("-d").arg(base).args([
            "-S",
            version,
            "--show-depends",
            module,
        ]))?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        for file in inserted(&listed).map(PathBuf::from) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    for (n, file) in (10..).zip(&files) {
        let bytes = unpacked(workspace, file)?;
        let to = tree.join(format!("modules/{n}.ko"));
        fs::write(&to, bytes).with_context(|| format!("writing {}", to.display()))?;
    }
    Ok(())
}

/// The files that `modprobe --show-depends` would insert, in order; what is built in has none.
fn inserted(listed: &str) -> impl Iterator<Item = &str> {
    listed
        .lines()
        .filter_map(|line| line.strip_prefix("insmod "))
        .filter_map(|rest| rest.split_whitespace().next())
}

/// A module, which Debian has packed.
fn unpacked(workspace: &Workspace, file: &Path) -> Result<Vec<u8>> {
    let unpack = |program: &str| -> Result<Vec<u8>> {
        let mut command: Command = workspace.command(program);
        Ok(process::output(command.args(["-d", "-c"]).arg(file))?.stdout)
    };
    match file.extension().and_then(|ending| ending.to_str()) {
        Some("xz") => unpack("xz"),
        Some("zst") => unpack("zstd"),
        Some("ko") => fs::read(file).with_context(|| format!("reading {}", file.display())),
        _ => bail!("{} is no module", file.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_not_inserted() {
        let listed = "builtin virtio\ninsmod /m/netfs.ko.xz \ninsmod /m/9p.ko.xz debug=1\n";
        let files: Vec<_> = inserted(listed).collect();
        assert_eq!(files, ["/m/netfs.ko.xz", "/m/9p.ko.xz"]);
    }
}
