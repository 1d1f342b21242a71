//! IP headers, made by etherparse.

use std::net::IpAddr;

use etherparse::{IpDscp, IpEcn, IpFragOffset, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header};

/// An IP header of either version.
pub(crate) enum IpHeader {
    V4(Ipv4Header),
    V6(Ipv6Header),
}

impl IpHeader {
    /// Its bytes, with the checksum that it has to have.
    pub(crate) fn bytes(self) -> Vec<u8> {
        match self {
            Self::V4(mut header) => {
                header.header_checksum = header.calc_header_checksum();
                header.to_bytes().to_vec()
            }
            Self::V6(header) => header.to_bytes().to_vec(),
        }
    }
}

/// A header for `length` bytes behind it.
pub(crate) fn ip_header(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpNumber,
    class: u8,
    hops: u8,
    length: usize,
) -> IpHeader {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => IpHeader::V4(Ipv4Header {
            dscp: IpDscp::try_new(class >> 2).expect("six bits"),
            ecn: IpEcn::try_new(class & 3).expect("two bits"),
            total_len: length as u16 + 20,
            identification: 0x1234,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: IpFragOffset::ZERO,
            time_to_live: hops,
            protocol,
            header_checksum: 0,
            source: source.octets(),
            destination: destination.octets(),
            options: Default::default(),
        }),
        (IpAddr::V6(source), IpAddr::V6(destination)) => IpHeader::V6(Ipv6Header {
            traffic_class: class,
            flow_label: Ipv6FlowLabel::try_new(0x54321).expect("20 bits"),
            payload_length: length as u16,
            next_header: protocol,
            hop_limit: hops,
            source: source.octets(),
            destination: destination.octets(),
        }),
        _ => panic!("{source} and {destination} are of two families"),
    }
}
