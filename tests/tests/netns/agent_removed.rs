//! Services that a reload removes while clients are connected: what becomes of the flows, and of those that would begin.

use std::{io::ErrorKind, net::SocketAddr};

use sluice_tests::{
    addresses::{BACKENDS, Family, WEB, client},
    services::PORT,
    wait,
};

use super::site::{PATIENCE, Site, ask_over, tunnel};

/// A service that stays, and one of `full-nat`, whose flows are recorded.
fn both(on_down: &str) -> (String, String) {
    let stays = tunnel("1h", &[100, 100, 100]);
    let (listen, backend) = (WEB.of(Family::Ipv4), BACKENDS[0].of(Family::Ipv4));
    let goes = format!(
        "[[service]]\nname = \"web\"\nlisten = [\"{listen}:{PORT}/tcp\"]\npool = \"web\"\n{on_down}\n\n\
         [[pool]]\nname = \"web\"\nforward = \"full-nat\"\nsource = [\"198.18.1.254\"]\n\n\
         [[pool.backend]]\nname = \"web1\"\naddress = \"{backend}:8080\"\n"
    );
    (format!("{stays}\n{goes}"), stays)
}

fn web() -> SocketAddr {
    SocketAddr::new(WEB.of(Family::Ipv4), PORT)
}

fn assert_nobody_is_let_in(site: &Site) {
    let answer = site.answer(client(Family::Ipv4, 50), web());
    assert!(answer.is_err(), "{answer:?}");
}

fn reload(site: &Site, config: &str) -> String {
    site.write(config);
    let (code, said, complained) = site.say(&["reload"]);
    assert_eq!(code, Some(0), "{said}{complained}");
    complained
}

#[test]
fn flows_stay_for_the_grace_through_restarts_and_no_others_begin() {
    let (with, without) = both("on_down = \"keep\"\ndown_grace = \"12s\"");
    let mut site = Site::start("removed-keep", &with, |_| {});
    let mut kept = site.connect(client(Family::Ipv4, 1), web()).unwrap();
    assert_eq!(ask_over(&mut kept).unwrap(), "web1");
    let note = "service web is removed; its recorded flows stay for its down_grace";
    let complained = reload(&site, &without);
    assert!(complained.contains(note), "{complained}");
    assert_eq!(ask_over(&mut kept).unwrap(), "web1");
    assert_nobody_is_let_in(&site);
    site.assert_answered("tunnel", 20);
    let (code, status, _) = site.say(&["status"]);
    assert!(status.contains(note), "{status}");
    assert_eq!(code, Some(0), "{status}");

    site.sluice.kill().unwrap();
    site.restart(&without);
    assert_eq!(ask_over(&mut kept).unwrap(), "web1");
    assert_nobody_is_let_in(&site);

    let over = || Ok(ask_over(&mut kept).err());
    wait::until("the grace to be over", PATIENCE, over).unwrap();
    // The tables come first.
    let told = || Ok((!site.say(&["status"]).1.contains(note)).then_some(()));
    wait::until("the note to go", PATIENCE, told).unwrap();
}

#[test]
fn flows_are_reset_and_a_service_that_is_back_takes_new_ones() {
    let (with, without) = both("on_down = \"reset\"");
    let site = Site::start("removed-reset", &with, |_| {});
    let mut kept = site.connect(client(Family::Ipv4, 1), web()).unwrap();
    assert_eq!(ask_over(&mut kept).unwrap(), "web1");
    let complained = reload(&site, &without);
    assert!(
        complained.contains("its recorded flows are reset"),
        "{complained}"
    );
    let ended = || {
        let answer = ask_over(&mut kept);
        Ok(answer
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
            .then_some(()))
    };
    wait::until("the flow to be reset", PATIENCE, ended).unwrap();
    reload(&site, &with);
    let answered = || Ok(site.answer(client(Family::Ipv4, 2), web()).ok());
    wait::until("an answer of what is back", PATIENCE, answered).unwrap();
}
