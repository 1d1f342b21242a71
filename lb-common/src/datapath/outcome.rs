//! What becomes of a packet. Every received packet gets exactly one outcome, and every outcome has
//! one counter per interface: received = forwarded + answered + passed + dropped. A frame leaves for
//! each that was forwarded or answered.

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was rewritten and leaves.
    Forward(Egress),
    /// One made here leaves in its place, the way that it came.
    Answer(AnswerReason),
    /// It goes up the stack, untouched.
    Pass(PassReason),
    /// It ends here.
    Drop(DropReason),
}

/// How a forwarded frame leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// Through the device that it came from.
    Transmit,
    /// Through another one, which [`Tables::redirect`](super::Tables::redirect) has set.
    Redirect,
}

/// Why a packet needs no further stage: it passes or is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It goes up the stack, untouched.
    Pass(PassReason),
    /// It ends here.
    Drop(DropReason),
    /// It ends here, since it does not fit.
    TooBig {
        /// The largest that does, bytes.
        mtu: u16,
    },
    /// It has VLAN tags: the program that takes them off decides.
    Tagged,
    /// It is not plain: the program that reads every shape decides.
    Uncommon,
    /// Its flow may have ends of both families: the program for these decides.
    Crossing,
    /// Its flow may be recorded in the tables before these: their program decides.
    Older,
    /// Its flow's backend is gone, and it is dropped without a word.
    Ended,
}

impl Stop {
    /// The same, with another MTU if it is one that says what fits.
    #[inline(always)]
    pub fn with_mtu(self, change: impl FnOnce(u16) -> u16) -> Self {
        match self {
            Self::TooBig { mtu } => Self::TooBig { mtu: change(mtu) },
            other => other,
        }
    }
}

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $text:literal])+ $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $text])+ $variant),+ }

        impl $name {
            /// Every reason, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it in metrics, commands and logs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// What it means, for an operator.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($text),+)),+ }
            }
        }
    };
}

reasons! {
    /// Why a packet goes up the stack.
    PassReason {
        /// The program runs on an interface that the agent has not announced to it.
        UnknownInterface = "unknown_interface",
        /// The frame ends before it says what it is for.
        Truncated = "truncated",
        /// ARP.
        Arp = "arp",
        /// Neither IP nor ARP.
        OtherEthertype = "other_ethertype",
        /// VLAN tags of no VLAN device among the agent's interfaces, more than two, or in several parts of a frame's buffer.
        Vlan = "vlan",
        /// The frame is for another MAC address than the interface's: multicast, broadcast, or flooded by a switch.
        OtherMac = "other_mac",
        /// The IP version is not what the Ethernet type says.
        BadVersion = "bad_version",
        /// An IPv4 header length below 20 bytes.
        BadHeaderLength = "bad_header_length",
        /// IPv4 options that send the packet elsewhere first (source route), or that are malformed.
        IpOptions = "ip_options",
        /// IPv6 extension headers that are encrypted, authenticated, for mobility, too many, too long, or that send the packet elsewhere first.
        ExtensionHeader = "extension_header",
        /// A later fragment of a packet whose first one was not forwarded here in the last 30 seconds.
        FragmentWithoutFirst = "fragment_without_first",
        /// ICMP or ICMPv6.
        Icmp = "icmp",
        /// An ICMP error about a packet that we had put a header around, which its client can't be told of: it quotes too little, or is none about sizes.
        TunnelError = "tunnel_error",
        /// Neither TCP, UDP nor ICMP.
        OtherProtocol = "other_protocol",
        /// No service has this address, port and protocol.
        NoService = "no_service",
        /// Of no flow, but for one of our source addresses and none of our ports there, or from a backend's port: the host's own.
        NoFlow = "no_flow",
        /// Tags, options, extension headers, a fragment or a frame in parts, and the program for these could not be called or not read the frame: a fault of ours.
        NotRead = "not_read",
    }
}

reasons! {
    /// Why a packet is answered by one made here.
    AnswerReason {
        /// An echo request for a service's address: by an echo reply.
        EchoReply = "echo_reply",
        /// It does not fit the next hop's MTU: by an ICMP error that says what does.
        ToldTooBig = "told_too_big",
        /// TTL or hop limit is used up: by an ICMP error.
        ToldExpired = "told_expired",
        /// The service has no backend, and rejects clients then: by a TCP reset or an ICMP error.
        Rejected = "rejected",
        /// The flow's backend is gone, and its service resets such flows: by a TCP reset or an ICMP error.
        Reset = "reset",
    }
}

reasons! {
    /// Why a packet is dropped.
    DropReason {
        /// Of a service or a flow, but its IP length contradicts the frame.
        BadIpLength = "bad_ip_length",
        /// Of a service or a flow, but its TCP header is cut short or its data offset is impossible.
        BadTcpHeader = "bad_tcp_header",
        /// Of a service or a flow, but its UDP header is cut short or its length is impossible.
        BadUdpLength = "bad_udp_length",
        /// For a service, from an address that no client can have: unspecified, loopback, link-local, multicast, broadcast or reserved.
        MartianSource = "martian_source",
        /// For a service, from the address that it is for (a LAND attack).
        OwnDestination = "land",
        /// For a service, from an address that a service listens on.
        OwnSource = "own_source",
        /// The access list of all services keeps its source out.
        Denied = "denied",
        /// The service's access list keeps its source out.
        ServiceDenied = "service_denied",
        /// A new flow beyond what the service lets in from one source.
        SourceLimited = "source_limited",
        /// A new flow beyond what the service lets in.
        ServiceLimited = "service_limited",
        /// TTL or hop limit is used up.
        TtlExpired = "ttl_expired",
        /// The service has no backend.
        NoBackend = "no_backend",
        /// Every backend that the flow may go to has as many flows as it may have.
        MaxFlows = "max_flows",
        /// The flow's backend is gone, and its service does not send such flows elsewhere.
        BackendGone = "backend_gone",
        /// The backend's next hop is not resolved.
        NoNextHop = "no_next_hop",
        /// The packet with all its headers does not fit the next hop's MTU.
        TooBig = "too_big",
        /// An ICMP error about a packet that we had put a header around, whose client may not be told at this rate.
        ErrorLimit = "error_limit",
        /// An ICMP error that quotes a TCP segment with numbers far from those of its recorded flow: a guess.
        ErrorNumbers = "error_numbers",
        /// The driver leaves no room in front of the frame for another header.
        NoHeadroom = "no_headroom",
        /// Of a service whose backends are of both families or of the other one, but with options, extension headers or in fragments, which are not taken across; or an ICMP error about its flows that the other family has no word for.
        CrossingShape = "crossing_shape",
        /// From or to an IPv4-mapped IPv6 address (::ffff:0:0/96), which no packet has on a wire.
        MappedAddress = "mapped_address",
        /// A UDP packet over IPv4 without a checksum, which IPv6 does not do without, to a backend or client of IPv6.
        UncheckedDatagram = "unchecked_datagram",
        /// Every source port that the flow may use is taken.
        NoSourcePort = "no_source_port",
        /// The kernel refused a flow entry.
        FlowTableFull = "flow_table_full",
        /// The flow's entry was evicted while this packet, or another fragment of it, was handled.
        FlowEvicted = "flow_evicted",
        /// For one of our source addresses and ports, but of no flow that is recorded. (The kernel would reset a connection that its client's next packet may save.)
        UnknownFlow = "unknown_flow",
        /// A TCP reset for a flow that is not recorded.
        ResetWithoutFlow = "reset_without_flow",
        /// The kernel has no route back to the client, or one that forbids or can't be followed here.
        NoRoute = "no_route",
        /// The kernel does not forward on this interface, so it answers no route look-up.
        ForwardingDisabled = "forwarding_disabled",
        /// The client's next hop has no neighbour entry yet; the agent was asked to resolve it.
        NoNeighbour = "no_neighbour",
        /// The way out is an interface that is not among the agent's.
        NoDevice = "no_device",
        /// A table has no entry where another one points: a fault of ours.
        Inconsistent = "inconsistent",
    }
}

impl Outcome {
    /// Room for one counter per outcome: a power of two above every code.
    pub const CODES: u32 = 128;

    const FIRST_DROP: u32 = 32;
    const FIRST_ANSWER: u32 = 96;

    /// Number of its counter, below [`Outcome::CODES`].
    #[inline(always)]
    pub const fn code(self) -> u32 {
        match self {
            Self::Forward(_) => 0,
            Self::Pass(reason) => 1 + reason as u32,
            Self::Drop(reason) => Self::FIRST_DROP + reason as u32,
            Self::Answer(reason) => Self::FIRST_ANSWER + reason as u32,
        }
    }

    /// The word for it: `forwarded`, or its reason.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward(_) => "forwarded",
            Self::Pass(reason) => reason.name(),
            Self::Drop(reason) => reason.name(),
            Self::Answer(reason) => reason.name(),
        }
    }
}

const _: () = {
    assert!((PassReason::ALL.len() as u32) < Outcome::FIRST_DROP);
    assert!(Outcome::FIRST_DROP + DropReason::ALL.len() as u32 <= Outcome::FIRST_ANSWER);
    assert!(Outcome::FIRST_ANSWER + AnswerReason::ALL.len() as u32 <= Outcome::CODES);
};

impl From<Stop> for Outcome {
    #[inline(always)]
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Pass(reason) => Self::Pass(reason),
            Stop::Drop(reason) => Self::Drop(reason),
            Stop::TooBig { .. } => Self::Drop(DropReason::TooBig),
            Stop::Tagged => Self::Pass(PassReason::Vlan),
            Stop::Uncommon => Self::Pass(PassReason::NotRead),
            Stop::Crossing => Self::Drop(DropReason::CrossingShape),
            Stop::Older => Self::Drop(DropReason::UnknownFlow),
            Stop::Ended => Self::Drop(DropReason::BackendGone),
        }
    }
}

impl From<PassReason> for Stop {
    #[inline(always)]
    fn from(reason: PassReason) -> Self {
        Self::Pass(reason)
    }
}

impl From<DropReason> for Stop {
    #[inline(always)]
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}
