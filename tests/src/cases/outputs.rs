//! What frames have to become, in each mode, where nothing stands in the way.

use lb_common::abi::Direction;

use super::{
    case::Expected,
    frame::Frame,
    places::{BACK, BACKEND, Flavour, Pool, ROUTER, UPLINK, Way},
};

/// `input`, from a client to the pool's service, goes on to the pool's backend.
pub(super) fn forwarded(flavour: Flavour, pool: Pool, input: &Frame) -> Expected {
    let output = match pool {
        Pool::Ipip => encapsulated(flavour, input),
        Pool::Nat | Pool::NatSamePort => input
            .clone()
            .ends(flavour.own(), flavour.backend(pool))
            .hop(),
    };
    let output = output.link(BACK.mac, BACKEND);
    Expected::sent(input, &output, BACK).counted(flavour, pool, Direction::In, input)
}

/// As [`forwarded`], and it is the first packet of its flow.
pub(super) fn opened(flavour: Flavour, pool: Pool, input: &Frame) -> Expected {
    forwarded(flavour, pool, input).opens()
}

/// As [`opened`] where flows are recorded, else [`forwarded`]: what has to come of the first
/// packet of a flow that is no SYN.
pub(super) fn joined(flavour: Flavour, pool: Pool, input: &Frame) -> Expected {
    let forwarded = forwarded(flavour, pool, input);
    if pool == Pool::Ipip {
        forwarded
    } else {
        forwarded.opens()
    }
}

/// `input`, one hop on and inside another header to the backend.
fn encapsulated(flavour: Flavour, input: &Frame) -> Frame {
    let (own, backend) = (flavour.version.own(), flavour.version.backend(Pool::Ipip));
    input.clone().hop().inside(own, backend)
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
