//! The calls that are open on one execution stack, with the words of their parameters.
//!
//! ```text
//!   calls   [ none | call | call | call | .... ]       words  [ p0 p1 | p0 | ..... ]
//!                                  ^top   ^limit                              ^used
//! ```
//!
//! An event in the guest is a push or a pop here, so both are a few instructions: the
//! first entry is no call but ends every search, room is made only in the slow ways in,
//! and there are always four words left for each call that fits.

#![expect(
    unsafe_code,
    reason = "a push or a pop on every call of a guest: pointers into memory that is grown apart"
)]

use super::probe::Probe;
use crate::layout::Fp;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use wasmscope_listen::Slot;

/// The words that a call pushes without asking for room.
pub(super) const QUICK_WORDS: usize = 4;

/// A call that is open, until it is closed.
pub(super) struct OpenCall {
    /// The frame of the called function.
    pub(super) fp: Fp,
    /// What is called, and who listens. Outlives the call: see [`super::store_calls`].
    pub(super) probe: *const Probe,
    /// Where its parameters begin among the words.
    pub(super) words: u32,
    /// The instance, by its number in the store.
    pub(super) instance: u32,
    /// What the listener's `before` left.
    pub(super) slot: Slot,
}

/// A call that is open, or was closed by the event that is going on, without its slot:
/// that is in its listener's hands.
#[derive(Clone, Copy)]
pub(super) struct CallRef<'a>(*const OpenCall, PhantomData<&'a OpenCall>);

impl<'a> CallRef<'a> {
    #[inline(always)]
    pub(super) fn fp(self) -> Fp {
        // SAFETY: the entry was written, and is not overwritten while the event lasts.
        unsafe { (*self.0).fp }
    }

    #[inline(always)]
    pub(super) fn probe(self) -> &'a Probe {
        // SAFETY: as above; the probes of an instance stay where they are until the store
        // ends, and nothing is open after that.
        unsafe { &*(*self.0).probe }
    }

    pub(super) fn instance(self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).instance }
    }

    fn first_word(self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).words }
    }
}

/// The open calls of one execution stack, oldest first.
pub(super) struct OpenCalls {
    calls: Box<[MaybeUninit<OpenCall>]>,
    /// The newest call, or the entry that is none.
    top: *mut OpenCall,
    /// The last entry: no quick push there.
    limit: *mut OpenCall,
    words: Box<[u64]>,
    used: usize,
}

// SAFETY: the pointers are into its own memory; probes and slots are `Send`.
unsafe impl Send for OpenCalls {}

impl OpenCalls {
    pub(super) fn new() -> Self {
        let mut new = Self {
            calls: Box::new([]),
            top: std::ptr::null_mut(),
            limit: std::ptr::null_mut(),
            words: Box::new([]),
            used: 0,
        };
        new.grow(64, 0);
        new
    }

    /// Returns the newest call, or the entry that is none: its frame is [`Fp::NONE`].
    #[inline(always)]
    pub(super) fn top(&self) -> CallRef<'_> {
        CallRef(self.top, PhantomData)
    }

    /// Returns the number of a call, the oldest being 1.
    pub(super) fn number_of(&self, call: CallRef<'_>) -> usize {
        // SAFETY: both are into the same memory.
        usize::try_from(unsafe { call.0.offset_from(self.calls.as_ptr().cast()) }).unwrap_or(0)
    }

    /// Returns how many calls are open.
    pub(super) fn len(&self) -> usize {
        self.number_of(self.top())
    }

    /// Returns an open call by its number.
    pub(super) fn get(&self, number: usize) -> Option<CallRef<'_>> {
        (1..=self.len()).contains(&number).then(|| {
            CallRef(
                self.calls.as_ptr().cast::<OpenCall>().wrapping_add(number),
                PhantomData,
            )
        })
    }

    /// Returns the call below another: the entry that is none below the oldest, and below
    /// that one.
    #[inline(always)]
    pub(super) fn older<'a>(&'a self, call: CallRef<'a>) -> CallRef<'a> {
        let is_call = usize::from(call.fp() != Fp::NONE);
        CallRef(call.0.wrapping_sub(is_call), PhantomData)
    }

    /// Returns what the `before` of an open call left.
    ///
    /// # Safety
    ///
    /// The call is not the one that the event is of.
    pub(super) unsafe fn slot(&self, call: CallRef<'_>) -> &Slot {
        // SAFETY: only the event's own slot is in use.
        unsafe { &(*call.0).slot }
    }

    /// Tells whether a call with up to [`QUICK_WORDS`] words can be pushed as it is, and no
    /// event is [barred](Self::bar) from the quick way.
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        self.top != self.limit
    }

    /// Pushes a call. Returns it and its slot.
    ///
    /// # Safety
    ///
    /// There [is room](Self::has_room). What is returned is not used after the next push.
    #[inline(always)]
    pub(super) unsafe fn push_quick<'a, const N: usize>(
        &mut self,
        fp: Fp,
        probe: *const Probe,
        instance: u32,
        words: [u64; N],
    ) -> (CallRef<'a>, &'a mut Slot) {
        const { assert!(N <= QUICK_WORDS) };
        // SAFETY: the top is not the last entry, so the next one is in the memory; and
        // then there are four words left.
        unsafe {
            let (top, used) = (self.top.add(1), self.used);
            self.top = top;
            self.used = used + N;
            let at = self.words.as_mut_ptr().add(used);
            at.cast::<[u64; N]>().write(words);
            top.write(OpenCall {
                fp,
                probe,
                words: used as u32,
                instance,
                slot: Slot::new(),
            });
            (CallRef(top, PhantomData), &mut (*top).slot)
        }
    }

    /// Makes room for a call with so many words. Returns whether there may be one more.
    pub(super) fn reserve(&mut self, words: usize) -> bool {
        let len = self.len();
        if len >= MOST || words > MOST {
            return false;
        }
        let spare = self.calls.len() - 1 - len;
        if spare == 0 || self.words.len() - self.used < words + spare * QUICK_WORDS {
            let calls = if spare == 0 {
                2 * (len + 1)
            } else {
                self.calls.len()
            };
            self.grow(calls, words);
        }
        true
    }

    /// Pushes a call with any number of words. Returns it and its slot.
    ///
    /// # Safety
    ///
    /// Room for that many words was [reserved](Self::reserve) just before. What is returned
    /// is not used after the next push.
    pub(super) unsafe fn push<'a>(
        &mut self,
        fp: Fp,
        probe: *const Probe,
        instance: u32,
        words: &[u64],
    ) -> (CallRef<'a>, &'a mut Slot) {
        // SAFETY: there is room for a call; its words go first where four are left.
        unsafe {
            let at = self.words.as_mut_ptr().add(self.used);
            let pushed = self.push_quick(fp, probe, instance, []);
            std::ptr::copy_nonoverlapping(words.as_ptr(), at, words.len());
            self.used += words.len();
            pushed
        }
    }

    /// Takes the newest call off. Returns it and its slot; its words stay where they are.
    ///
    /// # Safety
    ///
    /// A call is open. What is returned is not used after the next push.
    #[inline(always)]
    pub(super) unsafe fn pop<'a>(&mut self) -> (CallRef<'a>, &'a mut Slot) {
        // SAFETY: the top is a call, not the first entry.
        unsafe {
            let call = self.top;
            self.top = call.sub(1);
            self.used = (*call).words as usize;
            (CallRef(call, PhantomData), &mut (*call).slot)
        }
    }

    /// Returns the words of a call that is open, or was taken off last.
    pub(super) fn words(&self, call: CallRef<'_>) -> &[u64] {
        let start = call.first_word() as usize;
        let end = start + call.probe().param_words;
        self.words.get(start..end).unwrap_or_default()
    }

    /// Makes the next event take the long way.
    pub(super) fn bar(&mut self) {
        self.limit = self.top;
    }

    /// Ends what [`bar`](Self::bar) began.
    pub(super) fn unbar(&mut self) {
        let last = self.calls.len() - 1;
        self.limit = self
            .calls
            .as_mut_ptr()
            .cast::<OpenCall>()
            .wrapping_add(last);
    }

    /// Makes room for `calls` entries, and for `words` words more than those need.
    #[cold]
    fn grow(&mut self, calls: usize, words: usize) {
        let len = self.len_or_none();
        let mut grown = Box::<[OpenCall]>::new_uninit_slice(calls.max(len + 1));
        match len {
            0 => {
                grown[0].write(OpenCall {
                    fp: Fp::NONE,
                    probe: Probe::none(),
                    words: 0,
                    instance: u32::MAX,
                    slot: Slot::new(),
                });
            }
            _ => {
                // SAFETY: the first `len` entries are written, and are moved.
                unsafe {
                    std::ptr::copy_nonoverlapping(self.calls.as_ptr(), grown.as_mut_ptr(), len);
                }
            }
        }
        let top = len.max(1) - 1;
        self.calls = grown;
        let base = self.calls.as_mut_ptr().cast::<OpenCall>();
        // SAFETY: both within the memory.
        unsafe {
            self.top = base.add(top);
            self.limit = base.add(self.calls.len() - 1);
        }
        let needed = self.used + words + (self.calls.len() - top) * QUICK_WORDS;
        let mut grown = vec![0; needed].into_boxed_slice();
        grown[..self.used].copy_from_slice(&self.words[..self.used]);
        self.words = grown;
    }

    /// Returns how many entries are written, the one that is none included.
    fn len_or_none(&self) -> usize {
        if self.top.is_null() {
            0
        } else {
            self.len() + 1
        }
    }
}

/// So many calls may be open on one stack. The engine's own stacks are smaller.
const MOST: usize = 1 << 24;

impl Drop for OpenCalls {
    fn drop(&mut self) {
        while self.len() > 0 {
            // SAFETY: a call is open; its slot is dropped once.
            unsafe {
                let (_, slot) = self.pop();
                std::ptr::drop_in_place(slot);
            }
        }
    }
}
