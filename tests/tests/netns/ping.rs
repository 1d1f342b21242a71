//! An echo request, and the reply: through the kernel's own sockets for that (`icmp(7)`), which see
//! to identifiers and checksums.

use std::{
    io,
    io::Read as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use sluice_tests::namespace::Namespace;
use socket2::{Domain, Protocol, Socket, Type};

/// Lets root have such sockets, which nobody may by default.
pub(super) fn allow(namespace: &Namespace) {
    namespace.sysctl("ipv4/ping_group_range", "0 0").unwrap();
}

/// Sends a request and waits for the reply, which must bring the same bytes back.
pub(super) fn exchange(
    namespace: &Namespace,
    from: IpAddr,
    to: IpAddr,
    limit: Duration,
) -> io::Result<()> {
    namespace.run(|| Ok(ping(from, to, limit))).unwrap()
}

fn ping(from: IpAddr, to: IpAddr, limit: Duration) -> io::Result<()> {
    const BODY: &[u8] = b"ping pong";
    let (protocol, kind) = match to {
        IpAddr::V4(_) => (Protocol::ICMPV4, 8),
        IpAddr::V6(_) => (Protocol::ICMPV6, 128),
    };
    let to = SocketAddr::new(to, 0);
    let mut socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(protocol))?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect(&to.into())?;
    socket.set_read_timeout(Some(limit))?;
    socket.send(&[&[kind, 0, 0, 0, 0, 0, 0, 1], BODY].concat())?;
    let mut reply = [0; 64];
    let length = socket.read(&mut reply)?;
    assert_eq!(reply.get(8..length), Some(BODY));
    Ok(())
}
