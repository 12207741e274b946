//! The stacks that a thread runs on beside its own: of fibers and continuations.
//!
//! Whoever makes such stacks can say where they are ([`KnownStack`]). Of all others the
//! kernel is asked, which takes longer than the rest of a walk, so a thread remembers where
//! it found a stack to end. What it remembers bounds a walk, and decides nothing: the place
//! of a stack may have been taken by one that ends elsewhere.
//!
//! - If that ends further up, what lies beyond is asked for when a walk gets there.
//! - If it ends further down, a walk does not get to its end: it reads the words of frames
//!   that run, each found by the rule of the one before, and the last of them is the first of
//!   its fiber, which leads to another stack. From then on the new end is remembered. Only a
//!   stack whose frames are damaged could lead a first walk of it past its end.

#![expect(
    unsafe_code,
    reason = "says of memory that it can be read, which is the caller's promise"
)]

use super::stack_memory::{MappingQuery, StackBounds, StackMemory};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A stack that whoever made it says is there, until this is dropped.
#[derive(Debug)]
pub struct KnownStack {
    low: u64,
    lasts: Arc<AtomicBool>,
}

/// Where such a stack ends, and whether it is still there.
#[derive(Clone, Debug)]
struct Known {
    high: u64,
    lasts: Arc<AtomicBool>,
}

/// By where they begin.
static KNOWN: Mutex<BTreeMap<u64, Known>> = Mutex::new(BTreeMap::new());

fn known() -> MutexGuard<'static, BTreeMap<u64, Known>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KnownStack {
    /// Says where a stack is, for walks by the threads that run on it.
    ///
    /// # Safety
    ///
    /// The range is readable until what is returned is dropped.
    #[must_use]
    pub unsafe fn new(range: Range<usize>) -> Self {
        let low = range.start as u64;
        let lasts = Arc::new(AtomicBool::new(true));
        let stack = Known {
            high: range.end as u64,
            lasts: Arc::clone(&lasts),
        };
        known().insert(low, stack);
        Self { low, lasts }
    }
}

impl Drop for KnownStack {
    fn drop(&mut self) {
        known().remove(&self.low);
        self.lasts.store(false, Ordering::Release);
    }
}

/// What one thread remembers of such stacks.
pub(super) struct OtherStacks(Box<[Other]>);

/// One stack, or none.
#[derive(Clone, Debug)]
struct Other {
    bounds: StackBounds,
    /// Of a stack that is known; others are remembered.
    lasts: Option<Arc<AtomicBool>>,
}

const STACKS: usize = 1024;

/// Stack pointers this near to each other share a place.
const NEAR: u32 = 16;

impl OtherStacks {
    pub(super) fn new() -> Self {
        let none = Other {
            bounds: StackBounds::NONE,
            lasts: None,
        };
        Self(vec![none; STACKS].into())
    }

    #[inline]
    fn at(&mut self, sp: u64) -> Option<&mut Other> {
        let slot = (sp >> NEAR).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        self.0.get_mut(slot as usize)
    }

    /// Returns the memory of the stack that `sp` points into, from there on.
    #[inline]
    pub(super) fn memory_at<'a>(&mut self, sp: u64, query: &'a MappingQuery) -> StackMemory<'a> {
        if let Some(other) = self.at(sp)
            && other.bounds.low <= sp
            && sp < other.bounds.high
        {
            match &other.lasts {
                None => return StackMemory::up_to(sp, other.bounds.high, query),
                Some(lasts) if lasts.load(Ordering::Acquire) => {
                    return StackMemory::up_to(sp, other.bounds.high, query);
                }
                Some(_) => {}
            }
        }
        self.find(sp, query)
    }

    #[cold]
    #[inline(never)]
    fn find<'a>(&mut self, sp: u64, query: &'a MappingQuery) -> StackMemory<'a> {
        let known = known();
        let below = known.range(..=sp).next_back();
        let found = match below {
            Some((low, known)) if sp < known.high => Other {
                bounds: StackBounds {
                    low: *low,
                    high: known.high,
                },
                lasts: Some(Arc::clone(&known.lasts)),
            },
            _ => {
                // Without an answer the memory is looked at page by page, each time.
                let Some(bounds) = query.mapping(sp) else {
                    return StackMemory::at(sp, StackBounds::NONE, query);
                };
                Other {
                    bounds,
                    lasts: None,
                }
            }
        };
        let high = found.bounds.high;
        if let Some(other) = self.at(sp) {
            *other = found;
        }
        StackMemory::up_to(sp, high, query)
    }

    /// Notes where the stack ends that a walk from `sp` came to the first frame of, at `first`,
    /// if that is not where it was thought to end.
    #[inline]
    pub(super) fn walked(&mut self, sp: u64, first: u64) {
        const PAGE: u64 = 4096;
        /// The engine keeps two words above a fiber's first frame.
        const ABOVE: u64 = 16;
        let end = first.wrapping_add(ABOVE).next_multiple_of(PAGE);
        if let Some(other) = self.at(sp)
            && other.lasts.is_none()
            && other.bounds.high != end
        {
            other.bounds = StackBounds { low: sp, high: end };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmscope_walk::Memory as _;

    const PAGE: usize = 4096;

    /// A mapping of so many readable pages, with one behind them that is not.
    struct Mapping(*mut libc::c_void, usize);

    impl Mapping {
        fn new(pages: usize) -> Self {
            Self::at(std::ptr::null_mut(), pages, 0)
        }

        fn at(place: *mut libc::c_void, pages: usize, flags: i32) -> Self {
            let size = (pages + 1) * PAGE;
            // SAFETY: a fresh anonymous mapping, or one in place of a mapping of this test's.
            let start = unsafe {
                libc::mmap(
                    place,
                    size,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags,
                    -1,
                    0,
                )
            };
            assert_ne!(start, libc::MAP_FAILED);
            let mapping = Self(start, size);
            mapping.end_after(pages);
            mapping
        }

        /// Makes what follows so many pages unreadable.
        fn end_after(&self, pages: usize) {
            let size = self.1 - pages * PAGE;
            // SAFETY: within the mapping, to whose memory nobody refers.
            let failed = unsafe {
                libc::mprotect(
                    self.0.wrapping_byte_add(pages * PAGE),
                    size,
                    libc::PROT_NONE,
                )
            };
            assert_eq!(failed, 0);
        }

        fn page(&self, page: usize) -> u64 {
            self.0.addr() as u64 + (page * PAGE) as u64
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: the mapping is this value's own.
            unsafe { libc::munmap(self.0, self.1) };
        }
    }

    #[test]
    fn a_stack_that_ends_further_up_is_read_to_its_end() {
        let query = MappingQuery::open();
        let mut stacks = OtherStacks::new();
        let mapping = Mapping::new(4);
        mapping.end_after(2);
        let sp = mapping.page(1) + 64;
        assert_eq!(stacks.memory_at(sp, &query).read(mapping.page(2)), None);
        // The same place, taken by a stack that is longer.
        let mapping = {
            let place = mapping.0;
            std::mem::forget(mapping);
            Mapping::at(place, 4, libc::MAP_FIXED)
        };
        let memory = stacks.memory_at(sp, &query);
        assert_eq!(memory.read(mapping.page(4) - 8), Some(0));
        assert_eq!(memory.read(mapping.page(4)), None);
    }

    #[test]
    fn what_was_walked_is_remembered() {
        let query = MappingQuery::open();
        let mut stacks = OtherStacks::new();
        let mapping = Mapping::new(4);
        let sp = mapping.page(1) + 64;
        stacks.memory_at(sp, &query);
        assert_eq!(stacks.memory_at(sp, &query).end(), mapping.page(4));
        mapping.end_after(3);
        stacks.walked(sp, mapping.page(3) - 16);
        let memory = stacks.memory_at(sp, &query);
        assert_eq!(memory.end(), mapping.page(3));
        assert_eq!(memory.read(mapping.page(3)), None);
    }

    /// Where the kernel says nothing of mappings, an end that was walked to is remembered too,
    /// and what is past it is looked at page by page.
    #[test]
    fn ends_are_remembered_without_answers() {
        let query = MappingQuery::none();
        let mut stacks = OtherStacks::new();
        let mapping = Mapping::new(4);
        let sp = mapping.page(1) + 64;
        assert_eq!(stacks.memory_at(sp, &query).end(), mapping.page(1));
        stacks.walked(sp, mapping.page(3) - 16);
        let memory = stacks.memory_at(sp, &query);
        assert_eq!(memory.end(), mapping.page(3));
        assert_eq!(memory.read(mapping.page(4) - 8), Some(0));
        assert_eq!(memory.read(mapping.page(4)), None);
    }

    #[test]
    fn a_known_stack_lasts_until_it_is_dropped() {
        let query = MappingQuery::open();
        let mut stacks = OtherStacks::new();
        let mapping = Mapping::new(8);
        let range = |pages: Range<usize>| {
            let at = |page| usize::try_from(mapping.page(page)).expect("fits");
            at(pages.start)..at(pages.end)
        };
        let sp = mapping.page(2) + 64;
        // SAFETY: the mapping outlives it, as do those that follow.
        let stack = unsafe { KnownStack::new(range(1..4)) };
        assert_eq!(stacks.memory_at(sp, &query).end(), mapping.page(4));
        stacks.walked(sp, mapping.page(3) - 16);
        assert_eq!(stacks.memory_at(sp, &query).end(), mapping.page(4));
        drop(stack);
        assert_eq!(stacks.memory_at(sp, &query).end(), mapping.page(8));
        let mut stacks = OtherStacks::new();
        // SAFETY: as above.
        let _lower = unsafe { KnownStack::new(range(0..2)) };
        assert_eq!(stacks.memory_at(sp, &query).end(), mapping.page(8));
        // SAFETY: as above.
        let _stack = unsafe { KnownStack::new(range(2..5)) };
        let mut stacks = OtherStacks::new();
        assert_eq!(stacks.memory_at(sp, &query).end(), mapping.page(5));
    }
}
