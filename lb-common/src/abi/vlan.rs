//! VLAN tags (IEEE 802.1Q, clause 9): of frames, and of the devices that stand for them.
//!
//! ```text
//!  0           6           12          14          16
//! +-----------+-----------+-----------+-----------+----  further tag,
//! |destination|  source   | protocol  |PCP|D|  id | …    Ethernet type
//! +-----------+-----------+-----------+-----------+----
//!                         |<-------- tag -------->|
//! ```

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One tag, as it lies in a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tag([u8; 4]);

impl Tag {
    /// Bytes of a frame that it takes.
    const LEN: usize = 4;

    /// The tag of this protocol (0x8100: a customer's, 0x88a8: a provider's) and VLAN, of priority 0.
    /// Of `id`, 12 bits count.
    pub const fn new(protocol: u16, id: u16) -> Self {
        let ([a, b], [c, d]) = (protocol.to_be_bytes(), (id & Tags::ID).to_be_bytes());
        Self([a, b, c, d])
    }
}

/// No tag, one or two, the outer one first, in one word: as they lie in a frame, then zeros.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
)]
#[repr(transparent)]
pub struct Tags(u64);

impl Tags {
    /// None.
    pub const NONE: Self = Self(0);

    /// The bits of a tag that name a VLAN; the others are its priority.
    const ID: u16 = 0x0fff;

    /// One tag.
    pub const fn one(tag: Tag) -> Self {
        let [a, b, c, d] = tag.0;
        Self::of_frame([a, b, c, d, 0, 0, 0, 0])
    }

    /// Two tags.
    pub const fn two(outer: Tag, inner: Tag) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (outer.0, inner.0);
        Self::of_frame([a, b, c, d, e, f, g, h])
    }

    /// Those that lie in a frame as these bytes; zeros for one that is not there.
    const fn of_frame(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// Those of this word, which is their bytes in a frame, the first one lowest.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// That word.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// How many there are.
    #[inline(always)]
    pub const fn count(self) -> usize {
        if self.0 == 0 {
            0
        } else if self.0 >> 32 == 0 {
            1
        } else {
            2
        }
    }

    /// Bytes of a frame that they take.
    #[inline(always)]
    pub const fn length(self) -> usize {
        self.count() * Tag::LEN
    }

    /// The same VLANs, of priority 0.
    #[inline(always)]
    pub const fn without_priority(self) -> Self {
        const KEPT: u64 = {
            let [a, b] = Tags::ID.to_be_bytes();
            u64::from_le_bytes([0xff, 0xff, a, b, 0xff, 0xff, a, b])
        };
        Self(self.0 & KEPT)
    }

    /// Whether it is one tag that says a priority and no VLAN (IEEE 802.1Q, table 9-2: the null VLAN id).
    #[inline(always)]
    pub const fn is_priority_alone(self) -> bool {
        self.count() == 1 && self.without_priority().0 >> 16 == 0
    }
}

/// What frames of a VLAN are known by.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
)]
#[repr(C)]
pub struct VlanKey {
    tags: Tags,
    ifindex: u32,
    padding: u32,
}

impl VlanKey {
    /// Frames with these tags that come in through the device of this number, as the kernel numbers
    /// them. Their priority does not matter.
    #[inline(always)]
    pub const fn new(ifindex: u32, tags: Tags) -> Self {
        Self {
            tags: tags.without_priority(),
            ifindex,
            padding: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUSTOMER: Tag = Tag::new(0x8100, 100);
    const PROVIDER: Tag = Tag::new(0x88a8, 300);

    #[test]
    fn tags_lie_as_in_a_frame() {
        let both = Tags::two(PROVIDER, CUSTOMER);
        assert_eq!(
            both.word().to_le_bytes(),
            [0x88, 0xa8, 0x01, 0x2c, 0x81, 0, 0, 100]
        );
        assert_eq!((both.count(), Tags::one(CUSTOMER).count()), (2, 1));
        assert_eq!(Tags::NONE.count(), 0);
    }

    #[test]
    fn a_priority_makes_no_other_vlan() {
        let seen = Tags::of_frame([0x88, 0xa8, 0xe1, 0x2c, 0x81, 0, 0xb0, 100]);
        let known = Tags::two(PROVIDER, CUSTOMER);
        assert_eq!(VlanKey::new(1, seen), VlanKey::new(1, known));
        assert_ne!(VlanKey::new(2, seen), VlanKey::new(1, known));
    }

    #[test]
    fn a_tag_may_say_a_priority_alone() {
        let priority = Tags::of_frame([0x81, 0, 0xe0, 0, 0, 0, 0, 0]);
        assert!(priority.is_priority_alone());
        assert!(!Tags::one(CUSTOMER).is_priority_alone());
        assert!(!Tags::NONE.is_priority_alone());
        assert!(!Tags::two(Tag::new(0x8100, 0), CUSTOMER).is_priority_alone());
    }
}
