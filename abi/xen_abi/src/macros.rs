//! The two shapes that plain Rust items cannot say: constants that keep their C name, and C unions.
//!
//! The layout check (`tests/abi_layout`) reads these invocations from the source, so whatever is declared
//! with them is compared with the C headers.

/// Declares constants of one type: `NAME = value, "C_name";`, or `NAME = value;` when C's name is the same. The C
/// name becomes the search alias and the documentation; more can be said with a doc comment in front.
macro_rules! constants {
    ($type:ty; $($(#[$meta:meta])* $name:ident = $value:expr $(, $c_name:literal)?;)*) => {
        $(
            $(#[$meta])*
            #[doc = crate::macros::c_name!($name $($c_name)?)]
            $(#[doc(alias = $c_name)])?
            pub const $name: $type = $value;
        )*
    };
}
pub(crate) use constants;

/// The paragraph that names a constant's C name.
macro_rules! c_name {
    ($name:ident) => {
        concat!("\n`", stringify!($name), "`")
    };
    ($name:ident $c_name:literal) => {
        concat!("\n`", $c_name, "`")
    };
}
pub(crate) use c_name;

/// Declares a C union: a struct of words, as large and aligned as the C union, with a method for each member
/// that reads the words as that member. Bytes outside a member are zero after `new` and `set`.
macro_rules! union {
    (
        $(#[$meta:meta])*
        $name:ident: [$word:ty; $len:literal], $c_name:literal {
            $($(#[$variant_meta:meta])* $variant:ident: $variant_type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[doc(alias = $c_name)]
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable,
        )]
        #[repr(C)]
        pub struct $name {
            /// The union's bytes.
            pub words: [$word; $len],
        }

        impl $name {
            /// All bytes zero.
            pub const ZERO: Self = Self { words: [0; $len] };

            /// The union holding `member`.
            pub fn new<T: zerocopy::IntoBytes + zerocopy::Immutable>(member: T) -> Self {
                let mut union = Self::ZERO;
                union.set(member);
                union
            }

            /// Replaces the contents by `member`.
            pub fn set<T: zerocopy::IntoBytes + zerocopy::Immutable>(&mut self, member: T) {
                const { assert!(size_of::<T>() <= size_of::<Self>()) };
                *self = Self::ZERO;
                let bytes = zerocopy::IntoBytes::as_mut_bytes(self);
                // Cannot fail: the size was checked at compile time.
                let _ = zerocopy::IntoBytes::write_to_prefix(&member, bytes);
            }

            $(
                $(#[$variant_meta])*
                #[doc = concat!("\nThe contents, read as the member `", stringify!($variant), "`.")]
                pub fn $variant(&self) -> $variant_type {
                    const { assert!(size_of::<$variant_type>() <= size_of::<Self>()) };
                    match <$variant_type as zerocopy::FromBytes>::read_from_prefix(
                        zerocopy::IntoBytes::as_bytes(self),
                    ) {
                        Ok((member, _)) => member,
                        // Cannot happen: the size was checked at compile time.
                        Err(_) => zerocopy::FromZeros::new_zeroed(),
                    }
                }
            )*
        }
    };
}
pub(crate) use union;
