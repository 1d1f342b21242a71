//! ICMP errors that routers and hosts send: about packets of flows in both directions, about others,
//! sound ones and damaged ones.

use std::net::{IpAddr, SocketAddr};

use etherparse::IpNumber;

use super::{
    flaws::Flaw,
    generate::{SERVICES, Source},
    headers::{ETHERNET, long},
    icmp::{self, HEADER, number, plain},
    site::{Service, Site, version},
    story::{ISN, Incoming, Known, Step, request},
};
use crate::cases::{
    frame::{ACK, Frame, PSH, RST, SYN},
    headers::ip_header,
    places::{BACK, BACKEND, Interface, Mac, Protocol, ROUTER, UPLINK},
};

/// An ICMP error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notice {
    /// Which client's packet it is about.
    pub(super) client: u8,
    /// And which service's.
    pub(super) service: usize,
    /// About which of them.
    pub(super) about: About,
    /// What it says.
    pub(super) says: Says,
    /// How much of what is behind the quoted IP header is quoted, bytes.
    pub(super) quoted: usize,
    /// How far the quoted sequence number is from the one that it may have.
    pub(super) offset: u32,
    /// How far the number that is acknowledged there is from the one that it may have.
    pub(super) acknowledged: u32,
    /// The flags of a backend's segment.
    pub(super) flags: u8,
    /// Whether the quoted packet's destination sends it, no router.
    pub(super) from_end: bool,
    /// What is wrong with the quote.
    pub(super) tear: Tear,
    /// Its hops.
    pub(super) hops: u8,
    /// Its class.
    pub(super) class: u8,
    /// The room in front of it.
    pub(super) headroom: usize,
    /// The bytes behind it.
    pub(super) padding: usize,
    /// What is wrong with it.
    pub(super) flaw: Flaw,
}

/// Which packet an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The backend's, to the client.
    Reply,
    /// The client's, as the last one left; where none has, as it came.
    Request,
    /// The client's, as it came.
    Unchanged,
    /// One of nobody here.
    Foreign,
}

/// What an error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// A link takes no more than this.
    TooBig(u32),
    /// Its hops are used up.
    Expired,
    /// Its destination is unreachable, by this code.
    Unreachable(u8),
    /// There is something wrong with it.
    Problem,
    /// Something else, by this type over IPv4 and IPv6.
    Other(u8, u8),
}

/// What is wrong with a quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tear {
    /// Nothing.
    None,
    /// A byte is another one.
    Byte(u16, u8),
    /// It is of a fragment.
    Fragment,
    /// The packet inside comes from an address that starts so.
    Client(u8),
    /// The error is for another one than who sent the packet.
    Elsewhere,
}

impl Notice {
    /// The frame.
    pub(super) fn incoming(&self, service: &Service, known: &Known) -> Incoming {
        let (packet, (through, from)) = self.packet(service, known);
        let ip = plain(&packet).expect("it left or comes plain");
        let quoted = packet.len().min(ip.before + self.quoted);
        let mut quote = packet[..quoted].to_vec();
        self.tear.strike(ip.before, &mut quote);
        let sender = match self.from_end {
            true => ip.destination,
            false => version(ip.source).link(77, 7),
        };
        let receiver = match self.tear {
            Tear::Elsewhere => version(ip.source).inner(252),
            _ => ip.source,
        };
        let header = ip_header(
            sender,
            receiver,
            IpNumber(number(sender)),
            self.class,
            self.hops,
            HEADER + quote.len(),
        );
        let fields = self.says.fields(sender);
        let link = [from, through.mac];
        let ends = [sender, receiver];
        let mut bytes = icmp::frame(link, ends, &header.bytes(), fields, &quote);
        bytes.extend(std::iter::repeat_n(0xee, self.padding));
        let ingress = self.flaw.strike(through, &mut bytes);
        Incoming {
            ingress,
            bytes,
            headroom: self.headroom,
        }
    }

    /// The packet that it is about, and where the error comes from.
    fn packet(&self, service: &Service, known: &Known) -> (Vec<u8>, (Interface, Mac)) {
        let (behind, before) = ((BACK, BACKEND), (UPLINK, ROUTER));
        let flow = request(service, self.client);
        let [client, backend] = ISN;
        let made = |source: SocketAddr, destination: SocketAddr, numbers: [u32; 2]| {
            let frame = match service.protocol {
                Protocol::Tcp => Frame::tcp(source, destination).flags(self.flags),
                Protocol::Udp => Frame::udp(source, destination),
            };
            let frame = frame
                .sequence(numbers[0].wrapping_add(self.offset))
                .acknowledgement(numbers[1].wrapping_add(self.acknowledged))
                .payload(&[0x45; 90])
                .hops(60);
            frame.bytes()[ETHERNET..].to_vec()
        };
        let (source, destination) = (flow.source, flow.destination);
        let left = known.frames.get(&(self.client, self.service));
        match self.about {
            About::Reply => (made(destination, source, [backend, client]), before),
            About::Request if left.and_then(|left| plain(&left[ETHERNET..])).is_some() => {
                let left = left.map(|left| left[ETHERNET..].to_vec());
                (self.moved(left.unwrap_or_default()), behind)
            }
            About::Request | About::Unchanged => {
                (made(source, destination, [client, backend]), behind)
            }
            About::Foreign => {
                let other = SocketAddr::new(version(source.ip()).link(66, 6), 99);
                (made(other, source, [backend, client]), before)
            }
        }
    }

    /// A packet that left, with another sequence number.
    fn moved(&self, mut packet: Vec<u8>) -> Vec<u8> {
        let ip = plain(&packet).expect("it left plain");
        let at = ip.before + 4;
        if ip.protocol == 6
            && let Some(sequence) = long(&packet, at)
        {
            let moved = sequence.wrapping_add(self.offset);
            packet[at..at + 4].copy_from_slice(&moved.to_be_bytes());
        }
        packet
    }
}

impl Says {
    /// Type, code and rest, over the family of an address.
    fn fields(self, address: IpAddr) -> (u8, u8, u32) {
        match (self, address) {
            (Self::TooBig(mtu), IpAddr::V4(_)) => (3, 4, mtu),
            (Self::TooBig(mtu), IpAddr::V6(_)) => (2, 0, mtu),
            (Self::Expired, IpAddr::V4(_)) => (11, 0, 0),
            (Self::Expired, IpAddr::V6(_)) => (3, 0, 0),
            (Self::Unreachable(code), IpAddr::V4(_)) => (3, code, 0),
            (Self::Unreachable(code), IpAddr::V6(_)) => (1, code, 0),
            (Self::Problem, IpAddr::V4(_)) => (12, 0, 20 << 24),
            (Self::Problem, IpAddr::V6(_)) => (4, 1, 40),
            (Self::Other(kind, _), IpAddr::V4(_)) | (Self::Other(_, kind), IpAddr::V6(_)) => {
                (kind, 0, 0)
            }
        }
    }
}

impl Tear {
    /// Damages the quote of a packet with so long an IP header.
    fn strike(self, header: usize, quote: &mut [u8]) {
        match self {
            Self::None | Self::Elsewhere => {}
            Self::Byte(at, byte) if !quote.is_empty() => {
                let at = usize::from(at) % quote.len();
                quote[at] = byte;
            }
            Self::Byte(..) => {}
            Self::Fragment if header == 20 => put(quote, 6, 0x20),
            Self::Fragment => put(quote, 6, 44),
            Self::Client(byte) => {
                let udp = quote.get(if header == 20 { 9 } else { 6 }) == Some(&17);
                let inside = header + if udp { 8 } else { 0 };
                let v4 = quote.get(inside).is_some_and(|byte| byte >> 4 == 4);
                put(quote, inside + if v4 { 12 } else { 8 }, byte);
            }
        }
    }
}

fn put(bytes: &mut [u8], at: usize, byte: u8) {
    if let Some(place) = bytes.get_mut(at) {
        *place = byte;
    }
}

impl Source {
    /// A flow begins, and errors come about it.
    pub(super) fn notices(&mut self, site: &Site) -> Vec<Step> {
        let mut steps = self.handshake(site);
        let about = steps.iter().find_map(Step::request);
        let (client, service) = about.unwrap_or_default();
        steps.push(Step::Notice(self.usual_notice(client, service)));
        for _ in 0..self.below(4) {
            steps.push(Step::Notice(self.notice(client, service)));
        }
        steps
    }

    /// An error that goes to whom it concerns, if there is a flow.
    fn usual_notice(&mut self, client: u8, service: usize) -> Notice {
        Notice {
            about: self.pick(&[About::Reply, About::Request, About::Request]),
            says: Says::TooBig(self.pick(&[1492, 1400, 1280])),
            quoted: self.pick(&[64, 528, 1232]),
            offset: self.below(3000),
            acknowledged: self.below(3000),
            flags: ACK,
            tear: Tear::None,
            hops: 64,
            headroom: 256,
            flaw: Flaw::None,
            ..self.notice(client, service)
        }
    }

    /// An error about a client's flow to a service.
    pub(super) fn notice(&mut self, client: u8, service: usize) -> Notice {
        Notice {
            client,
            service: service % SERVICES as usize,
            about: self.pick(&[
                About::Reply,
                About::Reply,
                About::Reply,
                About::Request,
                About::Request,
                About::Request,
                About::Request,
                About::Unchanged,
                About::Foreign,
            ]),
            says: self.says(),
            quoted: self.quoted(),
            offset: self.distance(),
            acknowledged: self.distance(),
            flags: self.pick(&[ACK, ACK, ACK | PSH, SYN | ACK, RST]),
            from_end: self.once_in(3),
            tear: self.tear(),
            hops: self.pick(&[64, 64, 64, 64, 64, 64, 255, 2, 1, 0]),
            class: self.pick(&[0, 0, 3, 0xb8, 0xff]),
            headroom: self.pick(&[256, 256, 256, 256, 256, 256, 256, 40, 0]),
            padding: self.pick(&[0, 0, 0, 6]),
            flaw: match self.once_in(40) {
                true => Flaw::Through(3),
                false => self.flaw(),
            },
        }
    }

    fn says(&mut self) -> Says {
        match self.below(8) {
            0..4 => Says::TooBig(self.mtu()),
            4 => Says::Expired,
            5 => Says::Unreachable(self.pick(&[0, 1, 3, 4, 5, 13])),
            6 => Says::Problem,
            _ => {
                let v4 = self.pick(&[4, 5, 9, 0, 17]);
                let v6 = self.pick(&[0, 5, 127, 129, 137]);
                Says::Other(v4, v6)
            }
        }
    }

    /// What links take, and what none takes behind one of our headers.
    fn mtu(&mut self) -> u32 {
        match self.below(6) {
            0 => self.pick(&[0, 67, 0xffff, 0x1_0000, 0x1_0578, u32::MAX]),
            1 => {
                let around = self.pick(&[20, 28, 40, 48]);
                68 + around - self.below(2)
            }
            _ => self.pick(&[1492, 1400, 1280, 576]),
        }
    }

    /// Half a header, all of it, more; the least that a packet behind a header has to have; or all.
    fn quoted(&mut self) -> usize {
        match self.below(6) {
            0 => self.pick(&[0, 7, 8, 16, 19, 20, 21]),
            1 => 8,
            2 => self.pick(&[28, 36, 48, 56]) - self.below(2) as usize,
            3 => self.below(120) as usize,
            _ => self.pick(&[64, 528, 1232, 1500]),
        }
    }

    /// From the last number that counts as near to the first one that does not.
    fn distance(&mut self) -> u32 {
        let near = 1 << 20;
        match self.below(6) {
            0 => self.pick(&[near - 1, near, near + 1, 1 << 31]),
            1 => 0u32.wrapping_sub(self.pick(&[near - 1, near, near + 1])),
            2 => self.offset(),
            _ => self.below(3000),
        }
    }

    fn tear(&mut self) -> Tear {
        match self.below(24) {
            0 => Tear::Byte(self.below(100) as u16, self.below(256) as u8),
            1 => Tear::Fragment,
            2 => Tear::Client(self.pick(&[0, 127, 224, 255])),
            3 => Tear::Elsewhere,
            _ => Tear::None,
        }
    }
}
