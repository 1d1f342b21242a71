//! What is asked of a backend by one check, and which answers are a success.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::Protocol;

/// What is asked of a backend, and which answer is a success.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// A connection; perhaps something sent and something read.
    Tcp(Tcp),
    /// A request over HTTP/1.1, or over TLS.
    Http(Box<Http>),
    /// The method `Check` of grpc.health.v1.
    Grpc(Grpc),
    /// A datagram, and an answer.
    Udp(Udp),
    /// A DNS query over UDP.
    Dns(Dns),
    /// An echo request.
    Icmp,
    /// A program; its exit status counts.
    Exec(Exec),
}

impl Probe {
    /// Whether it needs a port.
    pub fn needs_port(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Http(_) | Self::Grpc(_) | Self::Udp(_) | Self::Dns(_) => true,
            Self::Icmp | Self::Exec(_) => false,
        }
    }

    /// What it is over, if it is over either.
    pub fn protocol(&self) -> Option<Protocol> {
        match self {
            Self::Tcp(_) | Self::Http(_) | Self::Grpc(_) => Some(Protocol::Tcp),
            Self::Udp(_) | Self::Dns(_) => Some(Protocol::Udp),
            Self::Icmp | Self::Exec(_) => None,
        }
    }

    /// The word of `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Http(http) if http.tls.is_some() => "https",
            Self::Http(_) => "http",
            Self::Grpc(_) => "grpc",
            Self::Udp(_) => "udp",
            Self::Dns(_) => "dns",
            Self::Icmp => "icmp",
            Self::Exec(_) => "exec",
        }
    }
}

/// What the check asks, in short: `http GET /healthz`.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::Http(http) => write!(f, " {} {}", http.method, http.path),
            Self::Grpc(grpc) if !grpc.service.is_empty() => write!(f, " {}", grpc.service),
            Self::Dns(dns) => write!(f, " {} {}", dns.query, dns.record),
            Self::Exec(exec) => write!(f, " {}", exec.program.display()),
            Self::Tcp(tcp) if tcp.agent => f.write_str(" agent"),
            Self::Tcp(_) | Self::Grpc(_) | Self::Udp(_) | Self::Icmp => Ok(()),
        }
    }
}

/// Bytes to send, or to find in an answer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Payload(pub Vec<u8>);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As text, with what is not printable escaped.
impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// A connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tcp {
    /// What is sent once it stands.
    pub send: Option<Payload>,
    /// What the answer must contain.
    pub expect: Option<Payload>,
    /// Whether the answer is that of an agent, as of HAProxy's `agent-check`.
    pub agent: bool,
}

/// A request over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Http {
    /// The method.
    pub method: String,
    /// The path, with a query if there is one.
    pub path: String,
    /// The `Host` header; absent: the address that is asked.
    pub host: Option<String>,
    /// Which statuses are a success; one at least.
    pub status: Vec<StatusRange>,
    /// Text that the body must contain.
    pub body: Option<String>,
    /// A regular expression that the body must match.
    pub body_regex: Option<String>,
    /// TLS, of `https`.
    pub tls: Option<Tls>,
    /// Whether header or body may set the weight.
    pub agent: bool,
}

/// Statuses from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusRange {
    /// The first,
    pub first: u16,
    /// and the last.
    pub last: u16,
}

impl StatusRange {
    /// Success or a redirection, as HAProxy has it.
    pub const DEFAULT: Self = Self {
        first: 200,
        last: 399,
    };

    /// Whether a status is one of them.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

/// How a backend is known over TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Whether its certificate is verified.
    pub verify: bool,
    /// The name that is asked for and that the certificate must have; absent: the address.
    pub sni: Option<String>,
    /// A file of certificates to trust; absent: the system's.
    pub ca_file: Option<PathBuf>,
}

/// A call of grpc.health.v1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grpc {
    /// The service that is asked about; empty: the server as a whole.
    pub service: String,
    /// The `:authority`; absent: the address that is asked.
    pub host: Option<String>,
    /// Over TLS.
    pub tls: Option<Tls>,
}

/// A datagram.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Udp {
    /// What is sent.
    pub send: Payload,
    /// What the answer must contain; absent: any answer will do.
    pub expect: Option<Payload>,
}

/// A DNS query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dns {
    /// The name that is asked for.
    pub query: String,
    /// The type of record.
    pub record: RecordType,
    /// Data of which one of the answers must have one; empty: any answer will do.
    pub expect: Vec<String>,
}

/// A type of DNS record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)] // They are the mnemonics of RFC 1035, 2782 and 3596.
pub enum RecordType {
    #[default]
    A,
    Aaaa,
    Cname,
    Mx,
    Ns,
    Ptr,
    Soa,
    Srv,
    Txt,
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Mx => "MX",
            Self::Ns => "NS",
            Self::Ptr => "PTR",
            Self::Soa => "SOA",
            Self::Srv => "SRV",
            Self::Txt => "TXT",
        })
    }
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exec {
    /// Its whole path.
    pub program: PathBuf,
    /// What it is called with.
    pub arguments: Vec<String>,
    /// What its environment has beside the target, by name.
    pub environment: Vec<(String, String)>,
    /// Whether its first line may set the weight.
    pub agent: bool,
}
