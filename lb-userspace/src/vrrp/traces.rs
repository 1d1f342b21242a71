//! Decides what an agent that is killed may leave behind of its instances: what its next start looks for. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{VirtualAddress, Vrrp};

/// What is left behind, of all instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traces {
    /// Their addresses.
    pub addresses: BTreeSet<VirtualAddress>,
    /// The tables of nftables that drop what is for some of them.
    #[serde(default)]
    pub tables: BTreeSet<String>,
}

impl Traces {
    /// What instances may leave behind.
    pub fn of(instances: &[Vrrp]) -> Self {
        let addresses = instances
            .iter()
            .flat_map(|vrrp| vrrp.families().flat_map(|family| vrrp.in_family(family)));
        let refusing = instances.iter().filter(|vrrp| vrrp.refuses());
        Self {
            addresses: addresses.collect(),
            tables: refusing.map(table).collect(),
        }
    }

    /// These and others.
    pub fn and(mut self, others: Self) -> Self {
        self.addresses.extend(others.addresses);
        self.tables.extend(others.tables);
        self
    }
}

/// The name of an instance's tables of nftables.
pub(super) fn table(instance: &Vrrp) -> String {
    format!("sluice-vrrp-{}-{}", instance.interface, instance.vrid)
}
