//! Echo requests (RFC 792, RFC 4443): one raw socket for each family, whatever the number of targets, since
//! the kernel hands every answer to every raw socket. An answer is known by 8 random bytes that its
//! request carried. Needs CAP_NET_RAW.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::UdpSocket,
    sync::{OnceCell, oneshot},
    task::JoinHandle,
};

use super::stream::{Ran, failed, local};
use crate::{
    health::{
        advice::Advice,
        outcome::{Outcome, Phase},
        probing::Progress,
        targets::Target,
    },
    model::Family,
};

/// What a request carries, so that no other's answer is taken for its.
type Token = [u8; 8];

/// Room for answers that nobody has read yet: some thousand, each of which takes almost a KiB of it; bytes.
const BUFFER: usize = 4 << 20;

/// Who waits for which answer.
type Waiting = Arc<Mutex<HashMap<(IpAddr, Token), oneshot::Sender<()>>>>;

/// Sends requests and hands answers out. Its sockets are opened for the first run.
#[derive(Debug, Default)]
pub(super) struct Pinger {
    ipv4: OnceCell<Line>,
    ipv6: OnceCell<Line>,
}

/// A socket, and who listens to it.
#[derive(Debug)]
struct Line {
    socket: Arc<UdpSocket>,
    waiting: Waiting,
    listener: JoinHandle<()>,
}

impl Pinger {
    pub(super) async fn run(&self, target: Target, progress: &Progress) -> Ran {
        let family = Family::of(target.ip);
        let line = match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
        };
        let opened = line.get_or_try_init(|| async { Line::open(family) }).await;
        let line = opened.map_err(|error| local(&format!("a raw socket: {error}")))?;
        progress.reached(Phase::Waiting);
        line.ask(target.ip, family).await.map(|()| Advice::NONE)
    }
}

impl Line {
    fn open(family: Family) -> io::Result<Self> {
        let (domain, protocol) = match family {
            Family::Ipv4 => (Domain::IPV4, Protocol::ICMPV4),
            Family::Ipv6 => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(protocol))?;
        // Where that is not allowed, many answers at once may be lost, and those who wait for them ask again.
        let _ = setsockopt(&socket, RcvBufForce, &BUFFER);
        // Reading and writing datagrams is the same for a raw socket.
        let socket = Arc::new(UdpSocket::from_std(socket.into())?);
        let waiting = Waiting::default();
        let listener = listen(Arc::clone(&socket), Arc::clone(&waiting), family);
        Ok(Self {
            socket,
            waiting,
            listener: tokio::spawn(listener),
        })
    }

    async fn ask(&self, ip: IpAddr, family: Family) -> Result<(), Outcome> {
        let mut token = Token::default();
        getrandom::fill(&mut token).map_err(|error| local(&error.to_string()))?;
        let (answered, answer) = oneshot::channel();
        let _place = Place::take(&self.waiting, (ip, token), answered);
        let request = request(family, token);
        let sent = self.socket.send_to(&request, SocketAddr::new(ip, 0)).await;
        sent.map_err(|error| failed(&error, Phase::Waiting))?;
        answer
            .await
            .map_err(|_| local("nobody listens for answers"))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// A place among those who wait, left with the run.
struct Place<'a> {
    waiting: &'a Waiting,
    key: (IpAddr, Token),
}

impl<'a> Place<'a> {
    fn take(waiting: &'a Waiting, key: (IpAddr, Token), answered: oneshot::Sender<()>) -> Self {
        let mut all = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key, answered);
        Self { waiting, key }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.key);
    }
}

/// Hands answers out. Errors are those of single packets.
async fn listen(socket: Arc<UdpSocket>, waiting: Waiting, family: Family) {
    let mut packet = [0; 256];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut packet).await else {
            continue;
        };
        let Some(token) = packet
            .get(..length)
            .and_then(|packet| answer(family, packet))
        else {
            continue;
        };
        let mut all = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answered) = all.remove(&(from.ip(), token)) {
            let _ = answered.send(());
        }
    }
}

/// ```text
///  0        1        2                 4                 6                 8
/// | type   | code   | checksum        | identifier      | sequence        | token (8) |
/// ```
/// An echo request; of ICMPv6, the kernel fills the checksum in (RFC 3542, section 3.1).
fn request(family: Family, token: Token) -> [u8; 16] {
    let mut packet = [0; 16];
    packet[0] = match family {
        Family::Ipv4 => 8,
        Family::Ipv6 => 128,
    };
    packet[4..6].copy_from_slice(&token[..2]);
    packet[8..].copy_from_slice(&token);
    if family == Family::Ipv4 {
        let checksum = checksum(&packet);
        packet[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
    packet
}

/// The token of an echo reply; of IPv4, the IP header comes along.
fn answer(family: Family, packet: &[u8]) -> Option<Token> {
    let (message, reply) = match family {
        Family::Ipv4 => {
            let length = usize::from(packet.first()? & 0x0f) * 4;
            (packet.get(length..)?, 0)
        }
        Family::Ipv6 => (packet, 129),
    };
    let [kind, 0, ..] = message else {
        return None;
    };
    let token = message.get(8..16)?.first_chunk()?;
    (*kind == reply).then_some(*token)
}

/// The Internet checksum (RFC 1071).
fn checksum(packet: &[u8; 16]) -> u16 {
    let words = packet.chunks_exact(2);
    let sum: u32 = words.map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_carries_what_its_request_did() {
        let token = *b"8 bytes!";
        let mut v4 = request(Family::Ipv4, token);
        assert_eq!((v4[0], checksum(&v4)), (8, 0), "over itself it is 0");
        assert_eq!(answer(Family::Ipv4, &v4), None);
        v4[0] = 0;
        let mut packet = vec![0x45; 20];
        packet.extend(v4);
        assert_eq!(answer(Family::Ipv4, &packet), Some(token));
        assert_eq!(answer(Family::Ipv4, &packet[..35]), None);
        let mut v6 = request(Family::Ipv6, token);
        assert_eq!(v6[..4], [128, 0, 0, 0]);
        v6[0] = 129;
        assert_eq!(answer(Family::Ipv6, &v6), Some(token));
    }

    proptest! {
        #[test]
        fn any_packet(packet in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (answer(Family::Ipv4, &packet), answer(Family::Ipv6, &packet));
        }
    }
}
