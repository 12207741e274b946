//! Machine code that stands for a guest's.

#![expect(unsafe_code, reason = "writes machine code and runs it")]

use std::sync::Arc;
use wasmscope_address::{HostPc, TextOffset, TextRange};
use wasmscope_walk::{Window, x86_64::Rule};

/// Machine code that calls itself to a depth and then spins, with frame pointers, as
/// a guest's does.
pub(crate) struct Jit {
    pub(crate) start: u64,
}

impl Jit {
    const CODE: [u8; 0x18] = [
        0x55, // push rbp
        0x48, 0x89, 0xe5, // mov rbp, rsp
        0x85, 0xff, // test edi, edi
        0x74, 0x09, // je 0x11
        0xff, 0xcf, // dec edi
        0xe8, 0xf1, 0xff, 0xff, 0xff, // call 0
        0x5d, // pop rbp
        0xc3, // ret
        0x48, 0xff, 0xce, // 0x11: dec rsi
        0x75, 0xfb, // jne 0x11
        0x5d, // pop rbp
        0xc3, // ret
    ];

    pub(crate) fn new() -> Self {
        // SAFETY: a fresh mapping, filled and then made executable.
        let start = unsafe {
            let start = libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(start, libc::MAP_FAILED);
            std::ptr::copy_nonoverlapping(Self::CODE.as_ptr(), start.cast(), Self::CODE.len());
            assert_eq!(
                libc::mprotect(start, 4096, libc::PROT_READ | libc::PROT_EXEC),
                0
            );
            start as u64
        };
        Self { start }
    }

    pub(crate) fn range(&self) -> TextRange {
        TextRange::new(HostPc(self.start), Self::CODE.len() as u32).expect("does not wrap")
    }

    pub(crate) fn windows() -> Arc<[Window<wasmscope_walk::Native>]> {
        let window = |start, end, rule| Window {
            start: TextOffset(start),
            end: TextOffset(end),
            rule,
        };
        Arc::from([
            window(0x00, 0x01, Rule::Entry),
            window(0x01, 0x04, Rule::Pushed),
            window(0x10, 0x11, Rule::Entry),
            window(0x17, 0x18, Rule::Entry),
        ])
    }

    pub(crate) fn run(&self, depth: u32, spins: u64) {
        // SAFETY: the code is a function of this signature.
        unsafe {
            let function: extern "C" fn(u32, u64) = std::mem::transmute(self.start);
            function(depth, spins);
        }
    }
}
