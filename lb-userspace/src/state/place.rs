//! Positions in the service table: each key lies at one of two (cuckoo hashing: Pagh, Rodler,
//! 2001). If that does not work out under one salt, another is tried.

use std::{collections::HashMap, hash::Hash};

use lb_common::abi::{Address, Ipv4Address, Ipv6Address, ServiceKey};

use crate::plan::Families;

/// Where each key lies.
pub(super) type Placement<A> = HashMap<ServiceKey<A>, u32>;

/// Salts that are tried. Below half load a first try almost always works.
const SALTS: u64 = 64;

/// Moves after which a salt is given up.
const MOVES: usize = 500;

/// A salt under which all keys have a position, and the positions.
#[expect(clippy::type_complexity, reason = "two placements, one a family")]
pub(super) fn find(
    v4: &[ServiceKey<Ipv4Address>],
    v6: &[ServiceKey<Ipv6Address>],
) -> Option<(
    u64,
    Families<Placement<Ipv4Address>, Placement<Ipv6Address>>,
)> {
    (0..SALTS).find_map(|salt| {
        let positions = Families {
            ipv4: place(v4, salt)?,
            ipv6: place(v6, salt)?,
        };
        Some((salt, positions))
    })
}

fn place<A: Address + Hash>(keys: &[ServiceKey<A>], salt: u64) -> Option<Placement<A>> {
    let mut taken: HashMap<u32, ServiceKey<A>> = HashMap::with_capacity(keys.len());
    for &key in keys {
        insert(&mut taken, key, salt)?;
    }
    Some(
        taken
            .into_iter()
            .map(|(position, key)| (key, position))
            .collect(),
    )
}

/// Puts a key at its first position; who lay there goes to its other one, and so on.
fn insert<A: Address>(
    taken: &mut HashMap<u32, ServiceKey<A>>,
    mut key: ServiceKey<A>,
    salt: u64,
) -> Option<()> {
    let mut position = key.positions(salt)[0];
    for _ in 0..MOVES {
        let Some(evicted) = taken.insert(position, key) else {
            return Some(());
        };
        let [first, second] = evicted.positions(salt);
        position = if position == first { second } else { first };
        key = evicted;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn ten_thousand_services_find_their_positions() {
        let keys: Vec<_> = (0..10_000u32)
            .map(|n| {
                let address = Ipv4Addr::from_bits(0xc612_0000 + n / 4).into();
                ServiceKey::service(address, (80 + n as u16 % 4).to_be_bytes(), 6)
            })
            .collect();
        let (salt, positions) = find(&keys, &[]).unwrap();
        assert_eq!(positions.ipv4.len(), keys.len());
        for key in &keys {
            assert!(key.positions(salt).contains(&positions.ipv4[key]));
        }
    }
}
