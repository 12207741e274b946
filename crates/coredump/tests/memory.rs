//! Reading takes no more memory than a small multiple of the file, whatever the file says.
//!
//! A test program of its own, because it counts all memory of its process.
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmscope_coredump::CoreDump;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Returns how many bytes of memory reading a file took at once.
fn cost(file: &[u8]) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let read = CoreDump::recover(file);
    drop(read);
    MOST.load(Ordering::Relaxed) - before
}

fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn section(id: u8, contents: &[u8]) -> Vec<u8> {
    [&[id][..], &number(contents.len()), contents].concat()
}

fn custom(name: &str, contents: &[u8]) -> Vec<u8> {
    section(
        0,
        &[&[name.len() as u8], name.as_bytes(), contents].concat(),
    )
}

#[test]
fn the_densest_files() {
    const COUNT: usize = 200_000;
    let many = |start: &[u8], item: &[u8]| [start, &number(COUNT), &item.repeat(COUNT)].concat();
    let core = custom("core", b"\0\0");
    let a_memory = section(5, b"\x01\0\x01");
    for (what, sections) in [
        ("modules", vec![custom("coremodules", &many(b"", b"\0\0"))]),
        (
            "instances",
            vec![custom("coreinstances", &many(b"", b"\0\0\0\0"))],
        ),
        (
            "indices",
            vec![custom("coreinstances", &many(b"\x01\0\0", b"\0"))],
        ),
        (
            "frames",
            vec![custom("corestack", &many(b"\0\0", b"\0\0\0\0\0\0"))],
        ),
        (
            "old frames",
            vec![custom("corestack", &many(b"\0\0", b"\0\0\0\0\0"))],
        ),
        (
            "values",
            vec![custom("corestack", &many(b"\0\0\x01\0\0\0\0", b"\x01"))],
        ),
        (
            "threads",
            vec![custom("corestack", b"\0\0\0").repeat(COUNT)],
        ),
        ("memories", vec![section(5, &many(b"", b"\0\0"))]),
        ("globals", vec![section(6, &many(b"", b"\x7f\0\x41\0\x0b"))]),
        (
            "segments",
            vec![a_memory, section(11, &many(b"", b"\0\x41\0\x0b\0"))],
        ),
    ] {
        let file = [b"\0asm\x01\0\0\0", &*core, &*sections.concat()].concat();
        let cost = cost(&file);
        assert!(
            cost <= 64 * file.len() + 4096,
            "{what}: {cost} bytes of memory for a file of {} bytes",
            file.len()
        );
    }
}
