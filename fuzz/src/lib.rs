//! Ring 0 of the tests as a crate of its own: packet path, host tables, packet cases and oracle, without
//! what the other rings need (agent, BPF objects, namespaces); and the codec of adverts. So it is built anew in seconds,
//! with a fault in lb-common (`cargo xtask faults`) or instrumented.

pub mod adverts;
#[path = "../../tests/src/cases/mod.rs"]
pub mod cases;
#[path = "../../tests/src/host/mod.rs"]
pub mod host;
#[path = "../../tests/src/oracle/mod.rs"]
pub mod oracle;
#[path = "../../lb-userspace/src/vrrp/packet.rs"]
pub mod packet;
pub mod slots;
