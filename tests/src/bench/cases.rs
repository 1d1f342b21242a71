//! What is measured: the programs, what they are sent, and what has to become of it.

use lb_common::{
    abi::Counters,
    datapath::{Egress, Outcome, PassReason},
};

use super::{
    frame::Segment,
    site::{Mac, Mode, Service},
};

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Case {
    /// Mode, family, phase, kind; or what else it is.
    pub name: &'static str,
    /// Flows that its packets belong to.
    pub flows: u32,
    pub(super) program: Program,
    pub(super) traffic: Traffic,
}

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    FloorDrop,
    FloorTx,
    Sluice,
}

/// What it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    /// Clients' segments to a service, over and over the flows.
    Established(Service),
    /// Backends' segments to the clients of these flows.
    Reply(Service),
    /// SYNs, each of a flow that was not there before.
    New(Service),
    /// Segments to an address that is nobody's.
    NoService,
    /// ARP requests.
    Arp,
}

/// What has to become of each packet.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// The program's answer.
    pub(super) action: u32,
    /// Bytes that the frame grows by.
    pub(super) growth: usize,
    /// How the MAC address that it is sent to starts.
    pub(super) towards: &'static [u8],
    /// What Sluice counts it as.
    pub(super) outcome: Option<Outcome>,
    /// What Sluice counts for the service, but for the bytes.
    pub(super) counted: Option<(Service, Counters)>,
}

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// Flows that are set up before anything is timed, for every tracked service.
pub(super) const FLOWS: u32 = 65_536;

/// Every case; `packets` is how many of each will be timed.
pub(super) fn all(packets: u32) -> Vec<Case> {
    use Service::{FullNatV4, FullNatV6, IpipV4, IpipV6};
    use Traffic::{Arp, Established, New, NoService, Reply};
    let sluice = |name, flows, traffic| Case {
        name,
        flows,
        program: Program::Sluice,
        traffic,
    };
    let floor = |name, program, traffic| Case {
        name,
        flows: 1,
        program,
        traffic,
    };
    let new = super::rounds::timed(packets);
    vec![
        floor("floor drop", Program::FloorDrop, Established(IpipV4)),
        floor(PARSE_TX, Program::FloorTx, Established(IpipV4)),
        floor("floor parse-tx v6", Program::FloorTx, Established(IpipV6)),
        sluice("ipip v4 settled established", 1, Established(IpipV4)),
        sluice("ipip v4 settled established", FLOWS, Established(IpipV4)),
        sluice("ipip v4 settled new", new, New(IpipV4)),
        sluice("ipip v6 settled established", 1, Established(IpipV6)),
        sluice("ipip v6 settled established", FLOWS, Established(IpipV6)),
        sluice("full-nat v4 tracked established", 1, Established(FullNatV4)),
        sluice(
            "full-nat v4 tracked established",
            1024,
            Established(FullNatV4),
        ),
        sluice(
            "full-nat v4 tracked established",
            FLOWS,
            Established(FullNatV4),
        ),
        sluice("full-nat v4 tracked reply", 1, Reply(FullNatV4)),
        sluice("full-nat v4 tracked reply", FLOWS, Reply(FullNatV4)),
        sluice("full-nat v4 tracked new", new, New(FullNatV4)),
        sluice("full-nat v6 tracked established", 1, Established(FullNatV6)),
        sluice(
            "full-nat v6 tracked established",
            FLOWS,
            Established(FullNatV6),
        ),
        sluice("full-nat v6 tracked reply", 1, Reply(FullNatV6)),
        sluice("full-nat v6 tracked new", new, New(FullNatV6)),
        sluice("packet for no service", 1, NoService),
        sluice("arp", 1, Arp),
    ]
}

/// The case that ratios are taken to.
pub(super) const PARSE_TX: &str = "floor parse-tx";

impl Case {
    /// Whether its packets are recorded, each as a flow of its own.
    pub(super) fn opens_flows(&self) -> bool {
        matches!(self.traffic, Traffic::New(service) if service.mode() == Mode::FullNat)
    }

    /// What has to become of each of its packets.
    pub(super) fn expected(&self) -> Expected {
        match self.program {
            Program::FloorDrop => Expected::nothing(XDP_DROP),
            Program::FloorTx => Expected {
                towards: &super::site::ROUTER,
                ..Expected::nothing(XDP_TX)
            },
            Program::Sluice => self.traffic.expected(),
        }
    }
}

impl Expected {
    fn nothing(action: u32) -> Self {
        Self {
            action,
            growth: 0,
            towards: &[],
            outcome: None,
            counted: None,
        }
    }

    fn passes(reason: PassReason) -> Self {
        Self {
            outcome: Some(Outcome::Pass(reason)),
            ..Self::nothing(XDP_PASS)
        }
    }

    fn leaves(towards: &'static [u8], service: Service, counted: Counters) -> Self {
        Self {
            towards,
            outcome: Some(Outcome::Forward(Egress::Transmit)),
            counted: Some((service, counted)),
            ..Self::nothing(XDP_TX)
        }
    }
}

impl Traffic {
    /// The segments that it is made of.
    pub(super) fn segment(self) -> Segment {
        match self {
            Self::New(_) => Segment::Syn,
            Self::Established(_) | Self::Reply(_) | Self::NoService | Self::Arp => Segment::Ack,
        }
    }

    /// What has to become of its packets in Sluice.
    pub(super) fn expected(self) -> Expected {
        let one_in = Counters {
            packets_in: 1,
            ..Counters::default()
        };
        match self {
            Self::Established(service) => to_backend(service, one_in),
            Self::New(service) => to_backend(
                service,
                Counters {
                    new_flows: 1,
                    ..one_in
                },
            ),
            Self::Reply(service) => {
                let one_out = Counters {
                    packets_out: 1,
                    ..Counters::default()
                };
                Expected::leaves(&super::site::ROUTER, service, one_out)
            }
            Self::NoService => Expected::passes(PassReason::NoService),
            Self::Arp => Expected::passes(PassReason::Arp),
        }
    }
}

fn to_backend(service: Service, counted: Counters) -> Expected {
    const BACKENDS: &[u8] = &backends_prefix();
    let growth = match (service.mode(), service.is_ipv4()) {
        (Mode::FullNat, _) => 0,
        (Mode::Ipip, true) => 20,
        (Mode::Ipip, false) => 40,
    };
    Expected {
        growth,
        ..Expected::leaves(BACKENDS, service, counted)
    }
}

/// What all backends' MAC addresses start with.
const fn backends_prefix() -> [u8; 5] {
    let [a, b, c, d, e, _]: Mac = super::site::backend_mac(0);
    [a, b, c, d, e]
}
