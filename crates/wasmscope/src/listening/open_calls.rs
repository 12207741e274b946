//! The calls that are open on one execution stack, with the words of their parameters.
//!
//! ```text
//!   calls    [ none | call | call | call | .... ]      call: frame, probe, four words, slot
//!                                   ^top   ^limit
//!   spilled  [ words | words | .... ]                  of calls that have more
//! ```
//!
//! An event in the guest is a push or a pop here, so both are a few instructions: the
//! first entry is no call but ends every search, room is made only in the slow ways in,
//! and the words of nearly all calls are in their entries.

#![expect(
    unsafe_code,
    reason = "a push or a pop on every call of a guest: pointers into memory that is grown apart"
)]

use super::probe::Probe;
use super::spilled::Spilled;
use super::store_calls::StoreCalls;
use crate::layout::Fp;
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use wasmscope_listen::Slot;

/// The words that an entry has room for.
pub(super) const QUICK_WORDS: usize = 4;

/// A call that is open, until it is closed.
#[repr(C)]
struct OpenCall {
    shown: Shown,
    /// What the listener's `before` left.
    slot: Slot,
}

/// What is known of a call. Its listener sees it while an event goes on, and has the slot in
/// its hands.
#[repr(C)]
pub(super) struct Shown {
    /// The frame of the called function.
    fp: Fp,
    /// What is called, and who listens. Outlives the call: see [`super::store_calls`].
    probe: *const Probe,
    /// The probe's number in the store, and above that in which of its events the listener
    /// has asked for more than is here: in one word, to be set at once.
    number: Cell<u64>,
    /// The store, the same in all entries: set when room is made.
    store: *const StoreCalls,
    /// Its parameters, unless they spilled. Memory for entries begins as zeros, so these
    /// are words whatever was written.
    words: [u64; QUICK_WORDS],
    /// Where its parameters begin among those that spilled, if they did.
    spilled: u32,
}

impl Shown {
    pub(super) fn probe(&self) -> &Probe {
        // SAFETY: the probes of an instance stay where they are until the store ends, and
        // nothing is open after that.
        unsafe { &*self.probe }
    }

    fn number(&self) -> u32 {
        self.number.get() as u32
    }

    /// Returns the store that the call is of.
    pub(super) fn store_of_event(&self) -> *const StoreCalls {
        self.store
    }

    /// Tells whether the event that goes on is asked for the first time, and notes it: a call
    /// has one event while it is open, and one that closes it.
    pub(super) fn is_first_look(&self, is_open: bool) -> bool {
        let event = if is_open { 1 << 32 } else { 2 << 32 };
        let seen = event | u64::from(self.number());
        self.number.replace(seen) != seen
    }
}

/// A call that is open, or was closed by the event that is going on, without its slot:
/// that is in its listener's hands.
#[derive(Clone, Copy)]
pub(super) struct CallRef<'a>(*const OpenCall, PhantomData<&'a OpenCall>);

impl<'a> CallRef<'a> {
    #[inline(always)]
    pub(super) fn fp(self) -> Fp {
        // SAFETY: the entry was written, and is not overwritten while the event lasts.
        unsafe { (*self.0).shown.fp }
    }

    #[inline(always)]
    pub(super) fn probe(self) -> &'a Probe {
        // SAFETY: as above, and for the probe as in `Shown::probe`.
        unsafe { &*(*self.0).shown.probe }
    }

    /// Returns its probe's number in the store.
    pub(super) fn probe_number(self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).shown.number() }
    }

    /// Returns the words that its entry holds of so many.
    fn own_words(self, len: usize) -> Option<&'a [u64]> {
        // SAFETY: as above; what is borrowed is not the slot.
        let words: &'a [u64; QUICK_WORDS] = unsafe { &(*self.0).shown.words };
        words.get(..len)
    }

    fn spilled(self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0).shown.spilled }
    }
}

/// The open calls of one execution stack, oldest first.
pub(super) struct OpenCalls {
    calls: Box<[MaybeUninit<OpenCall>]>,
    /// The newest call, or the entry that is none.
    top: *mut OpenCall,
    /// The last entry: no quick push there.
    limit: *mut OpenCall,
    spilled: Spilled,
    store: *const StoreCalls,
}

// SAFETY: the pointers are into its own memory; probes and slots are `Send`.
unsafe impl Send for OpenCalls {}

impl OpenCalls {
    /// Makes room for the calls of a stack. The store is the one that their quick events are
    /// of; it is looked at in those only.
    pub(super) fn new(store: *const StoreCalls) -> Self {
        let mut new = Self {
            calls: Box::new([]),
            top: std::ptr::null_mut(),
            limit: std::ptr::null_mut(),
            spilled: Spilled::default(),
            store,
        };
        new.grow(64);
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

    /// Returns a call by what its listener sees of it.
    pub(super) fn call_of<'a>(&'a self, shown: &'a Shown) -> CallRef<'a> {
        let base = self.calls.as_ptr().cast::<OpenCall>();
        let at = std::ptr::from_ref(shown).addr();
        CallRef(base.with_addr(at), PhantomData)
    }

    /// Tells whether a call is among the open ones.
    pub(super) fn is_open(&self, call: CallRef<'_>) -> bool {
        call.0 <= self.top
    }

    /// Tells whether no call is open.
    pub(super) fn is_empty(&self) -> bool {
        self.top().fp() == Fp::NONE
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

    /// Tells whether a call with up to [`QUICK_WORDS`] words can be pushed as it is.
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        self.top != self.limit
    }

    /// Returns the store that was given.
    pub(super) fn store(&self) -> *const StoreCalls {
        self.store
    }

    /// Pushes a call whose `before` goes on. Returns what its listener sees in the quick way,
    /// and its slot, which is empty.
    ///
    /// # Safety
    ///
    /// There [is room](Self::has_room). What is returned is not used after the next push.
    #[inline(always)]
    pub(super) unsafe fn push_quick<'a, const N: usize>(
        &mut self,
        fp: Fp,
        probe: *const Probe,
        number: u32,
        words: [u64; N],
    ) -> (&'a Shown, &'a mut Slot) {
        const { assert!(N <= QUICK_WORDS) };
        // SAFETY: the top is not the last entry, so the next one is in the memory. Written one
        // by one, for an entry as a whole would be cleared first; the store is there, and so
        // is a slot: memory begins with empty ones, which are zeros, and listeners empty them.
        unsafe {
            let top = self.top.add(1);
            self.top = top;
            let shown = &raw mut (*top).shown;
            (&raw mut (*shown).fp).write(fp);
            (&raw mut (*shown).probe).write(probe);
            (&raw mut (*shown).number).write(Cell::new(u64::from(number)));
            (&raw mut (*shown).words).cast::<[u64; N]>().write(words);
            (&*shown, &mut (*top).slot)
        }
    }

    /// Makes room for a call with so many words. Returns whether there may be one more.
    pub(super) fn reserve(&mut self, words: usize) -> bool {
        let len = self.len();
        if len >= MOST || !self.spilled.has_room(words) {
            return false;
        }
        if !self.has_room() {
            self.grow(2 * self.calls.len());
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
        number: u32,
        words: &[u64],
    ) -> (CallRef<'a>, &'a mut Slot) {
        let mut own = [0; QUICK_WORDS];
        let spilled = match own.get_mut(..words.len()) {
            Some(own) => {
                own.copy_from_slice(words);
                0
            }
            None => self.spilled.push(self.len() + 1, words),
        };
        // SAFETY: there is room for a call; what else is written to its entry is not the slot.
        unsafe {
            let (_, slot) = self.push_quick(fp, probe, number, own);
            (&raw mut (*self.top).shown.spilled).write(spilled);
            (CallRef(self.top, PhantomData), slot)
        }
    }

    /// As [`pop`](Self::pop), for a close in the quick way. Returns what the listener sees, and
    /// the slot.
    ///
    /// # Safety
    ///
    /// As [`pop`](Self::pop).
    #[inline(always)]
    pub(super) unsafe fn pop_quick<'a>(&mut self) -> (&'a Shown, &'a mut Slot) {
        // SAFETY: the top is a call, not the first entry.
        unsafe {
            let call = self.top;
            self.top = call.sub(1);
            (&(*call).shown, &mut (*call).slot)
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
            (CallRef(call, PhantomData), &mut (*call).slot)
        }
    }

    /// Returns the words of a call that is open, or was taken off last.
    pub(super) fn words<'a>(&'a self, call: CallRef<'a>) -> &'a [u64] {
        let len = call.probe().param_words();
        call.own_words(len)
            .unwrap_or_else(|| self.spilled.get(call.spilled(), len))
    }

    /// Makes room for so many entries.
    #[cold]
    fn grow(&mut self, calls: usize) {
        let len = self.len_or_none();
        let mut grown = Box::<[OpenCall]>::new_zeroed_slice(calls);
        for entry in &mut grown {
            // SAFETY: within the entry.
            unsafe { (&raw mut (*entry.as_mut_ptr()).shown.store).write(self.store) };
        }
        match len {
            0 => {
                grown[0].write(OpenCall {
                    shown: Shown {
                        fp: Fp::NONE,
                        probe: Probe::none(),
                        number: Cell::new(u64::from(u32::MAX)),
                        store: self.store,
                        words: [0; QUICK_WORDS],
                        spilled: 0,
                    },
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
const MOST: usize = if cfg!(test) { 1 << 10 } else { 1 << 24 };

impl Drop for OpenCalls {
    fn drop(&mut self) {
        while !self.is_empty() {
            // SAFETY: a call is open; its slot is dropped once.
            unsafe {
                let (_, slot) = self.pop();
                std::ptr::drop_in_place(slot);
            }
        }
    }
}
