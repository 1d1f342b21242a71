//! Services that listen on ranges of ports and on prefixes.

use std::net::SocketAddr;

use sluice_tests::{
    addresses::{BACKENDS, Dual, Family, SOURCE, client},
    wait,
};

use super::site::{PATIENCE, Site, lead_back};

/// The port that the backends' servers listen on.
const BACKEND_PORT: u16 = 8080;

/// A range in `nat`, and all ports of a prefix in `full-nat`.
fn balancing(range: &str) -> String {
    let backend = |(n, Dual { v4, v6 })| {
        format!(
            "[[pool.backend]]\nname = \"backend{n}\"\n\
             address = [\"{v4}:{BACKEND_PORT}\", \"[{v6}]:{BACKEND_PORT}\"]\n\n"
        )
    };
    let backends: String = (1..).zip(BACKENDS).map(backend).collect();
    format!(
        "[[service]]\nname = \"range\"\npool = \"near\"\n\
         listen = [\"198.18.0.30:{range}/tcp\", \"[fd00:18::30]:{range}/tcp\"]\n\n\
         [[service]]\nname = \"prefix\"\npool = \"far\"\n\
         listen = [\"198.18.0.128/25:*/tcp\", \"[fd00:18:0:0:8000::/65]:*/tcp\"]\n\n\
         [[pool]]\nname = \"near\"\nforward = \"nat\"\n\n{backends}\
         [[pool]]\nname = \"far\"\nforward = \"full-nat\"\n\
         source = [\"{}\", \"{}\"]\n\n{backends}",
        SOURCE.v4, SOURCE.v6
    )
}

/// Whether each of these is answered.
fn answers(site: &Site, ends: &[&str]) -> Vec<bool> {
    let ask = |end: &&str| {
        let to: SocketAddr = end.parse().unwrap();
        let family = Family::of(to.ip());
        let answer = site.answer(client(family, to.port().into()), to);
        answer.is_ok_and(|answer| answer.starts_with("web"))
    };
    ends.iter().map(ask).collect()
}

#[test]
fn ranges_and_prefixes_are_served_and_nothing_beside_them() {
    let mut site = Site::start("ranges", &balancing("8000-8099"), lead_back);
    let served = [
        "198.18.0.30:8000",
        "198.18.0.30:8042",
        "198.18.0.30:8099",
        "[fd00:18::30]:8000",
        "[fd00:18::30]:8099",
        "198.18.0.128:1",
        "198.18.0.200:443",
        "198.18.0.255:65535",
        "[fd00:18::8000:0:0:0]:443",
        "[fd00:18::ffff:ffff:ffff:ffff]:65535",
    ];
    assert_eq!(answers(&site, &served), [true; 10], "{}", site.sluice.log());
    let beside = [
        "198.18.0.30:7999",
        "198.18.0.30:8100",
        "[fd00:18::30]:8100",
        "198.18.0.127:443",
        "[fd00:18::7fff:ffff:ffff:ffff]:443",
    ];
    assert_eq!(answers(&site, &beside), [false; 5]);

    site.reload(&balancing("8100-8109"), |status| {
        status["agent"]["generation"].as_u64() == Some(2)
    });
    let moved = || Ok(answers(&site, &["198.18.0.30:8100"])[0].then_some(()));
    wait::until("the range to move", PATIENCE, moved)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", site.sluice.log()));
    assert_eq!(answers(&site, &["198.18.0.30:8000"]), [false]);
}
