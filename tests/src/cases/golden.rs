//! Whole frames, byte by byte, so that the table does not rest on one builder. (Made by a few lines
//! of Python; headers a line each: Ethernet, outer IP and UDP, IP, transport, data.)

use lb_common::{
    abi::{
        Direction::{self, In, Out},
        Handshake,
    },
    datapath::{Egress, Outcome},
};

use super::{
    case::{Case, Counted, Expected},
    places::{BACK, Interface, UPLINK},
};

/// A frame in, a frame out, and what is counted: service, backend, direction, bytes, new flow; and the step of a
/// connection's beginning.
struct Golden {
    from: Interface,
    input: &'static str,
    to: Interface,
    output: &'static str,
    counted: (u32, u32, Direction, u64, bool),
    handshake: Option<Handshake>,
}

pub(super) fn rows() -> Vec<Case> {
    vec![
        row("ipip, TCP over IPv4", &[IPIP_V4]),
        row("ipip, UDP over IPv6", &[IPIP_V6]),
        row("full-nat, TCP over IPv4", &[NAT_V4, NAT_V4_BACK]),
        row("full-nat, UDP over IPv6", &[NAT_V6, NAT_V6_BACK]),
        row("nat, TCP over IPv4", &[ONE_SIDED_V4, ONE_SIDED_V4_BACK]),
        row("nat, UDP over IPv6", &[ONE_SIDED_V6, ONE_SIDED_V6_BACK]),
        row("dsr, TCP over IPv4", &[DSR_V4]),
        row("gue, TCP over IPv4", &[GUE_V4]),
        row("gue, UDP over IPv6", &[GUE_V6]),
        row("ipip, TCP over IPv4, in IPv6", &[IPIP_V4_IN_V6]),
        row("ipip, UDP over IPv6, in IPv4", &[IPIP_V6_IN_V4]),
        row("gue, TCP over IPv4, in IPv6", &[GUE_V4_IN_V6]),
        row("gue, UDP over IPv6, in IPv4", &[GUE_V6_IN_V4]),
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
                    asks: false,
                    handshake: frame.handshake,
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
    handshake: None,
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
    handshake: None,
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
    handshake: Some(Handshake::Asked),
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
    handshake: Some(Handshake::Answered),
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
    handshake: None,
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
    handshake: None,
};

const ONE_SIDED_V4: Golden = Golden {
    from: UPLINK,
    input: "
        0200000001010200000001fe0800
        45b90028beef00003d06cdb2c6336407c6120028
        c357005011223344000000005002faf0bc6e0000",
    to: BACK,
    output: "
        0200000002be0200000002010800
        45b90028beef00003c068ae8c63364070a010004
        c3571f9011223344000000005002faf059640000",
    counted: (13, 7, In, 40, true),
    handshake: Some(Handshake::Asked),
};

const ONE_SIDED_V4_BACK: Golden = Golden {
    from: BACK,
    input: "
        0200000002010200000002be0800
        45000028beef4000400647a10a010004c6336407
        1f90c35711223344112233455012faf014ed0000",
    to: UPLINK,
    output: "
        0200000001fe0200000001010800
        45000028beef40003f068c6bc6120028c6336407
        0050c35711223344112233455012faf077f70000",
    counted: (13, 7, Out, 40, false),
    handshake: Some(Handshake::Answered),
};

const ONE_SIDED_V6: Golden = Golden {
    from: UPLINK,
    input: "
        0200000001010200000001fe86dd
        62eabcde000d110220010db8006400000000000000000007fd000018000000000000000000000028
        c3570035000dc0fa
        7175657279",
    to: BACK,
    output: "
        0200000002be02000000020186dd
        62eabcde000d110120010db8006400000000000000000007fd000101000000000000000000000004
        c3571f90000da0da
        7175657279",
    counted: (16, 8, In, 53, false),
    handshake: None,
};

const ONE_SIDED_V6_BACK: Golden = Golden {
    from: BACK,
    input: "
        0200000002010200000002be86dd
        601abcde000f1140fd00010100000000000000000000000420010db8006400000000000000000007
        1f90c357000f9566
        616e7377657221",
    to: UPLINK,
    output: "
        0200000001fe02000000010186dd
        601abcde000f113ffd00001800000000000000000000002820010db8006400000000000000000007
        0035c357000fb586
        616e7377657221",
    counted: (16, 8, Out, 55, false),
    handshake: None,
};

const DSR_V4: Golden = Golden {
    from: UPLINK,
    input: "
        0200000001010200000001fe0800
        45b90028beef00003d06cd9ec6336407c612003c
        c357005011223344000000005002faf0bc5a0000",
    to: BACK,
    output: "
        0200000002be0200000002010800
        45b90028beef00003c06ce9ec6336407c612003c
        c357005011223344000000005002faf0bc5a0000",
    counted: (21, 11, In, 40, true),
    handshake: None,
};

const GUE_V4: Golden = Golden {
    from: UPLINK,
    input: "
        0200000001010200000001fe0800
        45b90028beef00003d06cd94c6336407c6120046
        c357005011223344000000005002faf0bc500000",
    to: BACK,
    output: "
        0200000002be0200000002010800
        45b9004400004000401124ea0a0100fe0a010007
        e8a317c000300000
        45b90028beef00003c06ce94c6336407c6120046
        c357005011223344000000005002faf0bc500000",
    counted: (25, 13, In, 40, true),
    handshake: None,
};

const GUE_V6: Golden = Golden {
    from: UPLINK,
    input: "
        0200000001010200000001fe86dd
        62eabcde000d110220010db8006400000000000000000007fd000018000000000000000000000046
        c3570035000dc0dc
        7175657279",
    to: BACK,
    output: "
        0200000002be02000000020186dd
        62e00000003d1140fd0001010000000000000000000000fefd000101000000000000000000000007
        effe17c0003dc9f3
        62eabcde000d110120010db8006400000000000000000007fd000018000000000000000000000046
        c3570035000dc0dc
        7175657279",
    counted: (28, 14, In, 53, false),
    handshake: None,
};

const IPIP_V4_IN_V6: Golden = Golden {
    from: UPLINK,
    input: "
        0200000001010200000001fe0800
        45b90028beef00003d06cd8ac6336407c6120050
        c357005011223344000000005002faf0bc460000",
    to: BACK,
    output: "
        0200000002be02000000020186dd
        6b90000000280440fd0001010000000000000000000000fefd000101000000000000000000000008
        45b90028beef00003c06ce8ac6336407c6120050
        c357005011223344000000005002faf0bc460000",
    counted: (29, 15, In, 40, true),
    handshake: None,
};

const IPIP_V6_IN_V4: Golden = Golden {
    from: UPLINK,
    input: "
        0200000001010200000001fe86dd
        62eabcde000d110220010db8006400000000000000000007fd000018000000000000000000000050
        c3570035000dc0d2
        7175657279",
    to: BACK,
    output: "
        0200000002be0200000002010800
        452e004900004000402925570a0100fe0a010008
        62eabcde000d110120010db8006400000000000000000007fd000018000000000000000000000050
        c3570035000dc0d2
        7175657279",
    counted: (32, 16, In, 53, false),
    handshake: None,
};

const GUE_V4_IN_V6: Golden = Golden {
    from: UPLINK,
    input: "
        0200000001010200000001fe0800
        45b90028beef00003d06cd80c6336407c612005a
        c357005011223344000000005002faf0bc3c0000",
    to: BACK,
    output: "
        0200000002be02000000020186dd
        6b90000000301140fd0001010000000000000000000000fefd000101000000000000000000000009
        c8bf17c0003012c6
        45b90028beef00003c06ce80c6336407c612005a
        c357005011223344000000005002faf0bc3c0000",
    counted: (33, 17, In, 40, true),
    handshake: None,
};

const GUE_V6_IN_V4: Golden = Golden {
    from: UPLINK,
    input: "
        0200000001010200000001fe86dd
        62eabcde000d110220010db8006400000000000000000007fd00001800000000000000000000005a
        c3570035000dc0c8
        7175657279",
    to: BACK,
    output: "
        0200000002be0200000002010800
        452e005100004000401125660a0100fe0a010009
        f24b17c0003d0000
        62eabcde000d110120010db8006400000000000000000007fd00001800000000000000000000005a
        c3570035000dc0c8
        7175657279",
    counted: (36, 18, In, 53, false),
    handshake: None,
};
