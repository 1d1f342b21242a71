//! Rows once more, on a host whose interfaces are VLANs: every frame that comes has tags, every frame that
//! leaves gets those of its device, and what passes keeps its own, priority and all. The rows know
//! nothing of it.

use lb_common::abi::{Device, Tag, Tags, VlanKey};

use super::{
    case::{Arrival, Case, Ends, HEADROOM, Step},
    places::PROBE,
    ring::{Counts, Ring, Seen, Verdict},
    world::World,
};

/// Where tags are in a frame.
const AT: usize = 12;

/// What frames that come are sent with beside the VLAN: priority 5, may be dropped.
const PRIORITY: u8 = 0xb0;

/// Which tags frames have, by the index of the device that they come from or leave through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// One tag everywhere.
    One,
    /// Two tags everywhere.
    Two,
    /// None, one or two.
    Mixed,
}

impl Plan {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::One, Self::Two, Self::Mixed];

    fn tags(self, device: u16) -> Tags {
        let customer = Tag::new(0x8100, 0x100 + device);
        let provider = Tag::new(0x88a8, 0x200 + device);
        let count = match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Mixed => device % 3,
        };
        match count {
            0 => Tags::NONE,
            1 => Tags::one(customer),
            _ => Tags::two(provider, customer),
        }
    }

    /// Whether a row comes to the same with tags: not where it is about VLANs itself, about a device that has none, or about the room in
    /// front of a frame, of which tags are the last to take some.
    pub fn takes(case: &Case) -> bool {
        let cramped =
            |step: &Step| matches!(step, Step::Frame(arrival) if arrival.headroom != HEADROOM);
        let probed = case.world.ingress.contains_key(&PROBE.ifindex);
        case.world.vlans.is_empty() && !probed && !case.steps.iter().any(cramped)
    }

    /// The frame as it comes in from this device, in its VLAN. One that ends before its type is one without
    /// tags.
    pub fn put_on(self, device: u16, frame: &[u8]) -> Vec<u8> {
        let mut tagged = frame.to_vec();
        if frame.len() >= AT {
            tagged.splice(AT..AT, bytes(self.tags(device), PRIORITY));
        }
        tagged
    }

    /// The frame without the tags that one of this verdict has to have: what came from one device and leaves
    /// through another. With other tags it stays as it is, and so is not the one that is expected.
    pub fn take_off(self, verdict: Verdict, (from, to): (u16, u16), frame: &[u8]) -> Vec<u8> {
        let tags = match verdict {
            Verdict::Pass => bytes(self.tags(from), PRIORITY),
            Verdict::Transmit | Verdict::Redirect => bytes(self.tags(to), 0),
            Verdict::Drop => Vec::new(),
        };
        let mut frame = frame.to_vec();
        if frame.get(AT..AT + tags.len()) == Some(&tags) {
            frame.drain(AT..AT + tags.len());
        }
        frame
    }

    /// The same world, whose devices are VLANs'. The kernel's numbers stay: what its routes say is meant.
    pub fn world(self, world: &World) -> World {
        let mut world = world.clone();
        for (ifindex, hop) in &world.ingress {
            let tags = self.tags(hop.device());
            if tags != Tags::NONE {
                world.vlans.insert(VlanKey::new(*ifindex, tags), *hop);
            }
        }
        for (index, device) in &mut world.devices {
            *device = Device::new(device.hop, device.ifindex, self.tags(*index));
        }
        world
    }
}

/// A ring behind which all devices are VLANs'.
pub struct Tagging<'a, R> {
    ring: &'a mut R,
    plan: Plan,
}

impl<'a, R: Ring> Tagging<'a, R> {
    /// Before `ring`.
    pub fn new(plan: Plan, ring: &'a mut R) -> Self {
        Self { ring, plan }
    }
}

impl<R: Ring> Ring for Tagging<'_, R> {
    fn start(&mut self, world: &World) {
        self.ring.start(&self.plan.world(world));
    }

    fn change(&mut self, world: &World) {
        self.ring.change(&self.plan.world(world));
    }

    fn handle(&mut self, arrival: &Arrival) -> Seen {
        let from = arrival.ingress.device;
        let mut tagged = arrival.clone();
        tagged.bytes = self.plan.put_on(from, &arrival.bytes);
        let mut seen = self.ring.handle(&tagged);
        let to = arrival.expected.device.unwrap_or_default();
        seen.frame = self.plan.take_off(seen.verdict, (from, to), &seen.frame);
        seen
    }

    fn counts(&mut self) -> Counts {
        self.ring.counts()
    }

    fn advance(&mut self, seconds: u32) {
        self.ring.advance(seconds);
    }

    fn evict(&mut self, ends: Ends) -> bool {
        self.ring.evict(ends)
    }

    fn recycle(&mut self, ends: Ends) -> bool {
        self.ring.recycle(ends)
    }
}

/// Tags as they lie in a frame.
fn bytes(tags: Tags, priority: u8) -> Vec<u8> {
    let mut bytes = tags.word().to_le_bytes()[..4 * tags.count()].to_vec();
    for tag in bytes.chunks_mut(4) {
        tag[2] |= priority;
    }
    bytes
}
