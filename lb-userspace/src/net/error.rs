//! What can fail between the agent and the kernel's network stack.

use std::{io, path::PathBuf};

/// A failed exchange with the kernel, with what was tried and on which object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket.
    #[error(
        "cannot open a netlink socket: {0} (a systemd unit needs AF_NETLINK in RestrictAddressFamilies=)"
    )]
    Open(#[source] io::Error),
    /// The kernel refused a request.
    #[error("netlink: {what} failed: {source}{}", hint(.source))]
    Refused {
        /// What was asked for.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The socket went away under a request or under the event stream.
    #[error("netlink: the connection closed during {what}; it is opened anew")]
    Closed {
        /// What was going on.
        what: String,
    },
    /// The kernel did not answer.
    #[error("netlink: no answer to {what} within {seconds} s; the connection is opened anew")]
    Timeout {
        /// What was asked for.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A file below /proc/sys could not be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Sysctl {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file below /proc/sys holds something else than expected.
    #[error("{path} holds {text:?}, expected {expected}", path = path.display())]
    SysctlText {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A network namespace could not be made.
    #[error(
        "cannot make the network namespace of probes: {0} (checks with `through = \"service\"` need CAP_SYS_ADMIN)"
    )]
    Namespace(#[source] io::Error),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// Frames can't be sent.
    #[error("cannot open a packet socket: {0} (it needs CAP_NET_RAW)")]
    PacketSocket(#[source] io::Error),
    /// A device name that no device can have.
    #[error("{0:?} is no interface name: 1 to 15 bytes, without NUL")]
    DeviceName(String),
    /// An ethtool request failed.
    #[error("{device}: cannot {what}: {source}{}", hint(.source))]
    Ethtool {
        /// The device.
        device: String,
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// What to do about the errors that an operator meets.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => "; the agent needs CAP_NET_ADMIN",
        Some(libc::ENODEV) => "; `ip link` lists the interfaces",
        _ => "",
    }
}

impl Error {
    /// The kernel's error number, where it gave one.
    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Self::Open(source)
            | Self::Namespace(source)
            | Self::Thread(source)
            | Self::PacketSocket(source)
            | Self::Refused { source, .. }
            | Self::Sysctl { source, .. }
            | Self::Ethtool { source, .. } => source.raw_os_error(),
            Self::Closed { .. }
            | Self::Timeout { .. }
            | Self::SysctlText { .. }
            | Self::DeviceName(_) => None,
        }
    }
}
