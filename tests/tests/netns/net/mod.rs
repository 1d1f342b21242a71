//! `lb_userspace::net` against the real kernel: two namespaces with a veth between them, the
//! resolver in one.

mod host;
mod neighbours;
mod next_hops;

use std::{
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use lb_userspace::net::{IfIndex, Mac, NextHop, Resolution, Resolver, Unresolved};
use sluice_tests::{
    addresses::Dual,
    link::{End, connect},
    namespace::Namespace,
    stage::Stage,
};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

/// Ethernet address of the gateway's end.
const OURS: Mac = [2, 0, 0, 0, 0, 1];
/// Ethernet address of the peer's end.
const PEER: Mac = [2, 0, 0, 0, 0, 0x11];

/// The gateway (`eth`, .1) and its peer (`peer`, .2 and .11), in 198.18.1.0/24 and fd00:1::/64.
struct Pair {
    gateway: Namespace,
    peer: Namespace,
    stage: Stage,
}

impl Pair {
    fn set_up(test: &str) -> Self {
        let stage = Stage::set_up(&format!("sluice-net-{test}")).unwrap();
        let gateway = Namespace::create(&stage.name("gateway")).unwrap();
        let peer = Namespace::create(&stage.name("peer")).unwrap();
        let pair = Self {
            gateway,
            peer,
            stage,
        };
        let (near, far) = (pair.end(), pair.far_end());
        connect(near, far, 1500).unwrap();
        pair.gateway("link set eth address 02:00:00:00:00:01");
        pair.peer("link set peer address 02:00:00:00:00:11");
        near.add_addresses(dual("198.18.1.1", "fd00:1::1"), (24, 64))
            .unwrap();
        for addresses in [
            dual("198.18.1.11", "fd00:1::11"),
            dual("198.18.1.2", "fd00:1::2"),
        ] {
            far.add_addresses(addresses, (24, 64)).unwrap();
        }
        pair
    }

    fn end(&self) -> End<'_> {
        End {
            namespace: &self.gateway,
            interface: "eth",
        }
    }

    fn far_end(&self) -> End<'_> {
        End {
            namespace: &self.peer,
            interface: "peer",
        }
    }

    /// Runs `ip` in the gateway and returns what it prints.
    fn gateway(&self, arguments: &str) -> String {
        self.gateway.read_ip(arguments).unwrap()
    }

    /// Runs `ip` at the peer.
    fn peer(&self, arguments: &str) {
        self.peer.ip(arguments).unwrap();
    }

    /// The gateway's entry of a neighbour, as `ip` prints it.
    fn neighbour(&self, address: &str) -> String {
        self.gateway(&format!("neigh show {address}"))
    }

    /// Has the peer send a datagram, for which it asks for our address and so tells its own.
    fn speak(&self, from: &str, to: &str) {
        let send = || {
            let socket = UdpSocket::bind((ip(from), 0))?;
            socket.send_to(b"hello", (ip(to), 9))?;
            Ok(())
        };
        self.peer.run(send).unwrap();
    }

    /// Runs `body` in the gateway, on a runtime of one thread.
    fn inside(&self, body: impl AsyncFnOnce() + Send) {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(body());
            Ok(())
        };
        self.gateway.run(run).unwrap();
    }

    fn index(&self) -> IfIndex {
        let index = || Ok(nix::net::if_::if_nametoindex("eth")?);
        IfIndex(self.gateway.run(index).unwrap())
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn dual(v4: &str, v6: &str) -> Dual {
    Dual {
        v4: v4.parse().unwrap(),
        v6: v6.parse().unwrap(),
    }
}

fn want(resolver: &Resolver, addresses: &[&str]) {
    resolver.want(addresses.iter().map(|a| ip(a)).collect());
}

/// Waits until `address` is resolved the way `holds` says.
async fn becomes(
    resolver: &Resolver,
    address: &str,
    holds: impl Fn(&Resolution) -> bool,
) -> Resolution {
    let mut snapshots = resolver.snapshots();
    let wait = snapshots.wait_for(|s| s.get(&ip(address)).is_some_and(&holds));
    match timeout(DEADLINE, wait).await {
        Ok(snapshot) => snapshot.unwrap()[&ip(address)].clone(),
        Err(_) => panic!(
            "{address} stays {:?}",
            resolver.snapshots().borrow().get(&ip(address))
        ),
    }
}

async fn resolved(resolver: &Resolver, address: &str, mac: Mac) -> NextHop {
    let holds = |r: &Resolution| r.next_hop().is_some_and(|n| n.mac == mac);
    *becomes(resolver, address, holds).await.next_hop().unwrap()
}

/// Waits until `address` has a next hop of that MTU.
async fn fits(resolver: &Resolver, address: &str, mtu: u32) {
    let holds = |r: &Resolution| r.next_hop().is_some_and(|n| n.mtu == mtu);
    becomes(resolver, address, holds).await;
}

async fn unresolved(resolver: &Resolver, address: &str, reason: Unresolved) {
    becomes(resolver, address, |r| {
        *r == Resolution::Unresolved(reason.clone())
    })
    .await;
}

/// Waits until `holds` does, for what the resolver does not tell.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(DEADLINE, wait).await.is_ok(), "never: {what}");
}
