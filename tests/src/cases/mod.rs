//! The table of packet cases: what has to come of every frame, whatever runs the packet path.
//!
//! ```text
//!  places         interfaces, addresses    frame, headers    frames, built by etherparse
//!  world, edits,  tables and routes        case, outputs     a world, frames, what is expected
//!  listening,       │                      hashes            slots of flows, by siphasher
//!  admission,       │                      messages          ICMP, by etherparse too
//!  reverses         ├───────────────────────────┘
//!   truncated, parse, faults            what is no sound packet of a service
//!   shapes, fragments                   options and extension headers; packets in fragments
//!   ranges                              services on ranges of ports and on prefixes
//!   admit                               who may use a service
//!   hashed, tunnels, gue                the modes that record nothing, towards the backend
//!   jumbo                               frames that fill several buffers
//!   vlans                               frames with tags
//!   probes                              the agent's own, which take clients' way
//!   one_sided, one_sided_routes         nat: replies, and their way back
//!   icmp, icmp_errors                   what is made here; errors that quote a flow
//!   handshakes                          how backends answer SYNs
//!   full_nat, crossing, crossing_begun, crossing_errors, checksums, flows, routes, spread
//!   unsettled, golden: the rows, by theme
//!                 │
//!               ring     runs a row and compares: ring 0 (host), ring 2 (kernel)
//!               tagging  the same rows, all devices being VLANs'
//! ```
//! What is expected is written here or computed by etherparse and by plain code of this module;
//! lb-common has no part in it. A row is one entry of a theme's `rows`; it says the same in both
//! rings, and what the kernel can't be made to do says why.

pub mod case;
pub mod frame;
pub mod places;
pub mod ring;
pub mod tagging;
pub mod world;

mod admission;
mod admit;
mod checksums;
mod crossing;
mod crossing_begun;
mod crossing_errors;
mod edits;
mod faults;
mod flows;
mod fragments;
mod full_nat;
mod golden;
mod gue;
mod handshakes;
mod hashed;
pub(crate) mod hashes;
pub(crate) mod headers;
mod icmp;
mod icmp_errors;
mod jumbo;
mod listening;
pub(crate) mod messages;
mod older;
mod one_sided;
mod one_sided_routes;
mod outputs;
mod parse;
mod prefix_clients;
mod probes;
mod ranges;
mod recorded;
mod reverses;
mod routes;
mod segments;
mod shapes;
mod spread;
mod truncated;
mod tunnels;
mod unsettled;
mod vlans;

use case::Case;

/// Every row.
pub fn all() -> Vec<Case> {
    [
        truncated::rows(),
        parse::rows(),
        prefix_clients::rows(),
        recorded::rows(),
        segments::rows(),
        shapes::rows(),
        fragments::rows(),
        ranges::rows(),
        admit::rows(),
        hashed::rows(),
        tunnels::rows(),
        gue::rows(),
        one_sided::rows(),
        one_sided_routes::rows(),
        full_nat::rows(),
        handshakes::rows(),
        crossing::rows(),
        crossing_begun::rows(),
        crossing_errors::rows(),
        older::rows(),
        checksums::rows(),
        flows::rows(),
        routes::rows(),
        faults::rows(),
        icmp::rows(),
        icmp_errors::rows(),
        spread::rows(),
        jumbo::rows(),
        unsettled::rows(),
        vlans::rows(),
        probes::rows(),
        golden::rows(),
    ]
    .concat()
}
