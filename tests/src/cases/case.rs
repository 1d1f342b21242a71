//! A row of the table: a world, what happens in it, and what has to come of every frame.
//!
//! ```no_run
//! # use sluice_tests::cases::{case::{Case, Expected}, frame::SYN, places::{Flavour, Pool}};
//! # use lb_common::datapath::DropReason;
//! let syn = Flavour::TCP[0].request(Pool::Nat).flags(SYN);
//! Case::new("a row")
//!     .world(|world| world.set_mtu(60))
//!     .frame(&syn, Expected::dropped(DropReason::TooBig))
//!     .advance(61)
//!     .frame(&syn, Expected::dropped(DropReason::TooBig));
//! ```

use std::net::{IpAddr, SocketAddr};

use lb_common::{
    abi::{Direction, Handshake, Recorded},
    datapath::{AnswerReason, DropReason, Egress, Outcome, PassReason},
};

use super::{
    frame::Frame,
    places::{Flavour, Interface, Pool, Protocol},
    world::{World, backend_index, service_id},
};

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Case {
    /// Says what has to hold.
    pub name: String,
    /// The world as it is at first.
    pub world: World,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// Why ring 2 can't run it, if it can't.
    pub host_only: Option<&'static str>,
    now: World,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// A frame comes in.
    Frame(Arrival),
    /// Seconds pass.
    Advance(u32),
    /// The entry of these packets goes: evicted, as the kernel may do at any time, or, if it is an
    /// exception, swept by the agent.
    Evict(Ends),
    /// The entry of these packets becomes another flow's, as if it had been recycled.
    Recycle(Ends),
    /// The agent or the kernel's routes change the world.
    Change(Box<World>),
}

/// A frame that comes in, and what has to come of it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The interface.
    pub ingress: Interface,
    /// The frame.
    pub bytes: Vec<u8>,
    /// Room in front of it. Ring 2 always has 256 bytes.
    pub headroom: usize,
    /// What has to come of it.
    pub expected: Expected,
}

/// What identifies a flow in one direction.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Where its packets come from.
    pub source: SocketAddr,
    /// Where they go.
    pub destination: SocketAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// What has to come of a frame. Counters that are not named here must not move, save the
/// outcome's at the interface, which must go up by one.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Verdict and reason.
    pub outcome: Outcome,
    /// The frame that leaves. One that passes is the one that came.
    pub frame: Option<Vec<u8>>,
    /// The device that it leaves through.
    pub device: Option<u16>,
    /// What service and backend count.
    pub counted: Option<Counted>,
    /// The neighbour that the agent is asked to resolve: its interface and address.
    pub wanted: Option<(u32, IpAddr)>,
    /// The service that is told that a packet went unrecorded, and of which kind.
    pub unrecorded: Option<(u32, Recorded)>,
}

/// What a service and a backend count.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// The service's number.
    pub service: u32,
    /// The backend's number.
    pub backend: u32,
    /// Which way the packet goes.
    pub direction: Direction,
    /// The length of its IP packet, as it came in.
    pub bytes: u64,
    /// Whether it is a new flow.
    pub opens: bool,
    /// Whether it is a SYN to a backend whose answers are seen.
    pub asks: bool,
    /// What it is to the beginning of a connection, where that is counted.
    pub handshake: Option<Handshake>,
}

/// The room in front of a frame that a driver has to leave (XDP_PACKET_HEADROOM).
pub const HEADROOM: usize = 256;

impl Case {
    /// A row in the usual world where nothing happens yet.
    pub fn new(name: impl Into<String>) -> Self {
        let world = World::default();
        Self {
            name: name.into(),
            now: world.clone(),
            world,
            steps: Vec::new(),
            host_only: None,
        }
    }

    /// Changes the world: the initial one, before anything happens; the tables or routes, between
    /// frames.
    pub fn world(mut self, change: impl FnOnce(&mut World)) -> Self {
        change(&mut self.now);
        if self.steps.is_empty() {
            self.world = self.now.clone();
        } else {
            self.steps.push(Step::Change(Box::new(self.now.clone())));
        }
        self
    }

    /// A frame comes in.
    pub fn frame(self, frame: &Frame, expected: Expected) -> Self {
        self.bytes(frame.ingress, frame.bytes(), expected)
    }

    /// Any bytes come in.
    pub fn bytes(self, ingress: Interface, bytes: Vec<u8>, expected: Expected) -> Self {
        let short = bytes.len() < 14;
        let case = self.arrival(Arrival {
            ingress,
            bytes,
            headroom: HEADROOM,
            expected,
        });
        if short {
            case.host_only("BPF_PROG_TEST_RUN refuses frames below 14 bytes")
        } else {
            case
        }
    }

    /// A frame comes in with little room in front of it.
    pub fn cramped(self, frame: &Frame, headroom: usize, expected: Expected) -> Self {
        let (ingress, bytes) = (frame.ingress, frame.bytes());
        self.arrival(Arrival {
            ingress,
            bytes,
            headroom,
            expected,
        })
        .host_only("BPF_PROG_TEST_RUN always leaves 256 bytes in front")
    }

    fn arrival(mut self, arrival: Arrival) -> Self {
        self.steps.push(Step::Frame(arrival));
        self
    }

    /// Seconds pass.
    pub fn advance(mut self, seconds: u32) -> Self {
        self.steps.push(Step::Advance(seconds));
        self
    }

    /// The entry of such packets is evicted.
    pub fn evict(mut self, ends: Ends) -> Self {
        self.steps.push(Step::Evict(ends));
        self
    }

    /// The entry of such packets is recycled for another flow.
    pub fn recycle(mut self, ends: Ends) -> Self {
        self.steps.push(Step::Recycle(ends));
        self
    }

    /// The kernel can't run this row.
    pub fn host_only(mut self, why: &'static str) -> Self {
        self.host_only = Some(why);
        self
    }
}

impl Ends {
    /// Those of a flow's packets from the usual client to a pool's service.
    pub fn request(flavour: Flavour, pool: Pool, client: SocketAddr) -> Self {
        Self {
            source: client,
            destination: flavour.service(pool),
            protocol: flavour.protocol,
        }
    }
}

impl Expected {
    /// It goes up the stack, untouched.
    pub fn passed(reason: PassReason) -> Self {
        Self::of(Outcome::Pass(reason))
    }

    /// It ends here.
    pub fn dropped(reason: DropReason) -> Self {
        Self::of(Outcome::Drop(reason))
    }

    /// `frame`, made here, leaves in its place, the way that it came.
    pub fn answered(ingress: Interface, reason: AnswerReason, frame: Vec<u8>) -> Self {
        Self {
            frame: Some(frame),
            device: Some(ingress.device),
            ..Self::of(Outcome::Answer(reason))
        }
    }

    /// It leaves as `frame` through `device`.
    pub fn sent(input: &Frame, frame: &Frame, device: Interface) -> Self {
        let egress = if device.device == input.ingress.device {
            Egress::Transmit
        } else {
            Egress::Redirect
        };
        Self {
            frame: Some(frame.bytes()),
            device: Some(device.device),
            ..Self::of(Outcome::Forward(egress))
        }
    }

    /// What came in through `ingress` leaves as these bytes through `device`.
    pub fn relayed(ingress: Interface, frame: Vec<u8>, device: Interface) -> Self {
        let egress = if device.device == ingress.device {
            Egress::Transmit
        } else {
            Egress::Redirect
        };
        Self {
            frame: Some(frame),
            device: Some(device.device),
            ..Self::of(Outcome::Forward(egress))
        }
    }

    fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            frame: None,
            device: None,
            counted: None,
            wanted: None,
            unrecorded: None,
        }
    }

    /// It is counted for a pool's service and backend.
    pub fn counted(
        mut self,
        flavour: Flavour,
        pool: Pool,
        direction: Direction,
        input: &Frame,
    ) -> Self {
        self.counted = Some(Counted {
            service: service_id(flavour, pool),
            backend: backend_index(flavour.version, pool),
            direction,
            bytes: input.ip_length() as u64,
            opens: false,
            asks: input.is_syn() && pool.is_answered_here(),
            handshake: None,
        });
        self
    }

    /// It is counted for a pool's service and backend, as an IP packet of so many bytes.
    pub fn counted_as(
        mut self,
        flavour: Flavour,
        pool: Pool,
        direction: Direction,
        bytes: usize,
    ) -> Self {
        self.counted = Some(Counted {
            service: service_id(flavour, pool),
            backend: backend_index(flavour.version, pool),
            direction,
            bytes: bytes as u64,
            opens: false,
            asks: false,
            handshake: None,
        });
        self
    }

    /// It is counted as a new flow, too, and as a SYN if it is one to a backend whose answers are seen.
    pub fn opens(mut self) -> Self {
        if let Some(counted) = &mut self.counted {
            counted.opens = true;
            counted.handshake = counted.asks.then_some(Handshake::Asked);
        }
        self
    }

    /// It is counted as this step of a connection's beginning, too.
    pub fn handshake(mut self, step: Handshake) -> Self {
        if let Some(counted) = &mut self.counted {
            counted.handshake = Some(step);
        }
        self
    }

    /// It is counted for the backend of this index instead.
    pub fn backend(mut self, index: u32) -> Self {
        if let Some(counted) = &mut self.counted {
            counted.backend = index;
        }
        self
    }

    /// The agent is asked to resolve a neighbour.
    pub fn asks_for(mut self, interface: Interface, neighbour: IpAddr) -> Self {
        self.wanted = Some((interface.ifindex, neighbour));
        self
    }

    /// The service of this number is told that such a packet went unrecorded.
    pub fn unrecorded(mut self, service: u32, kind: Recorded) -> Self {
        self.unrecorded = Some((service, kind));
        self
    }
}
