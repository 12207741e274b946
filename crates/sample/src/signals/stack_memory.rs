//! The memory of the stack that a signal interrupted, read without ever faulting.
//!
//! A thread's own stack is known when the thread is attached: from the interrupted
//! stack pointer up to the stack's end everything is mapped, because the thread
//! uses it. When the stack pointer lies elsewhere, on a fiber or an alternate
//! stack, the handler asks the kernel for the mapping around it, once a sample
//! (`PROCMAP_QUERY`, Linux 6.11). Older kernels answer page by page, by copying a
//! word with `process_vm_readv`, which reports an error where a load would fault.
//! Who walks its own stack may have a bound to begin with, and asks past it; what a stale
//! bound can do to a damaged stack is told at `other_stacks`.

#![expect(
    unsafe_code,
    reason = "loads words from raw addresses; asks the kernel about mappings"
)]

use std::cell::Cell;
use std::os::fd::{AsRawFd, OwnedFd};
use wasmscope_walk::{Expected, Memory};

/// The end of the calling thread's own stack, and of what it may grow down to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StackBounds {
    pub(super) low: u64,
    pub(super) high: u64,
}

impl StackBounds {
    /// No stack at all: the kernel is asked about every one.
    pub(crate) const NONE: Self = Self { low: 0, high: 0 };

    /// Tells whether an address is within.
    #[inline]
    pub(crate) fn holds(self, address: u64) -> bool {
        self.low <= address && address < self.high
    }

    /// Asks the C library for the calling thread's stack. Not for handlers.
    pub(crate) fn of_this_thread() -> std::io::Result<Self> {
        let mut low: *mut libc::c_void = std::ptr::null_mut();
        let mut size = 0;
        // SAFETY: `attributes` is initialised by `pthread_getattr_np` before it is
        // read, destroyed once after, and the out-pointers are live.
        let failed = unsafe {
            let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
            match libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) {
                0 => {
                    let failed = libc::pthread_attr_getstack(
                        attributes.as_ptr(),
                        &raw mut low,
                        &raw mut size,
                    );
                    libc::pthread_attr_destroy(attributes.as_mut_ptr());
                    failed
                }
                failed => failed,
            }
        };
        if failed != 0 {
            return Err(std::io::Error::from_raw_os_error(failed));
        }
        Ok(Self {
            low: low as u64,
            high: (low as u64).saturating_add(size as u64),
        })
    }
}

/// An open `/proc/self/maps` to ask about mappings, where the kernel answers.
#[derive(Debug)]
pub(crate) struct MappingQuery {
    maps: Option<OwnedFd>,
}

impl MappingQuery {
    /// Opens the file and tries one question. Not for handlers.
    pub(crate) fn open() -> Self {
        let maps = std::fs::File::open("/proc/self/maps")
            .ok()
            .map(OwnedFd::from);
        let query = Self { maps };
        let here = 0u64;
        if query.mapping(&raw const here as u64).is_none() {
            return Self { maps: None };
        }
        query
    }

    /// Answers nothing, as on kernels that have no such question.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { maps: None }
    }

    /// Returns the readable mapping that holds `address`.
    ///
    /// # Signal safety
    ///
    /// One system call.
    pub(crate) fn mapping(&self, address: u64) -> Option<StackBounds> {
        let found = self.ask(address, 0)?;
        found.holds(address).then_some(found)
    }

    /// Returns the readable mapping that holds `address` or, if none does, the next one.
    ///
    /// # Signal safety
    ///
    /// One system call.
    fn mapping_from(&self, address: u64) -> Option<StackBounds> {
        const COVERING_OR_NEXT: u64 = 0x10;
        self.ask(address, COVERING_OR_NEXT)
    }

    fn ask(&self, address: u64, how: u64) -> Option<StackBounds> {
        /// `struct procmap_query` of `linux/fs.h`.
        #[repr(C)]
        #[derive(Default)]
        struct Query {
            size: u64,
            query_flags: u64,
            query_addr: u64,
            vma_start: u64,
            vma_end: u64,
            vma_flags: u64,
            vma_page_size: u64,
            vma_offset: u64,
            inode: u64,
            dev_major: u32,
            dev_minor: u32,
            vma_name_size: u32,
            build_id_size: u32,
            vma_name_addr: u64,
            build_id_addr: u64,
        }
        const READABLE: u64 = 1;
        // _IOWR('f', 17, struct procmap_query)
        const PROCMAP_QUERY: u64 =
            (3 << 30) | ((size_of::<Query>() as u64) << 16) | (0x66 << 8) | 17;

        let fd = self.maps.as_ref()?.as_raw_fd();
        let mut query = Query {
            size: size_of::<Query>() as u64,
            query_addr: address,
            query_flags: READABLE | how,
            ..Query::default()
        };
        // SAFETY: the descriptor is open and `query` is a live value of the size
        // that it states; an unknown request fails without touching it.
        let failed = unsafe { libc::ioctl(fd, PROCMAP_QUERY as _, &raw mut query) };
        (failed == 0).then_some(StackBounds {
            low: query.vma_start,
            high: query.vma_end,
        })
    }
}

/// The readable words from an interrupted stack pointer to its stack's end.
#[derive(Debug)]
pub(crate) struct StackMemory<'a> {
    /// The lowest address of the stack that is known to be mapped.
    bottom: u64,
    low: u64,
    /// First address that is not known to be readable.
    high: Cell<u64>,
    /// What to do when more is asked for.
    more: More<'a>,
}

/// Where there may be more to read.
#[derive(Clone, Copy, Debug)]
enum More<'a> {
    /// Nowhere: the end is known.
    No,
    /// In the next pages, about each of which the kernel is asked.
    Pages,
    /// Where the kernel says that the mapping ends.
    Ask(&'a MappingQuery),
}

const PAGE: u64 = 4096;

impl<'a> StackMemory<'a> {
    /// Finds the stack that `sp` points into.
    ///
    /// # Signal safety
    ///
    /// At most one system call here and, on old kernels, one for each page read.
    pub(crate) fn at(sp: u64, own: StackBounds, query: &MappingQuery) -> Self {
        if let Some(memory) = Self::within(sp, own) {
            return memory;
        }
        match query.mapping(sp) {
            Some(found) => Self {
                bottom: found.low,
                low: sp,
                high: Cell::new(found.high),
                more: More::No,
            },
            None => Self {
                bottom: sp,
                low: sp,
                high: Cell::new(sp & !(PAGE - 1)),
                more: More::Pages,
            },
        }
    }

    /// Returns the memory from `sp` to the end of a stack, if it is within that.
    #[inline]
    pub(crate) fn within(sp: u64, bounds: StackBounds) -> Option<Self> {
        bounds.holds(sp).then_some(Self {
            bottom: bounds.low,
            low: sp,
            high: Cell::new(bounds.high),
            more: More::No,
        })
    }

    /// Returns the memory from `sp` to where its stack is thought to end. If more is asked for
    /// the kernel says where it does.
    #[inline]
    pub(crate) fn up_to(sp: u64, high: u64, query: &'a MappingQuery) -> Self {
        Self {
            bottom: sp,
            low: sp,
            high: Cell::new(high),
            more: More::Ask(query),
        }
    }

    /// Returns the first address that is not known to be readable.
    #[cfg(test)]
    pub(crate) fn end(&self) -> u64 {
        self.high.get()
    }

    /// Finds the stack that `sp` points into, or just below: a stack that has overflowed
    /// leaves its pointer in the guard region.
    ///
    /// # Signal safety
    ///
    /// As [`at`](Self::at).
    pub(crate) fn at_or_above(sp: u64, query: &MappingQuery) -> Self {
        const MOST_PAGES: u64 = 256;
        if let Some(found) = query.mapping_from(sp)
            && found.low.saturating_sub(sp) <= MOST_PAGES * PAGE
        {
            return Self {
                bottom: found.low,
                low: found.low.max(sp),
                high: Cell::new(found.high),
                more: More::No,
            };
        }
        let page = sp & !(PAGE - 1);
        let mut pages = (0..MOST_PAGES).map(|more| page.saturating_add(more * PAGE));
        let readable = pages.find(|page| page_is_readable(*page)).unwrap_or(page);
        Self {
            bottom: readable,
            low: readable.max(sp),
            high: Cell::new(readable),
            more: More::Pages,
        }
    }

    /// Tells whether an address, above the interrupted stack pointer or below it, is on the
    /// same stack.
    ///
    /// # Signal safety
    ///
    /// On old kernels a system call for each 64 pages between the two.
    pub(crate) fn is_of_same_stack(&self, address: u64) -> bool {
        // As large as stacks are made.
        const MOST_PAGES: u64 = 4096;
        if matches!(self.more, More::No) {
            return self.bottom <= address && address < self.high.get();
        }
        // Stacks have guard regions: what is mapped without a gap is one.
        let mut page = self.low.min(address) & !(PAGE - 1);
        let end = self.low.max(address) & !(PAGE - 1);
        if end - page > MOST_PAGES * PAGE {
            return false;
        }
        while page <= end {
            let most = (end - page) / PAGE + 1;
            let count = most.min(PAGES_AT_ONCE as u64) as usize;
            if !pages_are_readable(page, count) {
                return false;
            }
            page = page.saturating_add(count as u64 * PAGE);
        }
        true
    }

    #[cold]
    fn grow_to(&self, address: u64) -> bool {
        // A stack is read upwards and densely: anything further is not a stack.
        const MOST_PAGES: u64 = 64;
        match self.more {
            More::No => return false,
            More::Ask(query) => {
                if let Some(found) = query.mapping(self.low) {
                    self.high.set(found.high);
                    return address < found.high;
                }
            }
            More::Pages => {}
        }
        if address.saturating_sub(self.high.get()) > MOST_PAGES * PAGE {
            return false;
        }
        while self.high.get() <= address {
            if !page_is_readable(self.high.get()) {
                return false;
            }
            self.high.set(self.high.get().saturating_add(PAGE));
        }
        true
    }
}

impl Memory for StackMemory<'_> {
    #[inline]
    fn read(&self, address: u64) -> Option<u64> {
        let last = address.checked_add(7)?;
        if address < self.low || !address.is_multiple_of(8) {
            return None;
        }
        if last >= self.high.get() && !self.grow_to(last) {
            return None;
        }
        // SAFETY: the eight bytes lie between the interrupted stack pointer and the
        // end of its mapping, so they are mapped and readable: the interrupted
        // thread, which is this one, keeps its stack mapped. They are aligned. The
        // load is volatile because no Rust object is known to live there.
        Some(unsafe { std::ptr::read_volatile(address as *const u64) })
    }

    #[inline]
    fn read_pair(&self, address: u64) -> Option<(u64, u64)> {
        let second = address.wrapping_add(8);
        // Both lie within bounds if the first does and the second does not end past
        // them; an address that wraps fails the first comparison.
        let last = second.wrapping_add(7);
        if address < self.low || last < address || !address.is_multiple_of(8) {
            return None;
        }
        if last >= self.high.get() && !self.grow_to(last) {
            return None;
        }
        // SAFETY: as in `read`, for both words.
        Some(unsafe {
            (
                std::ptr::read_volatile(address as *const u64),
                std::ptr::read_volatile(second as *const u64),
            )
        })
    }

    #[inline]
    fn holds(&self, start: u64, expected: &[Expected]) -> bool {
        // A word that begins within so far from the start is whole and readable; others are
        // looked at one by one.
        let room = if start >= self.low && start.is_multiple_of(8) {
            self.high.get().saturating_sub(start).saturating_sub(7)
        } else {
            0
        };
        for word in expected {
            let distance = word.distance();
            let address = start.wrapping_add(distance);
            let value = if distance < room {
                // SAFETY: as in `read`: its eight bytes lie between the stack pointer and the
                // end, and it is aligned, since both the start and the distance are.
                unsafe { std::ptr::read_volatile(address as *const u64) }
            } else {
                match self.read(address) {
                    Some(value) => value,
                    None => return false,
                }
            };
            if !word.is(start, value) {
                return false;
            }
        }
        true
    }
}

/// Reads memory of this process that may not be there, without faulting. Returns how many
/// words were read, from `address` on.
pub fn read_memory(address: u64, words: &mut [u64]) -> usize {
    let mut read = 0;
    // A copy that meets an unreadable page may give up altogether: so page by page.
    while read < words.len() {
        let from = address.wrapping_add(read as u64 * 8);
        let to_page_end = (PAGE - from % PAGE).div_ceil(8) as usize;
        let Some(part) = words.get_mut(read..) else {
            break;
        };
        let count = part.len().min(to_page_end);
        let local = libc::iovec {
            iov_base: part.as_mut_ptr().cast(),
            iov_len: count * 8,
        };
        let remote = libc::iovec {
            iov_base: from as *mut libc::c_void,
            iov_len: count * 8,
        };
        // SAFETY: the local vector is within `part`; the kernel checks the remote one and
        // fails instead of faulting.
        let copied = unsafe {
            libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0)
        };
        if copied != (count * 8).cast_signed() {
            break;
        }
        read += count;
    }
    read
}

const PAGES_AT_ONCE: usize = 64;

/// Tells whether so many pages, at most [`PAGES_AT_ONCE`], are readable, in one system call.
fn pages_are_readable(page: u64, count: usize) -> bool {
    let count = count.min(PAGES_AT_ONCE);
    let mut bytes = [0u8; PAGES_AT_ONCE];
    let local = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: count,
    };
    let mut remote = [libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 1,
    }; PAGES_AT_ONCE];
    for (index, remote) in (0u64..).zip(&mut remote) {
        remote.iov_base = page.wrapping_add(index * PAGE) as *mut libc::c_void;
    }
    // SAFETY: the local vector is within `bytes`, of which there are at least `count`, as
    // there are of `remote`, which the kernel checks and fails instead of faulting.
    let copied = unsafe {
        libc::process_vm_readv(
            libc::getpid(),
            &raw const local,
            1,
            remote.as_ptr(),
            count as libc::c_ulong,
            0,
        )
    };
    copied == count.cast_signed()
}

fn page_is_readable(page: u64) -> bool {
    let mut word = 0u64;
    let local = libc::iovec {
        iov_base: (&raw mut word).cast(),
        iov_len: 8,
    };
    let remote = libc::iovec {
        iov_base: page as *mut libc::c_void,
        iov_len: 8,
    };
    // SAFETY: the local vector is a live word; the kernel checks the remote one and
    // fails instead of faulting. The call is a bare system call.
    unsafe {
        libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) == 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmscope_walk::MemoryFn;

    /// Two readable pages and a guard page behind them.
    fn guarded() -> u64 {
        // SAFETY: a fresh anonymous mapping, its last page then made inaccessible.
        unsafe {
            let start = libc::mmap(
                std::ptr::null_mut(),
                3 * PAGE as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(start, libc::MAP_FAILED);
            let guard = start.byte_add(2 * PAGE as usize);
            assert_eq!(libc::mprotect(guard, PAGE as usize, libc::PROT_NONE), 0);
            start as u64
        }
    }

    fn reads_to_the_guard_and_no_further(query: &MappingQuery) {
        let start = guarded();
        let own = StackBounds::NONE;
        let memory = StackMemory::at(start + 64, own, query);
        assert_eq!(memory.read(start + 56), None, "below the stack pointer");
        assert_eq!(memory.read(start + 64), Some(0));
        assert_eq!(memory.read(start + 65), None, "unaligned");
        assert_eq!(memory.read(start + 2 * PAGE - 8), Some(0));
        assert_eq!(memory.read(start + 2 * PAGE), None, "the guard page");
        assert_eq!(memory.read(u64::MAX), None);
    }

    #[test]
    fn a_foreign_stack_ends_where_its_mapping_ends() {
        reads_to_the_guard_and_no_further(&MappingQuery { maps: None });
        reads_to_the_guard_and_no_further(&MappingQuery::open());
    }

    /// Comparing many words at once finds what reading them one by one does, also past the end.
    #[test]
    fn words_are_compared_as_they_are_read() {
        let start = guarded();
        for word in 0..2 * PAGE / 8 {
            // SAFETY: within the two readable pages, of which nobody else knows.
            unsafe { std::ptr::write((start + word * 8) as *mut u64, start + word % 5) };
        }
        let query = MappingQuery::open();
        let end = start + 2 * PAGE;
        let bounds = StackBounds {
            low: start,
            high: end,
        };
        let mut holding = 0;
        for sp in [
            start,
            start + 8,
            end - 128,
            end - 8,
            end - 4,
            start + 3,
            end,
        ] {
            let memories = [
                StackMemory::within(sp, bounds),
                Some(StackMemory::up_to(sp, end - PAGE, &query)),
                Some(StackMemory::at(sp, StackBounds::NONE, &query)),
            ];
            for memory in memories.into_iter().flatten() {
                for distance in (0..256).step_by(8).chain([8184, 8192, 1 << 20]) {
                    for from in [sp, sp.wrapping_sub(8), sp + 8] {
                        let one = MemoryFn(|address| memory.read(address));
                        for value in 0..5 {
                            let plain = Expected::value(distance, start + value);
                            let address = start.wrapping_sub(from).wrapping_add(value);
                            let relative = Expected::address(distance, address);
                            let words = [plain.expect("aligned"), relative.expect("aligned")];
                            for words in [&words[..1], &words[1..], &words[..]] {
                                let holds = memory.holds(from, words);
                                assert_eq!(holds, one.holds(from, words));
                                holding += u32::from(holds);
                            }
                        }
                    }
                }
            }
        }
        assert!(holding > 100, "{holding}");
        assert!(Expected::value(4, 0).is_none() && Expected::address(9, 0).is_none());
    }

    #[test]
    fn a_pointer_into_the_guard_leads_to_the_stack_above() {
        for query in [MappingQuery { maps: None }, MappingQuery::open()] {
            // SAFETY: a fresh anonymous mapping, a page of it then made inaccessible.
            let guard = unsafe {
                let start = libc::mmap(
                    std::ptr::null_mut(),
                    3 * PAGE as usize,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                );
                assert_ne!(start, libc::MAP_FAILED);
                let guard = start.byte_add(PAGE as usize);
                assert_eq!(libc::mprotect(guard, PAGE as usize, libc::PROT_NONE), 0);
                guard as u64
            };
            let memory = StackMemory::at_or_above(guard + 128, &query);
            assert_eq!(memory.read(guard + 128), None, "the guard");
            assert_eq!(memory.read(guard + PAGE), Some(0));
            let memory = StackMemory::at_or_above(guard + PAGE + 64, &query);
            assert_eq!(memory.read(guard + PAGE), None, "below the stack pointer");
            assert_eq!(memory.read(guard + PAGE + 64), Some(0));
        }
    }

    #[test]
    fn a_guard_parts_two_stacks() {
        let start = guarded();
        let next = guarded();
        let own = StackBounds::NONE;
        for query in [MappingQuery { maps: None }, MappingQuery::open()] {
            for sp in [start + 64, start + PAGE + 64] {
                let memory = StackMemory::at(sp, own, &query);
                for address in [start + 8, start + 128, start + 2 * PAGE - 8] {
                    assert!(memory.is_of_same_stack(address), "{sp:#x} {address:#x}");
                }
                for address in [start + 2 * PAGE + 8, next + 64, 8, u64::MAX] {
                    assert!(!memory.is_of_same_stack(address), "{sp:#x} {address:#x}");
                }
            }
        }
    }

    #[test]
    fn this_stack_is_this_thread_s() {
        let here = 0x1234_5678u64;
        let own = StackBounds::of_this_thread().expect("the C library knows");
        let memory = StackMemory::at(&raw const here as u64, own, &MappingQuery { maps: None });
        assert_eq!(memory.read(&raw const here as u64), Some(here));
        assert_eq!(memory.read(own.high), None);
    }
}
