//! The program's debug lines, one per packet, behind the `DEBUG` constant.
//!
//! Written in aya-log's format to a map of its name, without its macros: these declare that map
//! in the old way, which bpftool refuses to load.

use core::mem::MaybeUninit;

use aya_ebpf::{btf_maps::RingBuf, macros::btf_map};
use aya_log_common::{Argument, Field, Header, Level};
use lb_common::datapath::{AnswerReason, DropReason, Outcome, PassReason};

/// A record: its length in two bytes, then the fields.
type Record = [u8; 256];

#[btf_map]
static AYA_LOGS: RingBuf<(), 131_072> = RingBuf::new();

/// Logs what became of a packet.
#[inline(never)]
pub(crate) fn outcome(ifindex: u32, outcome: Outcome) {
    let Some(mut slot) = AYA_LOGS.reserve_untyped::<Record>(0) else {
        return;
    };
    let record: &mut MaybeUninit<Record> = &mut slot;
    let record = record.write([0; 256]);
    match write(record, ifindex, outcome) {
        Some(()) => slot.submit(0),
        None => slot.discard(0),
    }
}

#[inline(always)]
fn write(record: &mut Record, ifindex: u32, outcome: Outcome) -> Option<()> {
    let mut at = 2;
    let mut put = |bytes: &[u8]| {
        record
            .get_mut(at..)?
            .get_mut(..bytes.len())?
            .copy_from_slice(bytes);
        at += bytes.len();
        Some(())
    };
    Header::new(
        "sluice::datapath",
        Level::Debug,
        "sluice_xdp",
        "lb-ebpf",
        0,
        4,
    )?
    .with_bytes(&mut put)?;
    field(&"packet from interface ", &mut put)?;
    field(&ifindex, &mut put)?;
    field(&": ", &mut put)?;
    let name = &NAMES[(outcome.code() % Outcome::CODES) as usize];
    // SAFETY: names are ASCII.
    field(&unsafe { core::str::from_utf8_unchecked(name) }, &mut put)?;
    let length = (at as u16).to_ne_bytes();
    record[..2].copy_from_slice(&length);
    Some(())
}

#[inline(always)]
fn field<A: Argument>(argument: &A, put: &mut impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
    let (kind, value) = argument.as_argument();
    Field::new(kind, value)?.with_bytes(put)
}

const NAME_LEN: usize = 24;

/// The outcomes' names by code, in place: BPF objects can't hold pointers to strings.
static NAMES: [[u8; NAME_LEN]; Outcome::CODES as usize] = names();

const fn names() -> [[u8; NAME_LEN]; Outcome::CODES as usize] {
    let mut names = [[b' '; NAME_LEN]; Outcome::CODES as usize];
    names[0] = padded("forwarded");
    let mut n = 0;
    while n < PassReason::ALL.len() {
        let outcome = Outcome::Pass(PassReason::ALL[n]);
        names[outcome.code() as usize] = padded(outcome.name());
        n += 1;
    }
    n = 0;
    while n < DropReason::ALL.len() {
        let outcome = Outcome::Drop(DropReason::ALL[n]);
        names[outcome.code() as usize] = padded(outcome.name());
        n += 1;
    }
    n = 0;
    while n < AnswerReason::ALL.len() {
        let outcome = Outcome::Answer(AnswerReason::ALL[n]);
        names[outcome.code() as usize] = padded(outcome.name());
        n += 1;
    }
    names
}

const fn padded(name: &str) -> [u8; NAME_LEN] {
    let mut padded = [b' '; NAME_LEN];
    let mut n = 0;
    while n < name.len() {
        padded[n] = name.as_bytes()[n];
        n += 1;
    }
    padded
}
