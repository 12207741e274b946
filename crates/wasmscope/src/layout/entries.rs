//! Each time that the host entered a store's guests.
//!
//! The newest is in the store's context. When the host enters again, the engine saves what
//! is there in an `EntryStoreContext` on the host's stack, beside the record of the stack
//! that the new activation begins on, to which the context points:
//!
//! ```text
//!   VMStoreContext                      the host's stack, in the frame that enters
//!   +---------------------------+       +--------------------------------+
//!   | exit, entry of the newest |       | EntryStoreContext              |
//!   | stack_chain --------------|--+    |   exit, entry of the one before|
//!   +---------------------------+  |    |   stack_chain -----------------|--> ... and so on
//!                                  |    |   vm_store_context             |
//!                                  +--->| VMCommonStackInformation       |
//!                                       +--------------------------------+
//! ```
//!
//! The engine's own backtraces go the same way. Rust does not say how `EntryStoreContext` is
//! laid out, so it is found out: a guest of our own calls the host, which enters it again, and
//! the one place beside the new stack's record that says what the context said before is
//! looked for. Where the two lie in a frame differs from one copy of the entering function to
//! the next; it is searched for once for each. What is found so is [`Trust::Likely`] until it
//! has agreed with the engine's own record often enough; who asks has to compare.

#![expect(
    unsafe_code,
    reason = "reads what the engine saves on the host's stack, where it was found to be"
)]

use super::{Callers, Fp, StoreContext};
use std::cell::Cell;
use std::sync::OnceLock;
use wasmscope_address::HostPc;
use wasmscope_sample::read_memory;
use wasmtime::AsContextMut;
use wasmtime_environ::{
    HostPtr, PtrSize, STACK_CHAIN_ABSENT_DISCRIMINANT, STACK_CHAIN_CONTINUATION_DISCRIMINANT,
    STACK_CHAIN_INITIAL_STACK_DISCRIMINANT,
};

const WORD: usize = size_of::<usize>();

/// How far from a stack's record the saved context is looked for, in words, either way.
const REACH: usize = 192;

/// One activation: where the guest called the host, and where the host entered it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entered {
    pub(crate) exit_pc: HostPc,
    /// The frame of the guest function that called the host.
    pub(crate) exit: Fp,
    /// The frame of the trampoline by which the host entered.
    pub(crate) entry: Fp,
}

impl Entered {
    /// Returns its frames.
    ///
    /// # Safety
    ///
    /// It lasts, and goes on lasting as long as what is returned is used.
    pub(crate) unsafe fn callers(self) -> Callers {
        // SAFETY: as the caller promises.
        let mut callers = unsafe { Callers::of(self.exit, self.entry) };
        callers.pc = Some(self.exit_pc);
        callers
    }
}

/// What the engine keeps of one activation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Saved {
    pub(super) exit_pc: usize,
    pub(super) exit_trampoline: usize,
    pub(super) entry: usize,
    /// What kind of stack it is on, and what is known of that.
    pub(super) chain: (usize, usize),
}

/// Where the fields of an `EntryStoreContext` are, in bytes from its `vm_store_context`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Layout {
    exit_pc: isize,
    exit_trampoline: isize,
    entry: isize,
    chain: isize,
}

/// Tells that older activations could not be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unknown;

/// Where one copy of the entering function saves the context.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The host's code that entered, and the distance between the entry and the record of its
    /// stack, by which copies are told apart.
    copy: (usize, usize),
    /// The distance between that record and what was saved.
    offset: isize,
    /// How often it agreed with the engine's own record.
    agreed: u8,
    /// Whether it was used since somebody compared.
    is_used: bool,
}

impl Known {
    const NONE: Self = Self {
        copy: (0, 0),
        offset: 0,
        agreed: 0,
        is_used: false,
    };
}

/// How often a place has to have agreed before it is believed.
const ENOUGH: u8 = 16;

thread_local! {
    static KNOWN: [Cell<Known>; 8] = const { [const { Cell::new(Known::NONE) }; 8] };
    /// Whether a place was wrong once. Then none is believed.
    static WAS_WRONG: Cell<bool> = const { Cell::new(false) };
}

/// How sure it is that activations are those of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trust {
    /// Each place agreed with the engine's own record often enough.
    Proven,
    /// To be compared with the engine's own record.
    Likely,
}

/// Notes that what was found since the last time agreed with the engine's own record.
pub(crate) fn agreed() {
    KNOWN.with(|known| {
        for slot in known {
            let known = slot.get();
            if known.is_used {
                slot.set(Known {
                    agreed: known.agreed.saturating_add(1),
                    is_used: false,
                    ..known
                });
            }
        }
    });
}

/// Notes that it did not.
pub(crate) fn disagreed() {
    WAS_WRONG.set(true);
}

impl StoreContext {
    /// Visits the store's activations, newest first: on a continuation one for each stack of
    /// the chain.
    ///
    /// # Errors
    ///
    /// [`Unknown`] where older ones could not be found; those visited are right.
    ///
    /// # Safety
    ///
    /// The store is held by this thread.
    pub(crate) unsafe fn activations(
        self,
        mut visit: impl FnMut(Entered),
    ) -> Result<Trust, Unknown> {
        let mut trust = Trust::Proven;
        let mut now = self.newest();
        loop {
            if now.exit_pc == 0 {
                return Ok(trust);
            }
            // SAFETY: while an activation lasts, so do the frames at its ends, and what is
            // known of its continuations.
            let (first, record) = unsafe {
                visit(Entered {
                    exit_pc: HostPc(now.exit_pc as u64),
                    exit: Fp(now.exit_trampoline).caller(),
                    entry: Fp(now.entry),
                });
                parents(now.chain, &mut visit)
            };
            let Some(record) = record else {
                return Ok(trust);
            };
            // The entry of the initial stack, which the record is beside.
            let entry = first.map_or(now.entry, |entry| entry.0);
            // SAFETY: as above.
            let mut older = unsafe { self.older(record, entry, &mut trust)? };
            // The host may have entered and called no guest: then nothing has changed.
            while older.exit_pc != 0
                && (older.exit_trampoline, older.entry) == (now.exit_trampoline, now.entry)
            {
                if older.chain.0 != STACK_CHAIN_INITIAL_STACK_DISCRIMINANT {
                    return Err(Unknown);
                }
                // SAFETY: as above.
                older = unsafe { self.older(older.chain.1, older.entry, &mut trust)? };
            }
            now = older;
        }
    }

    /// Returns what is in the context itself.
    fn newest(self) -> Saved {
        let at = HostPtr.vm_store_context();
        let chain = at.stack_chain();
        Saved {
            exit_pc: self.field(at.last_wasm_exit_pc()),
            exit_trampoline: self.field(at.last_wasm_exit_trampoline_fp()),
            entry: self.field(at.last_wasm_entry_fp()),
            chain: (self.field(chain), self.field(chain + HostPtr.size())),
        }
    }

    /// Returns what was saved when the activation was entered whose initial stack has its
    /// record at `record`.
    ///
    /// # Safety
    ///
    /// That activation lasts.
    unsafe fn older(
        self,
        record: usize,
        entry: usize,
        trust: &mut Trust,
    ) -> Result<Saved, Unknown> {
        let layout = layout().ok_or(Unknown)?;
        if WAS_WRONG.get() {
            return Err(Unknown);
        }
        // The record of an activation is above its frames; below, no guest was entered.
        if record <= entry {
            *trust = Trust::Likely;
            return self.search(layout, record).map(|(_, saved)| saved);
        }
        // SAFETY: the frame of the entry trampoline, which lasts.
        let host = unsafe { Fp(entry).return_address().0 } as usize;
        let copy = (host, record.wrapping_sub(entry));
        let slot = (copy.0 >> 2).wrapping_add(copy.1 >> 4) % 8;
        let known = KNOWN.with(|known| known.get(slot).map_or(Known::NONE, Cell::get));
        let remember = |known| KNOWN.with(|all| all.get(slot).map(|slot| slot.set(known)));
        if known.copy == copy {
            let at = record.wrapping_add_signed(known.offset);
            // SAFETY: the same code entered with the same distances, so this is a word of
            // the frame that the record is in, which lasts.
            let saved = unsafe {
                (*(at as *const usize) == self.0.addr()).then(|| {
                    let field = |by: isize| *(at.wrapping_add_signed(by) as *const usize);
                    layout.read(field)
                })
            };
            if let Some(saved) = saved.filter(Saved::is_possible) {
                if known.agreed < ENOUGH {
                    *trust = Trust::Likely;
                    remember(Known {
                        is_used: true,
                        ..known
                    });
                }
                return Ok(saved);
            }
        }
        *trust = Trust::Likely;
        let (offset, saved) = self.search(layout, record)?;
        remember(Known {
            copy,
            offset,
            agreed: 0,
            is_used: true,
        });
        Ok(saved)
    }

    /// Looks beside a stack's record for what was saved of the context at an address, which
    /// itself is not read.
    pub(super) fn saved_beside(context: usize, record: usize) -> Option<Saved> {
        let context = Self(std::ptr::without_provenance(context));
        let found = context.search(layout()?, record).ok()?;
        Some(found.1)
    }

    /// Looks around a stack's record for what was saved: in the same frame, so that what was
    /// saved by other entries lies further away, with frames between.
    #[cold]
    fn search(self, layout: Layout, record: usize) -> Result<(isize, Saved), Unknown> {
        let around = Around::read(record);
        let candidates = || {
            let words = around.words().filter(|(_, word)| *word == self.0.addr());
            words.filter_map(|(at, _)| {
                let saved = layout.read_checked(|by| around.word(at.wrapping_add_signed(by)))?;
                // What points to the record itself was saved by a newer entry.
                let is_newer = saved.chain == (STACK_CHAIN_INITIAL_STACK_DISCRIMINANT, record);
                if is_newer || !saved.is_possible() || !saved.is_there() {
                    return None;
                }
                // The engine keeps a pointer to it; a copy that was moved from has none.
                let extent = layout.extent(at);
                let is_used = around.words().any(|(_, word)| extent.contains(&word));
                Some((at.abs_diff(record), at, is_used, saved))
            })
        };
        let nearest = |used: bool| {
            let candidates = candidates().filter(|(_, _, is_used, _)| *is_used == used);
            candidates.min_by_key(|(distance, ..)| *distance)
        };
        let (distance, at, used, saved) =
            nearest(true).or_else(|| nearest(false)).ok_or(Unknown)?;
        // Another as near that says something else: one is a copy, and which is not known.
        let is_doubtful = candidates().any(|(other, _, is_used, says)| {
            is_used == used && says != saved && other < 2 * distance + 8 * WORD
        });
        if is_doubtful {
            return Err(Unknown);
        }
        Ok((at.wrapping_sub(record).cast_signed(), saved))
    }
}

/// Visits the stacks that resumed the one that runs, and returns the entry of the last, if
/// there are any, and the record of the initial stack.
///
/// # Safety
///
/// The chain is of an activation that lasts.
unsafe fn parents(
    mut chain: (usize, usize),
    visit: &mut impl FnMut(Entered),
) -> (Option<Fp>, Option<usize>) {
    let mut last = None;
    loop {
        match chain.0 {
            STACK_CHAIN_CONTINUATION_DISCRIMINANT => {}
            STACK_CHAIN_INITIAL_STACK_DISCRIMINANT => {
                return (last, Some(chain.1));
            }
            _ => return (last, None),
        }
        let reference = chain.1;
        let word = |at: usize| {
            // SAFETY: fields of what a store knows of a continuation, and the topmost words
            // of its stack, both there while it lasts.
            unsafe { *(at as *const usize) }
        };
        let parent = reference.wrapping_add(usize::from(HostPtr.vmcontref_parent_chain()));
        chain = (word(parent), word(parent.wrapping_add(WORD)));
        // The topmost words of a continuation's stack say where its parent goes on.
        let top = word(reference.wrapping_add(usize::from(HostPtr.vmcontref_stack())));
        let (exit_pc, exit) = (word(top.wrapping_sub(8)), word(top.wrapping_sub(16)));
        // Both kinds of parent begin with what is common to all stacks.
        let limits = usize::from(
            HostPtr.vmcommon_stack_information_limits()
                + HostPtr.vmstack_limits_last_wasm_entry_fp(),
        );
        let entered = Entered {
            exit_pc: HostPc(exit_pc as u64),
            exit: Fp(exit),
            entry: Fp(word(chain.1.wrapping_add(limits))),
        };
        last = Some(entered.entry);
        visit(entered);
    }
}

impl Saved {
    /// Tells whether this may have been in a context.
    fn is_possible(&self) -> bool {
        let frames = [self.exit_pc, self.exit_trampoline, self.entry];
        match self.chain.0 {
            STACK_CHAIN_ABSENT_DISCRIMINANT => frames == [0; 3],
            STACK_CHAIN_INITIAL_STACK_DISCRIMINANT | STACK_CHAIN_CONTINUATION_DISCRIMINANT => {
                self.chain.1 != 0 && (frames == [0; 3] || !frames.contains(&0))
            }
            _ => false,
        }
    }

    /// Tells whether the frames are there that it speaks of.
    fn is_there(&self) -> bool {
        if self.exit_pc == 0 {
            return true;
        }
        let mut frame = [0; 2];
        read_memory(self.exit_trampoline as u64, &mut frame) == 2 && frame[1] == self.exit_pc as u64
    }
}

impl Layout {
    fn read(&self, field: impl Fn(isize) -> usize) -> Saved {
        Saved {
            exit_pc: field(self.exit_pc),
            exit_trampoline: field(self.exit_trampoline),
            entry: field(self.entry),
            chain: (
                field(self.chain),
                field(self.chain.wrapping_add(WORD.cast_signed())),
            ),
        }
    }

    fn read_checked(&self, field: impl Fn(isize) -> Option<usize>) -> Option<Saved> {
        let ends = [self.exit_pc, self.exit_trampoline, self.entry, self.chain];
        if ends.iter().any(|by| field(*by).is_none()) {
            return None;
        }
        Some(self.read(|by| field(by).unwrap_or_default()))
    }

    /// Returns the addresses of its fields, given that of its `vm_store_context`.
    fn extent(&self, at: usize) -> std::ops::RangeInclusive<usize> {
        let fields = [
            0,
            self.exit_pc,
            self.exit_trampoline,
            self.entry,
            self.chain,
        ];
        let first = fields.iter().min().copied().unwrap_or_default();
        let last = fields.iter().max().copied().unwrap_or_default();
        // A field or two that are not looked at may come first.
        let before = 4 * WORD;
        at.wrapping_add_signed(first).wrapping_sub(before)..=at.wrapping_add_signed(last)
    }
}

/// The words around a stack's record.
///
/// They are kept masked: a plain copy, left on the stack by an earlier search, would look like
/// what is searched for.
struct Around {
    start: usize,
    masked: [u64; 2 * REACH],
    count: usize,
}

const MASK: u64 = 0x5bd1_e995_9e37_79b9;

impl Around {
    fn read(record: usize) -> Self {
        let start = record.wrapping_sub(REACH * WORD);
        let mut masked = [0; 2 * REACH];
        let count = read_memory(start as u64, &mut masked);
        for word in &mut masked {
            *word ^= MASK;
        }
        Self {
            start,
            masked,
            count,
        }
    }

    /// Returns the words with their addresses.
    fn words(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let words = self.masked.iter().take(self.count).enumerate();
        words.map(|(n, word)| (self.start + n * WORD, (*word ^ MASK) as usize))
    }

    fn word(&self, address: usize) -> Option<usize> {
        let offset = address.checked_sub(self.start)?;
        let word = self.masked.get(..self.count)?.get(offset / WORD)?;
        offset
            .is_multiple_of(WORD)
            .then_some((*word ^ MASK) as usize)
    }
}

/// Reads a word by asking the kernel.
pub(super) fn word_at(address: usize) -> Option<usize> {
    let mut word = [0];
    let is_read = address.is_multiple_of(WORD) && read_memory(address as u64, &mut word) == 1;
    is_read.then_some(word[0] as usize)
}

/// Returns how the engine lays out what it saves, which is found out once.
fn layout() -> Option<Layout> {
    static LAYOUT: OnceLock<Option<Layout>> = OnceLock::new();
    *LAYOUT.get_or_init(find_layout)
}

/// A module whose only function calls the host:
/// `(module (import "h" "h" (func)) (func (export "f") call 0))`.
const CALLS_THE_HOST: &[u8] = b"\0asm\x01\0\0\0\
    \x01\x04\x01\x60\0\0\
    \x02\x07\x01\x01h\x01h\0\0\
    \x03\x02\x01\0\
    \x07\x05\x01\x01f\0\x01\
    \x0a\x06\x01\x04\0\x10\0\x0b";

/// What the guest of our own is entered for.
#[derive(Debug, Default)]
struct Trial {
    /// Enters once more by a typed call or by the other kind.
    is_typed: bool,
    function: Option<wasmtime::Func>,
    outer: Option<Saved>,
    layouts: Vec<Layout>,
}

/// Enters a guest of our own twice, in two ways, and looks at what the engine saved. Values
/// that lie beside it by chance, in one way, are not there in the other.
fn find_layout() -> Option<Layout> {
    let mut layouts = try_out(true)?;
    let others = try_out(false)?;
    // Where the compiler keeps what was saved further away, one of the two shows nothing.
    if layouts.is_empty() {
        layouts = others;
    } else if !others.is_empty() {
        layouts.retain(|layout| others.contains(layout));
    }
    // A copy of a value that lies outside the struct makes it look longer than it is.
    let length = |layout: &Layout| {
        let extent = layout.extent(usize::MAX / 2);
        extent.end().wrapping_sub(*extent.start())
    };
    let shortest = layouts.iter().map(length).min()?;
    layouts.retain(|layout| length(layout) == shortest);
    let first = *layouts.first()?;
    layouts
        .iter()
        .all(|layout| *layout == first)
        .then_some(first)
}

/// Returns each way in which what the engine saved may be laid out.
fn try_out(is_typed: bool) -> Option<Vec<Layout>> {
    let engine = wasmtime::Engine::default();
    let module = wasmtime::Module::new(&engine, CALLS_THE_HOST).ok()?;
    let trial = Trial {
        is_typed,
        ..Trial::default()
    };
    let mut store = wasmtime::Store::new(&engine, trial);
    let host = wasmtime::Func::wrap(&mut store, in_the_host);
    let instance = wasmtime::Instance::new(&mut store, &module, &[host.into()]).ok()?;
    let function = instance.get_func(&mut store, "f")?;
    store.data_mut().function = Some(function);
    function.call(&mut store, &[], &mut []).ok()?;
    Some(std::mem::take(&mut store.data_mut().layouts))
}

/// Enters the guest again, or looks for what was saved when it was.
fn in_the_host(mut caller: wasmtime::Caller<'_, Trial>) -> wasmtime::Result<()> {
    let Some(function) = caller.data().function else {
        return Ok(());
    };
    let data = std::ptr::from_ref(caller.data()).addr();
    let Some(context) = StoreContext::of(caller.as_context_mut(), function, data) else {
        return Ok(());
    };
    if let Some(outer) = caller.data().outer {
        caller.data_mut().layouts = context.look_for(outer);
        return Ok(());
    }
    caller.data_mut().outer = Some(context.newest());
    if caller.data().is_typed {
        function.typed::<(), ()>(&caller)?.call(&mut caller, ())
    } else {
        function.call(&mut caller, &[], &mut [])
    }
}

impl StoreContext {
    /// Looks beside the newest stack's record for what was in the context before. Returns
    /// each way in which it may be laid out.
    fn look_for(self, outer: Saved) -> Vec<Layout> {
        let now = self.newest();
        if now.chain.0 != STACK_CHAIN_INITIAL_STACK_DISCRIMINANT || now == outer {
            return Vec::new();
        }
        let around = Around::read(now.chain.1);
        let mut layouts = Vec::new();
        for (at, _) in around.words().filter(|(_, word)| *word == self.0.addr()) {
            // The struct has ten words.
            let near = |value: usize| {
                let words = around.words();
                let near = words.filter(move |(address, word)| {
                    *word == value && address.abs_diff(at) <= 10 * WORD
                });
                near.map(move |(address, _)| address.wrapping_sub(at).cast_signed())
                    .collect::<Vec<_>>()
            };
            let (pcs, trampolines) = (near(outer.exit_pc), near(outer.exit_trampoline));
            let (entries, mut records) = (near(outer.entry), near(outer.chain.1));
            // Before the record's address stands what kind of stack it is of.
            records.retain(|record| {
                let kind = at.wrapping_add_signed(record.wrapping_sub(WORD.cast_signed()));
                around.word(kind) == Some(outer.chain.0)
            });
            for &exit_pc in &pcs {
                for &exit_trampoline in &trampolines {
                    for &entry in &entries {
                        layouts.extend(records.iter().map(|record| Layout {
                            exit_pc,
                            exit_trampoline,
                            entry,
                            chain: record.wrapping_sub(WORD.cast_signed()),
                        }));
                    }
                }
            }
        }
        layouts
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_engine_s_layout_is_found() {
        let layout = super::layout().expect("found");
        assert_eq!(super::find_layout(), Some(layout));
    }
}
