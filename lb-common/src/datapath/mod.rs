//! The packet path: one decision per packet, written once for both families and both sides of
//! the kernel line.
//!
//! ```text
//!            parse ──► service ──► admit ──► decide ──► rewrite ──► forward
//! frame ──►  what is   whose is    may it     which      new         which      ──► Outcome
//!            it?       it?         come in?   backend?   headers     device?
//!              │          │           │          │          │           │
//!              └──────────┴───────────┴──────────┴──────────┴───────────┴──► Pass or Drop, with a reason
//! ```
//!
//! Plain packets have their headers at constant offsets. All others (options, extension headers,
//! fragments, frames in parts) are left to a second program, which runs the same stages behind a stage
//! `uncommon` that finds the headers. Flows whose ends are of both families are left to a third one
//! (`crossing`). VLAN tags are taken off first, by a program `tagged`, which then goes on to the packet
//! program; whichever ends puts tags on (`tags`). Probes of the agent that take clients' way come in through a device of
//! their own, whose program runs the same stages but for `admit`, and is told the backend (`probe`). While tables take the place of others, packets of flows that only
//! those may know go to the program that works on them.
//!
//! A packet is changed only once it is certain to be forwarded or dropped: what passes is
//! untouched. Reads and writes go through [`Packet`], state through [`Tables`].

mod admit;
mod answer;
mod aside;
mod choose;
mod clamp;
mod crossing;
mod decide;
pub mod exceptions;
mod flow;
mod forward;
mod fragments;
mod icmp;
mod made;
mod mapped;
mod open;
mod outcome;
mod parse;
mod probe;
mod quoted;
mod rewrite;
mod server_id;
mod service;
mod state;
mod steer;
mod tables;
mod tags;
mod uncommon;
mod unsettled;

pub use admit::refusal;
pub use aside::{Handled, Question, handle_aside, leave_unanswered};
pub use choose::{Search, look};
pub use crossing::{handle_crossing, leave_uncrossed};
pub use open::{CANDIDATE_PORTS, CLOSING_SECONDS};
pub use outcome::{AnswerReason, DropReason, Egress, Outcome, PassReason, Stop};
pub use quoted::handle_errors;
pub use tables::{
    FamilyTables, HeldException, HeldFlow, InsertError, Leaving, Prefixes, Route, Scratch, Tables,
    Tagged,
};
pub use tags::handle_tagged;
pub use uncommon::handle_uncommon;
pub use unsettled::{Owner, Unsettled, owner};

use crate::{
    abi::{HopWord, ServiceKind},
    net::{Family, Ipv4, Ipv6, Packet},
};

use parse::Parsed;

/// Decides on a packet, rewrites it if it is forwarded, and counts what became of it, unless that is
/// left to [`handle_tagged`], [`handle_uncommon`], [`handle_crossing`] or [`handle_aside`].
#[inline(always)]
pub fn handle<P, T>(packet: &mut P, tables: &T) -> Handled
where
    P: Packet,
    T: FamilyTables<Ipv4> + FamilyTables<Ipv6>,
{
    let ingress = tags::enter(tables);
    let handled = match judge(packet, tables, ingress) {
        Ok(egress) => Handled::Done(Outcome::Forward(egress)),
        Err(Stop::Tagged) if tables.has_vlans() => Handled::Tagged,
        Err(stop) => Question::of(stop),
    };
    match handled {
        Handled::Done(outcome) => Handled::Done(end(packet, tables, ingress, outcome)),
        left => left,
    }
}

/// Puts on the tags that the packet leaves with, and counts what became of it.
#[inline(always)]
fn end<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ingress: HopWord,
    outcome: Outcome,
) -> Outcome {
    let outcome = tags::put_on(packet, tables, outcome);
    tables.count_outcome(ingress.device(), outcome);
    outcome
}

/// Makes a packet what it was when it came, tags and all, for the program of the tables before; whether that could
/// be done.
#[inline(always)]
pub fn give_back<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> bool {
    let as_it_came = Outcome::Pass(PassReason::NotRead);
    tags::put_on(packet, tables, as_it_came) == as_it_came
}

/// Counts a packet that the program of the tables before was not there to decide on.
#[inline(always)]
pub fn leave_unasked<T: Tables>(tables: &T) -> Outcome {
    let outcome = Outcome::from(Stop::Older);
    tables.count_outcome(tables.arrived().device(), outcome);
    outcome
}

/// Counts a packet that is not plain and that nobody is there to read.
#[inline(always)]
pub fn leave_unread<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Outcome {
    let outcome = Outcome::Pass(PassReason::NotRead);
    end(packet, tables, tables.ingress(), outcome)
}

#[inline(always)]
fn judge<P, T>(packet: &mut P, tables: &T, ingress: HopWord) -> Result<Egress, Stop>
where
    P: Packet,
    T: FamilyTables<Ipv4> + FamilyTables<Ipv6>,
{
    match parse::link(packet, ingress)? {
        parse::Link::Ipv4 => judge_ip::<Ipv4, P, T>(packet, tables, ingress),
        parse::Link::Ipv6 => judge_ip::<Ipv6, P, T>(packet, tables, ingress),
    }
}

#[inline(always)]
fn judge_ip<F, P, T>(packet: &mut P, tables: &T, ingress: HopWord) -> Result<Egress, Stop>
where
    F: Family,
    P: Packet,
    T: FamilyTables<F>,
{
    let parsed = parse::network::<F, P>(packet)?;
    judge_parsed::<F, P, T>(packet, tables, ingress, &parsed)
}

/// Decides on a packet whose ends are known.
#[inline(always)]
fn judge_parsed<F, P, T>(
    packet: &mut P,
    tables: &T,
    ingress: HopWord,
    parsed: &Parsed<F::Address>,
) -> Result<Egress, Stop>
where
    F: Family,
    P: Packet,
    T: FamilyTables<F>,
{
    let service = service::find::<F, T>(tables, &parsed.key)?;
    if T::PROBES {
        return probe::judge::<F, P, T>(packet, tables, ingress, parsed, service);
    }
    if service.kind() == ServiceKind::Service {
        admit::source::<F, T>(tables, &parsed.key, service)?;
    }
    match service.kind() {
        ServiceKind::Service if service.is_steered() => {
            decide::steered::<F, P, T>(packet, tables, ingress, parsed, service)
        }
        ServiceKind::Reverse | ServiceKind::Own if service::is_of_answers(tables, service) => {
            answer::answer::<F, P, T>(packet, tables, parsed, service)
        }
        ServiceKind::Service | ServiceKind::Source | ServiceKind::Reverse => {
            flow::tracked::<F, P, T>(packet, tables, ingress, parsed, service)
        }
        ServiceKind::Own | ServiceKind::Group | ServiceKind::Empty => {
            Err(PassReason::NoService.into())
        }
    }
}
