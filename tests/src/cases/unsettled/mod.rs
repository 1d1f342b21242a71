//! Slots whose owner changes: which backend does a packet get, and what is remembered of its flow?
//!
//! ```text
//!  the words  story        a row as a client's story, told packet by packet, each with who gets it
//!             tables       where a flow's slot is, and was
//!  the rows   unknown      no exception, in every phase
//!             datagrams    where nothing opens a flow
//!             known        an exception, committed or tentative
//!             closing      one that is closing
//!             sequence     what follows a SYN, and which FIN and RST are believed
//!             quic         which packets of QUIC open and prove
//!             inconclusive what follows an Initial and proves nothing
//!             server_ids   connection ids that name a server, wherever the flow's slot leads
//!             reset        services that reset the flows of dead backends
//!             errors       ICMP errors about what a backend has sent, which change nothing
//!             changes      slots that change again and again, packets that are forged
//!             resize       a table that replaces another
//!             source_hash  tables by the client's address
//!             limits       how much is recorded
//! ```
//! What an exception holds is seen by what later packets get, when the slot has changed meanwhile.
//! What changes of a slot follow which is not the packet path's: these rows make any.

mod changes;
mod closing;
mod datagrams;
mod errors;
mod inconclusive;
mod known;
mod limits;
mod older;
mod quic;
mod reset;
mod resize;
mod sequence;
mod server_ids;
mod source_hash;
mod story;
mod tables;
mod unknown;

use super::case::Case;

pub(super) fn rows() -> Vec<Case> {
    [
        unknown::rows(),
        datagrams::rows(),
        known::rows(),
        closing::rows(),
        sequence::rows(),
        reset::rows(),
        errors::rows(),
        changes::rows(),
        quic::rows(),
        inconclusive::rows(),
        server_ids::rows(),
        resize::rows(),
        source_hash::rows(),
        limits::rows(),
        older::rows(),
    ]
    .concat()
}
