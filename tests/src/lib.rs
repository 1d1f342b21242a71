//! Harness of the tests that need real packets, and of the demo, which is the same thing with a
//! table at the end.
//!
//! ```text
//! stage       a name, a folder and a bpffs of this run's own; sweeps what killed runs left
//! network     namespaces and veth pairs between client, router, gateway, switch, three backends
//! nginx       the servers in the backends          clients    the requests, each a connection
//! peers       other servers, for health checks     postgres   a primary and its standby
//! lan         hosts that share addresses           keepalived another that moves them
//! surroundings  network and servers                sluice     `sluice run` in the gateway
//! scenario    all of these put together            metrics    what the agent says of itself
//! wire        packet sockets on interfaces         report     were the answers and the counts right
//! ```
//!
//! Beside it, what the packet path is tested and measured with:
//!
//! ```text
//! cases       the table of packet cases, which rings 0 and 2 run
//! host        a packet and tables without a kernel: ring 0's half of it (the kernel's half is in
//!             tests/kernel)
//! oracle      another balancer, slow and plain, that has to agree about every frame
//! bench       what a packet costs, beside floors of the same run
//! checks      what ten thousand health checks a second cost
//! live        thousands of live connections while backends come, go and die
//! restart     numbered packets while the agent is killed, started and reloaded: is one missing
//! pair        live connections through two gateways, one of which is lost
//! failover    how long an address is unserved when its host fails, ours and keepalived
//! conservation  is every packet accounted for, and is what comes out sound
//! plans       plans that are held at each of their points while packets go by, or fail there
//! verifier    what the kernel's verifier says about the programs
//! ```
//!
//! Everything that is made here goes when its owner is dropped. Everything but `cases`, `host` and
//! `oracle` needs root; nothing is skipped without it. Packets travel only between namespaces of the run.

pub mod addresses;
pub mod bench;
pub mod cases;
pub mod checks;
pub mod clients;
pub mod command;
pub mod conservation;
pub mod decapsulator;
pub(crate) mod devices;
pub mod failover;
pub mod host;
pub mod http;
pub mod interrupt;
pub mod keepalived;
pub mod lan;
pub mod link;
pub mod live;
pub mod metrics;
pub mod namespace;
pub mod network;
pub mod nginx;
pub mod offload;
pub mod oracle;
pub mod pair;
pub mod peers;
pub mod plans;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod progress;
pub mod report;
pub mod restart;
pub mod scenario;
pub mod scripts;
pub mod services;
pub mod slots;
pub mod sluice;
pub mod stage;
pub mod surroundings;
pub mod verifier;
pub mod wait;
pub mod wire;
