//! Frames: headers as they lie in them, checksum arithmetic, and the [`Packet`] trait through
//! which the packet path reads and writes them. Knows nothing of services or tables.

mod checksum;
mod ethernet;
mod icmp;
mod ip;
mod mapped;
mod packet;
mod quic;
mod shape;
mod transport;

pub use checksum::Delta;
pub use ethernet::{EtherType, EthernetHeader, EthernetWords, OneTag, TaggedHeader, TwoTags};
pub use icmp::{Error, Icmp, IcmpHeader, Message, Said};
pub use ip::{Family, IpHeader, Ipv4, Ipv4Header, Ipv6, Ipv6Header, Payload, Unreadable};
pub use mapped::{Mapped, Side};
pub use packet::{AnyShape, Header, Layout, Packet, Piece, Trim, put_tags, sum};
pub use quic::{DestinationId, QuicHeader, QuicLongHeader, QuicPacket};
pub use shape::find_segment_size;
pub use transport::{Ports, TcpFlags, TcpHeader, Transport, UdpHeader};
