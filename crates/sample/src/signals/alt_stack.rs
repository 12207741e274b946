//! An alternate signal stack that is large enough for the handler.
//!
//! The Rust runtime gives its threads one of a few kilobytes, which an unwinder
//! fills; wasmtime brings 256 KiB at a thread's first call into Wasm and keeps a
//! larger one that it finds. So one of that size is put in place first.

#![expect(unsafe_code, reason = "sigaltstack and mmap are C functions")]

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

/// What wasmtime asks for, so that it keeps ours.
const SIZE: usize = 256 << 10;
const GUARD: usize = 64 << 10;

thread_local! {
    static INSTALLED: RefCell<Option<Rc<AltStack>>> = const { RefCell::new(None) };
}

/// Gives the calling thread an alternate stack of at least 256 KiB, until it exits
/// and what is returned is dropped, if it is ours. Whoever needs the stack holds on
/// to that: a thread's variables may be destroyed in any order.
pub(crate) fn ensure() -> io::Result<Option<Rc<AltStack>>> {
    let present = current()?;
    if present.ss_flags & libc::SS_DISABLE == 0 && present.ss_size >= SIZE {
        let ours = INSTALLED.try_with(|installed| installed.borrow().clone());
        return Ok(ours.ok().flatten());
    }
    let stack = Rc::new(AltStack::install(present)?);
    // A thread that is exiting has no variables left: then the caller's is the only
    // one.
    let _ = INSTALLED.try_with(|installed| *installed.borrow_mut() = Some(stack.clone()));
    Ok(Some(stack))
}

fn current() -> io::Result<libc::stack_t> {
    let mut present = libc::stack_t {
        ss_sp: std::ptr::null_mut(),
        ss_flags: 0,
        ss_size: 0,
    };
    // SAFETY: only asks; `present` is a live place for the answer.
    if unsafe { libc::sigaltstack(std::ptr::null(), &raw mut present) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(present)
}

/// A mapping in use as the thread's alternate stack, a guard region below it.
#[derive(Debug)]
pub(crate) struct AltStack {
    mapping: *mut libc::c_void,
    before: libc::stack_t,
}

impl AltStack {
    fn install(before: libc::stack_t) -> io::Result<Self> {
        // SAFETY: a fresh anonymous mapping at a place of the kernel's choice.
        let mapping = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                GUARD + SIZE,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self { mapping, before };
        let usable = stack.usable();
        // SAFETY: the range is the mapping's upper part.
        if unsafe { libc::mprotect(usable, SIZE, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let new = libc::stack_t {
            ss_sp: usable,
            ss_flags: 0,
            ss_size: SIZE,
        };
        // SAFETY: the memory stays mapped until `drop`, which takes it out of use.
        if unsafe { libc::sigaltstack(&raw const new, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(stack)
    }

    fn usable(&self) -> *mut libc::c_void {
        self.mapping.wrapping_byte_add(GUARD)
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        let in_use = current().is_ok_and(|present| present.ss_sp == self.usable());
        // SAFETY: puts back what was there before ours, then unmaps ours, which
        // nothing uses any more. When putting back fails the mapping stays.
        unsafe {
            if in_use && libc::sigaltstack(&raw const self.before, std::ptr::null_mut()) != 0 {
                return;
            }
            libc::munmap(self.mapping, GUARD + SIZE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_a_large_stack_and_loses_it_when_it_exits() {
        std::thread::spawn(|| {
            let before = current().expect("asks");
            drop(ensure().expect("maps"));
            let present = current().expect("asks");
            assert!(present.ss_size >= SIZE);
            drop(ensure().expect("there is one already"));
            assert_eq!(current().expect("asks").ss_sp, present.ss_sp);
            INSTALLED.with(|installed| drop(installed.borrow_mut().take()));
            assert_eq!(current().expect("asks").ss_sp, before.ss_sp);
        })
        .join()
        .expect("no panic");
    }
}
