//! Which store an activation belongs to, where no store is at hand.
//!
//! The frame that entered a guest has the address of the store's context, for it puts back
//! there what it saved. Where in the frame differs from one copy of the entering function to
//! the next, so it is looked for; and what is found has to be found a second time, from the
//! other side:
//!
//! ```text
//!   the host's stack                                 a store's context?
//!   +-------------------------------+
//!   | ...                           |<- - - - - - -  stack_chain: the stack's record
//!   | the address of a context  ----|------------->  store_data
//!   | ...                           |
//!   | entry trampoline              |<-------------  last_wasm_entry_fp
//!   +-------------------------------+
//! ```
//!
//! A context that says of this very frame that it was entered last is that of its store: the
//! engine takes it back when the guest returns, however that ends. Of older activations what
//! was saved says the same. All is read by asking the kernel, which cannot fault; what is not
//! found remains unknown.

use super::StoreContext;
use super::entries::{Saved, word_at};
use std::cell::Cell;
use wasmscope_sample::read_memory;
use wasmtime_environ::{
    HostPtr, PtrSize, STACK_CHAIN_CONTINUATION_DISCRIMINANT, STACK_CHAIN_INITIAL_STACK_DISCRIMINANT,
};

const WORD: usize = size_of::<usize>();

/// How many words above the entry the address of the context is looked for.
const REACH: usize = 384;

/// More stores than are looked for on one stack.
const STORES: usize = 32;

/// More continuations than resume each other anywhere.
const MOST_STACKS: usize = 4096;

thread_local! {
    /// By the host's code that entered: how far above the entry the address of a context was.
    static PLACES: [Cell<(usize, usize)>; 8] = const { [const { Cell::new((0, 0)) }; 8] };
}

/// One activation as a walk sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walked {
    /// The frame pointer of its newest frame.
    pub(crate) newest: u64,
    /// That of its oldest: where it was entered by the host, the trampoline's.
    pub(crate) oldest: u64,
}

/// The stores of which activations were found, on the way from the newest to the oldest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Owners {
    stores: [Option<Owner>; STORES],
}

/// One store, and what its next older activation has to be.
#[derive(Clone, Copy, Debug)]
struct Owner {
    data: usize,
    context: usize,
    next: Option<Saved>,
}

impl Owners {
    /// Returns the address of the data of the store that the next older activation of a thread
    /// belongs to.
    pub(crate) fn next(&mut self, activation: Walked) -> Option<usize> {
        let entry = usize::try_from(activation.oldest).ok()?;
        for owner in self.stores.iter_mut().flatten() {
            let is_next = owner.next.is_some_and(|saved| saved.is_of(activation));
            if let Some(saved) = owner.next.filter(|_| is_next) {
                owner.next = older(owner.context, saved);
                return Some(owner.data);
            }
        }
        let (context, saved, data) = find(entry)?;
        let is_new = |owner: &Owner| owner.context != context;
        if !saved.is_of(activation) || !self.stores.iter().flatten().all(is_new) {
            return None;
        }
        // Where there is no room older activations of the store remain unknown.
        if let Some(slot) = self.stores.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(Owner {
                data,
                context,
                next: older(context, saved),
            });
        }
        Some(data)
    }
}

impl Saved {
    /// Tells whether this speaks of an activation, by both its ends.
    fn is_of(&self, activation: Walked) -> bool {
        let newest = usize::try_from(activation.newest).ok();
        let trampoline = self.exit_trampoline;
        // The trampoline is among its frames, or just below them. On a continuation the
        // newest frames are elsewhere.
        let begins = self.chain.0 == STACK_CHAIN_CONTINUATION_DISCRIMINANT
            || newest == Some(trampoline)
            || word_at(trampoline) == newest;
        let entered = initial(self.chain).is_some_and(|(record, entry)| {
            let is_last = self.chain.0 == STACK_CHAIN_INITIAL_STACK_DISCRIMINANT;
            let entry = if is_last { self.entry } else { entry };
            entry as u64 == activation.oldest && record > entry
        });
        self.exit_pc != 0 && begins && entered
    }
}

/// Returns the record of the stack that the host entered on, and its entry as that record says
/// it, which is right while another stack runs.
fn initial(mut chain: (usize, usize)) -> Option<(usize, usize)> {
    for _ in 0..MOST_STACKS {
        match chain.0 {
            STACK_CHAIN_INITIAL_STACK_DISCRIMINANT => {
                let entry = usize::from(
                    HostPtr.vmcommon_stack_information_limits()
                        + HostPtr.vmstack_limits_last_wasm_entry_fp(),
                );
                return Some((chain.1, word_at(chain.1.wrapping_add(entry))?));
            }
            STACK_CHAIN_CONTINUATION_DISCRIMINANT => {
                let parent = usize::from(HostPtr.vmcontref_parent_chain());
                let parent = chain.1.wrapping_add(parent);
                chain = (word_at(parent)?, word_at(parent.wrapping_add(WORD))?);
            }
            _ => return None,
        }
    }
    None
}

/// Returns what was saved when the activation was entered that `now` speaks of.
fn older(context: usize, now: Saved) -> Option<Saved> {
    let (record, _) = initial(now.chain)?;
    let saved = StoreContext::saved_beside(context, record)?;
    (saved.exit_pc != 0).then_some(saved)
}

/// Finds the context that says that `entry` was its last, what it says, and where the data of
/// its store is.
fn find(entry: usize) -> Option<(usize, Saved, usize)> {
    let says = |context: usize| {
        let (saved, data) = look_at(context)?;
        let (record, its_entry) = initial(saved.chain)?;
        let is_last = saved.chain.0 == STACK_CHAIN_INITIAL_STACK_DISCRIMINANT;
        let its_entry = if is_last { saved.entry } else { its_entry };
        let is_near = record > entry && record - entry < REACH * WORD;
        (its_entry == entry && is_near && data != 0).then_some((context, saved, data))
    };
    let host = word_at(entry.wrapping_add(WORD))?;
    let place = PLACES.with(|places| {
        let found = places.iter().map(Cell::get);
        found.into_iter().find(|(by, _)| *by == host)
    });
    if let Some((_, distance)) = place
        && let Some(context) = word_at(entry.wrapping_add(distance))
        && let Some(found) = says(context)
    {
        return Some(found);
    }
    let mut words = [0; REACH];
    let count = read_memory(entry as u64, &mut words);
    let words = words.get(..count)?;
    for (at, word) in words.iter().enumerate().skip(2) {
        let context = usize::try_from(*word).ok()?;
        // An address that was not looked at yet.
        if context < 1 << 16
            || !context.is_multiple_of(WORD)
            || words.iter().take(at).skip(2).any(|before| before == word)
        {
            continue;
        }
        if let Some(found) = says(context) {
            PLACES.with(|places| {
                if let Some(slot) = places.get((host >> 2) % 8) {
                    slot.set((host, at * WORD));
                }
            });
            return Some(found);
        }
    }
    None
}

/// Reads what may be a context: what it says, and where the store's data is.
fn look_at(context: usize) -> Option<(Saved, usize)> {
    let fields = HostPtr.vm_store_context();
    let chain = fields.stack_chain();
    let offsets = [
        fields.last_wasm_exit_pc(),
        fields.last_wasm_exit_trampoline_fp(),
        fields.last_wasm_entry_fp(),
        chain,
        chain + HostPtr.size(),
        fields.store_data(),
    ]
    .map(usize::from);
    let mut words = [0; 32];
    let whole = offsets.iter().max()? / WORD + 1;
    let words = words.get_mut(..whole)?;
    if read_memory(context as u64, words) != whole {
        return None;
    }
    let word = |offset: usize| usize::try_from(*words.get(offset / WORD)?).ok();
    let [exit_pc, exit_trampoline, entry, chain, of, data] = offsets.map(word);
    let saved = Saved {
        exit_pc: exit_pc?,
        exit_trampoline: exit_trampoline?,
        entry: entry?,
        chain: (chain?, of?),
    };
    Some((saved, data?))
}
