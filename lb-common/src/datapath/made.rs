//! Frames made here: an ICMP error about a packet, a TCP reset in its place. Whether the packet is
//! one to be answered is decided elsewhere; whether anything may be made about it at all (rates, whom
//! its source names), here.
//!
//! ```text
//! as it came        │ Ethernet │ IP │ TCP or UDP, payload …          │
//! an error: │ Ethernet │ IP │ ICMP │ IP │ TCP or UDP, payload … │ cut
//! a reset:          │ Ethernet │ IP │ TCP │                      cut
//! ```
//! What is changed before it turns out that nothing can be made is dropped.

use crate::{
    abi::{Address, Bucket, BucketKey, HopWord, Limited, NextHop},
    net::{Error, EthernetHeader, Icmp, IcmpHeader, IpHeader, Packet, Payload, TcpHeader, Trim},
};

use super::{
    rewrite,
    tables::{FamilyTables, Tables},
};

/// The way that a packet came. `None` if it says that a group sent it: no frame comes from one (IEEE
/// 802.3, section 3.2.3).
#[inline(always)]
pub(super) fn back<P: Packet>(packet: &P, ingress: HopWord) -> Option<HopWord> {
    let ethernet = packet.header::<EthernetHeader>(0)?;
    let source = ethernet.source;
    (!source.is_group()).then(|| HopWord::new(source, ingress.device()))
}

/// The packet that an error is about.
pub(super) struct Quote<A> {
    /// Where it starts in the frame.
    pub(super) at: usize,
    /// How much of it there is, bytes.
    pub(super) length: usize,
    /// Who sent it, and is told.
    pub(super) source: A,
    /// Whom it was for, in whose name its sender is told.
    pub(super) destination: A,
}

impl<A: Address> Quote<A> {
    /// As much of the packet at `at` as the frame holds.
    #[inline(always)]
    pub(super) fn whole<F: Icmp<Address = A>, P: Packet>(packet: &P, at: usize) -> Option<Self> {
        let ip = packet.header::<F::Header>(at)?;
        Some(Self {
            at,
            length: ip.total_length().min(packet.len().saturating_sub(at)),
            source: ip.source(),
            destination: ip.destination(),
        })
    }
}

/// Makes the frame an error about the packet that it holds, which leaves through `hop`.
#[inline(never)]
pub(super) fn tell<F: Icmp, P: Trim, T: Tables>(
    packet: &mut P,
    tables: &T,
    error: Error,
    quote: &Quote<F::Address>,
    hop: HopWord,
) -> Option<()> {
    if !F::Header::names_a_host(quote.source) || !allowed(tables, quote.source, Limited::Error) {
        return None;
    }
    // Whole words, so that the sum needs no other.
    let length = quote.length.min(F::QUOTE) & !3;
    let sum = packet.sum(quote.at, length)?;
    let start = F::TRANSPORT + IcmpHeader::LEN;
    let fits = packet.cut(quote.at + length)
        && if quote.at < start {
            packet.grow(start - quote.at)
        } else {
            packet.strip(quote.at - start)
        };
    if !fits {
        return None;
    }
    let payload = Payload {
        protocol: F::ICMP,
        length: (IcmpHeader::LEN + length) as u16,
        class: 0,
    };
    let (from, to) = (quote.destination, quote.source);
    let pseudo = F::Header::pseudo(payload, from, to);
    *packet.header_mut::<IcmpHeader>(F::TRANSPORT)? = IcmpHeader::error::<F>(error, pseudo, sum);
    *packet.header_mut::<F::Header>(EthernetHeader::LEN)? = F::Header::around(payload, from, to);
    leave::<F, P, T>(packet, tables, hop)
}

/// Makes the frame a reset if it is TCP, else an error that says that nobody serves its port. It
/// leaves the way that it came.
#[inline(always)]
pub(super) fn refuse<F: Icmp, P: Trim, T: FamilyTables<F>>(
    packet: &mut P,
    tables: &T,
    ingress: HopWord,
) -> Option<()> {
    let back = back(packet, ingress)?;
    let ip = packet.header::<F::Header>(EthernetHeader::LEN)?;
    if ip.protocol() == TcpHeader::PROTOCOL {
        return reset::<F, P, T>(packet, tables, back);
    }
    let quote = Quote::whole::<F, P>(packet, EthernetHeader::LEN)?;
    tell::<F, P, T>(packet, tables, Error::PortUnreachable, &quote, back)
}

/// Makes the frame the reset that answers the TCP segment that it holds.
#[inline(never)]
fn reset<F: Icmp, P: Trim, T: Tables>(packet: &mut P, tables: &T, hop: HopWord) -> Option<()> {
    let ip = packet.header::<F::Header>(EthernetHeader::LEN)?;
    let (from, to) = (ip.destination(), ip.source());
    let length = ip.total_length().checked_sub(F::HEADER_LEN)?;
    let payload = Payload {
        protocol: TcpHeader::PROTOCOL,
        length: TcpHeader::LEN as u16,
        class: 0,
    };
    let pseudo = F::Header::pseudo(payload, from, to);
    let segment = packet.header::<TcpHeader>(F::TRANSPORT)?;
    let reset = segment.reset(length, pseudo)?;
    if !F::Header::names_a_host(to) || !allowed(tables, to, Limited::Reset) {
        return None;
    }
    *packet.header_mut::<TcpHeader>(F::TRANSPORT)? = reset;
    *packet.header_mut::<F::Header>(EthernetHeader::LEN)? = F::Header::around(payload, from, to);
    if !packet.cut(F::TRANSPORT + TcpHeader::LEN) {
        return None;
    }
    leave::<F, P, T>(packet, tables, hop)
}

/// Whether the rates allow one more frame of this kind towards `source`. One source that gets no
/// more takes nothing of what all share.
#[inline(always)]
fn allowed<A: Address, T: Tables>(tables: &T, source: A, kind: Limited) -> bool {
    let limits = tables.reply_limits();
    let (all, one) = match kind {
        Limited::Error => (limits.errors, limits.errors_per_source),
        Limited::Reset => (limits.resets, limits.resets_per_source),
    };
    let (now, hertz) = (tables.now(), tables.hertz());
    let key = BucketKey::new(source, kind);
    tables.with_source_bucket(&key, |bucket: &mut Bucket| bucket.take(one, now, hertz))
        == Some(true)
        && tables.with_bucket(kind, |bucket| bucket.take(all, now, hertz)) == Some(true)
}

/// Writes the Ethernet header.
#[inline(always)]
pub(super) fn leave<F: Icmp, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    hop: HopWord,
) -> Option<()> {
    rewrite::link::<F, P, T>(packet, tables, NextHop { hop, mtu: 0 }).ok()
}
