//! Flows of services with backends of both families, or of the other one alone, in `full-nat`: their
//! packets are rewritten as ones of IPv6, in which IPv4 addresses are mapped ones ([`Mapped`]).
//!
//! ```text
//! IPv4 ──► service ──► mapped ─┐          ┌─ mapped ──► IPv4
//!                              ├─► flow ──┤
//! IPv6 ──► service ────────────┘          └───────────► IPv6
//! ```
//! What an IP header says is carried over as RFC 7915 (sections 4.1 and 5.1) has it; the hop is taken
//! once. A packet that does not leave is given back as it came. Options, extension headers and
//! fragments do not come here; ICMP errors about such flows go to [`quoted`](super::quoted).

use crate::{
    abi::{
        Address, FlowKey, Ipv6Address, MAPPED_SOURCE, SERVICE_POSITIONS, Service, ServiceKind,
        mapped_position,
    },
    net::{
        EthernetHeader, EthernetWords, Family, IpHeader, Ipv4, Ipv4Header, Ipv6, Ipv6Header,
        Mapped, Packet, Payload, Trim,
    },
};

use super::{
    aside::{Handled, Question},
    end, flow,
    outcome::{DropReason, Egress, Outcome, Stop},
    parse, service,
    tables::{FamilyTables, Tables},
};

/// Decides on a packet of a flow whose ends may be of both families, rewrites it if it is forwarded, and
/// counts what became of it, unless that is left to [`handle_aside`](super::handle_aside).
#[inline(always)]
pub fn handle_crossing<P, T>(packet: &mut P, tables: &T) -> Handled
where
    P: Trim,
    T: FamilyTables<Ipv4> + FamilyTables<Ipv6>,
{
    let handled = match judge(packet, tables) {
        Ok(egress) => Handled::Done(Outcome::Forward(egress)),
        Err(stop) => Question::of(stop),
    };
    match handled {
        Handled::Done(outcome) => Handled::Done(end(packet, tables, tables.ingress(), outcome)),
        left => left,
    }
}

/// Counts a packet of such a flow that nobody is there to decide on.
#[inline(always)]
pub fn leave_uncrossed<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Outcome {
    let outcome = Outcome::Drop(DropReason::Inconsistent);
    end(packet, tables, tables.ingress(), outcome)
}

#[inline(always)]
fn judge<P, T>(packet: &mut P, tables: &T) -> Result<Egress, Stop>
where
    P: Trim,
    T: FamilyTables<Ipv4> + FamilyTables<Ipv6>,
{
    let mut lost = Lost::default();
    map(packet, tables, &mut lost)?;
    match mapped(packet, tables, &lost) {
        Ok(egress) => {
            unmap(packet)?;
            Ok(egress)
        }
        Err(stop) if lost.is_any() => Err(give_back(packet, &lost, stop)),
        Err(stop) => Err(stop),
    }
}

/// Decides on a packet that stands as one of IPv6, as which it came unless anything is `lost`.
#[inline(always)]
fn mapped<P, T>(packet: &mut P, tables: &T, lost: &Lost) -> Result<Egress, Stop>
where
    P: Trim,
    T: FamilyTables<Ipv4> + FamilyTables<Ipv6>,
{
    let parsed = parse::network::<Mapped, P>(packet)?;
    let found = target(tables, &parsed.key, lost);
    let service = found.ok_or(DropReason::Inconsistent)?;
    if !service.crosses() {
        return Err(DropReason::Inconsistent.into());
    }
    let ingress = tables.ingress();
    flow::tracked::<Mapped, P, T>(packet, tables, ingress, &parsed, service)
}

/// What the headers of both families say.
struct Carried<A> {
    /// The Ethernet header's addresses.
    link: (u64, u32),
    payload: Payload,
    hops: u8,
    source: A,
    destination: A,
}

impl<A: Address> Carried<A> {
    #[inline(always)]
    fn of<F: Family<Address = A>, P: Packet>(packet: &P) -> Option<Self> {
        let link = packet.header::<EthernetWords>(0)?;
        let ip = packet.header::<F::Header>(EthernetHeader::LEN)?;
        let payload = Payload {
            protocol: ip.protocol(),
            // One that is too short for its own header comes out as too long for the frame.
            length: ip.total_length().wrapping_sub(F::HEADER_LEN) as u16,
            class: ip.traffic_class(),
        };
        Some(Self {
            link: link.addresses(),
            payload,
            hops: ip.hops(),
            source: ip.source(),
            destination: ip.destination(),
        })
    }

    /// The same, between other ends.
    #[inline(always)]
    fn between<B>(self, source: B, destination: B) -> Carried<B> {
        Carried {
            link: self.link,
            payload: self.payload,
            hops: self.hops,
            source,
            destination,
        }
    }

    #[inline(always)]
    fn put<F: Family<Address = A>, P: Packet>(&self, packet: &mut P) -> Option<()> {
        let link = packet.header_mut::<EthernetWords>(0)?;
        link.set_as(self.link, F::ETHERTYPE);
        let ip = packet.header_mut::<F::Header>(EthernetHeader::LEN)?;
        *ip = F::Header::around(self.payload, self.source, self.destination);
        ip.set_hops(self.hops);
        Some(())
    }
}

/// The entry that says whose a packet is. A function of its own in the kernel, as others here are, for
/// the sake of its small stack.
#[inline(never)]
fn target<'t, T: FamilyTables<Mapped>>(
    tables: &'t T,
    key: &FlowKey<Ipv6Address>,
    lost: &Lost,
) -> Option<&'t Service<Ipv6Address>> {
    match lost.is_any() {
        true => tables.service(lost.position()),
        false => service::find::<Mapped, T>(tables, key).ok(),
    }
}

/// What of a packet of IPv4 is not in the mapped one. Two words, since it lies on the stack.
#[derive(Clone, Copy, Default)]
struct Lost {
    /// Its number and, behind that, its header's checksum.
    number: u32,
    /// Where the entry is that says whose the packet is, and above that the flags, of which the offset
    /// is not one: fragments do not come here. All 0: it was none of IPv4.
    place: u32,
}

impl Lost {
    /// Where the flags are in `place`.
    const FLAGS: u32 = 29;

    /// What is lost of a packet with this header, whose entry is at `position`.
    #[inline(always)]
    fn of(ip: &Ipv4Header, position: u32) -> Self {
        let ([a, b, flags, _], [c, d]) = (ip.fragmentation(), ip.checksum());
        Self {
            number: u32::from_be_bytes([a, b, c, d]),
            place: position | u32::from(flags >> 5) << Self::FLAGS,
        }
    }

    /// Whether it was one of IPv4.
    #[inline(always)]
    fn is_any(self) -> bool {
        self.place != 0
    }

    /// Where the entry is that says whose it is.
    #[inline(always)]
    fn position(self) -> u32 {
        self.place & ((1 << Self::FLAGS) - 1)
    }

    /// Gives it back.
    #[inline(always)]
    fn restore(self, ip: &mut Ipv4Header) {
        let [a, b, c, d] = self.number.to_be_bytes();
        let flags = (self.place >> Self::FLAGS << 5) as u8;
        ip.set_fragmentation([a, b, flags, 0], [c, d]);
    }
}

const _: () = assert!(SERVICE_POSITIONS < 1 << Lost::FLAGS);

/// Makes a packet of IPv4 one of IPv6 with mapped addresses; all others stay. A function of its own, as
/// [`target`] is.
#[inline(never)]
fn map<P, T>(packet: &mut P, tables: &T, lost: &mut Lost) -> Result<(), Stop>
where
    P: Trim,
    T: FamilyTables<Ipv4>,
{
    match parse::link(packet, tables.ingress())? {
        parse::Link::Ipv4 => {}
        parse::Link::Ipv6 => return between_others(packet),
    }
    let position = position(packet, tables)?;
    let ip = packet.header::<Ipv4Header>(EthernetHeader::LEN);
    *lost = Lost::of(ip.ok_or(DropReason::Inconsistent)?, position);
    let carried = Carried::of::<Ipv4, P>(packet).ok_or(DropReason::Inconsistent)?;
    if !packet.grow(Mapped::LONGER) {
        return Err(DropReason::NoHeadroom.into());
    }
    let (source, destination) = (carried.source, carried.destination);
    let (source, destination) = (
        Ipv6Address::mapped(source),
        Ipv6Address::mapped(destination),
    );
    let carried = carried.between(source, destination);
    let put = carried.put::<Mapped, P>(packet);
    Ok(put.ok_or(DropReason::Inconsistent)?)
}

/// No packet of IPv6 has a mapped address where it comes from.
#[inline(always)]
fn between_others<P: Packet>(packet: &P) -> Result<(), Stop> {
    let ip = packet.header::<Ipv6Header>(EthernetHeader::LEN);
    let ip = ip.ok_or(DropReason::Inconsistent)?;
    match ip.source().unmapped().or(ip.destination().unmapped()) {
        Some(_) => Err(DropReason::MappedAddress.into()),
        None => Ok(()),
    }
}

/// Where the entry is that says whose a packet of IPv4 is, once it is mapped.
#[inline(always)]
fn position<P: Packet, T: FamilyTables<Ipv4>>(packet: &P, tables: &T) -> Result<u32, Stop> {
    let parsed = parse::network::<Ipv4, P>(packet)?;
    let found = service::find::<Ipv4, T>(tables, &parsed.key);
    let found = found.map_err(|_| DropReason::Inconsistent)?;
    match found.kind() {
        ServiceKind::Service => Ok(mapped_position(found.id(), parsed.key.protocol)),
        ServiceKind::Source => Ok(MAPPED_SOURCE),
        ServiceKind::Own | ServiceKind::Reverse | ServiceKind::Group | ServiceKind::Empty => {
            Err(DropReason::Inconsistent.into())
        }
    }
}

/// Makes a packet between mapped addresses one of IPv4: not to be fragmented, so that its number is of
/// no importance (RFC 6864, section 4.1). All others stay.
#[inline(never)]
fn unmap<P: Trim>(packet: &mut P) -> Result<(), Stop> {
    let carried = Carried::of::<Mapped, P>(packet).ok_or(DropReason::Inconsistent)?;
    let ends = (carried.source.unmapped(), carried.destination.unmapped());
    let (Some(source), Some(destination)) = ends else {
        return Ok(());
    };
    let carried = carried.between(source, destination);
    if !packet.strip(Mapped::LONGER) {
        return Err(DropReason::Inconsistent.into());
    }
    let put = carried.put::<Ipv4, P>(packet);
    Ok(put.ok_or(DropReason::Inconsistent)?)
}

/// Makes a packet that was mapped what it was, since errors quote it, and tells why it ends in what its
/// sender counts.
#[inline(never)]
fn give_back<P: Trim>(packet: &mut P, lost: &Lost, stop: Stop) -> Stop {
    let unmapped = unmap(packet);
    let ip = packet.header_mut::<Ipv4Header>(EthernetHeader::LEN);
    let Some(ip) = ip.filter(|_| unmapped.is_ok()) else {
        return DropReason::Inconsistent.into();
    };
    lost.restore(ip);
    stop.with_mtu(|mtu| mtu.saturating_sub(Mapped::LONGER as u16))
}
