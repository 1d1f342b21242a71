//! Packets of services that end too early: at every byte, with lengths that still promise the
//! whole packet and with lengths that agree.

use lb_common::datapath::{DropReason, PassReason};

use super::{
    case::{Case, Expected},
    outputs::joined,
    places::{Flavour, Pool, Protocol},
};

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for pool in Pool::MODES {
        for flavour in Flavour::ALL {
            rows.extend(cut_short(flavour, pool));
            rows.extend(ends_early(flavour, pool));
            rows.extend(says_less(flavour, pool));
        }
    }
    rows
}

/// The frame is cut; its headers promise more.
fn cut_short(flavour: Flavour, pool: Pool) -> impl Iterator<Item = Case> {
    let whole = flavour.request(pool);
    let (length, ports) = (whole.bytes().len(), whole.transport() + 4);
    (0..=length).map(move |cut| {
        let expected = if cut < ports {
            Expected::passed(PassReason::Truncated)
        } else if cut < length {
            Expected::dropped(DropReason::BadIpLength)
        } else {
            joined(flavour, pool, &whole)
        };
        let name = format!("{pool} {flavour}: cut to {cut} of {length} bytes");
        Case::new(name).frame(&whole.clone().cut(cut), expected)
    })
}

/// The IP packet is shorter than its transport header, and says so; so is the frame.
fn ends_early(flavour: Flavour, pool: Pool) -> impl Iterator<Item = Case> {
    let whole = flavour.request(pool);
    (0..header(flavour)).map(move |bytes| {
        let end = whole.transport() + bytes;
        let frame = whole.clone().says_ip_length(end - 14).cut(end);
        let expected = if bytes < 4 {
            Expected::passed(PassReason::Truncated)
        } else {
            Expected::dropped(bad_header(flavour))
        };
        Case::new(format!("{pool} {flavour}: ends after {bytes} bytes")).frame(&frame, expected)
    })
}

/// The IP packet says that it is shorter than its transport header; the frame goes on.
fn says_less(flavour: Flavour, pool: Pool) -> impl Iterator<Item = Case> {
    let whole = flavour.request(pool);
    (0..header(flavour)).map(move |bytes| {
        let frame = whole.clone().says_ip_length(whole.transport() + bytes - 14);
        let name = format!("{pool} {flavour}: says it ends after {bytes} bytes");
        Case::new(name).frame(&frame, Expected::dropped(bad_header(flavour)))
    })
}

fn header(flavour: Flavour) -> usize {
    match flavour.protocol {
        Protocol::Tcp => 20,
        Protocol::Udp => 8,
    }
}

/// What becomes of a transport header that is cut short.
pub(super) fn bad_header(flavour: Flavour) -> DropReason {
    match flavour.protocol {
        Protocol::Tcp => DropReason::BadTcpHeader,
        Protocol::Udp => DropReason::BadUdpLength,
    }
}
