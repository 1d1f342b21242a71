//! A table of nftables that drops packets for this host at some addresses, as nfnetlink messages. No crate has these: what
//! is needed is a handful, and their layout is ABI (include/uapi/linux/netfilter/{nfnetlink,nf_tables}.h).
//!
//! ```text
//!   table NAME { chain input { type filter hook input priority 0;
//!     [IPv6:] icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
//!     daddr ADDRESS drop                                  of each address
//!   } }
//! ```
//!
//! A batch is done whole or not at all, so nothing comes through while a table is replaced.

use std::net::IpAddr;

use crate::model::Family;

/// The part of nfnetlink that they are for, and the messages.
const NFTABLES: u16 = 10;
const NEW_TABLE: u16 = NFTABLES << 8;
const DELETE_TABLE: u16 = NFTABLES << 8 | 2;
const NEW_CHAIN: u16 = NFTABLES << 8 | 3;
const NEW_RULE: u16 = NFTABLES << 8 | 6;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const ACK: u16 = libc::NLM_F_ACK as u16;
const CREATE: u16 = libc::NLM_F_CREATE as u16;
const APPEND: u16 = libc::NLM_F_APPEND as u16;

/// An attribute that holds others.
const NESTED: u16 = 0x8000;

const CHAIN: &[u8] = b"input\0";

/// The hook of packets for this host.
const LOCAL_IN: u32 = 1;

/// The register that rules compare, and the one of verdicts.
const REGISTER: u32 = 1;
const VERDICT: u32 = 0;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;

/// What a register is loaded from.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
/// The protocol behind the IP headers, among what is known of a packet.
const PROTOCOL: u32 = 16;

/// How a register is compared.
const EQUAL: u32 = 0;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;

const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// The number of the message whose acknowledgement says that a batch was done.
pub(in crate::net) const LAST: u32 = 1;

/// Has packets to these addresses, all of one family, dropped: in place of what the table had dropped before.
pub(in crate::net) fn dropped(table: &str, family: Family, addresses: &[IpAddr]) -> Vec<u8> {
    let table = name(table);
    let named = attribute(1, &table);
    let of = protocol_family(family);
    let hook = [attribute(1, &LOCAL_IN.to_be_bytes()), attribute(2, &[0; 4])].concat();
    let chain = [
        named.clone(),
        attribute(3, CHAIN),
        attribute(4 | NESTED, &hook),
        attribute(7, b"filter\0"),
    ];
    let mut messages = vec![
        // One that is not there can't be removed.
        message(NEW_TABLE, CREATE, of, &named),
        message(DELETE_TABLE, 0, of, &named),
        message(NEW_TABLE, CREATE, of, &named),
        message(NEW_CHAIN, CREATE, of, &chain.concat()),
    ];
    let discovery = (family == Family::Ipv6).then(neighbour_discovery);
    let rules = discovery
        .into_iter()
        .chain(addresses.iter().map(|address| dropped_to(*address)));
    for expressions in rules {
        let rule = [
            named.clone(),
            attribute(2, CHAIN),
            attribute(4 | NESTED, &expressions),
        ];
        messages.push(message(NEW_RULE, CREATE | APPEND, of, &rule.concat()));
    }
    batch(messages)
}

/// Removes the table.
pub(in crate::net) fn removed(table: &str, family: Family) -> Vec<u8> {
    let named = attribute(1, &name(table));
    let message = message(DELETE_TABLE, 0, protocol_family(family), &named);
    batch(vec![message])
}

/// RFC 9568, section 6.4.3: neighbours are answered, whoever accepts.
fn neighbour_discovery() -> Vec<u8> {
    [
        expression("meta", &[number(1, REGISTER), number(2, PROTOCOL)]),
        compared(EQUAL, &[ICMPV6]),
        loaded(TRANSPORT_HEADER, 0, 1),
        compared(AT_LEAST, &[NEIGHBOUR_SOLICITATION]),
        compared(AT_MOST, &[NEIGHBOUR_ADVERTISEMENT]),
        verdict(ACCEPT),
    ]
    .concat()
}

fn dropped_to(address: IpAddr) -> Vec<u8> {
    let (offset, octets) = match address {
        IpAddr::V4(address) => (16, address.octets().to_vec()),
        IpAddr::V6(address) => (24, address.octets().to_vec()),
    };
    let length = octets.len() as u32;
    [
        loaded(NETWORK_HEADER, offset, length),
        compared(EQUAL, &octets),
        verdict(DROP),
    ]
    .concat()
}

fn loaded(header: u32, offset: u32, length: u32) -> Vec<u8> {
    let parts = [
        number(1, REGISTER),
        number(2, header),
        number(3, offset),
        number(4, length),
    ];
    expression("payload", &parts)
}

fn compared(how: u32, with: &[u8]) -> Vec<u8> {
    let value = attribute(3 | NESTED, &attribute(1, with));
    expression("cmp", &[number(1, REGISTER), number(2, how), value])
}

fn verdict(code: u32) -> Vec<u8> {
    let code = attribute(2 | NESTED, &number(1, code));
    let data = attribute(2 | NESTED, &code);
    expression("immediate", &[number(1, VERDICT), data])
}

fn expression(kind: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    let kind = attribute(1, &name(kind));
    let data = attribute(2 | NESTED, &parts.concat());
    attribute(1 | NESTED, &[kind, data].concat())
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

/// Text as the kernel has it.
fn name(text: &str) -> Vec<u8> {
    let mut octets = text.as_bytes().to_vec();
    octets.push(0);
    octets
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = value.len() + 4;
    let mut octets = (length as u16).to_ne_bytes().to_vec();
    octets.extend(kind.to_ne_bytes());
    octets.extend(value);
    octets.resize(length.next_multiple_of(4), 0);
    octets
}

fn protocol_family(family: Family) -> u8 {
    match family {
        Family::Ipv4 => libc::NFPROTO_IPV4 as u8,
        Family::Ipv6 => libc::NFPROTO_IPV6 as u8,
    }
}

/// A message without a number: nfgenmsg behind the header.
fn message(kind: u16, flags: u16, family: u8, attributes: &[u8]) -> Vec<u8> {
    let length = 16 + 4 + attributes.len();
    let mut octets = (length as u32).to_ne_bytes().to_vec();
    octets.extend(kind.to_ne_bytes());
    octets.extend((REQUEST | flags).to_ne_bytes());
    octets.extend([0; 8]);
    let [high, low] = match kind {
        BATCH_BEGIN | BATCH_END => NFTABLES.to_be_bytes(),
        _ => [0, 0],
    };
    octets.extend([family, 0, high, low]);
    octets.extend(attributes);
    octets
}

/// The messages as one; the last of them is numbered and acknowledged.
fn batch(mut messages: Vec<Vec<u8>>) -> Vec<u8> {
    if let Some(last) = messages.last_mut() {
        let flags = u16::from_ne_bytes([last[6], last[7]]) | ACK;
        last[6..8].copy_from_slice(&flags.to_ne_bytes());
        last[8..12].copy_from_slice(&LAST.to_ne_bytes());
    }
    let begin = message(BATCH_BEGIN, 0, 0, &[]);
    let end = message(BATCH_END, 0, 0, &[]);
    [begin, messages.concat(), end].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel parses messages by their lengths.
    fn kinds(mut batch: &[u8]) -> Vec<u16> {
        let mut kinds = vec![];
        while let Some((header, _)) = batch.split_first_chunk::<16>() {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
            kinds.push(u16::from_ne_bytes([header[4], header[5]]));
            batch = &batch[length as usize..];
        }
        assert!(batch.is_empty());
        kinds
    }

    #[test]
    fn a_table_is_replaced_whole() {
        let address = |text: &str| text.parse().unwrap();
        let two = [address("198.18.0.10"), address("198.18.0.11")];
        let expected = [0x10, 0xa00, 0xa02, 0xa00, 0xa03, 0xa06, 0xa06, 0x11];
        assert_eq!(kinds(&dropped("t", Family::Ipv4, &two)), expected);
        // Neighbour discovery has a rule too.
        let one = [address("fd00:18::10")];
        assert_eq!(kinds(&dropped("t", Family::Ipv6, &one)), expected);
        assert_eq!(kinds(&removed("t", Family::Ipv6)), [0x10, 0xa02, 0x11]);
    }
}
