//! nginx as a backend: real, but with a configuration, a folder and a process of its own.
//!
//! It answers `GET /?number=N` with "BACKEND SERVICE N CLIENT", where BACKEND and SERVICE belong to
//! the address and port that the request came to and CLIENT is whom nginx saw; and keeps what is
//! PUT below `/upload/`, so that a test can compare every byte.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use crate::{http, namespace::Namespace, process::Process, wait};

/// What one nginx serves for one service.
pub struct Site {
    /// The service's name.
    pub service: String,
    /// The backend's name in the service's pool.
    pub backend: String,
    /// Where requests come in.
    pub listen: Vec<SocketAddr>,
}

/// A line of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The request's method.
    pub method: String,
    /// The number in its query, or nothing.
    pub number: String,
    /// The answer's status.
    pub status: u16,
    /// Whom the request came from.
    pub client: IpAddr,
}

/// A running nginx.
pub struct Nginx {
    process: Process,
    folder: PathBuf,
}

impl Nginx {
    /// Starts one in `namespace`, with its files in `folder`, and waits until it listens.
    pub fn start(namespace: &Namespace, folder: &Path, sites: &[Site]) -> Result<Self> {
        for site in sites {
            fs::create_dir_all(folder.join(&site.service).join("upload"))?;
        }
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration(folder, sites))
            .with_context(|| format!("could not write {}", file.display()))?;
        let mut command = namespace.command(binary())?;
        command
            .arg("-e")
            .arg("stderr")
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&file);
        let process = Process::start("nginx", command, &folder.join("output.log"))
            .context("nginx is needed (Debian: apt-get install nginx-light)")?;
        let mut nginx = Self {
            process,
            folder: folder.to_owned(),
        };
        for address in sites.iter().flat_map(|site| &site.listen) {
            nginx.wait_until_listening(namespace, *address)?;
        }
        Ok(nginx)
    }

    /// What it logged for `service` so far.
    pub fn logged(&self, service: &str) -> Result<Vec<Logged>> {
        let file = self.folder.join(format!("{service}.access.log"));
        let text = fs::read_to_string(&file)
            .with_context(|| format!("could not read {}", file.display()))?;
        // The last line may be half written.
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        whole
            .lines()
            .map(|line| parse(line).with_context(|| format!("odd line {line:?}")))
            .collect()
    }

    /// What was uploaded to `service` under `name`.
    pub fn uploaded(&self, service: &str, name: &str) -> Result<Vec<u8>> {
        let file = self.folder.join(service).join("upload").join(name);
        fs::read(&file).with_context(|| format!("could not read {}", file.display()))
    }

    /// Has it answer `GET /upload/NAME` with a text.
    pub fn offer(&self, service: &str, name: &str, text: &str) -> Result<()> {
        let file = self.folder.join(service).join("upload").join(name);
        fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))
    }

    /// Has it answer that there is no such thing any more.
    pub fn withdraw(&self, service: &str, name: &str) -> Result<()> {
        let file = self.folder.join(service).join("upload").join(name);
        fs::remove_file(&file).with_context(|| format!("could not remove {}", file.display()))
    }

    /// Sends it a signal that does not end it.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Ends it.
    pub fn stop(&mut self) -> Result<()> {
        self.process.stop().map(drop)
    }

    /// The end of its error log.
    pub fn errors(&self) -> String {
        self.process.log_end()
    }

    fn wait_until_listening(&mut self, namespace: &Namespace, address: SocketAddr) -> Result<()> {
        let listening = wait::until(
            &format!("nginx on {address}"),
            Duration::from_secs(10),
            || {
                self.process.expect_running()?;
                let connect = || Ok(http::connect(None, address, Duration::from_secs(1)).ok());
                Ok(namespace.run(connect)?.map(|_| ()))
            },
        );
        self.process.explain(listening)
    }
}

/// Debian has it in /usr/sbin, which not every PATH holds.
fn binary() -> &'static str {
    let debian = "/usr/sbin/nginx";
    if Path::new(debian).exists() {
        debian
    } else {
        "nginx"
    }
}

fn parse(line: &str) -> Option<Logged> {
    let mut fields = line.split(' ');
    let mut field = || fields.next();
    Some(Logged {
        method: field()?.to_owned(),
        number: field()?.to_owned(),
        status: field()?.parse().ok()?,
        client: field()?.parse().ok()?,
    })
}

/// One process (no master with workers), so that stopping it by its id stops all of it.
fn configuration(folder: &Path, sites: &[Site]) -> String {
    let folder = folder.display();
    let mut text = format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\n\
         events {{ worker_connections 4096; }}\nhttp {{\n\
         log_format plain '$request_method $arg_number $status $remote_addr';\n\
         default_type text/plain;\nclient_max_body_size 1m;\n"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(text, "{kind}_temp_path {folder}/{kind};");
    }
    for Site {
        service,
        backend,
        listen,
    } in sites
    {
        text.push_str("server {\n");
        for address in listen {
            let _ = writeln!(text, "listen {address};");
        }
        let _ = write!(
            text,
            "access_log {folder}/{service}.access.log plain;\n\
             add_header X-Backend {backend} always;\nadd_header X-Service {service} always;\n\
             location / {{ return 200 '{backend} {service} $arg_number $remote_addr'; }}\n\
             location /upload/ {{ root {folder}/{service}; dav_methods PUT; }}\n}}\n"
        );
    }
    text.push_str("}\n");
    text
}
