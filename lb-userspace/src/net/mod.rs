//! What the agent knows from the kernel's network stack: next hops of the addresses that packets
//! are forwarded to, the interfaces and addresses of this host, and a device's offloads.
//!
//! ```text
//!  wanted addresses ──► runner ──► machine (routes + neighbours + links ► next hops) ──► snapshots
//!                         │ ▲
//!            netlink (trait; rtnetlink behind it) ◄──► kernel
//! ```
//!
//! `resolve`, `machine` and `stack` decide and do no I/O; `runner` does; only `netlink` names the rtnetlink
//! crates. Nothing here changes routes, addresses or links but those of the device of probes
//! ([`ProbeDevice`]) and addresses that move between hosts ([`FloatingAddresses`], [`refuse`]): it only has the kernel keep the
//! neighbours that are needed ([`Resolver`]), and turns receive offloads off ([`offload`]). What instances of `[[vrrp]]`
//! see and send is here too: [`DeviceWatch`], [`AdvertSocket`], [`PacketSocket`].

mod advert_socket;
mod devices;
mod error;
mod facts;
mod floating;
mod host;
mod machine;
mod netlink;
pub mod offload;
mod packet_socket;
mod probe_device;
mod refused;
mod resolution;
mod resolve;
mod runner;
mod stack;
mod sysctl;

pub use advert_socket::{AdvertSocket, Line, Packet};
pub use devices::{Device, DeviceWatch, Devices, forwards_ipv6};
pub use error::Error;
pub use facts::{InterfaceAddress, LinkKind, Vlan, VlanTag};
pub use floating::FloatingAddresses;
pub use host::{Delivery, Host, Interface, deliveries};
pub use packet_socket::PacketSocket;
pub use probe_device::ProbeDevice;
pub use refused::{accept, refuse};
pub use resolution::{IfIndex, Mac, NextHop, Resolution, Snapshot, Unresolved};
pub use runner::{LinkChanges, Resolver};
pub use stack::VlanStack;
pub use sysctl::PortRange;
