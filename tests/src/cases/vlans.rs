//! VLAN devices: which frames are theirs, and what frames that leave through them have. (That every other
//! row holds in VLANs too is `tagging`'s to show.)

use lb_common::{
    abi::{Device, Direction, HopWord, MacAddress, Tag, Tags, VlanKey},
    datapath::{DropReason, PassReason},
};

use super::{
    case::{Case, Expected},
    frame::Frame,
    outputs::output,
    places::{BACK, BACKEND, FOREIGN, Flavour, Interface, Pool, ROUTER, UPLINK},
    world::{NEXT_HOP, World},
};

/// A VLAN device; frames come in through the device below it, which the kernel's number is of.
struct Vlan {
    interface: Interface,
    tags: Tags,
}

/// On [`UPLINK`], with a MAC address of its own.
const CLIENTS: Vlan = vlan(UPLINK, 5, Tags::one(Tag::new(0x8100, 100)));
/// On [`UPLINK`] too.
const OTHERS: Vlan = vlan(UPLINK, 6, Tags::one(Tag::new(0x8100, 101)));
/// On [`BACK`], a customer's VLAN in a provider's.
const SERVERS: Vlan = vlan(
    BACK,
    7,
    Tags::two(Tag::new(0x88a8, 300), Tag::new(0x8100, 301)),
);

const fn vlan(below: Interface, device: u16, tags: Tags) -> Vlan {
    let interface = Interface {
        name: "a VLAN's",
        ifindex: below.ifindex,
        device,
        mac: [0x02, 0, 0, 0, device as u8, 0x01],
    };
    Vlan { interface, tags }
}

pub(super) fn rows() -> Vec<Case> {
    let mut rows = Vec::new();
    for flavour in Flavour::ALL {
        rows.extend(ways(flavour));
        rows.extend(strangers(flavour));
        rows.extend(not_for_us(flavour));
        rows.extend(priorities(flavour));
        rows.push(cut_short(flavour));
        rows.push(cramped(flavour));
        rows.push(turned_off(flavour));
    }
    rows
}

fn row(flavour: Flavour, what: &str) -> Case {
    Case::new(format!("{flavour} in VLANs: {what}")).world(|world| {
        for vlan in [CLIENTS, OTHERS, SERVERS] {
            world.add_vlan(&vlan);
        }
    })
}

impl World {
    fn add_vlan(&mut self, vlan: &Vlan) {
        let Interface {
            ifindex,
            mac,
            device,
            ..
        } = vlan.interface;
        let hop = HopWord::new(MacAddress(mac), device);
        self.vlans.insert(VlanKey::new(ifindex, vlan.tags), hop);
        self.devices
            .insert(device, Device::new(hop, ifindex, vlan.tags));
        self.redirect.insert(device, ifindex);
    }

    /// Has all backends be behind `device`.
    fn move_backends(&mut self, device: u16) {
        let next = self.next_hops.entry(NEXT_HOP).or_default();
        next.hop = HopWord::new(MacAddress(BACKEND), device);
    }
}

fn request(flavour: Flavour, through: Interface) -> Frame {
    let request = flavour.request(Pool::Ipip);
    request.arrives(through).link(ROUTER, through.mac)
}

/// The frame with these tags in it.
fn tagged(frame: &Frame, tags: &[u8]) -> Vec<u8> {
    let mut bytes = frame.bytes();
    bytes.splice(12..12, tags.iter().copied());
    bytes
}

fn tags_of(vlan: &Vlan) -> Vec<u8> {
    let bytes = vlan.tags.word().to_le_bytes();
    bytes[..4 * vlan.tags.count()].to_vec()
}

/// What `input` leaves as, through a device whose frames have these tags.
fn leaves(flavour: Flavour, input: &Frame, through: Interface, tags: &[u8]) -> Expected {
    let output = output(flavour, Pool::Ipip, input).link(through.mac, BACKEND);
    Expected::relayed(input.ingress, tagged(&output, tags), through).counted(
        flavour,
        Pool::Ipip,
        Direction::In,
        input,
    )
}

/// From a VLAN or none into a VLAN or none.
fn ways(flavour: Flavour) -> Vec<Case> {
    let request = |through| request(flavour, through);
    let from_none = request(UPLINK);
    let from_vlan = request(CLIENTS.interface);
    let vlan = tagged(&from_vlan, &tags_of(&CLIENTS));
    let urgent = tagged(&from_vlan, &[0x81, 0, 0xe0, 100]);
    let to_none = leaves(flavour, &from_vlan, BACK, &[]);
    let case = |what, to: u16| row(flavour, what).world(|world| world.move_backends(to));
    let mut rows = vec![
        row(flavour, "from one into none")
            .bytes(CLIENTS.interface, vlan.clone(), to_none.clone())
            .bytes(CLIENTS.interface, urgent, to_none),
        case("from none into two tags", SERVERS.interface.device).frame(
            &from_none,
            leaves(flavour, &from_none, SERVERS.interface, &tags_of(&SERVERS)),
        ),
    ];
    for (what, to) in [
        ("from one back into it", CLIENTS),
        ("from one into another of the same device", OTHERS),
        ("from one into two tags", SERVERS),
    ] {
        let expected = leaves(flavour, &from_vlan, to.interface, &tags_of(&to));
        let case = case(what, to.interface.device);
        rows.push(case.bytes(CLIENTS.interface, vlan.clone(), expected));
    }
    rows
}

/// Tags of no VLAN of ours.
fn strangers(flavour: Flavour) -> impl Iterator<Item = Case> {
    let request = request(flavour, UPLINK);
    [
        ("another number", [0x81, 0, 0, 102].as_slice()),
        ("a provider's tag", &[0x88, 0xa8, 0, 100]),
        ("an old provider's tag", &[0x91, 0, 0, 100]),
        ("one tag more inside", &[0x81, 0, 0, 100, 0x81, 0, 0, 100]),
        ("one tag more outside", &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 100]),
        ("a priority outside", &[0x81, 0, 0xe0, 0, 0x81, 0, 0, 100]),
        (
            "three tags",
            &[0x88, 0xa8, 1, 44, 0x81, 0, 1, 45, 0x81, 0, 0, 1],
        ),
    ]
    .into_iter()
    .map(move |(what, tags)| {
        // What comes next has nothing to do with it.
        let foreign = request.clone().arrives(FOREIGN);
        row(flavour, what)
            .bytes(
                UPLINK,
                tagged(&request, tags),
                Expected::passed(PassReason::Vlan),
            )
            .frame(&foreign, Expected::passed(PassReason::UnknownInterface))
    })
}

/// What is of a VLAN of ours and not for us.
fn not_for_us(flavour: Flavour) -> Vec<Case> {
    let request = request(flavour, CLIENTS.interface);
    let of_type = |ethertype: [u8; 2]| request.clone().patch(12, &ethertype);
    [
        (
            "to the MAC address of the device below",
            request.clone().link(ROUTER, UPLINK.mac),
            PassReason::OtherMac,
        ),
        ("ARP", of_type([8, 6]), PassReason::Arp),
        (
            "neither IP nor ARP",
            of_type([0x88, 0xcc]),
            PassReason::OtherEthertype,
        ),
    ]
    .into_iter()
    .map(|(what, frame, reason)| {
        let bytes = tagged(&frame, &tags_of(&CLIENTS));
        row(flavour, what).bytes(CLIENTS.interface, bytes, Expected::passed(reason))
    })
    .collect()
}

/// A tag that says a priority alone is none, and passes with the frame.
fn priorities(flavour: Flavour) -> [Case; 2] {
    const PRIORITY: [u8; 4] = [0x81, 0, 0xe0, 0];
    let request = request(flavour, UPLINK);
    let strange = request
        .clone()
        .ends(flavour.service(Pool::Ipip), request.source());
    [
        row(flavour, "a priority and no VLAN").bytes(
            UPLINK,
            tagged(&request, &PRIORITY),
            leaves(flavour, &request, BACK, &[]),
        ),
        row(flavour, "a priority and no VLAN, for no service").bytes(
            UPLINK,
            tagged(&strange, &PRIORITY),
            Expected::passed(PassReason::NoService),
        ),
    ]
}

/// Frames that end within their tags.
fn cut_short(flavour: Flavour) -> Case {
    let bytes = tagged(&request(flavour, UPLINK), &tags_of(&SERVERS));
    (14..22).fold(row(flavour, "ends within the tags"), |case, length| {
        let expected = Expected::passed(PassReason::Truncated);
        case.bytes(UPLINK, bytes[..length].to_vec(), expected)
    })
}

/// A frame with room in front for the outer header, and not for tags.
fn cramped(flavour: Flavour) -> Case {
    let (request, room) = (request(flavour, UPLINK), flavour.overhead(Pool::Ipip));
    let sent = leaves(flavour, &request, SERVERS.interface, &tags_of(&SERVERS));
    let dropped = Expected::dropped(DropReason::NoHeadroom).counted(
        flavour,
        Pool::Ipip,
        Direction::In,
        &request,
    );
    row(flavour, "no room for tags")
        .world(|world| world.move_backends(SERVERS.interface.device))
        .cramped(&request, room + 8, sent)
        .cramped(&request, room + 7, dropped)
}

/// Where no device is said to be a VLAN's, tags are not looked at.
fn turned_off(flavour: Flavour) -> Case {
    let request = request(flavour, UPLINK);
    row(flavour, "none is ours")
        .world(|world| world.constants.vlans = false)
        .bytes(
            UPLINK,
            tagged(&request, &tags_of(&CLIENTS)),
            Expected::passed(PassReason::Vlan),
        )
        .frame(&request, leaves(flavour, &request, BACK, &[]))
}
