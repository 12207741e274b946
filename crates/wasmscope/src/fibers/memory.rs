//! The memory of one fiber's stack, and what the engine keeps at its top.
//!
//! ```text
//!   top      +-------------------------------+
//!            | where the result goes         |  not 0 while the fiber runs
//!   top - 8  +-------------------------------+
//!            | the stack pointer to go on    |  of the fiber while it is suspended,
//!   top - 16 +-------------------------------+  of whoever resumed it while it runs
//!            |  frames                       |
//!            |  ...                          |
//!            |  return address of the switch |  <- sp + 48
//!            |  rbp                          |  <- sp + 40
//!            |  rbx r12 r13 r14 r15          |  <- sp
//!            +-------------------------------+
//!            |  not in use                   |
//!            +-------------------------------+
//!            |  guard                        |
//!            +-------------------------------+
//! ```
//!
//! So it is laid out in `wasmtime-internal-fiber` 48 (`unix.rs`, `stackswitch/x86_64.rs`).
//! A fiber that has not begun, or has ended, has nothing above the saved registers but what
//! starts it.
//!
//! # How a stack is copied that may be resumed at any time
//!
//! Whoever resumes a fiber writes the upper word first, and nothing reads it before that. So
//! the reader puts a mark there, in exchange for the 0 of a fiber that does not run, copies,
//! and looks whether its mark is still there. If so nobody had begun to resume the fiber by
//! then, and the copy is of one moment. If not, the copy is thrown away. Processors that this
//! runs on show stores in their order to loads in their order.

#![expect(
    unsafe_code,
    reason = "maps memory, hands it to the engine as a stack, and reads it while others may write"
)]

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use wasmscope_address::HostPc;
use wasmscope_sample::{KnownStack, LeftStack};

/// A mapping with a guard page at its low end. Unmapped when dropped.
#[derive(Debug)]
pub(super) struct FiberMemory {
    mapping: *mut libc::c_void,
    guard: usize,
    size: usize,
    /// Says to walks where the stack ends.
    known: Option<KnownStack>,
    /// How often the engine has prepared to run a fiber on it.
    resumes: AtomicU64,
    /// On which thread it did so last, as the kernel numbers it; 0 before the first.
    thread: AtomicU32,
    /// Which watched task that thread was polling then; 0 for none.
    task: AtomicU64,
}

// SAFETY: it is memory, which belongs to no thread; what is done with it here is done with
// atomic operations.
unsafe impl Send for FiberMemory {}
// SAFETY: as above.
unsafe impl Sync for FiberMemory {}

/// What was found on a stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Nothing: no fiber, one that has not begun, or one that has ended.
    Idle,
    /// A fiber that runs.
    Running,
    /// A fiber that waits, with this stack pointer. The words from there on are copied.
    Suspended(u64),
    /// A fiber that was resumed while its stack was copied.
    Moved,
}

/// Words at the top that are the engine's.
const RESERVED: u64 = 16;
/// Registers that a switch saves, and its return address.
const SAVED: u64 = 7 * 8;
const FP: usize = 5;
const PC: usize = 6;

impl FiberMemory {
    /// Maps a stack of at least `size` bytes, of zeros.
    pub(super) fn new(size: usize) -> io::Result<Self> {
        // SAFETY: only asks.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })
            .map_err(|_| io::Error::last_os_error())?;
        let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
        let size = size
            .max(1)
            .checked_next_multiple_of(page)
            .ok_or_else(too_large)?;
        let whole = size.checked_add(page).ok_or_else(too_large)?;
        // SAFETY: a fresh anonymous mapping at a place of the kernel's choice.
        let mapping = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                whole,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mut memory = Self {
            mapping,
            guard: page,
            size,
            known: None,
            resumes: AtomicU64::new(0),
            thread: AtomicU32::new(0),
            task: AtomicU64::new(0),
        };
        let usable = mapping.wrapping_byte_add(page);
        // SAFETY: the range is the mapping's upper part.
        if unsafe { libc::mprotect(usable, size, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the range is readable from now on, until the mapping is given back in `drop`,
        // after this.
        memory.known = Some(unsafe { KnownStack::new(memory.range()) });
        Ok(memory)
    }

    /// Returns the addresses that a fiber may use.
    pub(super) fn range(&self) -> Range<usize> {
        let start = self.mapping.addr().wrapping_add(self.guard);
        start..start.wrapping_add(self.size)
    }

    fn top(&self) -> *mut u8 {
        self.mapping
            .wrapping_byte_add(self.guard)
            .wrapping_byte_add(self.size)
            .cast()
    }

    /// Notes that a fiber is about to run on this stack, on the calling thread.
    fn resuming(&self) {
        self.thread.store(current_tid(), Ordering::Relaxed);
        self.task
            .store(super::task::polled_now(), Ordering::Relaxed);
        let resumes = self.resumes.load(Ordering::Relaxed);
        self.resumes
            .store(resumes.wrapping_add(1), Ordering::Release);
    }

    /// Returns how often a fiber was resumed on it, the thread that did so last, and the task
    /// that it polled.
    pub(super) fn last_resumed(&self) -> (u64, u32, u64) {
        (
            self.resumes.load(Ordering::Acquire),
            self.thread.load(Ordering::Relaxed),
            self.task.load(Ordering::Relaxed),
        )
    }

    /// Returns the word so many bytes below the top.
    fn below_top(&self, bytes: usize) -> &AtomicU64 {
        let place = self.top().wrapping_sub(bytes).cast::<u64>();
        // SAFETY: it lies within the mapping, which is readable and writable there for as long
        // as `self` is, and is aligned as the top is. The engine accesses it without atomic
        // operations; on this machine aligned words are written and read whole all the same.
        unsafe { AtomicU64::from_ptr(place) }
    }

    /// Returns the two words at the top: the stack pointer to go on, and where the result goes.
    pub(super) fn engines_words(&self) -> (u64, u64) {
        let word = |below| self.below_top(below).load(Ordering::Acquire);
        (word(16), word(8))
    }

    /// Writes what the engine writes.
    #[cfg(test)]
    pub(super) fn write(&self, below_top: usize, word: u64) {
        self.below_top(below_top).store(word, Ordering::SeqCst);
    }

    /// Copies what a fiber that waits has on this stack to `words`, which is emptied first.
    ///
    /// `mark` must be odd, so that it cannot be an address of the engine's, and no other
    /// reader's at the time: one reader at a time copies from a stack.
    pub(super) fn copy(&self, mark: u64, words: &mut Vec<u64>) -> Found {
        words.clear();
        let result = self.below_top(8);
        if result
            .compare_exchange(0, mark, Ordering::SeqCst, Ordering::Relaxed)
            .is_err()
        {
            return Found::Running;
        }
        let found = self.copy_marked(words);
        fence(Ordering::SeqCst);
        // Whoever resumes the fiber has written over the mark, or is yet to do so.
        let unmoved = result
            .compare_exchange(mark, 0, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok();
        if unmoved { found } else { Found::Moved }
    }

    fn copy_marked(&self, words: &mut Vec<u64>) -> Found {
        let range = self.range();
        let (low, top) = (range.start as u64, range.end as u64);
        let sp = self.below_top(16).load(Ordering::Acquire);
        let lowest_saved = top.wrapping_sub(RESERVED).wrapping_sub(SAVED);
        if sp < low || sp >= lowest_saved || !sp.is_multiple_of(8) {
            return Found::Idle;
        }
        let below = usize::try_from(top.wrapping_sub(sp)).unwrap_or(0);
        words.reserve(below / 8);
        for bytes in (1..=below / 8).rev().map(|word| word.wrapping_mul(8)) {
            words.push(self.below_top(bytes).load(Ordering::Relaxed));
        }
        fence(Ordering::Acquire);
        Found::Suspended(sp)
    }
}

/// Returns the stack as it was left, from its words and the stack pointer that was saved.
pub(super) fn left(sp: u64, words: &[u64]) -> Option<LeftStack<'_>> {
    Some(LeftStack {
        pc: HostPc(*words.get(PC)?),
        fp: *words.get(FP)?,
        sp: sp.checked_add(SAVED)?,
        words: words.get(PC + 1..)?,
    })
}

/// Returns the kernel's number of the calling thread.
fn current_tid() -> u32 {
    thread_local! {
        static TID: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }
    let known = TID.try_with(std::cell::Cell::get).unwrap_or(0);
    if known != 0 {
        return known;
    }
    // SAFETY: has no preconditions.
    let tid = unsafe { libc::gettid() }.unsigned_abs();
    let _ = TID.try_with(|slot| slot.set(tid));
    tid
}

impl Drop for FiberMemory {
    fn drop(&mut self) {
        self.known = None;
        // SAFETY: the mapping is this value's own; the engine has given back the stack, and
        // readers hold a reference while they read.
        unsafe {
            libc::munmap(self.mapping, self.guard.wrapping_add(self.size));
        }
    }
}

/// What the engine gets.
pub(super) struct Stack(pub(super) std::sync::Arc<FiberMemory>);

// SAFETY: the memory is page-aligned, a multiple of a page, has a guard page below, and stays
// mapped for as long as this value lives.
unsafe impl wasmtime::StackMemory for Stack {
    fn top(&self) -> *mut u8 {
        self.0.top()
    }

    fn range(&self) -> Range<usize> {
        self.0.range()
    }

    /// The engine asks for this, and for nothing else of the stack, whenever it is about to
    /// resume the stack's fiber.
    fn guard_range(&self) -> Range<*mut u8> {
        self.0.resuming();
        let start = self.0.mapping.cast::<u8>();
        start..start.wrapping_add(self.0.guard)
    }
}

/// What makes them.
pub(super) struct Creator(pub(super) std::sync::Arc<super::Known>);

// SAFETY: each stack is a mapping of its own, filled with zeros by the kernel.
unsafe impl wasmtime::StackCreator for Creator {
    fn new_stack(
        &self,
        size: usize,
        _zeroed: bool,
    ) -> wasmtime::Result<Box<dyn wasmtime::StackMemory>> {
        let memory = std::sync::Arc::new(FiberMemory::new(size)?);
        self.0.add(&memory);
        Ok(Box::new(Stack(memory)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_says_what_is_on_it() {
        let memory = FiberMemory::new(10_000).expect("maps");
        let range = memory.range();
        assert_eq!(range.len(), 12_288);
        let top = range.end as u64;
        let mut words = Vec::new();
        assert_eq!(memory.copy(1, &mut words), Found::Idle, "never used");

        memory.write(16, top - 72);
        assert_eq!(
            memory.copy(1, &mut words),
            Found::Idle,
            "not begun, or ended"
        );

        memory.write(16, top - 160);
        memory.write(160 - 48, 0x1234);
        memory.write(160 - 40, 0x5678);
        assert_eq!(memory.copy(1, &mut words), Found::Suspended(top - 160));
        assert_eq!(words.len(), 20);
        let left = left(top - 160, &words).expect("long enough");
        assert_eq!((left.pc.0, left.fp, left.sp), (0x1234, 0x5678, top - 104));
        assert_eq!(left.words.len(), 13);
        assert_eq!(memory.below_top(8).load(Ordering::SeqCst), 0, "as before");

        memory.write(8, 0x7fff_0000);
        assert_eq!(memory.copy(1, &mut words), Found::Running);
        memory.write(8, 0);
        for damaged in [0, 1, 8, top, top - 64, top - 161, u64::MAX] {
            memory.write(16, damaged);
            assert_eq!(memory.copy(3, &mut words), Found::Idle, "{damaged:#x}");
        }
        assert!(super::left(top - 160, &words).is_none(), "nothing copied");
    }

    #[test]
    fn a_copy_is_of_one_moment() {
        const WORDS: u64 = 64;
        let memory = FiberMemory::new(4096).expect("maps");
        let top = memory.range().end as u64;
        let sp = top - 8 * (WORDS + 2);
        memory.write(16, sp);
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            // As the engine does: the result's place, the switch, frames, the switch back.
            scope.spawn(|| {
                let mut turn = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    memory.write(8, 0x1000);
                    memory.write(16, 0x2000);
                    for word in 0..WORDS {
                        let place =
                            memory.below_top(usize::try_from(8 * (word + 3)).expect("fits"));
                        place.store(turn, Ordering::Relaxed);
                    }
                    memory.write(16, sp);
                    memory.write(8, 0);
                    for _ in 0..turn % 512 {
                        std::hint::spin_loop();
                    }
                }
            });
            let mut words = Vec::new();
            let (mut whole, mut moved) = (0, 0);
            let mut mark = 1;
            while whole < 2000 || moved == 0 {
                mark += 2;
                match memory.copy(mark, &mut words) {
                    Found::Suspended(at) => {
                        assert_eq!(at, sp);
                        let frames = &words[..words.len() - 2];
                        assert!(frames.iter().all(|word| *word == frames[0]), "{frames:?}");
                        whole += 1;
                    }
                    Found::Moved => moved += 1,
                    Found::Running => {}
                    Found::Idle => panic!("it has begun"),
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
