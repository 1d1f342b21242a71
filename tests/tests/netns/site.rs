//! The test network with services of a test's own, which it may change while the agent runs.

use std::{
    fmt::Write as _,
    fs,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use sluice_tests::{
    addresses::{BACKENDS, CLIENTS, Dual, Family, GATEWAY_BACK, TUNNEL, client},
    clients::LIMIT,
    http::{self, Request},
    metrics::Metrics,
    namespace::Namespace,
    network::Network,
    nginx::Nginx,
    services::PORT,
    sluice::{Sluice, scrape},
    surroundings::Surroundings,
    wait,
};

use super::{binary, surroundings};

/// How long the agent may take for anything that it is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// The network, its servers, and the agent in the gateway.
pub(super) struct Site {
    /// The agent.
    pub(super) sluice: Sluice,
    surroundings: Surroundings,
}

impl Site {
    /// The network of this name; `balancing` is the configuration but for `[agent]`. `prepare` may
    /// change the network before the agent starts.
    pub(super) fn start(title: &str, balancing: &str, prepare: impl FnOnce(&Network)) -> Self {
        Self::start_without(title, balancing, 0, prepare)
    }

    /// The same where so many next hops can't be resolved.
    pub(super) fn start_without(
        title: &str,
        balancing: &str,
        unresolved: u32,
        prepare: impl FnOnce(&Network),
    ) -> Self {
        Self::start_made(title, unresolved, |surroundings| {
            prepare(&surroundings.network);
            balancing.to_owned()
        })
    }

    /// The same where `make` may change the servers as well, before it says what the configuration is.
    pub(super) fn start_made(
        title: &str,
        unresolved: u32,
        make: impl FnOnce(&Surroundings) -> String,
    ) -> Self {
        let surroundings = surroundings(title);
        let balancing = make(&surroundings);
        let sluice = run(&surroundings, &text(&surroundings, &balancing));
        let mut site = Self {
            sluice,
            surroundings,
        };
        let gateway = &site.surroundings.network.gateway;
        let ready = site.sluice.wait_until_unresolved(gateway, unresolved);
        ready.unwrap();
        site
    }

    /// Waits until all next hops are known.
    pub(super) fn wait_until_ready(&mut self) {
        let gateway = &self.surroundings.network.gateway;
        self.sluice.wait_until_ready(gateway).unwrap();
    }

    /// The network.
    pub(super) fn network(&self) -> &Network {
        &self.surroundings.network
    }

    /// A backend's server.
    pub(super) fn server(&mut self, backend: usize) -> &mut Nginx {
        &mut self.surroundings.nginx[backend]
    }

    /// Starts a backend's server anew.
    pub(super) fn start_server(&mut self, backend: usize) {
        self.surroundings.start_server(backend).unwrap();
    }

    /// What the agent counts.
    pub(super) fn scrape(&self) -> Metrics {
        scrape(&self.network().gateway).unwrap()
    }

    /// Where the agent's files are.
    pub(super) fn folder(&self) -> &Path {
        self.surroundings.stage.folder()
    }

    /// What was uploaded to a backend's server.
    pub(super) fn uploaded(&self, backend: usize, service: &str, name: &str) -> Vec<u8> {
        let server = &self.surroundings.nginx[backend];
        server.uploaded(service, name).unwrap()
    }

    /// Where the agent pins.
    pub(super) fn pin(&self) -> PathBuf {
        self.surroundings.stage.pin()
    }

    /// Starts another agent in place of the one that was stopped.
    pub(super) fn restart(&mut self, balancing: &str) {
        self.restart_with(&text(&self.surroundings, balancing));
    }

    /// The same with the whole text of its configuration.
    pub(super) fn restart_with(&mut self, text: &str) {
        self.sluice = run(&self.surroundings, text);
        self.wait_until_ready();
    }

    /// The same as another build.
    pub(super) fn restart_as(&mut self, build: &Path, balancing: &str) {
        self.start_as(build, balancing);
        self.wait_until_ready();
    }

    /// The same without waiting for it.
    pub(super) fn start_as(&mut self, build: &Path, balancing: &str) {
        self.write(balancing);
        let gateway = &self.surroundings.network.gateway;
        self.sluice.start_again(build, gateway).unwrap();
    }

    /// The same with the configuration as it was written.
    pub(super) fn restart_as_written(&mut self, build: &Path) {
        let gateway = &self.surroundings.network.gateway;
        self.sluice.start_again(build, gateway).unwrap();
        self.wait_until_ready();
    }

    /// Has the agent read another configuration, and waits until it has taken or refused it: until
    /// `done` says so of its status.
    pub(super) fn reload(&mut self, balancing: &str, done: impl Fn(&Value) -> bool) {
        self.write(balancing);
        let pid = Pid::from_raw(i32::try_from(self.sluice.id()).unwrap());
        kill(pid, Signal::SIGHUP).unwrap();
        self.wait_for("the reload", |status| done(status).then_some(()));
    }

    /// Writes another configuration, which the agent does not read yet.
    pub(super) fn write(&self, balancing: &str) {
        self.write_text(&text(&self.surroundings, balancing));
    }

    /// The same with another setting in `[agent]`, a TOML value.
    pub(super) fn write_agent(&self, key: &'static str, value: &str, balancing: &str) {
        let configuration = self.surroundings.configuration().with(key, value);
        self.write_text(&(configuration.agent() + "\n" + balancing));
    }

    fn write_text(&self, text: &str) {
        fs::write(self.folder().join("sluice.toml"), text).unwrap();
    }

    /// What a verb of `sluice` answers about this agent: its exit status, what it prints, and what it complains of.
    pub(super) fn say(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(binary());
        command.args(words).arg("--control");
        let output = command.arg(self.sluice.control()).output().unwrap();
        let [printed, complained] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code(), printed, complained)
    }

    /// Waits until the agent's status has something.
    pub(super) fn wait_for<T>(&self, what: &str, mut found: impl FnMut(&Value) -> Option<T>) -> T {
        let look = || Ok(found(&self.sluice.ask("/api/v1/status")?));
        let found = wait::until(what, PATIENCE, look);
        found.unwrap_or_else(|error| panic!("{error:#}\n{}", self.sluice.log()))
    }

    /// The server that answers a request to the tunnels' service.
    pub(super) fn who_answers(&self, family: Family) -> Result<String, String> {
        let to = SocketAddr::new(TUNNEL.of(family), PORT);
        let answer = self.answer(client(family, 1), to)?;
        Ok(answer.split(' ').next().unwrap_or_default().to_owned())
    }

    /// Requests to the tunnels' service, all of which its servers must answer.
    pub(super) fn assert_answered(&self, servers: &str, count: u32) {
        for number in 0..count {
            for family in Family::ALL {
                let to = SocketAddr::new(TUNNEL.of(family), PORT);
                let answer = self.answer(client(family, number), to);
                let answer =
                    answer.unwrap_or_else(|error| panic!("{error}\n{}", self.sluice.log()));
                assert!(answer.starts_with(servers), "{answer}");
            }
        }
    }

    /// A client's connection to an address.
    pub(super) fn connect(&self, client: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
        let connect = || Ok(http::connect(Some(client), to, LIMIT));
        self.network().client.run(connect).unwrap()
    }

    /// Who answers a client's request to an address.
    pub(super) fn answer(&self, client: IpAddr, to: SocketAddr) -> Result<String, String> {
        request(&self.network().client, Some(client), to)
    }
}

/// The tunnels' service: its settle time, and the weights of its backends.
pub(super) fn tunnel(settle: &str, weights: &[u16]) -> String {
    let Dual { v4, v6 } = TUNNEL;
    let mut text = format!(
        "[[service]]\nname = \"tunnel\"\nlisten = [\"{v4}:{PORT}/tcp\", \"[{v6}]:{PORT}/tcp\"]\n\
         pool = \"tunnel\"\nsettle = \"{settle}\"\nentry_timeout = \"{settle}\"\n\n\
         [[pool]]\nname = \"tunnel\"\nforward = \"ipip\"\n"
    );
    for ((n, Dual { v4, v6 }), weight) in (1..).zip(BACKENDS).zip(weights) {
        let _ = write!(
            text,
            "\n[[pool.backend]]\nname = \"backend{n}\"\naddress = [\"{v4}\", \"{v6}\"]\n\
             weight = {weight}\n"
        );
    }
    text
}

/// The first words of the answer to a request: who answered, for which service, the number, and
/// whom the server saw.
pub(super) fn request(
    from: &Namespace,
    address: Option<IpAddr>,
    to: SocketAddr,
) -> Result<String, String> {
    let ask = || {
        Ok(http::exchange(
            address,
            to,
            &Request::get("/?number=1"),
            LIMIT,
        ))
    };
    let response = from.run(ask).unwrap().map_err(|error| error.to_string())?;
    Ok(response.body)
}

/// One request over a connection that stays open; the server that answers.
pub(super) fn ask_over(connection: &mut TcpStream) -> io::Result<String> {
    connection.write_all(b"GET /?number=1 HTTP/1.1\r\nHost: sluice\r\n\r\n")?;
    let (mut answer, mut part) = (Vec::new(), [0; 2048]);
    loop {
        let length = connection.read(&mut part)?;
        if length == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&part[..length]);
        // "tunnel1 tunnel 1 CLIENT"
        let text = String::from_utf8_lossy(&answer);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Some((server, _)) = body.split_once(' ')
        {
            return Ok(server.to_owned());
        }
    }
}

fn run(surroundings: &Surroundings, text: &str) -> Sluice {
    let (gateway, folder) = (&surroundings.network.gateway, surroundings.stage.folder());
    Sluice::start_with(&binary(), gateway, folder, text).unwrap()
}

fn text(surroundings: &Surroundings, balancing: &str) -> String {
    surroundings.configuration().agent() + "\n" + balancing
}

/// The backends' way to the clients leads through the gateway.
pub(super) fn lead_back(network: &Network) {
    for backend in &network.backends {
        for (family, clients, via) in [
            ("-4", CLIENTS.0, GATEWAY_BACK.of(Family::Ipv4)),
            ("-6", CLIENTS.1, GATEWAY_BACK.of(Family::Ipv6)),
        ] {
            let route = format!("{family} route replace {clients} via {via}");
            backend.ip(&route).unwrap();
        }
    }
}
