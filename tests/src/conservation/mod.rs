//! Is every packet accounted for? Many packets, sound, hostile and random, from both sides and to
//! every mode; then four counts that know nothing of each other are compared.
//!
//! ```text
//!  clients eth0 ───────── eth0 gateway eth1 ───────── eth0 backends
//!    sends, sees             sees what is passed        sends, sees
//! ```
//!
//! | what | counted by |
//! |---|---|
//! | received | the sender, and the gateway's devices |
//! | forwarded, or answered here | packet sockets at the far ends: nothing but Sluice sends there |
//! | passed | packet sockets in the gateway, behind the program |
//! | the rest, dropped | nobody else; it has to add up |
//!
//! They have to equal `/metrics`, to the packet; and each packet that comes out has to be sound.
//!
//! ```text
//! site      namespaces, which are silent but for us; the agent's configuration
//! traffic   what is sent                      sound     what may come out
//! run       windows of packets, in order      ledger    the counts, compared
//! ```

mod ledger;
mod run;
mod site;
mod sound;
mod traffic;

pub use ledger::Ledger;
pub use run::{Plan, run};
