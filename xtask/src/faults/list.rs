//! The faults that are seeded: each one is a passage of lb-common that is made another. A passage that is
//! not there exactly once is an error, so that the list does not outlive the code.

/// One fault.
pub(super) struct Fault {
    /// What is wrong.
    pub(super) name: &'static str,
    /// Where, below `lb-common/src`.
    pub(super) file: &'static str,
    /// The passage.
    pub(super) from: &'static str,
    /// What stands there instead.
    pub(super) to: &'static str,
}

const fn fault(
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
) -> Fault {
    Fault {
        name,
        file,
        from,
        to,
    }
}

/// All of them.
pub(super) const FAULTS: &[Fault] = &[
    // Headers.
    fault(
        "a port left out of the checksum of a new flow",
        "abi/flow.rs",
        "            .field(key.destination_port, ends.destination_port);",
        ";",
    ),
    fault(
        "the port left out of the checksum of nat",
        "datapath/rewrite.rs",
        "transport: addresses.field(key.destination_port, port),",
        "transport: addresses,",
    ),
    fault(
        "TTL not taken",
        "net/ip.rs",
        "self.set_hops(self.ttl.wrapping_sub(1));",
        "self.set_hops(self.ttl);",
    ),
    fault(
        "hop limit not taken",
        "net/ip.rs",
        "self.hop_limit = self.hop_limit.wrapping_sub(1);",
        "",
    ),
    fault(
        "the last hop is spent",
        "datapath/parse.rs",
        "if facts.hops <= 1 {",
        "if facts.hops == 0 {",
    ),
    fault(
        "MAC addresses swapped",
        "datapath/rewrite.rs",
        "ethernet.set(next.hop, device.hop, F::ETHERTYPE);",
        "ethernet.set(device.hop, next.hop, F::ETHERTYPE);",
    ),
    fault(
        "an outer header of the packet's own family",
        "datapath/rewrite.rs",
        "link::<G, P, T>(packet, tables, next)",
        "link::<F, P, T>(packet, tables, next)",
    ),
    fault(
        "the class not copied outward",
        "datapath/rewrite.rs",
        "let class = facts.traffic_class;",
        "let class = 0;",
    ),
    fault(
        "a datagram without a checksum gets one",
        "net/transport.rs",
        "        if self.is_checked() {\n            self.checksum",
        "        {\n            self.checksum",
    ),
    fault(
        "a checksum of 0 in a datagram",
        "net/transport.rs",
        "        [0, 0] => [0xff; 2],\n",
        "",
    ),
    fault(
        "the overhead not in what must fit",
        "datapath/rewrite.rs",
        "fits(facts.length, overhead, next)?;",
        "fits(facts.length, 0, next)?;",
    ),
    fault(
        "one byte too many fits",
        "datapath/rewrite.rs",
        "if (length + overhead) as u64 > next.mtu {",
        "if (length + overhead) as u64 > next.mtu + 1 {",
    ),
    fault(
        "a frame shorter than its packet",
        "datapath/parse.rs",
        "!packet.holds(EthernetHeader::LEN + facts.length)",
        "!packet.holds(facts.length)",
    ),
    fault(
        "data offsets not checked",
        "datapath/parse.rs",
        "(TcpHeader::LEN..=payload).contains(&tcp.payload())",
        "(0..=payload).contains(&tcp.payload())",
    ),
    fault(
        "a checksum around a datagram with bytes behind it",
        "datapath/rewrite.rs",
        "udp.is_checked() && udp.length() == facts.length - F::HEADER_LEN",
        "udp.is_checked()",
    ),
    // Whose a packet is.
    fault(
        "frames for other MAC addresses",
        "datapath/parse.rs",
        "if !ingress.has_mac(ethernet.destination) {",
        "if false {",
    ),
    fault(
        "the hash without the ports",
        "abi/flow.rs",
        ".finish(self.tail(), length)",
        ".finish(u64::from(self.protocol) << 32, length)",
    ),
    fault(
        "a prefix that is a bit too long",
        "abi/address.rs",
        "let mask = u32::MAX << (32 - u32::from(bits)).min(31);",
        "let mask = u32::MAX << (31 - u32::from(bits).min(31));",
    ),
    fault(
        "strict source routes followed",
        "net/shape.rs",
        "LOOSE_ROUTE | STRICT_ROUTE => return",
        "STRICT_ROUTE => return",
    ),
    fault(
        "routing headers not led to their end",
        "net/shape.rs",
        "header.segments_left != 0",
        "header.segments_left > 1",
    ),
    fault(
        "fragment offsets ignored",
        "net/shape.rs",
        "        _ => Piece::Later,\n",
        "        _ => Piece::First,\n",
    ),
    fault(
        "a first fragment without a whole UDP header goes on",
        "datapath/parse.rs",
        "Piece::First if payload >= UdpHeader::LEN =>",
        "Piece::First =>",
    ),
    fault(
        "fragments followed a second too long",
        "abi/fragment.rs",
        "now.wrapping_sub(self.seen) < FRAGMENT_SECONDS * hertz",
        "now.wrapping_sub(self.seen) <= FRAGMENT_SECONDS * hertz",
    ),
    // Slots and exceptions.
    fault(
        "current and previous swapped",
        "datapath/unsettled.rs",
        "current: reference(tables, slot.current()),\n        miss: reference(tables, miss(tables, key, table, slot)),",
        "miss: reference(tables, slot.current()),\n        current: reference(tables, miss(tables, key, table, slot)),",
    ),
    fault(
        "mixed slots treated as settled",
        "abi/slot.rs",
        "(self.0 >> Self::PHASE_SHIFT) & 3 == Phase::Settled as u64",
        "(self.0 >> Self::PHASE_SHIFT) & 1 == Phase::Settled as u64",
    ),
    fault(
        "a recorded opening believed",
        "datapath/exceptions.rs",
        "Recorded::Open => ExceptionState::Tentative,",
        "Recorded::Open => ExceptionState::Committed,",
    ),
    fault(
        "generations ignored",
        "datapath/unsettled.rs",
        "current.is_some_and(|now| now.is_alive() && now.generation() == backend.generation())",
        "current.is_some_and(|now| now.is_alive())",
    ),
    fault(
        "the dead keep their flows",
        "datapath/unsettled.rs",
        "current.is_some_and(|now| now.is_alive() && now.generation() == backend.generation())",
        "current.is_some_and(|now| now.generation() == backend.generation())",
    ),
    fault(
        "nothing kept for packets that open",
        "abi/exception.rs",
        "limits.capacity - limits.capacity / 4",
        "limits.capacity",
    ),
    fault(
        "unrecorded packets not told",
        "datapath/exceptions.rs",
        "    exceptions.unrecorded(kind);\n",
        "",
    ),
    fault(
        "resets from afar close exceptions",
        "datapath/exceptions.rs",
        "self.sighting.kind == Kind::Close && (ahead < WINDOW || behind < WINDOW)",
        "self.sighting.kind == Kind::Close",
    ),
    fault(
        "unknown QUIC versions open nothing",
        "net/quic.rs",
        "} else if datagram >= Self::INITIAL_LEN {",
        "} else if datagram > usize::MAX - 1 {",
    ),
    // Packets that are made here, and ICMP.
    fault(
        "a route that leaves no room for what goes around",
        "datapath/rewrite.rs",
        "let mtu = next.mtu.saturating_sub(overhead as u64).min(0xffff) as u16;",
        "let mtu = next.mtu.min(0xffff) as u16;",
    ),
    // Recorded flows.
    fault(
        "resets from afar end recorded flows",
        "datapath/state.rs",
        "if segment.flags.closes() && near(number, last) {",
        "if segment.flags.closes() {",
    ),
    fault(
        "any third packet commits",
        "datapath/state.rs",
        "(FlowState::Answered, true) if follows(entry, segment, true) => Change::Commit,",
        "(FlowState::Answered, true) => Change::Commit,",
    ),
    fault(
        "entries not refreshed",
        "datapath/flow.rs",
        "    held.set_seen(now, scratch.segment.sequence);\n",
        "    let _ = now;\n",
    ),
    fault(
        "a commit forgets when it was",
        "datapath/flow.rs",
        "        scratch.entry.last_seen = tables.now();\n",
        "",
    ),
    fault(
        "another service's replies followed",
        "abi/flow.rs",
        "self.service == service || self.direction == Direction::In as u8",
        "self.service == service || self.direction <= Direction::Out as u8",
    ),
    fault(
        "closing flows give their port away at once",
        "datapath/open.rs",
        "CLOSING_SECONDS * tables.hertz(),",
        "0,",
    ),
    fault(
        "flows without replies go on",
        "datapath/flow.rs",
        "if lives && whole {",
        "if lives {",
    ),
    fault(
        "routes kept too long",
        "datapath/forward.rs",
        "let fresh = now.wrapping_sub(entry.route_seen) < tables.hertz();",
        "let fresh = now.wrapping_sub(entry.route_seen) < 2 * tables.hertz();",
    ),
    fault(
        "flows that end stay counted as a backend's",
        "datapath/flow.rs",
        "(true, false) => tables.add_active(index, -1),",
        "(true, false) => {}",
    ),
    fault(
        "the more loaded of two",
        "datapath/choose.rs",
        "if load_a <= load_b { a } else { b }",
        "if load_a <= load_b { b } else { a }",
    ),
    fault(
        "a flow too many",
        "datapath/choose.rs",
        "limit == 0 || tables.active(index) < u64::from(limit)",
        "limit == 0 || tables.active(index) <= u64::from(limit)",
    ),
    fault(
        "affinity without an end",
        "datapath/choose.rs",
        ">= timeouts.affinity",
        "> timeouts.affinity",
    ),
    // Counters.
    fault(
        "a backend's counter forgotten",
        "datapath/decide.rs",
        "    tables.count_backend(index, traffic);\n",
        "",
    ),
    fault(
        "replies counted as requests",
        "datapath/answer.rs",
        "direction: Direction::Out,",
        "direction: Direction::In,",
    ),
    fault(
        "the outcome of uncommon packets not counted",
        "datapath/uncommon.rs",
        "    tables.count_outcome(ingress.device(), outcome);\n",
        "",
    ),
    fault(
        "an answer to a SYN counted each time that it comes",
        "datapath/state.rs",
        "Change::To(FlowState::Answered) if flags.accepts()",
        "Change::To(FlowState::Answered) | Change::None if flags.accepts()",
    ),
    fault(
        "any reset counted as a refusal",
        "datapath/answer.rs",
        "parse::segment::<F, P>(packet, facts).sequence == 0",
        "true",
    ),
    fault(
        "no byte counted",
        "abi/counters.rs",
        "self.bytes_in += traffic.bytes;",
        "",
    ),
    // Who may come in.
    fault(
        "what is denied comes in",
        "abi/admit.rs",
        "number == Self::Deny.number()",
        "number > Self::Deny.number()",
    ),
    fault(
        "IPv4 clients of a service that crosses counted as one source",
        "abi/admit.rs",
        "96 + self.ipv4_bits",
        "self.ipv4_bits",
    ),
    fault(
        "one flow more than a limit lets in",
        "abi/admit.rs",
        "rate.burst.saturating_sub(1)",
        "rate.burst",
    ),
    fault(
        "link-local sources of IPv6 come in",
        "abi/address.rs",
        "high >> 54 == 0xfe80 >> 6 || ",
        "",
    ),
    // Ranges and prefixes, between families, echo.
    fault(
        "a prefix found by the client's address",
        "datapath/service.rs",
        ".listening(&PrefixKey::lookup(scope, key.destination))",
        ".listening(&PrefixKey::lookup(scope, key.source))",
    ),
    fault(
        "replies of a range known by one port alone",
        "datapath/service.rs",
        "ServiceKey::reverse(key.source, ANY_PORT, key.protocol);\n        if let Some(reverse) = probe::<F, T>(tables, &from) {\n            return Ok(reverse)",
        "ServiceKey::reverse(key.source, key.source_port, key.protocol);\n        if let Some(reverse) = probe::<F, T>(tables, &from) {\n            return Ok(reverse)",
    ),
    fault(
        "a range found by the client's port",
        "datapath/service.rs",
        "PortKey::lookup(group, key.protocol, key.destination_port)",
        "PortKey::lookup(group, key.protocol, key.source_port)",
    ),
    fault(
        "the traffic class lost between families",
        "datapath/crossing.rs",
        "class: ip.traffic_class(),",
        "class: 0,",
    ),
    fault(
        "flows from before a pool crossed are looked for among mapped ones",
        "datapath/flow.rs",
        "F::VERSION == Ipv4::VERSION && target.has_unmapped() && holds::<F, T>(tables, key)",
        "false",
    ),
    fault(
        "ports of flows from before a pool crossed are given away",
        "datapath/open.rs",
        "        if service.has_unmapped() && tables.is_held_unmapped(&scratch.answers) {\n            continue;\n        }\n",
        "",
    ),
    fault(
        "errors between families keep their hops",
        "datapath/quoted/across.rs",
        "outside.set_hops(facts.hops - 1);",
        "outside.set_hops(facts.hops);",
    ),
    fault(
        "errors between families say what fits as it stands",
        "net/icmp/across.rs",
        "(mtu + LONGER).max(LEAST_IPV6)",
        "mtu.max(LEAST_IPV6)",
    ),
    fault(
        "packets between families measured as they stand",
        "net/mapped.rs",
        "Some(_) => length.wrapping_sub(Self::LONGER),",
        "Some(_) => length,",
    ),
    fault(
        "datagrams without a checksum taken across",
        "net/mapped.rs",
        "source.unmapped().is_some() && destination.unmapped().is_none()",
        "source.unmapped().is_some() && destination.unmapped().is_none() && false",
    ),
    fault(
        "an echo where there is no backend",
        "datapath/icmp.rs",
        "    decide::backend(tables, first.ok_or(DropReason::Inconsistent)?.current())?;\n",
        "    first.ok_or(DropReason::Inconsistent)?;\n",
    ),
    // ICMP errors, and what is made here.
    fault(
        "an error follows another service's replies",
        "datapath/quoted.rs",
        "    if !scratch.entry.is_for(service.id()) {",
        "    if false {",
    ),
    fault(
        "a quoted number that is one too far away",
        "datapath/quoted.rs",
        "wrapping_add(WINDOW - 1) < 2 * WINDOW - 1",
        "wrapping_add(WINDOW) < 2 * WINDOW",
    ),
    fault(
        "the client told of a length with the header around it",
        "datapath/quoted/tunnel.rs",
        "    inside.mtu -= around;\n",
        "",
    ),
    fault(
        "one source gets as many frames as all",
        "datapath/made.rs",
        "        Limited::Reset => (limits.resets, limits.resets_per_source),",
        "        Limited::Reset => (limits.resets, limits.resets),",
    ),
    // Tags.
    fault(
        "a priority makes another VLAN",
        "abi/vlan.rs",
        "            tags: tags.without_priority(),",
        "            tags,",
    ),
    fault(
        "what passes loses its tags",
        "datapath/tags.rs",
        "            Outcome::Pass(_) => noted.came,",
        "            Outcome::Pass(_) => Tags::NONE,",
    ),
    fault(
        "the tags that a packet came with stay on it",
        "datapath/tags.rs",
        "            Outcome::Forward(_) | Outcome::Answer(_) => noted.leaves,",
        "            Outcome::Forward(_) | Outcome::Answer(_) => noted.came,",
    ),
    fault(
        "where a frame of no VLAN of ours came from is kept for the next",
        "datapath/tags.rs",
        "    let _ = tables.with_tagged(core::mem::take);\n",
        "",
    ),
    fault(
        "flows of a removed service are not reset",
        "datapath/choose.rs",
        "!traits.has(ServiceTraits::ENDED) && ",
        "",
    ),
    fault(
        "a removed service takes new flows",
        "datapath/flow.rs",
        "if target.is_removed() {",
        "if target.is_removed() && scratch.opens > 1 {",
    ),
];
