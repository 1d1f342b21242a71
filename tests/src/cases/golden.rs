//! Whole frames, byte by byte, so that the table does not rest on one builder. (Made by a few lines
//! of Python; headers a line each: Ethernet, outer IP, IP, transport, data.)

use lb_common::{
    abi::Direction::{self, In, Out},
    datapath::{Egress, Outcome},
};

use super::{
    case::{Case, Counted, Expected},
    places::{BACK, Interface, UPLINK},
};

/// A frame in, a frame out, and what is counted: service, backend, direction, bytes, new flow.
struct Golden {
    from: Interface,
    input: &'static str,
    to: Interface,
    output: &'static str,
    counted: (u32, u32, Direction, u64, bool),
}

pub(super) fn rows() -> Vec<Case> {
    vec![
        row("ipip, TCP over IPv4", &[IPIP_V4]),
        row("ipip, UDP over IPv6", &[IPIP_V6]),
        row("full-nat, TCP over IPv4", &[NAT_V4, NAT_V4_BACK]),
        row("full-nat, UDP over IPv6", &[NAT_V6, NAT_V6_BACK]),
    ]
}

fn row(name: &str, frames: &[Golden]) -> Case {
    frames
        .iter()
        .fold(Case::new(format!("byte by byte: {name}")), |case, frame| {
            let (service, backend, direction, bytes, opens) = frame.counted;
            let expected = Expected {
                outcome: Outcome::Forward(Egress::Redirect),
                frame: Some(bytes_of(frame.output)),
                device: Some(frame.to.device),
                counted: Some(Counted {
                    service,
                    backend,
                    direction,
                    bytes,
                    opens,
                }),
                wanted: None,
                unrecorded: None,
            };
            case.bytes(frame.from, bytes_of(frame.input), expected)
        })
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    digits
        .chunks(2)
        .map(|pair| byte(pair).expect("hex digits"))
        .collect()
}

const IPIP_V4: Golden = Golden {
    from: UPLINK,
    input: "
        0200000001010200000001fe0800
        45b90028beef00003d06cdd0c6336407c612000a
        c357005011223344000000005002faf0bc8c0000",
    to: BACK,
    output: "
        0200000002be0200000002010800
        45b9003c00004000400425050a0100fe0a010001
        45b90028beef00003c06ced0c6336407c612000a
        c357005011223344000000005002faf0bc8c0000",
    counted: (1, 1, In, 40, true),
};

const IPIP_V6: Golden = Golden {
    from: UPLINK,
    input: "
        0200000001010200000001fe86dd
        62eabcde000d11ff20010db8006400000000000000000007fd00001800000000000000000000000a
        c3570035000dc118
        7175657279",
    to: BACK,
    output: "
        0200000002be02000000020186dd
        62e0000000352940fd0001010000000000000000000000fefd000101000000000000000000000001
        62eabcde000d11fe20010db8006400000000000000000007fd00001800000000000000000000000a
        c3570035000dc118
        7175657279",
    counted: (4, 2, In, 53, false),
};

const NAT_V4: Golden = Golden {
    from: UPLINK,
    input: "
        0200000001010200000001fe0800
        45100028beef40003d068e6fc6336407c6120014
        c357005011223344000000005002faf0bc820000",
    to: BACK,
    output: "
        0200000002be0200000002010800
        45100028beef40003c066acf0a0100fe0a010002
        9c401f9011223344000000005002faf09fb90000",
    counted: (5, 3, In, 40, true),
};

const NAT_V4_BACK: Golden = Golden {
    from: BACK,
    input: "
        0200000002010200000002be0800
        45000028beef4000400666df0a0100020a0100fe
        1f909c4011223344112233455012faf05b420000",
    to: UPLINK,
    output: "
        0200000001fe0200000001010800
        45000028beef40003f068c7fc6120014c6336407
        0050c35711223344112233455012faf0780b0000",
    counted: (5, 3, Out, 40, false),
};

const NAT_V6: Golden = Golden {
    from: UPLINK,
    input: "
        0200000001010200000001fe86dd
        6ffabcde000d110220010db8006400000000000000000007fd000018000000000000000000000014
        c3570035000dc10e
        7175657279",
    to: BACK,
    output: "
        0200000002be02000000020186dd
        6ffabcde000d1101fd0001010000000000000000000000fefd000101000000000000000000000002
        9c401f90000df717
        7175657279",
    counted: (8, 4, In, 53, true),
};

const NAT_V6_BACK: Golden = Golden {
    from: BACK,
    input: "
        0200000002010200000002be86dd
        601abcde000f1140fd000101000000000000000000000002fd0001010000000000000000000000fe
        1f909c40000feba3
        616e7377657221",
    to: UPLINK,
    output: "
        0200000001fe02000000010186dd
        601abcde000f113ffd00001800000000000000000000001420010db8006400000000000000000007
        0035c357000fb59a
        616e7377657221",
    counted: (8, 4, Out, 55, false),
};
