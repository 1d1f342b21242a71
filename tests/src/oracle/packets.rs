//! The packets of stories, one by one.

use super::{
    flaws::Flaw,
    generate::{SERVICES, Source},
    story::{CLIENTS, Kind, Sent, Shape},
};

impl Source {
    /// A packet that goes through if any does.
    pub(super) fn plain(&mut self) -> Sent {
        Sent {
            hops: 64,
            payload: 40,
            shape: Shape::Plain,
            flaw: Flaw::None,
            headroom: 256,
            ..self.sent(&[Kind::Ack])
        }
    }

    /// A client: a few have most of the packets, so that flows get on.
    pub(super) fn client(&mut self) -> u8 {
        let clients = if self.once_in(3) { CLIENTS.into() } else { 4 };
        self.below(clients) as u8
    }

    /// A packet of one of these kinds, mostly.
    pub(super) fn sent(&mut self, kinds: &[Kind]) -> Sent {
        Sent {
            client: self.client(),
            service: self.below(SERVICES) as usize,
            kind: self.kind(kinds),
            offset: self.offset(),
            acknowledged: self.offset(),
            payload: self.payload(),
            hops: self.pick(&[64, 64, 64, 64, 64, 64, 64, 64, 64, 255, 255, 2, 2, 2, 1, 0]),
            class: self.pick(&[0, 0, 3, 0xb8, 0xff]),
            shape: self.shape(),
            flaw: self.flaw(),
            headroom: self.pick(&[256, 256, 256, 256, 256, 256, 40, 0]),
            padding: self.pick(&[0, 0, 0, 6]),
        }
    }

    /// Bytes of payload; sometimes so many that the packet just fits its way, or just not.
    pub(super) fn payload(&mut self) -> usize {
        match self.below(12) {
            0 => self.pick(&[0, 1, 1180, 1195, 1272]),
            1 | 2 => {
                let mtu = self.pick(&[1500, 1500, 1400, 1280, 600]);
                let headers = self.pick(&[28, 40, 48, 60]);
                let around = self.pick(&[0, 20, 28, 40, 48]);
                mtu - headers - around + self.below(2) as usize
            }
            _ => self.below(40) as usize,
        }
    }

    fn kind(&mut self, usual: &[Kind]) -> Kind {
        if self.once_in(12) {
            return Kind::Flags(self.below(64) as u8);
        }
        // TCP has no use for it, and acknowledges.
        if self.once_in(4) {
            let version = self.pick(&[1, 1, 0x6b33_43cf, 0xff00_001d]);
            let first = self.pick(&[0x80, 0xc0, 0xd0, 0xe0, 0xf0, 0x40]);
            return Kind::Quic(first, version);
        }
        self.pick(usual)
    }

    /// How far a number is from another one.
    pub(super) fn offset(&mut self) -> u32 {
        let far = [
            65_535,
            65_536,
            65_537,
            131_070,
            1 << 31,
            0u32.wrapping_sub(65_535),
        ];
        match self.below(8) {
            0 => self.pick(&far),
            1 => self.pick(&[0u32.wrapping_sub(1), 0u32.wrapping_sub(70_000), 100_000]),
            2..5 => 1,
            5 => self.below(3000),
            _ => 0,
        }
    }

    fn shape(&mut self) -> Shape {
        match self.below(12) {
            0 => Shape::Extended,
            1 => Shape::First(self.below(3) as u16),
            2 => Shape::Later(self.below(3) as u16),
            3 | 4 => Shape::Dressed,
            _ => Shape::Plain,
        }
    }

    /// From an address that a service listens on, if any does.
    fn ours(&mut self) -> Flaw {
        let count = self.listening.len() as u32;
        if count == 0 {
            return Flaw::Land;
        }
        let n = self.below(count) as usize;
        Flaw::Ours(self.listening[n])
    }

    /// Something wrong, mostly nothing.
    pub(super) fn flaw(&mut self) -> Flaw {
        if !self.once_in(8) {
            return Flaw::None;
        }
        match self.below(16) {
            0 | 1 => Flaw::Byte(self.below(90) as u16, self.below(256) as u8),
            2 => Flaw::Cut(self.below(120) as u16),
            3 => Flaw::Through(self.pick(&[0, 1, 2, 3, 3, 3, 3, 4])),
            4 => Flaw::OtherMac,
            5 => Flaw::EtherType(self.pick(&[0x0806, 0x8100, 0x88a8, 0x9100, 0x88cc])),
            6 => Flaw::Protocol(self.pick(&[1, 58, 47, 50, 59, 132])),
            7 => Flaw::Version(self.pick(&[0x44, 0x65, 0x55, 0x40])),
            8 | 9 => self.pick(&[Flaw::Surplus, Flaw::Transport, Flaw::Group]),
            10 => Flaw::Land,
            11 => self.ours(),
            12 => Flaw::Tag(
                self.pick(&[0x8100, 0x8100, 0x88a8, 0x9100]),
                self.pick(&[0, 0x2000, 0xe000, 1]),
            ),
            13 => Flaw::Route,
            _ => Flaw::Mapped,
        }
    }
}
