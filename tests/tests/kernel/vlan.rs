//! VLAN devices as the agent writes them, in a kernel that need have none: the device below is lo,
//! where test runs come in.

use std::net::Ipv4Addr;

use aya::programs::TestRunOptions;
use etherparse::{PacketBuilder, VlanId};
use lb_common::{
    abi::{Device, HopWord, MacAddress, Tag, Tags, VlanKey},
    datapath::{Outcome, PassReason},
};
use lb_userspace::{
    kernel::{Constants, CounterReader, Features, KernelTables as _, Program},
    plan::{self, Tables},
};

use crate::{constants, network::Network};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const LO: u32 = 1;
/// The kernel's number of the VLAN device, which no frame of it is found by.
const VLAN: u32 = 77;
/// Index of the device below, and of the VLAN device.
const INDICES: [u16; 2] = [1, 2];

fn vlan_constants() -> Constants {
    constants::small(Features {
        vlans: true,
        ..Features::default()
    })
}

/// Both devices, as `state::desired` has them.
fn tables(tags: Tags) -> Tables {
    let [below, vlan] = INDICES;
    let hop = |index| HopWord::new(MacAddress(MAC), index);
    Tables {
        targets: [(below, LO), (vlan, LO)].into(),
        devices: [
            (below, Device::new(hop(below), LO, Tags::NONE)),
            (vlan, Device::new(hop(vlan), VLAN, tags)),
        ]
        .into(),
        vlans: [(VlanKey::new(LO, tags), hop(vlan))].into(),
        ..Tables::default()
    }
}

/// A datagram that is for no service.
fn frame(id: u16) -> Vec<u8> {
    let id = VlanId::try_new(id).expect("an id of 12 bits");
    let (client, here) = (Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 0, 2));
    let builder = PacketBuilder::ethernet2([4; 6], MAC)
        .single_vlan(id)
        .ipv4(client.octets(), here.octets(), 64)
        .udp(1, 2);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"payload").expect("a frame");
    frame
}

/// How many packets passed for this reason, on the device below and on the VLAN device.
fn passed(counters: &CounterReader, reason: PassReason) -> [u64; 2] {
    let code = Outcome::Pass(reason).code() as usize;
    INDICES.map(|device| counters.outcomes(device).expect("counters")[code])
}

#[test]
fn tags_lead_to_the_vlan_device_until_it_is_gone() {
    let network = Network::create().expect("a network namespace");
    network.run(|| {
        let mut program = Program::load(&vlan_constants()).expect("a program that loads");
        let mut maps = program.take_tables().expect("tables");
        let counters = program.take_counters().expect("counters");
        let send = |id| {
            let sent = frame(id);
            let mut seen = vec![0; sent.len() + 64];
            let options = TestRunOptions {
                data_in: Some(&sent),
                data_out: Some(&mut seen),
                repeat: 1,
                ..TestRunOptions::default()
            };
            let ran = program.test_run(options).expect("a run");
            let length = ran.data_size_out as usize;
            assert_eq!(seen[..length], sent, "what passes is untouched");
        };

        let wanted = tables(Tags::one(Tag::new(0x8100, 100)));
        for operation in plan::diff(&Tables::default(), &wanted) {
            maps.apply(&operation).expect("an entry that is written");
        }
        send(100);
        send(101);
        assert_eq!(passed(&counters, PassReason::NoService), [0, 1]);
        assert_eq!(passed(&counters, PassReason::Vlan), [1, 0]);

        let removal = plan::diff(&wanted, &Tables::default());
        for operation in removal.iter().chain(&removal) {
            let removed = maps.apply(operation);
            removed.expect("an entry that is removed, also if it is gone");
        }
        send(100);
        assert_eq!(passed(&counters, PassReason::NoService), [0, 1]);
    });
}
