//! What a configuration needs to know of this host, read from the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    config::host::{Bottom, HostFacts, Prefix, VlanDevice},
    model::{Config, Family},
    net::{self, Delivery, Host, Interface},
};

/// Reads the facts that [`config::host::check`](crate::config::host::check) judges `config` by, in
/// the network namespace of the calling thread, which `host` was read in. Needs a tokio runtime.
pub async fn read(host: &Host, config: &Config) -> Result<HostFacts, net::Error> {
    let elsewhere = addresses(config).filter(|address| !host.carries(*address));
    let elsewhere: BTreeSet<IpAddr> = elsewhere.collect();
    let deliveries = net::deliveries(elsewhere).await?;
    let local = deliveries
        .into_iter()
        .filter(|(_, delivery)| match delivery {
            Delivery::Local => true,
            Delivery::Routed | Delivery::Absent => false,
        });
    Ok(HostFacts {
        interfaces: host
            .interfaces
            .iter()
            .map(|interface| interface.name.clone())
            .collect(),
        vlans: vlans(host),
        not_forwarding: host.interfaces.iter().flat_map(not_forwarding).collect(),
        addresses: host.addresses.iter().map(|ours| ours.address).collect(),
        local_routes: local.map(|(address, _)| alone(address)).collect(),
    })
}

/// Every address that the configuration names.
fn addresses(config: &Config) -> impl Iterator<Item = IpAddr> {
    let listens = config.services.iter().flat_map(|service| &service.listen);
    let sources = config.pools.iter().flat_map(|pool| &pool.source);
    let backends = config.pools.iter().flat_map(|pool| &pool.backends);
    listens
        .map(|listen| listen.address.ip())
        .chain(sources.map(|source| source.ip))
        .chain(
            backends
                .flat_map(|backend| &backend.addresses)
                .map(|address| address.ip),
        )
}

/// The prefix that holds one address.
fn alone(address: IpAddr) -> Prefix {
    let length = match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    Prefix { address, length }
}

/// The VLAN devices, by name.
fn vlans(host: &Host) -> BTreeMap<String, VlanDevice> {
    let vlan = |interface: &Interface| {
        let stack = host.vlan_stack(interface)?;
        let bottom = stack.bottom.map(|bottom| Bottom {
            name: bottom.name.clone(),
            make: bottom.make.clone(),
        });
        let device = VlanDevice {
            ids: stack.tags.iter().map(|tag| tag.id).collect(),
            mtu: interface.mtu,
            fitting: stack.mtu,
            bottom,
        };
        Some((interface.name.clone(), device))
    };
    host.interfaces.iter().filter_map(vlan).collect()
}

/// The families that packets from an interface are not routed in.
fn not_forwarding(interface: &Interface) -> impl Iterator<Item = (String, Family)> {
    let families = [
        (Family::Ipv4, interface.forwarding_ipv4),
        (Family::Ipv6, interface.forwarding_ipv6),
    ];
    let off = families.into_iter().filter(|(_, on)| *on != Some(true));
    off.map(|(family, _)| (interface.name.clone(), family))
}
