//! What the agent tells a program when it loads it: the verifier takes it for granted, and leaves out what is not asked
//! for.

use aya_ebpf::Global;

/// Key of the flow hash, first half.
#[unsafe(no_mangle)]
pub(super) static SEED_0: Global<u64> = Global::new(0);
/// Key of the flow hash, second half.
#[unsafe(no_mangle)]
pub(super) static SEED_1: Global<u64> = Global::new(0);
/// The service table's salt.
#[unsafe(no_mangle)]
pub(super) static SERVICE_SALT: Global<u64> = Global::new(0);
/// Jiffies in a second.
#[unsafe(no_mangle)]
pub(super) static HERTZ: Global<u32> = Global::new(250);
/// The lowest source port.
#[unsafe(no_mangle)]
pub(super) static FIRST_PORT: Global<u16> = Global::new(1024);
/// How many source ports there are.
#[unsafe(no_mangle)]
pub(super) static PORT_COUNT: Global<u16> = Global::new(1);
/// Exceptions that each family's map holds.
#[unsafe(no_mangle)]
pub(super) static EXCEPTION_CAPACITY: Global<u32> = Global::new(1024);
/// Exceptions that one CPU may record in a second, of each kind.
#[unsafe(no_mangle)]
pub(super) static EXCEPTION_RATE: Global<u32> = Global::new(1024);
/// ICMP errors that one CPU may make in a second.
#[unsafe(no_mangle)]
pub(super) static ERROR_RATE: Global<u32> = Global::new(1000);
/// ICMP errors that may be made in a second towards one prefix.
#[unsafe(no_mangle)]
pub(super) static ERROR_RATE_PER_SOURCE: Global<u32> = Global::new(10);
/// TCP resets that one CPU may make in a second.
#[unsafe(no_mangle)]
pub(super) static RESET_RATE: Global<u32> = Global::new(10_000);
/// TCP resets that may be made in a second towards one prefix.
#[unsafe(no_mangle)]
pub(super) static RESET_RATE_PER_SOURCE: Global<u32> = Global::new(100);
/// Whether any service is in `nat` mode.
#[unsafe(no_mangle)]
pub(super) static HAS_NAT: Global<u8> = Global::new(1);
/// Whether any service in `nat` mode listens on more than single ports.
#[unsafe(no_mangle)]
pub(super) static HAS_NAT_RANGES: Global<u8> = Global::new(1);
/// Whether any service listens on a whole prefix.
#[unsafe(no_mangle)]
pub(super) static HAS_PREFIXES: Global<u8> = Global::new(1);
/// Whether the program of the tables before is asked for flows that these do not know.
#[unsafe(no_mangle)]
pub(super) static ASKS_OLDER: Global<u8> = Global::new(0);
/// Whether backends' answers to probes may come in.
#[unsafe(no_mangle)]
pub(super) static HAS_PROBES: Global<u8> = Global::new(1);
/// Whether flows of any service may have ends of both families.
#[unsafe(no_mangle)]
pub(super) static HAS_CROSSING: Global<u8> = Global::new(1);
/// Whether any of our devices is a VLAN's.
#[unsafe(no_mangle)]
pub(super) static HAS_VLANS: Global<u8> = Global::new(1);
/// Whether every outcome is logged.
#[unsafe(no_mangle)]
pub(crate) static DEBUG: Global<u8> = Global::new(0);
