//! `full-nat` between families: clients of both reach backends that have addresses of one.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use sluice_tests::{
    addresses::{BACKENDS, Dual, Family, SOURCE, WEB, client},
    services::PORT,
};

use super::site::{Site, ask_over};

/// The port that the backends' servers listen on.
const BACKEND_PORT: u16 = 8080;

/// Connections of each family that are opened under one configuration, and stay open.
const HELD: u32 = 10;

/// Requests of each family; so many that each backend has its share.
const REQUESTS: u32 = 60;

/// One service for backends with these addresses.
fn balancing(backends: &[(usize, &[Family])]) -> String {
    let Dual { v4, v6 } = SOURCE;
    let service = format!(
        "[[service]]\nname = \"web\"\nlisten = [\"{}:{PORT}/tcp\", \"[{}]:{PORT}/tcp\"]\n\
         pool = \"web\"\n\n[[pool]]\nname = \"web\"\nforward = \"full-nat\"\n\
         source = [\"{v4}\", \"{v6}\"]\n\n",
        WEB.v4, WEB.v6
    );
    let backend = |(n, families): &(usize, &[Family])| {
        let address =
            |family: &Family| SocketAddr::new(BACKENDS[*n].of(*family), BACKEND_PORT).to_string();
        let addresses: Vec<String> = families.iter().map(address).collect();
        format!("[[pool.backend]]\nname = \"backend{n}\"\naddress = {addresses:?}\n\n")
    };
    service + &backends.iter().map(backend).collect::<String>()
}

/// Who answers clients of a family, and whom each takes for its client.
fn answers(site: &Site, family: Family) -> BTreeSet<(String, String)> {
    let to = SocketAddr::new(WEB.of(family), PORT);
    let answer = |number| {
        let answer = site.answer(client(family, number), to);
        let answer = answer.unwrap_or_else(|error| panic!("{error}\n{}", site.sluice.log()));
        let mut words = answer.split_whitespace();
        let (who, client) = (words.next().unwrap(), words.next_back().unwrap());
        (who.to_owned(), client.to_owned())
    };
    (0..REQUESTS).map(answer).collect()
}

fn expected(answers: &[(usize, Family)]) -> BTreeSet<(String, String)> {
    let answer =
        |&(n, family): &(usize, Family)| (format!("web{}", n + 1), SOURCE.of(family).to_string());
    answers.iter().map(answer).collect()
}

#[test]
fn clients_reach_backends_of_the_other_family_alone() {
    use Family::{Ipv4, Ipv6};
    for (title, clients, backends) in [("across-six", Ipv4, Ipv6), ("across-four", Ipv6, Ipv4)] {
        let only: &[Family] = &[backends];
        let pool = balancing(&[(0, only), (1, only)]);
        let site = Site::start(title, &pool, |_| {});
        let all = expected(&[(0, backends), (1, backends)]);
        assert_eq!(answers(&site, clients), all);
        // Clients of the backends' own family go the same way.
        assert_eq!(answers(&site, backends), all);
    }
}

#[test]
fn each_backend_is_reached_at_the_clients_family_if_it_can_be() {
    use Family::{Ipv4, Ipv6};
    let pool = balancing(&[(0, &[Ipv4]), (1, &[Ipv6]), (2, &[Ipv4, Ipv6])]);
    let site = Site::start("across-mixed", &pool, |_| {});
    for family in Family::ALL {
        let all = expected(&[(0, Ipv4), (1, Ipv6), (2, family)]);
        assert_eq!(answers(&site, family), all);
    }
}

/// What a client hears of a datagram to a service.
fn ask(site: &Site, from: IpAddr, to: SocketAddr) -> io::Result<usize> {
    let exchange = || {
        let socket = UdpSocket::bind((from, 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.send(b"anybody?")?;
        socket.recv(&mut [0; 64])
    };
    site.network().client.run(|| Ok(exchange())).unwrap()
}

/// Nothing listens where the datagrams go: the backend's kernel says so in its family, the client's hears
/// of it in its own, and takes it for its flow's.
#[test]
fn a_client_hears_of_errors_of_the_other_family() {
    use Family::{Ipv4, Ipv6};
    for (title, clients, backends) in [("errors-six", Ipv4, Ipv6), ("errors-four", Ipv6, Ipv4)] {
        let only: &[Family] = &[backends];
        let pool = balancing(&[(0, only)]).replace("/tcp", "/udp");
        let site = Site::start(title, &pool, |_| {});
        let to = SocketAddr::new(WEB.of(clients), PORT);
        let heard = ask(&site, client(clients, 1), to).unwrap_err().kind();
        assert_eq!(heard, ErrorKind::ConnectionRefused, "{}", site.sluice.log());
    }
}

/// A connection that stays open: its client's family, who answers, and when it was opened.
struct Held {
    family: Family,
    server: String,
    generation: u64,
    stream: TcpStream,
}

/// Opens some of each family.
fn hold(site: &Site, generation: u64) -> Vec<Held> {
    let clients = (0..HELD).flat_map(|n| Family::ALL.map(|family| (family, 1000 + n)));
    let open = |(family, number)| {
        let to = SocketAddr::new(WEB.of(family), PORT);
        let mut stream = site.connect(client(family, number), to).unwrap();
        let server = ask_over(&mut stream).unwrap();
        Held {
            family,
            server,
            generation,
            stream,
        }
    };
    clients.map(open).collect()
}

/// Every one of these is answered by whom it was before.
fn assert_held<'a>(site: &Site, held: impl IntoIterator<Item = &'a mut Held>) {
    for one in held {
        let answer = ask_over(&mut one.stream);
        let answer = answer.unwrap_or_else(|error| {
            let (family, begun) = (one.family, one.generation);
            panic!("{family}, since {begun}: {error}\n{}", site.sluice.log())
        });
        assert_eq!(answer, one.server);
    }
}

/// A pool begins to cross families, need not any more, and loses the backend for which it did.
#[test]
fn connections_go_on_while_a_pool_begins_to_cross_families_and_need_not_any_more() {
    use Family::{Ipv4, Ipv6};
    let both: &[Family] = &[Ipv4, Ipv6];
    let first = balancing(&[(0, both)]);
    let mut site = Site::start("across-reload", &first, |_| {});
    let mut held = hold(&site, 1);
    let begins = balancing(&[(0, both), (1, &[Ipv6])]);
    let need_not = balancing(&[(0, both), (1, both)]);
    for (generation, pool, second) in [(2, begins, Some(Ipv6)), (3, need_not, None)] {
        site.reload(&pool, |status| status["agent"]["generation"] == generation);
        site.wait_until_ready();
        assert_held(&site, &mut held);
        for family in Family::ALL {
            let second = second.unwrap_or(family);
            assert_eq!(
                answers(&site, family),
                expected(&[(0, family), (1, second)])
            );
        }
        held.extend(hold(&site, generation));
        assert_held(&site, &mut held);
    }
    site.reload(&first, |status| status["agent"]["generation"] == 4);
    assert!(held.iter().any(|one| one.server == "web2"));
    let stays = held.iter_mut().filter(|one| one.server == "web1");
    assert_held(&site, stays);
    for family in Family::ALL {
        assert_eq!(answers(&site, family), expected(&[(0, family)]));
    }
}
