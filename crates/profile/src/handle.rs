//! How the handles of the model's tables are made.
//!
//! A handle is the position of an entry in its table, as a type of its own, so
//! that a function's handle cannot be used for a location. It is stored plus one
//! in a `NonZeroU32`, so that an `Option` of it takes four bytes as well.

macro_rules! handle {
    ($(#[$doc:meta])* $vis:vis $name:ident) => {
        $(#[$doc])*
        ///
        /// Belongs to the profile that gave it; using it with another profile
        /// yields another entry or panics.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis struct $name(std::num::NonZeroU32);

        impl $name {
            pub(crate) fn from_index(index: usize) -> Self {
                u32::try_from(index)
                    .ok()
                    .and_then(|index| index.checked_add(1))
                    .and_then(std::num::NonZeroU32::new)
                    .map(Self)
                    .expect("a table holds fewer than 2^32 entries")
            }

            /// Returns the entry's position in its table, counted from zero.
            #[must_use]
            $vis const fn index(self) -> usize {
                self.0.get() as usize - 1
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.index())
            }
        }
    };
}

pub(crate) use handle;
