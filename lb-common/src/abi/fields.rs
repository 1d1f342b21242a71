//! Where fields lie in what outlives a program, by name: so a build reads what one of another layout recorded. A
//! field keeps its name for as long as its bytes mean the same; what means something else is named otherwise. Who
//! takes what from whom is the agent's business.

/// A field of a key or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name. One that begins with `padding` means nothing.
    pub name: &'static str,
    /// Where it begins, bytes.
    pub offset: usize,
    /// Its size, bytes.
    pub size: usize,
}

/// A key or a value whose fields have names.
pub trait Described {
    /// All of its fields.
    const FIELDS: &'static [Field];
}

/// The size of what is borrowed of a value.
pub(super) const fn size<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// Takes a pattern of a type's fields, so that none can be left out.
pub(super) const fn is_whole<T>(_: fn(&T)) {}

macro_rules! described {
    ($kind:ident$(<$address:ident>)? { $($(#[$when:meta])? $field:ident),* $(,)? }) => {
        impl$(<$address: $crate::abi::Address>)? $crate::abi::Described for $kind$(<$address>)? {
            const FIELDS: &'static [$crate::abi::Field] = {
                $crate::abi::fields::is_whole(|Self { $($(#[$when])? $field: _),* }: &Self| {});
                &[$($(#[$when])? $crate::abi::Field {
                    name: stringify!($field),
                    offset: core::mem::offset_of!(Self, $field),
                    size: $crate::abi::fields::size(|value: &Self| &value.$field),
                }),*]
            };
        }
    };
}

pub(super) use described;

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Affinity, Exception, FlowEntry, FlowKey, Ipv4Address, Ipv6Address, Slot, Unrecorded,
        },
        Described,
    };

    /// Nothing between the fields, and nothing behind them.
    fn has_no_gaps<T: Described>() {
        let mut end = 0;
        let mut fields = T::FIELDS.to_vec();
        fields.sort_by_key(|field| field.offset);
        for field in fields {
            assert_eq!(field.offset, end, "{}", field.name);
            end += field.size;
        }
        assert_eq!(end, size_of::<T>());
    }

    #[test]
    fn all_bytes_have_a_name() {
        has_no_gaps::<FlowKey<Ipv4Address>>();
        has_no_gaps::<FlowKey<Ipv6Address>>();
        has_no_gaps::<FlowEntry<Ipv4Address>>();
        has_no_gaps::<FlowEntry<Ipv6Address>>();
        has_no_gaps::<Exception>();
        has_no_gaps::<Affinity>();
        has_no_gaps::<Unrecorded>();
    }

    #[test]
    fn slots_are_told_by_the_bit() {
        let bits: usize = Slot::FIELDS.iter().map(|field| field.size).sum();
        assert_eq!(bits, 8 * size_of::<Slot>());
    }
}
