//! Packets in fragments: the others follow the first one, in both directions and all modes; nothing
//! but a first one that was forwarded makes them.

use lb_common::datapath::{DropReason, PassReason};

use super::{
    case::{Case, Ends, Expected},
    frame::{Frame, IP},
    outputs::{answered, forwarded, joined},
    places::{Flavour, Pool, Protocol, Version, Way},
};

/// Packets of one source that are remembered in a second.
const BUDGET: u32 = 1024;

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        for pool in Pool::ALL {
            rows.push(in_order(flavour, pool));
            rows.extend(replies(flavour, pool));
            rows.push(first_comes_later(flavour, pool));
        }
        for pool in Pool::MODES {
            rows.extend(strangers(flavour, pool));
            rows.push(thirty_seconds(flavour, pool));
        }
        rows.push(first_counts(flavour));
        rows.push(not_forwarded(flavour));
        rows.push(hops_used_up(flavour));
        rows.push(cut_short(flavour));
        rows.push(evicted(flavour));
    }
    rows.push(too_short_for_a_header());
    for flavour in [Flavour::ALL[1], Flavour::ALL[3]] {
        rows.extend([Pool::Ipip, Pool::Nat].map(|pool| header_in_the_padding(flavour, pool)));
    }
    rows.push(other_next_header());
    rows.extend([Flavour::ALL[1], Flavour::ALL[3]].map(budget));
    rows
}

/// The three fragments of a packet with 60 bytes behind its IP header.
pub(super) fn pieces(whole: &Frame, id: u16) -> [Frame; 3] {
    let header = whole.transport() - IP;
    let whole = whole.clone().sized(header + 60);
    [(0, 24), (24, 48), (48, 60)].map(|(from, to)| whole.clone().fragment(from..to, id))
}

fn without_first() -> Expected {
    Expected::passed(PassReason::FragmentWithoutFirst)
}

fn in_order(flavour: Flavour, pool: Pool) -> Case {
    let [first, middle, last] = pieces(&flavour.request(pool), 7);
    Case::new(format!("{pool} {flavour}: three fragments"))
        .frame(&first, joined(flavour, pool, &first))
        .frame(&middle, forwarded(flavour, pool, &middle))
        .frame(&last, forwarded(flavour, pool, &last))
        .frame(&middle, forwarded(flavour, pool, &middle))
}

fn replies(flavour: Flavour, pool: Pool) -> Option<Case> {
    let there = flavour.request(pool);
    let [first, middle, last] = pieces(&flavour.reply(pool), 7);
    let replies = pool.is_tracked() || Pool::ONE_SIDED.contains(&pool);
    replies.then(|| {
        Case::new(format!("{pool} {flavour}: three fragments of a reply"))
            .frame(&there, joined(flavour, pool, &there))
            .frame(&middle, without_first())
            .frame(&first, answered(flavour, pool, &first))
            .frame(&last, answered(flavour, pool, &last))
            .frame(&middle, answered(flavour, pool, &middle))
    })
}

fn first_comes_later(flavour: Flavour, pool: Pool) -> Case {
    let [first, _, last] = pieces(&flavour.request(pool), 7);
    Case::new(format!("{pool} {flavour}: a fragment before the first one"))
        .frame(&last, without_first())
        .frame(&first, joined(flavour, pool, &first))
        .frame(&last, forwarded(flavour, pool, &last))
}

/// Fragments that have all but one thing in common with a first one.
fn strangers(flavour: Flavour, pool: Pool) -> Vec<Case> {
    let request = flavour.request(pool);
    let [first, _, _] = pieces(&request, 7);
    let [_, other_id, _] = pieces(&request, 8);
    let mut client = flavour.client(Way::Router);
    client.set_ip(flavour.version.client_number(Way::Router, 8));
    let [_, other_source, _] = pieces(&flavour.packet(client, flavour.service(pool)), 7);
    let mut service = flavour.service(pool);
    service.set_ip(flavour.version.link(200, 1));
    let to_other = flavour.packet(flavour.client(Way::Router), service);
    let [_, other_destination, _] = pieces(&to_other, 7);
    let mut others = vec![
        ("id", other_id),
        ("source", other_source),
        ("destination", other_destination),
    ];
    if flavour.version == Version::V4 {
        let other = match flavour.protocol {
            Protocol::Tcp => Frame::udp(flavour.client(Way::Router), flavour.service(pool)),
            Protocol::Udp => Frame::tcp(flavour.client(Way::Router), flavour.service(pool)),
        };
        others.push(("protocol", pieces(&other, 7)[1].clone()));
    }
    others
        .into_iter()
        .map(|(what, other)| {
            Case::new(format!("{pool} {flavour}: a fragment with another {what}"))
                .frame(&first, joined(flavour, pool, &first))
                .frame(&other, without_first())
        })
        .collect()
}

fn thirty_seconds(flavour: Flavour, pool: Pool) -> Case {
    let [first, middle, last] = pieces(&flavour.request(pool), 7);
    Case::new(format!("{pool} {flavour}: fragments for thirty seconds"))
        .frame(&first, joined(flavour, pool, &first))
        .advance(29)
        .frame(&middle, forwarded(flavour, pool, &middle))
        .advance(1)
        .frame(&last, without_first())
        .frame(&first, forwarded(flavour, pool, &first))
        .frame(&last, forwarded(flavour, pool, &last))
}

/// What is remembered is not replaced by another first one, until it no longer counts.
fn first_counts(flavour: Flavour) -> Case {
    let pool = Pool::Gue;
    let request = flavour.request(pool);
    let mut client = request.source();
    client.set_port(client.port() + 1);
    let [first, _, last] = pieces(&request, 7);
    let [second, _, its_last] = pieces(&flavour.packet(client, flavour.service(pool)), 7);
    Case::new(format!(
        "{flavour}: the first of two first fragments counts"
    ))
    .frame(&first, forwarded(flavour, pool, &first))
    .frame(&second, forwarded(flavour, pool, &second))
    .frame(&last, forwarded(flavour, pool, &last))
    .advance(30)
    .frame(&second, forwarded(flavour, pool, &second))
    // The fragments of both look alike.
    .frame(&its_last, forwarded(flavour, pool, &its_last))
}

/// A first fragment that is not forwarded is not remembered.
fn not_forwarded(flavour: Flavour) -> Case {
    let mut service = flavour.service(Pool::Ipip);
    service.set_port(service.port() + 1);
    let frame = flavour.packet(flavour.client(Way::Router), service);
    let [first, middle, _] = pieces(&frame, 7);
    Case::new(format!("{flavour}: fragments for no service"))
        .frame(&first, Expected::passed(PassReason::NoService))
        .frame(&middle, without_first())
}

fn hops_used_up(flavour: Flavour) -> Case {
    let [first, middle, _] = pieces(&flavour.request(Pool::Ipip), 7);
    Case::new(format!("{flavour}: a fragment whose hops are used up"))
        .frame(&first, forwarded(flavour, Pool::Ipip, &first))
        .frame(&middle.hops(1), Expected::dropped(DropReason::TtlExpired))
}

fn cut_short(flavour: Flavour) -> Case {
    let [first, middle, _] = pieces(&flavour.request(Pool::Ipip), 7);
    let length = middle.bytes().len();
    Case::new(format!("{flavour}: a fragment that is cut short"))
        .frame(&first, forwarded(flavour, Pool::Ipip, &first))
        .frame(
            &middle.cut(length - 1),
            Expected::dropped(DropReason::BadIpLength),
        )
}

/// A fragment records no flow.
fn evicted(flavour: Flavour) -> Case {
    let pool = Pool::Nat;
    let [first, middle, _] = pieces(&flavour.request(pool), 7);
    let flow = Ends::request(flavour, pool, flavour.client(Way::Router));
    Case::new(format!("{flavour}: a fragment whose flow was evicted"))
        .frame(&first, joined(flavour, pool, &first))
        .evict(flow)
        .frame(&middle, Expected::dropped(DropReason::FlowEvicted))
        .frame(&first, joined(flavour, pool, &first))
        .frame(&middle, forwarded(flavour, pool, &middle))
}

/// A first fragment without a whole TCP header, as firewalls know it (RFC 1858).
fn too_short_for_a_header() -> Case {
    let whole = Flavour::ALL[0].request(Pool::Ipip).sized(80);
    let [first, rest] = [0..16, 16..60].map(|range| whole.clone().fragment(range, 7));
    Case::new("a first fragment without a whole TCP header")
        .frame(&first, Expected::dropped(DropReason::BadTcpHeader))
        .frame(&rest, without_first())
}

/// A first fragment that ends within its UDP header, of which the rest lies behind the packet.
fn header_in_the_padding(flavour: Flavour, pool: Pool) -> Case {
    const HEADER: usize = 8;
    let name = format!("{pool} {flavour}: a first fragment without a whole UDP header");
    let whole = flavour.request(pool).sized(80);
    let first = whole.clone().fragment(0..HEADER, 7);
    let rest = whole.fragment(HEADER..24, 7);
    let case = (1..=HEADER).fold(Case::new(name), |case, missing| {
        let short = first.clone().says_ip_length(first.ip_length() - missing);
        case.frame(&short, Expected::dropped(DropReason::BadUdpLength))
    });
    case.frame(&rest, without_first())
        .frame(&first, joined(flavour, pool, &first))
        .frame(&rest, forwarded(flavour, pool, &rest))
}

/// Only the first fragment's next header counts (RFC 8200, section 4.5).
fn other_next_header() -> Case {
    let (flavour, pool) = (Flavour::ALL[3], Pool::Ipip);
    let [first, middle, _] = pieces(&flavour.request(pool), 7);
    let middle = middle.next_header_in_fragment(60);
    Case::new("a later fragment with another next header")
        .frame(&first, forwarded(flavour, pool, &first))
        .frame(&middle, forwarded(flavour, pool, &middle))
}

/// A source may have so many packets in fragments a second, and others are not hurt.
fn budget(flavour: Flavour) -> Case {
    let pool = Pool::Ipip;
    let request = flavour.request(pool);
    let mut case = Case::new(format!(
        "{flavour}: a source's packets in fragments in a second"
    ));
    for id in 0..=BUDGET {
        let [first, _, _] = pieces(&request, id as u16);
        case = case.frame(&first, forwarded(flavour, pool, &first));
    }
    let [_, known, _] = pieces(&request, BUDGET as u16 - 1);
    let [first, unknown, _] = pieces(&request, BUDGET as u16);
    let mut client = flavour.client(Way::Router);
    client.set_ip(flavour.version.client(Way::Aside));
    let [other_first, other, _] = pieces(&flavour.packet(client, flavour.service(pool)), 7);
    case.frame(&known, forwarded(flavour, pool, &known))
        .frame(&unknown, without_first())
        .frame(&other_first, forwarded(flavour, pool, &other_first))
        .frame(&other, forwarded(flavour, pool, &other))
        .advance(1)
        .frame(&first, forwarded(flavour, pool, &first))
        .frame(&unknown, forwarded(flavour, pool, &unknown))
}
