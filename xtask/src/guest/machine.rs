//! Runs the guest: QEMU without acceleration, the host's files over 9p, the console on our own output.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs,
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{judge, kernel::Kernel};
use crate::{cache, root, workspace::Workspace};

/// A guest's measures.
pub(super) struct Machine {
    /// Processors.
    pub(super) cpus: u32,
    /// MiB.
    pub(super) memory: u32,
    /// How long it may run.
    pub(super) limit: Duration,
    /// Modules that are loaded before the command starts.
    pub(super) modules: Vec<String>,
}

impl Machine {
    /// Runs a command in it.
    pub(super) fn run(
        &self,
        workspace: &Workspace,
        kernel: &Kernel,
        initramfs: &Path,
        command: &[OsString],
    ) -> Result<()> {
        let job = cache::folder()?.join(format!("guest-{}", std::process::id()));
        fs::create_dir_all(&job).with_context(|| format!("making {}", job.display()))?;
        let script = script(workspace.root(), &self.modules, command);
        let ended = fs::write(job.join("script"), script)
            .context("writing the guest's script")
            .and_then(|()| self.boot(workspace, kernel, initramfs, &job));
        let status = fs::read_to_string(job.join("status"));
        let removed = fs::remove_dir_all(&job);
        ended?;
        removed.with_context(|| format!("removing {}", job.display()))?;
        judge(status.ok().and_then(|text| text.trim().parse().ok()))
    }

    /// Runs it until it ends, which it is made to do in the end.
    fn boot(
        &self,
        workspace: &Workspace,
        kernel: &Kernel,
        initramfs: &Path,
        job: &Path,
    ) -> Result<()> {
        const TIMED_OUT: i32 = 124;
        let limit = self.limit.as_secs();
        // It may be root's, and then not ours to end.
        let mut qemu = root::command(workspace, "timeout");
        qemu.args(["--kill-after=5", &limit.to_string(), "qemu-system-x86_64"]);
        // With a thread for each processor, one may run into what another has just written over, as the kernel
        // does with its own text, and dies of that now and then.
        qemu.args(["-accel", "tcg,thread=single", "-cpu", "max,la57=off"])
            .args([
                "-smp",
                &self.cpus.to_string(),
                "-m",
                &self.memory.to_string(),
            ])
            .args([
                "-nodefaults",
                "-nographic",
                "-no-reboot",
                "-serial",
                "stdio",
            ])
            .args(["-object", "rng-random,id=random,filename=/dev/urandom"])
            .args(["-device", "virtio-rng-pci,rng=random"])
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(initramfs)
            // Where the host is busy, the guest's timer comes late, and the kernel would take it for broken.
            .args([
                "-append",
                "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off tsc=reliable no_timer_check",
            ]);
        let modules = kernel.base.join("lib/modules");
        for (name, path, options) in [
            ("root", Path::new("/"), ",readonly=on"),
            ("modules", &modules, ",readonly=on"),
            ("job", job, ""),
        ] {
            let mut shared = OsString::from(format!("local,id={name},path="));
            shared.push(path);
            shared.push(format!(",security_model=none,multidevs=remap{options}"));
            qemu.arg("-fsdev").arg(shared);
            let device = format!("virtio-9p-pci,fsdev={name},mount_tag={name}");
            qemu.args(["-device", &device]);
        }
        let status = qemu
            .stdin(Stdio::null())
            .status()
            .context("starting qemu")?;
        match status.code() {
            Some(0) => Ok(()),
            Some(TIMED_OUT) => bail!("the guest was ended after {limit} s"),
            _ => bail!("qemu failed ({status})"),
        }
    }
}

/// What the guest does: loads modules, which it ends without, runs the command where we are, leaves its
/// status, and ends.
fn script(folder: &Path, modules: &[String], command: &[OsString]) -> String {
    let mut script = String::from(
        "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CI=true\n\
         ip link set lo up; mount --make-rshared /\n",
    );
    for module in modules {
        let module = quoted(OsStr::new(module));
        let _ = writeln!(script, "modprobe {module} || busybox poweroff -f");
    }
    let words = command.iter().map(|word| quoted(word));
    let _ = writeln!(
        script,
        "cd {} && {} </dev/null\necho $? >/guest/status\nsync\nbusybox poweroff -f",
        quoted(folder.as_os_str()),
        words.collect::<Vec<_>>().join(" ")
    );
    script
}

/// A word as a shell takes it.
fn quoted(word: &OsStr) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_guest_as_they_are() {
        let words = ["it's", "$HOME", "a b"].map(OsString::from);
        let script = script(Path::new("/some where"), &["8021q".into()], &words);
        assert!(script.contains("modprobe '8021q' ||"));
        assert!(script.contains("cd '/some where' && 'it'\\''s' '$HOME' 'a b' </dev/null\n"));
    }
}
