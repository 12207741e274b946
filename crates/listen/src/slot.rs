//! Room for one state of a type that is not known.
//!
//! ```text
//!   Slot   [ word | word | word ]  [ kind ]---> what is in the words: its type, how to
//!            the state itself, or             drop it, how to show it
//!            a box when it is bigger
//! ```
//!
//! A listener's state is written when its `before` returns and moved out when the call
//! closes. Up to three words it lives in the slot itself, so an event allocates nothing.
//! The type is checked when a state is taken or looked at: a mix-up is found, not obeyed.
#![expect(
    unsafe_code,
    reason = "states of unknown type are stored inline, so that an event allocates nothing"
)]

use std::any::{Any, TypeId};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, align_of, size_of};

use crate::listener::Listener;

/// What fits in a slot without a box.
type Words = [u64; 3];

/// Holds the state of one open call, or nothing.
///
/// Dropping it drops the state without a close.
pub struct Slot {
    words: MaybeUninit<Words>,
    /// What `words` holds: initialised exactly as this says. `None`: nothing.
    kind: Option<&'static Kind>,
    /// States need not be `Sync`, so neither is this. They are `Send`, and so is this.
    not_sync: PhantomData<Cell<()>>,
}

/// Knows one type of state.
struct Kind {
    /// The type of the state.
    id: TypeId,
    /// Drops the state in place.
    ///
    /// Safety: the words hold a state of this kind, which is not used afterwards.
    drop: unsafe fn(&mut MaybeUninit<Words>),
    /// Shows the state.
    ///
    /// Safety: the words hold a state of this kind.
    show: for<'s> unsafe fn(&'s MaybeUninit<Words>, &mut dyn FnMut(&'s dyn Any)),
}

/// Makes the kind of a listener's state.
struct KindOf<L>(PhantomData<L>);

impl<L: Listener> KindOf<L> {
    const KIND: &'static Kind = &Kind {
        id: TypeId::of::<L::State>(),
        drop: |words| {
            // SAFETY: the caller promises a state of this kind that is not used afterwards.
            drop(unsafe { read::<L::State>(words) });
        },
        show: |words, look| {
            // SAFETY: the caller promises a state of this kind.
            L::show(unsafe { view::<L::State>(words) }, look);
        },
    };
}

/// Tells whether a state lives in the words, or else in a box.
const fn is_inline<S>() -> bool {
    size_of::<S>() <= size_of::<Words>() && align_of::<S>() <= align_of::<Words>()
}

/// Moves a state into words.
#[inline]
fn write<S>(words: &mut MaybeUninit<Words>, state: S) {
    let place = words.as_mut_ptr();
    if is_inline::<S>() {
        // SAFETY: the words are writable, and big and aligned enough for an `S`.
        unsafe { place.cast::<S>().write(state) }
    } else {
        // SAFETY: as above, for a box: one word.
        unsafe { place.cast::<Box<S>>().write(Box::new(state)) }
    }
}

/// Moves a state out of words.
///
/// # Safety
///
/// The words were written by [`write()`] with an `S`, and are not read again.
#[inline]
unsafe fn read<S>(words: &MaybeUninit<Words>) -> S {
    let place = words.as_ptr();
    if is_inline::<S>() {
        // SAFETY: the caller promises that `write` left an `S` here, not moved since.
        unsafe { place.cast::<S>().read() }
    } else {
        // SAFETY: the caller promises that `write` left a box here, not moved since.
        unsafe { *place.cast::<Box<S>>().read() }
    }
}

/// Looks at a state in words.
///
/// # Safety
///
/// The words were written by [`write()`] with an `S`, and it was not read out since.
#[inline]
unsafe fn view<S>(words: &MaybeUninit<Words>) -> &S {
    let place = words.as_ptr();
    if is_inline::<S>() {
        // SAFETY: the caller promises that an `S` is here; it stays as long as `words`.
        unsafe { &*place.cast::<S>() }
    } else {
        // SAFETY: the caller promises that a box is here; it stays as long as `words`.
        unsafe { &*place.cast::<Box<S>>() }
    }
}

impl Slot {
    /// Makes an empty slot.
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        Self {
            words: MaybeUninit::uninit(),
            kind: None,
            not_sync: PhantomData,
        }
    }

    /// Tells whether no state is in it: `before` has not returned, or the call is closed.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.kind.is_none()
    }

    /// Puts a listener's state in; one that was there is forgotten, not dropped.
    #[inline]
    pub(crate) fn fill<L: Listener>(&mut self, state: L::State) {
        write(&mut self.words, state);
        self.kind = Some(KindOf::<L>::KIND);
    }

    /// Takes a listener's state out, or `None` when another type or nothing is there.
    #[inline]
    pub(crate) fn take<L: Listener>(&mut self) -> Option<L::State> {
        let kind = self.kind.map_or(std::ptr::null(), std::ptr::from_ref);
        if !std::ptr::eq(kind, KindOf::<L>::KIND) && !self.is_copy_of::<L>() {
            return None;
        }
        self.kind = None;
        // SAFETY: `kind` said that this type is here; now it says that nothing is, so it
        // is not read again.
        Some(unsafe { read::<L::State>(&self.words) })
    }

    /// Tells whether the kind is that of the listener's state: a second copy of it is possible.
    #[cold]
    fn is_copy_of<L: Listener>(&self) -> bool {
        self.kind
            .is_some_and(|kind| kind.id == TypeId::of::<L::State>())
    }

    /// Finds an `S` that `wanted` accepts, in the state or the states that it shows.
    #[inline]
    pub(crate) fn find<S: 'static>(&self, mut wanted: impl FnMut(&S) -> bool) -> Option<&S> {
        let mut found = None;
        self.show(&mut |state| {
            if found.is_none() {
                found = state.downcast_ref().filter(|state| wanted(state));
            }
        });
        found
    }

    /// Shows the state as its listener wants it shown.
    #[inline]
    pub(crate) fn show<'s>(&'s self, look: &mut dyn FnMut(&'s dyn Any)) {
        if let Some(kind) = self.kind {
            // SAFETY: the words hold what `kind` says.
            unsafe { (kind.show)(&self.words, look) }
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Slot {
    #[inline]
    fn drop(&mut self) {
        if let Some(kind) = self.kind.take() {
            // SAFETY: the words hold what `kind` said; now it says that nothing is there.
            unsafe { (kind.drop)(&mut self.words) }
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() {
            "Slot(empty)"
        } else {
            "Slot(state)"
        })
    }
}
