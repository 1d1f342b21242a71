//! The processes at both ends, as a run starts them: servers, and the clients.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{addresses::Dual, namespace::Namespace, process::Process, services::PORT, wait};

use super::{
    client::Order,
    clock,
    messages::{OPENED, Outcome},
};

/// How long after the planned time all connections may take to open.
const LATE: Duration = Duration::from_secs(30);

/// The process of the clients.
pub(crate) struct Clients {
    process: Process,
    order: Order,
    /// When it was started, by [`super::clock`].
    pub(crate) start: Duration,
}

impl Clients {
    /// Starts `soak client` in a namespace, and waits until its connections are open, or failed to.
    pub(crate) fn open(client: &Namespace, soak: &Path, order: Order) -> Result<Self> {
        let file = order.outcome.with_file_name("client.json");
        fs::write(&file, serde_json::to_vec(&order)?)
            .with_context(|| format!("could not write {}", file.display()))?;
        let mut command = client.command(soak)?;
        command.arg("client").arg(&file);
        let mut process = Process::start("client", command, &file.with_file_name("client.log"))?;
        let start = clock::now()?;
        let limit = order.opening_time() + LATE;
        let opened = wait::until("all connections to be open", limit, || {
            process.expect_running()?;
            Ok(process.log().contains(OPENED).then_some(()))
        });
        process.explain(opened)?;
        Ok(Self {
            process,
            order,
            start,
        })
    }

    /// The process, for whoever looks after it.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it and reads what it found.
    pub(crate) fn end(mut self) -> Result<Outcome> {
        let ended = self.process.stop().and_then(|status| {
            ensure!(status.success(), "it ended with {status}");
            Ok(())
        });
        self.process.explain(ended)?;
        let file = &self.order.outcome;
        let text = fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// Starts the server of a namespace, for any of its addresses, and waits until it listens.
pub(crate) fn serve(
    soak: &Path,
    namespace: &Namespace,
    name: &str,
    folder: &Path,
) -> Result<Process> {
    let any = Dual {
        v4: Ipv4Addr::UNSPECIFIED,
        v6: Ipv6Addr::UNSPECIFIED,
    };
    let mut command = namespace.command(soak)?;
    command.arg("echo").arg(name);
    command.args(addresses(any).iter().map(SocketAddr::to_string));
    let mut server = Process::start(name, command, &folder.join(format!("{name}.log")))?;
    let listening = wait::until(
        &format!("{name} to listen"),
        Duration::from_secs(10),
        || {
            server.expect_running()?;
            let sockets =
                namespace.run(|| Ok(fs::read_to_string("/proc/thread-self/net/tcp6")?))?;
            // Of the two it is the second that it listens on.
            let listening = format!(":{PORT:04X} {:032X}:0000 0A", 0);
            Ok(sockets.contains(&listening).then_some(()))
        },
    );
    server.explain(listening)?;
    Ok(server)
}

/// The port of services and servers at both addresses of a host.
pub(crate) fn addresses(host: Dual) -> Vec<SocketAddr> {
    host.both().map(|ip| SocketAddr::new(ip, PORT)).into()
}
