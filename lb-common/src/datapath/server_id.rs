//! Third stage, where servers write who they are into the connection ids that they give out: whose is
//! a packet with such an id? That server's, wherever it comes from and whatever its slot says, so that
//! a connection outlives a change of its client's address (QUIC-LB:
//! draft-ietf-quic-load-balancers-21, without a key).
//!
//! An id that names nobody is no fault: clients make up their first ones. Such packets are decided on
//! as if this stage were not there.

use crate::{
    abi::{BackendRef, PrefixKey, server_scope},
    net::{EthernetHeader, Family, Packet, Piece, QuicLongHeader, UdpHeader},
};

use super::{choose, tables::Tables};

/// Octets that a server's id is followed by at least (section 5.3 of the draft).
const NONCE_LEN: u8 = 4;

/// Index of the living backend that the connection id of a packet names; 0: none. `length`: its IP
/// packet's. A function of its own in the kernel, so that other services do not pay for its stack.
#[inline(never)]
pub(super) fn named<F: Family, P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    service: u32,
    length: usize,
) -> u32 {
    let Some(key) = key::<F, P>(packet, service, length) else {
        return 0;
    };
    let server = tables.server(&key).unwrap_or(BackendRef::NONE);
    choose::usable(tables, server).map_or(0, |_| server.index())
}

/// What looks the server up, if the packet is long enough to have a connection id: one that is real
/// has at least as many octets behind its header as are read here (RFC 9001, section 5.4.2).
#[inline(always)]
fn key<F: Family, P: Packet>(packet: &P, service: u32, length: usize) -> Option<PrefixKey> {
    if packet.piece() == Piece::Later {
        return None;
    }
    let start = packet.transport::<F>() + UdpHeader::LEN;
    let id = packet.header::<QuicLongHeader>(start)?.destination();
    let head = start + id.offset;
    if head + PrefixKey::BYTES > EthernetHeader::LEN + length {
        return None;
    }
    let octets = id.octets.saturating_sub(NONCE_LEN);
    let head = packet.header::<[u8; PrefixKey::BYTES]>(head)?;
    let scope = server_scope::<F::Address>(service);
    Some(PrefixKey::server(scope, head, octets))
}
