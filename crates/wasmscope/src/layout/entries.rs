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
//! laid out, so it is found out: a store of our own is entered with known values in its
//! context, and the one place beside its stack's record that has them all is looked for.
//! Where the two lie in a frame differs from one copy of the entering function to the next;
//! it is searched for once for each, and checked each time.

#![expect(
    unsafe_code,
    reason = "reads what the engine saves on the host's stack, where it was found to be"
)]

use super::{Callers, Fp, StoreContext};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use wasmscope_address::HostPc;
use wasmscope_sample::read_memory;
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
struct Saved {
    exit_pc: usize,
    exit_trampoline: usize,
    entry: usize,
    chain: (usize, usize),
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

thread_local! {
    /// By the host's code that entered and the distance between the entry and the record of
    /// its stack: the distance between that and what was saved.
    static KNOWN: [Cell<(usize, usize, isize)>; 8] = const { [const { Cell::new((0, 0, 0)) }; 8] };
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
        mut visit: impl FnMut(Entered) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Unknown> {
        let mut now = self.newest();
        loop {
            if now.exit_pc == 0 {
                return Ok(ControlFlow::Continue(()));
            }
            // SAFETY: while an activation lasts, so do the frames at its ends, and what is
            // known of its continuations.
            let (first, record) = unsafe {
                let entered = Entered {
                    exit_pc: HostPc(now.exit_pc as u64),
                    exit: Fp(now.exit_trampoline).caller(),
                    entry: Fp(now.entry),
                };
                if visit(entered).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                match parents(now.chain, &mut visit) {
                    ControlFlow::Continue(last) => last,
                    ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
                }
            };
            let Some(record) = record else {
                return Ok(ControlFlow::Continue(()));
            };
            // The entry of the initial stack, which the record is beside.
            let entry = first.map_or(now.entry, |entry| entry.0);
            // SAFETY: as above.
            let mut older = unsafe { self.older(record, entry)? };
            // The host may have entered and called no guest: then nothing has changed.
            while older.exit_pc != 0
                && (older.exit_trampoline, older.entry) == (now.exit_trampoline, now.entry)
            {
                if older.chain.0 != STACK_CHAIN_INITIAL_STACK_DISCRIMINANT {
                    return Err(Unknown);
                }
                // SAFETY: as above.
                older = unsafe { self.older(older.chain.1, older.entry)? };
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
    unsafe fn older(self, record: usize, entry: usize) -> Result<Saved, Unknown> {
        let layout = layout().ok_or(Unknown)?;
        // The record of an activation is above its frames; below, no guest was entered.
        if record <= entry {
            return self.search(layout, record).map(|(_, saved)| saved);
        }
        // SAFETY: the frame of the entry trampoline, which lasts.
        let host = unsafe { Fp(entry).return_address().0 } as usize;
        let distance = record.wrapping_sub(entry);
        let slot = (host >> 2).wrapping_add(distance >> 4) % 8;
        let known = KNOWN.with(|known| known.get(slot).map(Cell::get));
        if let Some((known_host, known_distance, offset)) = known
            && (known_host, known_distance) == (host, distance)
        {
            let at = record.wrapping_add_signed(offset);
            // SAFETY: the same code entered with the same distances, so this is a word of
            // the frame that the record is in, which lasts.
            let saved = unsafe {
                (*(at as *const usize) == self.0.addr()).then(|| {
                    let field = |by: isize| *(at.wrapping_add_signed(by) as *const usize);
                    layout.read(field)
                })
            };
            if let Some(saved) = saved.filter(Saved::is_possible) {
                return Ok(saved);
            }
        }
        let (offset, saved) = self.search(layout, record)?;
        KNOWN.with(|known| {
            if let Some(slot) = known.get(slot) {
                slot.set((host, distance, offset));
            }
        });
        Ok(saved)
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
    visit: &mut impl FnMut(Entered) -> ControlFlow<()>,
) -> ControlFlow<(), (Option<Fp>, Option<usize>)> {
    let mut last = None;
    loop {
        match chain.0 {
            STACK_CHAIN_CONTINUATION_DISCRIMINANT => {}
            STACK_CHAIN_INITIAL_STACK_DISCRIMINANT => {
                return ControlFlow::Continue((last, Some(chain.1)));
            }
            _ => return ControlFlow::Continue((last, None)),
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
        visit(entered)?;
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

/// Returns how the engine lays out what it saves, which is found out once.
fn layout() -> Option<Layout> {
    static LAYOUT: OnceLock<Option<Layout>> = OnceLock::new();
    *LAYOUT.get_or_init(find_layout)
}

/// Values that no context has by itself.
const EXIT_PC: usize = 0x7e57_0000_0000_0011;
const EXIT_TRAMPOLINE: usize = 0x7e57_0000_0000_0022;
const ENTRY: usize = 0x7e57_0000_0000_0033;
const RECORD: usize = 0x7e57_0000_0000_0044;

/// Enters a store of our own in two ways, and looks at what the engine saved. Values that lie
/// beside it by chance, in one way, are not there in the other.
fn find_layout() -> Option<Layout> {
    let engine = wasmtime::Engine::default();
    let mut store = wasmtime::Store::new(&engine, Vec::<Layout>::new());
    let context = StoreContext::of_idle_store(store.data())?;
    let address = context.0.expose_provenance();
    let inside = move |mut caller: wasmtime::Caller<'_, Vec<Layout>>, _: i32| {
        let context = StoreContext(std::ptr::with_exposed_provenance(address));
        *caller.data_mut() = context.look_for_values();
    };
    let function = wasmtime::Func::wrap(&mut store, inside);
    let typed = function.typed::<i32, ()>(&store).ok()?;
    entered(context, || typed.call(&mut store, 0))?;
    let mut layouts = std::mem::take(store.data_mut());
    let argument = [wasmtime::Val::I32(0)];
    entered(context, || function.call(&mut store, &argument, &mut []))?;
    layouts.retain(|layout| store.data().contains(layout));
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

/// Enters a store of our own with known values in its context.
fn entered(context: StoreContext, enter: impl FnOnce() -> wasmtime::Result<()>) -> Option<()> {
    let at = HostPtr.vm_store_context();
    let chain = at.stack_chain();
    let fields = [
        (at.last_wasm_exit_pc(), EXIT_PC),
        (at.last_wasm_exit_trampoline_fp(), EXIT_TRAMPOLINE),
        (at.last_wasm_entry_fp(), ENTRY),
        (chain, STACK_CHAIN_INITIAL_STACK_DISCRIMINANT),
        (chain + HostPtr.size(), RECORD),
    ];
    let before = fields.map(|(field, _)| (field, context.field(field)));
    let write = |fields: [(u8, usize); 5]| {
        for (field, value) in fields {
            // SAFETY: fields of the context of a store that is ours alone, and runs no
            // guest: the engine saves them and puts them back, and reads none as an address.
            unsafe {
                *context.0.cast_mut().add(usize::from(field)).cast() = value;
            }
        }
    };
    write(fields);
    // What the engine reads there was written behind its back.
    std::hint::black_box(context.0);
    let called = enter();
    std::hint::black_box(context.0);
    write(before);
    called.ok()
}

impl StoreContext {
    /// Looks for the known values, from inside. Returns each way in which they may be laid out.
    fn look_for_values(self) -> Vec<Layout> {
        let chain = HostPtr.vm_store_context().stack_chain();
        let mut layouts = Vec::new();
        if self.field(chain) != STACK_CHAIN_INITIAL_STACK_DISCRIMINANT {
            return layouts;
        }
        let around = Around::read(self.field(chain + HostPtr.size()));
        // The struct has ten words.
        const MOST: usize = 9 * WORD;
        for (at, _) in around.words().filter(|(_, word)| *word == self.0.addr()) {
            let near = |value: usize| {
                let words = around.words();
                let near = words
                    .filter(move |(address, word)| *word == value && address.abs_diff(at) <= MOST);
                let offsets = near.map(move |(address, _)| address.wrapping_sub(at).cast_signed());
                offsets.collect::<Vec<_>>()
            };
            for exit_pc in near(EXIT_PC) {
                for exit_trampoline in near(EXIT_TRAMPOLINE) {
                    for entry in near(ENTRY) {
                        for record in near(RECORD) {
                            let layout = Layout {
                                exit_pc,
                                exit_trampoline,
                                entry,
                                chain: record.wrapping_sub(WORD.cast_signed()),
                            };
                            let ends = [0, exit_pc, exit_trampoline, entry, layout.chain, record];
                            let first = ends.iter().min().copied().unwrap_or_default();
                            let last = ends.iter().max().copied().unwrap_or_default();
                            let kind = around.word(at.wrapping_add_signed(layout.chain));
                            if last.abs_diff(first) <= MOST
                                && kind == Some(STACK_CHAIN_INITIAL_STACK_DISCRIMINANT)
                            {
                                layouts.push(layout);
                            }
                        }
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
