//! The few settings below /proc/sys/net that matter here. They are those of the reading thread's
//! network namespace, so they are read where it is called, on no other thread.

use std::{fs, io, path::Path};

use serde::Serialize;

use super::error::Error;

/// Where they are.
pub(super) const ROOT: &str = "/proc/sys/net";

/// The ports that the kernel gives to connections of this host itself, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl PortRange {
    /// Whether a port lies in it.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// `net.ipv4.ip_local_port_range`, which counts for IPv6 too.
pub(super) fn local_ports(root: &Path) -> Result<PortRange, Error> {
    let path = root.join("ipv4/ip_local_port_range");
    let text = fs::read_to_string(&path).map_err(|source| Error::Sysctl {
        path: path.clone(),
        source,
    })?;
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last)), None) => Ok(PortRange { first, last }),
        _ => Err(Error::SysctlText {
            path,
            text,
            expected: "two port numbers",
        }),
    }
}

/// `net.ipv4.conf.DEVICE.forwarding` or the same of IPv6 (`family` is `ipv4` or `ipv6`); none where
/// the device has nothing of that family.
pub(super) fn forwarding(root: &Path, family: &str, device: &str) -> Result<Option<bool>, Error> {
    let path = root
        .join(family)
        .join("conf")
        .join(device)
        .join("forwarding");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Sysctl { path, source }),
    };
    match text.trim().parse::<i32>() {
        Ok(value) => Ok(Some(value != 0)),
        Err(_) => Err(Error::SysctlText {
            path,
            text,
            expected: "a number",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let ports = local_ports(Path::new(ROOT)).unwrap();
        assert!(ports.contains(ports.first) && ports.contains(ports.last));
        assert!(forwarding(Path::new(ROOT), "ipv4", "lo").unwrap().is_some());
        assert_eq!(
            forwarding(Path::new(ROOT), "ipv4", "no-such-device").unwrap(),
            None
        );
    }
}
