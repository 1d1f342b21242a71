//! What the packet program leaves to another one, so that packets that are forwarded pay nothing
//! for it: ICMP, and packets that end here but may be answered.
//!
//! ```text
//! packet program ──► Question ───────────► aside ──► icmp   echo, errors that quote a flow of ours
//!                       └──ICMP──► errors ───┘   └─► made   an ICMP error or a TCP reset goes back
//! ```
//! Errors about flows whose ends may be of both families end in `errors` (`quoted`).
//! The frame is as it came in. One that is not answered counts as the packet program would have
//! counted it.

use crate::{
    abi::{ASIDE, ERRORS, HopWord, ServiceTraits},
    net::{Error, EthernetHeader, Icmp, Ipv4, Ipv6, Packet, Trim},
};

use super::{
    end, icmp, made,
    outcome::{AnswerReason, DropReason, Outcome, PassReason, Stop},
    parse, service,
    tables::{FamilyTables, Tables},
};

/// What becomes of a packet in the packet program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// All is said.
    Done(Outcome),
    /// Nothing was changed or counted: [`handle_tagged`](super::handle_tagged) decides.
    Tagged,
    /// Nothing was changed or counted: [`handle_uncommon`](super::handle_uncommon) decides.
    Uncommon,
    /// Nothing was changed or counted: [`handle_crossing`](super::handle_crossing) decides.
    Crossing,
    /// Nothing was changed or counted, but for tags: [`give_back`](super::give_back) puts these on, and the program of
    /// the tables before decides.
    Older,
    /// Nothing was changed or counted: [`handle_aside`] decides, or, of ICMP,
    /// [`handle_errors`](super::handle_errors) first.
    Aside(Question),
}

/// What is left to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whom is this ICMP message for?
    Icmp,
    /// May the sender be told that its packet does not fit?
    TooBig {
        /// What does, bytes.
        mtu: u16,
    },
    /// May the sender be told that its packet's hops are used up?
    TtlExpired,
    /// May the sender be told that the service has no backend?
    NoBackend,
    /// May the sender be told that its flow's backend is gone?
    BackendGone,
}

impl Question {
    /// What is left to decide where the stages stopped; if nothing is, what becomes of the packet.
    #[inline(always)]
    pub(super) fn of(stop: Stop) -> Handled {
        match stop {
            Stop::Pass(PassReason::Icmp) => Handled::Aside(Self::Icmp),
            Stop::TooBig { mtu } => Handled::Aside(Self::TooBig { mtu }),
            Stop::Drop(DropReason::TtlExpired) => Handled::Aside(Self::TtlExpired),
            Stop::Drop(DropReason::NoBackend) => Handled::Aside(Self::NoBackend),
            Stop::Drop(DropReason::BackendGone) => Handled::Aside(Self::BackendGone),
            Stop::Uncommon => Handled::Uncommon,
            Stop::Crossing => Handled::Crossing,
            Stop::Older => Handled::Older,
            Stop::Pass(_) | Stop::Drop(_) | Stop::Tagged | Stop::Ended => {
                Handled::Done(stop.into())
            }
        }
    }

    /// Number of the program that begins with it. Messages about flows of both families are one's of its own.
    #[inline(always)]
    pub fn program<T: Tables>(self, tables: &T) -> u32 {
        match self {
            Self::Icmp if tables.has_crossing() => ERRORS,
            Self::Icmp
            | Self::TooBig { .. }
            | Self::TtlExpired
            | Self::NoBackend
            | Self::BackendGone => ASIDE,
        }
    }

    /// What becomes of the packet if nobody answers.
    #[inline(always)]
    pub fn unanswered(self) -> Outcome {
        match self {
            Self::Icmp => Outcome::Pass(PassReason::Icmp),
            Self::TooBig { .. } => Outcome::Drop(DropReason::TooBig),
            Self::TtlExpired => Outcome::Drop(DropReason::TtlExpired),
            Self::NoBackend => Outcome::Drop(DropReason::NoBackend),
            Self::BackendGone => Outcome::Drop(DropReason::BackendGone),
        }
    }

    /// The question as a word, which goes from one program to the other.
    #[inline(always)]
    pub fn word(self) -> u32 {
        match self {
            Self::Icmp => 1,
            Self::TooBig { mtu } => 2 | u32::from(mtu) << 16,
            Self::TtlExpired => 3,
            Self::NoBackend => 4,
            Self::BackendGone => 5,
        }
    }

    /// The question of this word.
    #[inline(always)]
    pub fn of_word(word: u32) -> Option<Self> {
        match word & 0xffff {
            1 => Some(Self::Icmp),
            2 => Some(Self::TooBig {
                mtu: (word >> 16) as u16,
            }),
            3 => Some(Self::TtlExpired),
            4 => Some(Self::NoBackend),
            5 => Some(Self::BackendGone),
            _ => None,
        }
    }
}

/// Decides on a packet that was left aside, and counts what became of it.
#[inline(always)]
pub fn handle_aside<P, T>(packet: &mut P, tables: &T, question: Question) -> Outcome
where
    P: Trim,
    T: FamilyTables<Ipv4> + FamilyTables<Ipv6>,
{
    let ingress = tables.ingress();
    let outcome = match parse::link(packet, ingress) {
        Ok(parse::Link::Ipv4) => judge::<Ipv4, P, T>(packet, tables, &question),
        Ok(parse::Link::Ipv6) => judge::<Ipv6, P, T>(packet, tables, &question),
        Err(stop) => stop.into(),
    };
    end(packet, tables, ingress, outcome)
}

/// Counts a packet that was left aside and that nobody is there to decide on.
#[inline(always)]
pub fn leave_unanswered<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    question: Question,
) -> Outcome {
    end(packet, tables, tables.ingress(), question.unanswered())
}

/// A function of its own in the kernel, so that the families do not pay for each other's stack.
#[inline(never)]
fn judge<F, P, T>(packet: &mut P, tables: &T, question: &Question) -> Outcome
where
    F: Icmp,
    P: Trim,
    T: FamilyTables<F> + FamilyTables<Ipv4> + FamilyTables<Ipv6>,
{
    let ingress = tables.ingress();
    let reason = match *question {
        Question::Icmp => return icmp::message::<F, P, T>(packet, tables, ingress),
        Question::TooBig { mtu } => tell::<F, P, T>(packet, tables, ingress, Error::TooBig { mtu })
            .map(|()| AnswerReason::ToldTooBig),
        Question::TtlExpired => tell::<F, P, T>(packet, tables, ingress, Error::Expired)
            .map(|()| AnswerReason::ToldExpired),
        Question::NoBackend => {
            reject::<F, P, T>(packet, tables, ingress).map(|()| AnswerReason::Rejected)
        }
        Question::BackendGone => {
            made::refuse::<F, P, T>(packet, tables, ingress).map(|()| AnswerReason::Reset)
        }
    };
    reason.map_or(question.unanswered(), Outcome::Answer)
}

/// Sends the packet's sender an error about it.
#[inline(always)]
fn tell<F, P, T>(packet: &mut P, tables: &T, ingress: HopWord, error: Error) -> Option<()>
where
    F: Icmp,
    P: Trim,
    T: FamilyTables<F>,
{
    let back = made::back(packet, ingress)?;
    let quote = made::Quote::whole::<F, P>(packet, EthernetHeader::LEN)?;
    made::tell::<F, P, T>(packet, tables, error, &quote, back)
}

/// Refuses the packet, if its service rejects clients where it has no backend.
#[inline(always)]
fn reject<F, P, T>(packet: &mut P, tables: &T, ingress: HopWord) -> Option<()>
where
    F: Icmp,
    P: Trim,
    T: FamilyTables<F>,
{
    let parsed = parse::network::<F, P>(packet).ok()?;
    let service = service::find::<F, T>(tables, &parsed.key).ok()?;
    if !service.traits().has(ServiceTraits::REJECTS) {
        return None;
    }
    made::refuse::<F, P, T>(packet, tables, ingress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_which_question_it_is() {
        let all = [
            Question::Icmp,
            Question::TooBig { mtu: 65_535 },
            Question::TooBig { mtu: 0 },
            Question::TtlExpired,
            Question::NoBackend,
            Question::BackendGone,
        ];
        for question in all {
            assert_eq!(Question::of_word(question.word()), Some(question));
        }
        assert_eq!(Question::of_word(0), None);
    }
}
