//! How connections to backends begin, as far as that is counted: SYNs, and what they are answered with. What else
//! becomes of such packets is `full_nat`'s and `one_sided`'s.

use lb_common::abi::Handshake;

use super::{
    case::Case,
    frame::{ACK, FIN, Frame, RST, SYN},
    outputs::{answered, forwarded, joined, opened},
    places::{Flavour, Pool},
};

/// The number that clients begin with.
const ISN: u32 = 0x0102_0304;

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::TCP {
        rows.extend(recorded(flavour));
        rows.extend(reopened(flavour));
        rows.extend(unrecorded(flavour));
        rows.extend(not_asked(flavour));
    }
    rows
}

fn row(pool: Pool, flavour: Flavour, what: &str) -> Case {
    Case::new(format!("{pool} {flavour}: handshakes, {what}"))
}

fn syn(flavour: Flavour, pool: Pool) -> Frame {
    flavour.request(pool).flags(SYN).sequence(ISN)
}

/// What the backend says to the SYN.
fn reply(flavour: Flavour, pool: Pool, flags: u8, sequence: u32) -> Frame {
    let reply = flavour.reply(pool).flags(flags).sequence(sequence);
    reply.acknowledgement(ISN + 1)
}

/// Where flows are recorded, what is sent again counts once.
fn recorded(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::Nat;
    let (asks, accepts) = (syn(flavour, pool), reply(flavour, pool, SYN | ACK, 5000));
    let refuses = reply(flavour, pool, RST | ACK, 0);
    let third = flavour.request(pool).sequence(ISN + 1);
    let third = third.acknowledgement(5001);
    let end = third.clone().flags(RST);
    let start = |what| row(pool, flavour, what).frame(&asks, opened(flavour, pool, &asks));
    let forwarded = |input: &Frame| forwarded(flavour, pool, input);
    let answered = |input: &Frame| answered(flavour, pool, input);
    let accepted =
        |what| start(what).frame(&accepts, answered(&accepts).handshake(Handshake::Answered));
    vec![
        start("a SYN again").frame(&asks, forwarded(&asks)),
        accepted("accepted")
            .frame(&accepts, answered(&accepts))
            .frame(&third, forwarded(&third))
            .frame(&accepts, answered(&accepts)),
        accepted("accepted, then reset").frame(&refuses, answered(&refuses)),
        start("refused")
            .frame(&refuses, answered(&refuses).handshake(Handshake::Refused))
            .frame(&refuses, answered(&refuses)),
        start("the client gives up").frame(&end, forwarded(&end)),
        start("a reset of somebody else's").frame(
            &reply(flavour, pool, RST, 1 << 30),
            answered(&reply(flavour, pool, RST, 1 << 30)),
        ),
        start("answered with data").frame(
            &reply(flavour, pool, ACK, 5000),
            answered(&reply(flavour, pool, ACK, 5000)),
        ),
    ]
}

/// Another SYN of the same ends asks anew.
fn reopened(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::Nat;
    let (asks, other) = (
        syn(flavour, pool),
        syn(flavour, pool).sequence(ISN + 100_000),
    );
    let accepts = reply(flavour, pool, SYN | ACK, 5000);
    let refuses = reply(flavour, pool, RST | ACK, 0);
    let start = |what| row(pool, flavour, what).frame(&asks, opened(flavour, pool, &asks));
    let answer = |input: &Frame, step| answered(flavour, pool, input).handshake(step);
    let again = || forwarded(flavour, pool, &other).handshake(Handshake::Asked);
    vec![
        start("another SYN before an answer")
            .frame(&other, again())
            .frame(&accepts, answer(&accepts, Handshake::Answered)),
        start("another SYN after an answer")
            .frame(&accepts, answer(&accepts, Handshake::Answered))
            .frame(&other, again())
            .frame(&accepts, answer(&accepts, Handshake::Answered)),
        start("a SYN after it was refused")
            .frame(&refuses, answer(&refuses, Handshake::Refused))
            .frame(&asks, opened(flavour, pool, &asks))
            .frame(&accepts, answer(&accepts, Handshake::Answered)),
    ]
}

/// Where none are, each packet stands for itself.
fn unrecorded(flavour: Flavour) -> Vec<Case> {
    let pool = Pool::OneSided;
    let asks = syn(flavour, pool);
    let answer = |what, flags, sequence, step| {
        let back = reply(flavour, pool, flags, sequence);
        let expected = match step {
            Some(step) => answered(flavour, pool, &back).handshake(step),
            None => answered(flavour, pool, &back),
        };
        let row = row(pool, flavour, what);
        row.frame(&back, expected.clone()).frame(&back, expected)
    };
    let (accepted, refused) = (Some(Handshake::Answered), Some(Handshake::Refused));
    vec![
        row(pool, flavour, "a SYN again")
            .frame(&asks, opened(flavour, pool, &asks))
            .frame(&asks, opened(flavour, pool, &asks)),
        answer("accepted", SYN | ACK, 5000, accepted),
        answer("accepted, by the number 0", SYN | ACK, 0, accepted),
        answer("refused", RST | ACK, 0, refused),
        answer("reset in the middle", RST | ACK, 1, None),
        answer("reset, by the number 0", RST, 0, None),
        answer("a SYN of the backend's", SYN, 5000, None),
        answer("an end", FIN | ACK, 0, None),
    ]
}

/// What no SYN begins is not counted; nor SYNs to backends whose answers are not seen.
fn not_asked(flavour: Flavour) -> Vec<Case> {
    let middle = flavour.request(Pool::Nat).sequence(ISN);
    let back = reply(flavour, Pool::Nat, ACK, 5000);
    let elsewhere = syn(flavour, Pool::Dsr);
    vec![
        row(Pool::Nat, flavour, "a flow on its way")
            .frame(&middle, joined(flavour, Pool::Nat, &middle))
            .frame(&back, answered(flavour, Pool::Nat, &back)),
        row(Pool::Dsr, flavour, "a SYN").frame(&elsewhere, opened(flavour, Pool::Dsr, &elsewhere)),
    ]
}
