//! Which source ports `full-nat` may use: those that the host's own connections don't.

use lb_common::abi::SourcePorts;

/// The lowest port that programs without privileges may use.
const FIRST: u16 = 1024;

/// The larger range of ports beside `ip_local_port_range`, which goes from `first` to `last`;
/// `None` if nothing is left.
pub fn source_ports(first: u16, last: u16) -> Option<SourcePorts> {
    let below = SourcePorts {
        first: FIRST,
        count: first.saturating_sub(FIRST),
    };
    let above = SourcePorts {
        first: last.saturating_add(1),
        count: u16::MAX - last,
    };
    let larger = if below.count >= above.count {
        below
    } else {
        above
    };
    (larger.count > 0).then_some(larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16) -> Option<(u16, u16)> {
        source_ports(first, last).map(|ports| (ports.first, ports.count))
    }

    #[test]
    fn the_larger_side_is_taken() {
        // Linux's default.
        assert_eq!(range(32_768, 60_999), Some((1024, 31_744)));
        assert_eq!(range(1024, 30_000), Some((30_001, 35_535)));
        assert_eq!(range(1025, 65_535), Some((1024, 1)));
        assert_eq!(range(1024, 65_535), None);
        assert_eq!(range(0, 65_535), None);
    }
}
