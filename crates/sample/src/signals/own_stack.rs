//! A stack for work in a signal handler, apart from the one that the thread gave it.
//!
//! The Rust runtime gives its threads an alternate signal stack of a few kilobytes, C
//! threads have none, and neither is known to have room for an unwinder. So whoever
//! wants a handler's work done brings the stack for it.

#![expect(
    unsafe_code,
    reason = "maps a stack, and exchanges the stack pointer for the time of a call"
)]

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;

const SIZE: usize = 256 << 10;
const GUARD: usize = 64 << 10;

/// A mapping to run on, with a guard region below it. Unmapped when dropped.
#[derive(Debug)]
pub(crate) struct OwnStack {
    mapping: *mut c_void,
}

// SAFETY: it is memory that belongs to whoever has the value; running on it takes `&mut`.
unsafe impl Send for OwnStack {}
// SAFETY: a shared reference gives nothing but its `Debug` text.
unsafe impl Sync for OwnStack {}

impl OwnStack {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: a fresh anonymous mapping at a place of the kernel's choice.
        let mapping = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                GUARD + SIZE,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self { mapping };
        let usable = mapping.wrapping_byte_add(GUARD);
        // SAFETY: the range is the mapping's upper part.
        if unsafe { libc::mprotect(usable, SIZE, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(stack)
    }

    /// Runs `work` on this stack, with all signals blocked meanwhile: one that comes in
    /// between would be handled on the thread's alternate stack from its beginning, over
    /// the frames of the handler that calls this.
    ///
    /// # Signal safety
    ///
    /// Adds two system calls to `work`'s own. `work` must not panic.
    pub(crate) fn run<F: FnOnce()>(&mut self, work: F) {
        unsafe extern "C" fn call<F: FnOnce()>(work: *mut c_void) {
            // SAFETY: `run` hands in a pointer to a live `Option<F>` that only this uses.
            let work = unsafe { (*work.cast::<Option<F>>()).take() };
            if let Some(work) = work {
                work();
            }
        }
        let top = self.mapping.wrapping_byte_add(GUARD + SIZE);
        let mut work = Some(work);
        let mut blocked = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: both sets are live, and filled before they are read. `top` is the end of
        // a mapping that nobody else runs on, because of `&mut self`, and a multiple of 16
        // as the calling convention asks at a call. The callee keeps r12, where the old
        // stack pointer waits; what it does not keep is declared. It does not unwind.
        unsafe {
            let mut all = MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), blocked.as_mut_ptr());
            std::arch::asm!(
                "xchg rsp, r12",
                "call {call}",
                "mov rsp, r12",
                call = in(reg) call::<F> as *const (),
                inout("r12") top => _,
                inout("rdi") &raw mut work => _,
                clobber_abi("C"),
            );
            libc::pthread_sigmask(libc::SIG_SETMASK, blocked.as_ptr(), std::ptr::null_mut());
        }
    }
}

impl Drop for OwnStack {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing runs on it.
        unsafe {
            libc::munmap(self.mapping, GUARD + SIZE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_on_the_stack_and_comes_back() {
        let mut stack = OwnStack::new().expect("maps");
        let low = stack.mapping as usize + GUARD;
        for round in 0..3 {
            let mut seen = (0, 0);
            let outer = round + 1;
            stack.run(|| {
                let here = outer;
                seen = (&raw const here as usize, std::hint::black_box(here));
            });
            assert!((low..low + SIZE).contains(&seen.0), "{seen:x?} {low:x}");
            assert_eq!(seen.1, outer);
        }
    }
}
