//! A frame that was read, and whether a packet for a service is sound.

use lb_common::datapath::DropReason;

use super::{
    headers::{ETHERNET, Headers, Piece, short},
    model::{End, Flow},
};
use crate::cases::places::Interface;

/// A frame that comes in.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    /// Through which interface.
    pub(super) ingress: Interface,
    /// Its bytes.
    pub(super) frame: &'a [u8],
    /// Room in front of it.
    pub(super) headroom: usize,
}

/// A frame whose headers were read.
pub(super) struct Packet<'a> {
    pub(super) arrival: Arrival<'a>,
    pub(super) headers: Headers,
    pub(super) flow: Flow,
    /// Of TCP.
    pub(super) segment: Segment,
}

/// What a TCP header says; zeros of others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Segment {
    pub(super) flags: u8,
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
}

/// Is a packet of a service sound?
pub(super) fn sound(packet: &Packet<'_>) -> Result<(), End> {
    let Packet {
        arrival, headers, ..
    } = packet;
    let (frame, transport) = (arrival.frame, ETHERNET + headers.before);
    if headers.length < headers.before || frame.len() < ETHERNET + headers.length {
        return Err(End::Drop(DropReason::BadIpLength));
    }
    let payload = headers.length - headers.before;
    match (headers.piece, headers.protocol) {
        (Piece::Later, _) => {}
        (_, 6) => {
            let offset = frame
                .get(transport + 12)
                .map_or(0, |byte| usize::from(byte >> 4) * 4);
            if frame.len() < transport + 20 || offset < 20 || offset > payload {
                return Err(End::Drop(DropReason::BadTcpHeader));
            }
        }
        (piece, _) => {
            let length = usize::from(short(frame, transport + 4).unwrap_or(0));
            let cut = frame.len() < transport + 8 || payload < 8;
            if cut || length < 8 || piece == Piece::Whole && length > payload {
                return Err(End::Drop(DropReason::BadUdpLength));
            }
        }
    }
    if headers.hops <= 1 {
        return Err(End::Drop(DropReason::TtlExpired));
    }
    Ok(())
}

/// SYN without ACK, RST, FIN.
pub(super) fn opens(flags: u8) -> bool {
    flags & 0b1_0111 == 0b0_0010
}
