//! What frames have to become, in each mode, where nothing stands in the way.

use lb_common::abi::Direction;

use super::{
    case::{Ends, Expected},
    frame::Frame,
    hashes::{flow_hash, outer_port},
    places::{BACK, BACKEND, Flavour, GUE_PORT, Pool, ROUTER, UPLINK, Way},
    world::SEED,
};

/// `input`, from a client to the pool's service, goes on to the pool's backend.
pub(super) fn forwarded(flavour: Flavour, pool: Pool, input: &Frame) -> Expected {
    let output = output(flavour, pool, input).link(BACK.mac, BACKEND);
    Expected::sent(input, &output, BACK).counted(flavour, pool, Direction::In, input)
}

/// `input` with the hops, the ends and the other headers that it has towards the pool's backend.
pub(super) fn output(flavour: Flavour, pool: Pool, input: &Frame) -> Frame {
    let there = input.clone().hop();
    let (own, backend) = (
        flavour.version.backends(pool).own(),
        flavour.version.backend(pool),
    );
    match pool {
        Pool::Ipip | Pool::IpipAcross => there.inside(own, backend),
        Pool::Gue | Pool::GueAcross => {
            let source = outer_port(hash(flavour, pool, input));
            let unchecked = there.is_unchecked() || !there.is_plain();
            let around = there.inside_udp((own, source).into(), (backend, GUE_PORT).into());
            if unchecked {
                around.unchecked_outside()
            } else {
                around
            }
        }
        Pool::Nat | Pool::NatSamePort => there.ends(flavour.own(), flavour.backend(pool)),
        Pool::OneSided | Pool::OneSidedSamePort => {
            there.ends(input.source(), flavour.backend(pool))
        }
        Pool::Dsr => there,
    }
}

/// The hash of the flow that `input`, from a client to the pool's service, is of.
pub(super) fn hash(flavour: Flavour, pool: Pool, input: &Frame) -> u64 {
    flow_hash(SEED, Ends::request(flavour, pool, input.source()))
}

/// As [`forwarded`], and it is the first packet of its flow.
pub(super) fn opened(flavour: Flavour, pool: Pool, input: &Frame) -> Expected {
    forwarded(flavour, pool, input).opens()
}

/// As [`opened`] where flows are recorded, else [`forwarded`]: what has to come of the first
/// packet of a flow that is no SYN.
pub(super) fn joined(flavour: Flavour, pool: Pool, input: &Frame) -> Expected {
    let forwarded = forwarded(flavour, pool, input);
    if pool.is_tracked() {
        forwarded.opens()
    } else {
        forwarded
    }
}

/// `input`, from the pool's backend, goes on to the usual client.
pub(super) fn answered(flavour: Flavour, pool: Pool, input: &Frame) -> Expected {
    let output = answer(flavour, pool, Way::Router, input).link(UPLINK.mac, ROUTER);
    Expected::sent(input, &output, UPLINK).counted(flavour, pool, Direction::Out, input)
}

/// `input`, from the pool's backend, with the ends and hops that it has towards a client.
pub(super) fn answer(flavour: Flavour, pool: Pool, client: Way, input: &Frame) -> Frame {
    input
        .clone()
        .ends(flavour.service(pool), flavour.client(client))
        .hop()
}
