//! What one run of a check can come to. Every way to fail has a name; in words it reads on after the
//! target: "198.18.1.11:8080 refused the connection".
//!
//! What only says something of this host (no descriptor is left, no permission) is no failure of the
//! target: it is [`Outcome::Unknown`], and changes nothing.

use std::{fmt, time::Duration};

use super::advice::Advice;
use crate::model::Probe;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target answered as it should; an agent among them has advice.
    Passed(Advice),
    /// It did not.
    Failed(Failure),
    /// The run could not be made, or said nothing.
    Unknown(Unknown),
}

impl Outcome {
    /// A success without more words.
    pub const PASSED: Self = Self::Passed(Advice::NONE);

    /// What it means for this probe. Where a connection is made for an agent's words alone, one that
    /// can't be made says nothing: other checks tell whether the backend lives (as in HAProxy).
    pub fn of(self, probe: &Probe) -> Self {
        match (self, probe) {
            (Self::Failed(failure), Probe::Tcp(tcp)) if tcp.agent && !failure.is_said() => {
                Self::Unknown(Unknown::NoAgent(failure))
            }
            (outcome, _) => outcome,
        }
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// The connection is being made.
    #[default]
    Connecting,
    /// TLS is being agreed on.
    Handshake,
    /// The answer is waited for.
    Waiting,
    /// A program runs.
    Running,
}

/// Why a target failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It has not come to an end in time.
    TimedOut(Phase, Duration),
    /// The port is closed.
    Refused,
    /// It broke off.
    Closed(Phase),
    /// There is no way to it; the kernel's words.
    Unreachable(String),
    /// TLS could not be agreed on; whose words those are, rustls' or the peer's, they say.
    Tls(String),
    /// It answered something that its protocol doesn't have.
    Malformed(String),
    /// A status that is not expected.
    Status(u16),
    /// The body does not have what it should.
    Body(String),
    /// The answer does not have what it should.
    Answer(String),
    /// A gRPC status other than OK.
    GrpcStatus(u32),
    /// grpc.health.v1 says that it does not serve.
    NotServing(Serving),
    /// A DNS response code other than NOERROR, by its mnemonic.
    Rcode(String),
    /// No answer of a DNS query has what it should.
    NoRecord(String),
    /// The program ended with this status, and perhaps said why.
    Exit(i32, String),
    /// A signal ended it.
    Signal(i32),
    /// It could not be started.
    NotStarted(String),
    /// An agent says so.
    Agent(String),
}

/// What grpc.health.v1 says of a service, but for SERVING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// 0.
    Unknown,
    /// 2.
    NotServing,
    /// 3; only of `Watch`.
    ServiceUnknown,
    /// Any other number.
    Other(u64),
}

impl Failure {
    /// Its name in metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TimedOut(Phase::Connecting, _) => "connect_timeout",
            Self::TimedOut(Phase::Handshake, _) => "tls_timeout",
            Self::TimedOut(Phase::Waiting, _) => "answer_timeout",
            Self::TimedOut(Phase::Running, _) => "exec_timeout",
            Self::Refused => "refused",
            Self::Closed(_) => "closed",
            Self::Unreachable(_) => "unreachable",
            Self::Tls(_) => "tls",
            Self::Malformed(_) => "malformed",
            Self::Status(_) => "status",
            Self::Body(_) => "body",
            Self::Answer(_) => "answer",
            Self::GrpcStatus(_) => "grpc_status",
            Self::NotServing(_) => "not_serving",
            Self::Rcode(_) => "rcode",
            Self::NoRecord(_) => "no_record",
            Self::Exit(..) => "exit",
            Self::Signal(_) => "signal",
            Self::NotStarted(_) => "not_started",
            Self::Agent(_) => "agent",
        }
    }

    /// Whether it is what an agent says, and no measurement: then it counts at once.
    pub fn is_said(&self) -> bool {
        matches!(self, Self::Agent(_))
    }

    /// In words, with the target in them.
    pub fn of<'a>(&'a self, target: &'a dyn fmt::Display) -> impl fmt::Display + 'a {
        Of {
            failure: self,
            target,
        }
    }
}

struct Of<'a> {
    failure: &'a Failure,
    target: &'a dyn fmt::Display,
}

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target;
        match self.failure {
            Failure::TimedOut(phase, time) => timed_out(*phase, *time, target, f),
            Failure::Refused => write!(f, "connect to {target} refused"),
            Failure::Closed(Phase::Connecting) => write!(f, "connect to {target} reset"),
            Failure::Closed(Phase::Handshake) => write!(f, "{target} closed during TLS"),
            Failure::Closed(Phase::Waiting | Phase::Running) => {
                write!(f, "{target} closed before its answer was complete")
            }
            Failure::Unreachable(words) => write!(f, "{target} is unreachable: {words}"),
            Failure::Tls(words) => write!(f, "TLS with {target}: {words}"),
            Failure::Malformed(words) => write!(f, "malformed answer of {target}: {words}"),
            Failure::Status(status) => write!(f, "status {status} from {target}"),
            Failure::Body(words) => write!(f, "the body from {target} {words}"),
            Failure::Answer(words) => write!(f, "the answer of {target} {words}"),
            Failure::GrpcStatus(status) => write!(f, "gRPC status {status} from {target}"),
            Failure::NotServing(serving) => write!(f, "{target} says {serving}"),
            Failure::Rcode(code) => write!(f, "{code} from {target}"),
            Failure::NoRecord(words) => write!(f, "the answer of {target} has {words}"),
            Failure::Exit(status, words) if words.is_empty() => {
                write!(f, "exit status {status} for {target}")
            }
            Failure::Exit(status, words) => {
                write!(f, "exit status {status} for {target}: {words}")
            }
            Failure::Signal(signal) => write!(f, "ended by signal {signal} for {target}"),
            Failure::NotStarted(words) => write!(f, "not started for {target}: {words}"),
            Failure::Agent(words) => write!(f, "the agent at {target} says {words}"),
        }
    }
}

fn timed_out(
    phase: Phase,
    time: Duration,
    target: &dyn fmt::Display,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    match phase {
        Phase::Connecting => write!(f, "connect to {target} timed out after {time:?}"),
        Phase::Handshake => write!(f, "TLS with {target} timed out after {time:?}"),
        Phase::Waiting => write!(f, "no answer of {target} within {time:?}"),
        Phase::Running => write!(f, "killed after {time:?} for {target}"),
    }
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("UNKNOWN"),
            Self::NotServing => f.write_str("NOT_SERVING"),
            Self::ServiceUnknown => f.write_str("SERVICE_UNKNOWN"),
            Self::Other(number) => write!(f, "serving status {number}"),
        }
    }
}

/// Why a run says nothing of its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// This host could not make it: the words say why.
    Local(String),
    /// It is asked through a service, and there is no way to it that packets could take: it has no next hop, or not yet.
    NoWay,
    /// An agent was not reached, or said nothing that it could mean: another check tells whether the
    /// backend lives.
    NoAgent(Failure),
}

impl Unknown {
    /// Its name in metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            Self::NoWay => "no_way",
            Self::NoAgent(_) => "no_agent",
        }
    }
}
