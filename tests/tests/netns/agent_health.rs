//! Backends that fail in many ways, and what becomes of them and of their traffic. How soon each was left alone is
//! printed: `--nocapture` shows it.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::sys::signal::Signal;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd,
};
use serde_json::Value;
use sluice_tests::{
    addresses::{BACKENDS, Family, TUNNEL, client},
    command,
    network::Network,
    peers,
    process::Process,
    services::PORT,
    surroundings::Surroundings,
    wait,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::site::{PATIENCE, Site, tunnel};

/// How often checks of these tests run; two failures count.
const PACE: &str = "interval = \"500ms\"\ntimeout = \"500ms\"\nfall = 2\n";

/// A backend's addresses, as the agent shows them, that of IPv4 first.
fn addresses(site: &Site, pool: &str, backend: &str) -> Result<Vec<Value>> {
    let answer = site.sluice.ask("/api/v1/backends")?;
    let named = |value: &Value, name: &str| value["name"] == name;
    let pools = answer["pools"].as_array().unwrap();
    let pool = pools.iter().find(|one| named(one, pool)).unwrap();
    let backends = pool["backends"].as_array().unwrap();
    let backend = backends.iter().find(|one| named(one, backend)).unwrap();
    Ok(backend["addresses"].as_array().unwrap().clone())
}

/// What a backend is at its IPv4 address, and why: `down`, and the words of its check.
fn state(site: &Site, pool: &str, backend: &str) -> Result<(String, String)> {
    let health = &addresses(site, pool, backend)?[0]["health"];
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok((word(&health["state"]), word(&health["checks"][0]["cause"])))
}

/// Waits until a backend is `up` or `down`, for a reason that has these words.
fn wait_until(site: &Site, (pool, backend): (&str, &str), expected: &str, words: &str) {
    let found = wait::until(
        &format!("{pool}/{backend} to be {expected}: {words}"),
        PATIENCE,
        || {
            let (state, cause) = state(site, pool, backend)?;
            Ok((state == expected && cause.contains(words)).then_some(()))
        },
    );
    found.unwrap_or_else(|error| {
        let now = state(site, pool, backend);
        panic!("{error:#}: {now:?}\n{}", site.sluice.log())
    });
}

/// Waits until nothing is sent to a backend any more.
fn wait_until_out(site: &Site, (pool, backend): (&str, &str)) {
    let is_out = || {
        let addresses = addresses(site, pool, backend)?;
        let is_out = addresses
            .iter()
            .all(|address| address["in_tables"] == false);
        Ok(is_out.then_some(()))
    };
    wait::until("the backend to be out of the tables", PATIENCE, is_out).unwrap();
}

/// Connections of clients to the tunnels' service, one every two milliseconds until the work is done; nobody waits for
/// an answer.
fn under_load<T>(network: &Network, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    let to: SocketAddr = SocketAddr::new(TUNNEL.of(Family::Ipv4), PORT);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            network.client.run(|| {
                for number in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
                    socket.set_nonblocking(true)?;
                    socket.bind(&SocketAddr::new(client(Family::Ipv4, number), 0).into())?;
                    // It is under way.
                    let _ = socket.connect(&to.into());
                    thread::sleep(Duration::from_millis(2));
                }
                Ok(())
            })
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        load.join().unwrap().unwrap();
        result
    })
}

/// How long after `begin` the first backend still got packets: until none has come for a quarter of a second and
/// `is_over`.
fn last_packet(site: &Site, begin: Instant, is_over: impl Fn() -> bool) -> Duration {
    let received = || {
        let outcomes = site.network().decapsulator(0).outcomes();
        outcomes.unwrap().decapsulated
    };
    let (mut count, mut last, mut over) = (received(), begin, false);
    let deadline = begin + PATIENCE;
    while last.elapsed() < Duration::from_millis(250) || !over {
        assert!(
            Instant::now() < deadline,
            "packets still come\n{}",
            site.sluice.log()
        );
        let now = received();
        if now != count {
            (count, last) = (now, Instant::now());
        }
        over = over || is_over();
        thread::sleep(Duration::from_millis(1));
    }
    last - begin
}

/// Makes the first backend's server fail, or mends it.
type Act = fn(&mut Site);

/// A way to fail.
struct Failing {
    name: &'static str,
    begin: Act,
    /// What the check says of it.
    words: &'static str,
    end: Act,
}

const FAILURES: [Failing; 5] = [
    Failing {
        name: "stopped (SIGSTOP)",
        begin: |site| site.server(0).signal(Signal::SIGSTOP).unwrap(),
        words: "within 500ms",
        end: |site| site.server(0).signal(Signal::SIGCONT).unwrap(),
    },
    Failing {
        name: "a firewall that drops",
        begin: |site| {
            firewall(
                site,
                "add table inet health { chain in { type filter hook input priority 0; tcp dport 8080 drop; }; }",
            )
        },
        words: "timed out",
        end: |site| firewall(site, "delete table inet health"),
    },
    Failing {
        name: "a wrong status",
        begin: |site| site.server(0).withdraw("web", "alive").unwrap(),
        words: "status 404",
        end: |site| site.server(0).offer("web", "alive", "fine").unwrap(),
    },
    Failing {
        name: "a wrong body",
        begin: |site| site.server(0).offer("web", "alive", "ill").unwrap(),
        words: "the body",
        end: |site| site.server(0).offer("web", "alive", "fine").unwrap(),
    },
    Failing {
        name: "a closed port",
        begin: |site| site.server(0).stop().unwrap(),
        words: "refused",
        end: |site| site.start_server(0),
    },
];

fn firewall(site: &Site, rules: &str) {
    let mut nft = site.network().backends[0].command("nft").unwrap();
    command::run(nft.arg(rules)).unwrap();
}

#[test]
fn a_backend_is_left_alone_while_it_fails() {
    let check = "\n[[pool.check]]\ntype = \"http\"\npath = \"/upload/alive\"\nbody = \"fine\"\nport = 8080\n";
    let mut balancing = tunnel("1s", &[100, 100]);
    balancing.insert_str(
        balancing.find("\n[[pool.backend]]").unwrap(),
        &format!("{check}{PACE}"),
    );
    let mut site = Site::start_made("health", 0, |surroundings| {
        for server in &surroundings.nginx {
            server.offer("web", "alive", "fine").unwrap();
        }
        balancing.clone()
    });
    let first = ("tunnel", "backend1");
    for Failing {
        name,
        begin,
        words,
        end,
    } in FAILURES
    {
        wait_until(&site, first, "up", "");
        let site = &mut site;
        begin(site);
        let began = Instant::now();
        let site_now = &*site;
        let is_over = || state(site_now, first.0, first.1).unwrap().0 == "down";
        let last = under_load(site_now.network(), || last_packet(site_now, began, is_over));
        println!(
            "{name}: the last packet {} ms after it began",
            last.as_millis()
        );
        wait_until(site, first, "down", words);
        wait_until_out(site, first);
        for family in Family::ALL {
            assert_eq!(site.who_answers(family).unwrap(), "tunnel2", "{name}");
        }
        let (_, table, _) = site.say(&["backends"]);
        assert!(table.contains("is down"), "{table}");
        end(site);
    }
    wait_until(&site, first, "up", "");
    let (_, history, _) = site.say(&["backends", "tunnel/backend1", "--history"]);
    for words in ["is down: ", "is up: ", "status 404", "refused"] {
        assert!(history.contains(words), "{words}: {history}");
    }
    let labels = [("pool", "tunnel"), ("reason", "refused")];
    let refused = site.scrape().sum("sluice_check_failures_total", &labels);
    assert!(refused.is_some_and(|runs| runs >= 2.0), "{refused:?}");
    // The next agent knows it from the one before, whose checks would have to fail twice.
    site.server(0).stop().unwrap();
    let kept = || {
        let text = fs::read_to_string(site.folder().join("state/health.json"))?;
        Ok((text.matches("\"down\"").count() == 2).then_some(()))
    };
    wait::until("both addresses to be down on disk", PATIENCE, kept).unwrap();
    site.sluice.kill().unwrap();
    site.restart(&balancing);
    let (state, _) = state(&site, first.0, first.1).unwrap();
    assert_eq!(state, "down", "{}", site.sluice.log());
    for _ in 0..16 {
        assert_eq!(site.who_answers(Family::Ipv4).unwrap(), "tunnel2");
    }
    site.start_server(0);
    wait_until(&site, first, "up", "answers");
    let answers = || {
        let found = (0..64).any(|_| site.who_answers(Family::Ipv4) == Ok("tunnel1".into()));
        Ok(found.then_some(()))
    };
    wait::until("the first backend to answer again", PATIENCE, answers).unwrap();
}

/// An authority, its certificate in a file, and certificates with their keys that it signed.
struct Certificates {
    authority: PathBuf,
    good: PathBuf,
    expired: PathBuf,
}

impl Certificates {
    fn make(folder: &Path, ip: IpAddr) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let write = |name: &str, text: String| {
            let file = folder.join(name);
            fs::write(&file, text).unwrap();
            file
        };
        let sign = |name: &str, until: i32| {
            let mut params = CertificateParams::default();
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(until, 1, 1);
            params.subject_alt_names = vec![SanType::IpAddress(ip)];
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            write(name, certificate.pem() + &key.serialize_pem())
        };
        Self {
            authority: write("authority.pem", issuer.pem()),
            good: sign("good.pem", 2099),
            expired: sign("expired.pem", 2020),
        }
    }
}

/// A service of its own for a pool of one backend, at a port of the tunnels' address, with a check.
fn checked(name: &str, port: u16, backend: IpAddr, check: &str) -> String {
    let listen = TUNNEL.of(Family::Ipv4);
    // A server that is started anew is away for a moment.
    let pace = PACE.replace("fall = 2", "fall = 5");
    format!(
        "[[service]]\nname = \"{name}\"\nlisten = [\"{listen}:{port}/tcp\"]\npool = \"{name}\"\n\n\
         [[pool]]\nname = \"{name}\"\nforward = \"ipip\"\n\n[[pool.check]]\n{check}{pace}\n\
         [[pool.backend]]\nname = \"one\"\naddress = \"{backend}\"\n\n"
    )
}

#[test]
fn servers_of_many_kinds_are_found_well_and_ill() {
    const HTTPS_PORT: u16 = 8443;
    let ip = BACKENDS[0].of(Family::Ipv4);
    let https = SocketAddr::new(ip, HTTPS_PORT);
    let [right, wrong] = ["198.18.0.1", "198.18.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
    let mut running = None;
    let site = Site::start_made("peers", 0, |surroundings| {
        let peers = Peers::start(surroundings, https, right);
        let text = peers.configuration(https, right);
        running = Some(peers);
        text
    });
    let mut peers = running.unwrap();
    let is = |name: &str, expected: &str, words: &str| {
        wait_until(&site, (name, "one"), expected, words);
    };
    for name in ["https", "etcd", "dns", "ping", "exec"] {
        is(name, "up", "");
    }
    let weight = || {
        let labels = [("pool", "exec")];
        let weight = site
            .scrape()
            .sum("sluice_backend_effective_weight", &labels);
        Ok((weight == Some(20.0)).then_some(()))
    };
    wait::until("the weight that the program prints", PATIENCE, weight).unwrap();

    peers.etcd.signal(Signal::SIGSTOP).unwrap();
    is("etcd", "down", "within 500ms");
    peers.etcd.signal(Signal::SIGCONT).unwrap();
    is("etcd", "up", "");

    peers.serve_name(&site, wrong);
    is("dns", "down", "the answer of 198.18.1.11:53 has");
    peers.serve_name(&site, right);
    is("dns", "up", "");

    peers.serve_https(&site, https, &peers.certificates.expired.clone(), None);
    is("https", "down", "expired");
    peers.serve_https(&site, https, &peers.certificates.good.clone(), None);
    is("https", "up", "");
    peers.serve_https(
        &site,
        https,
        &peers.certificates.good.clone(),
        Some(Duration::from_secs(2)),
    );
    is(
        "https",
        "down",
        "no answer of 198.18.1.11:8443 within 500ms",
    );

    let echo = |ignore| {
        let backend = &site.network().backends[0];
        backend.sysctl("ipv4/icmp_echo_ignore_all", ignore).unwrap();
    };
    echo("1");
    is("ping", "down", "no answer of 198.18.1.11 within 500ms");
    echo("0");
    is("ping", "up", "");

    fs::remove_file(&peers.flag).unwrap();
    is("exec", "down", "exit status 1");
}

/// The servers of the first backend, and what they need.
struct Peers {
    folder: PathBuf,
    certificates: Certificates,
    /// What the program of the check prints.
    flag: PathBuf,
    haproxy: Process,
    etcd: Process,
    dnsmasq: Process,
}

impl Peers {
    fn start(surroundings: &Surroundings, https: SocketAddr, answer: IpAddr) -> Self {
        let folder = surroundings.stage.folder().to_owned();
        let backend = &surroundings.network.backends[0];
        let certificates = Certificates::make(&folder, https.ip());
        let flag = folder.join("flag");
        fs::write(&flag, "weight: 20\n").unwrap();
        let haproxy = folder.join("haproxy");
        Self {
            haproxy: peers::haproxy(backend, &haproxy, https, &certificates.good, None).unwrap(),
            etcd: peers::etcd(backend, &folder.join("etcd"), https.ip()).unwrap(),
            dnsmasq: peers::dnsmasq(backend, &folder.join("dns"), https.ip(), answer).unwrap(),
            folder,
            certificates,
            flag,
        }
    }

    /// A service for each.
    fn configuration(&self, https: SocketAddr, answer: IpAddr) -> String {
        let authority = self.certificates.authority.display();
        let (flag, port) = (self.flag.display(), https.port());
        let checks = [
            (
                "https",
                format!("type = \"https\"\nport = {port}\nca_file = \"{authority}\"\n"),
            ),
            (
                "etcd",
                format!("type = \"grpc\"\nport = {}\n", peers::ETCD_PORT),
            ),
            (
                "dns",
                format!(
                    "type = \"dns\"\nport = 53\nquery = \"health.test\"\nexpect = \"{answer}\"\n"
                ),
            ),
            ("ping", "type = \"icmp\"\n".to_owned()),
            (
                "exec",
                format!("type = \"exec\"\ncommand = [\"/bin/cat\", \"{flag}\"]\nagent = true\n"),
            ),
        ];
        let numbered = (1..).zip(checks);
        let pool =
            |(port, (name, check)): (u16, (&str, String))| checked(name, port, https.ip(), &check);
        numbered.map(pool).collect()
    }

    /// Has dnsmasq started anew, with this answer.
    fn serve_name(&mut self, site: &Site, answer: IpAddr) {
        self.dnsmasq.stop().unwrap();
        let backend = &site.network().backends[0];
        let ip = BACKENDS[0].of(Family::Ipv4);
        self.dnsmasq = peers::dnsmasq(backend, &self.folder.join("dns"), ip, answer).unwrap();
    }

    /// Has HAProxy started anew, with this certificate, answering so late.
    fn serve_https(
        &mut self,
        site: &Site,
        listen: SocketAddr,
        pem: &Path,
        delay: Option<Duration>,
    ) {
        self.haproxy.stop().unwrap();
        let backend = &site.network().backends[0];
        let folder = self.folder.join("haproxy");
        self.haproxy = peers::haproxy(backend, &folder, listen, pem, delay).unwrap();
    }
}
