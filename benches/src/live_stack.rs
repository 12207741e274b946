//! The stack of the calling thread as the walker's memory, and the registers of its
//! newest guest frame.
//!
//! For measuring the walk by itself: one bounds check a frame, no signal, no host
//! frames.

#![expect(
    unsafe_code,
    reason = "reads words of this thread's stack from raw addresses"
)]

use std::ops::ControlFlow;
use wasmscope_walk::host::{HostCache, HostObjects, HostUnwinder, here};
use wasmscope_walk::x86_64::Registers;
use wasmscope_walk::{FrameKind, Memory, Native, Texts, walk};

/// The calling thread's stack, from an address in use up to its end.
#[derive(Debug)]
pub struct LiveStack {
    low: u64,
    high: u64,
    not_send: std::marker::PhantomData<*const ()>,
}

impl LiveStack {
    /// Returns the part of the calling thread's stack above this call, or `None`
    /// when the C library does not know the stack.
    #[must_use]
    #[inline(never)]
    pub fn here() -> Option<Self> {
        let mut low: *mut libc::c_void = std::ptr::null_mut();
        let mut size = 0;
        // SAFETY: the attributes are initialised by `pthread_getattr_np` before they
        // are read, and destroyed once after; the out-pointers are live.
        unsafe {
            let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
            if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
                return None;
            }
            let failed =
                libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut size);
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            if failed != 0 {
                return None;
            }
        }
        let in_use = here().sp;
        Some(Self {
            low: in_use,
            high: (low as u64).saturating_add(size as u64),
            not_send: std::marker::PhantomData,
        })
    }

    /// Returns the registers of the newest guest frame above this call, for a walk
    /// that begins there.
    #[must_use]
    #[inline(never)]
    pub fn newest_guest(&self, texts: &impl Texts<Native>) -> Option<Registers> {
        let objects = HostObjects::load();
        let mut cache = HostCache::new();
        let mut host = HostUnwinder::new(&objects, &mut cache);
        let mut found = None;
        // Where the walk ends does not matter: it is stopped at the frame.
        let _ = walk::<Native>(here(), self, texts, &mut host, |frame| {
            match (frame.kind, frame.base) {
                (FrameKind::Guest, Some(base)) => {
                    // The pair that the frame pointer points to is below the base.
                    let fp = base.wrapping_sub(16);
                    let pc = frame.pc;
                    found = Some(Registers { pc, sp: fp, fp });
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        });
        found
    }
}

impl Memory for LiveStack {
    #[inline]
    fn read(&self, address: u64) -> Option<u64> {
        let inside = self.low <= address && address <= self.high.wrapping_sub(8);
        if !inside || !address.is_multiple_of(8) {
            return None;
        }
        // SAFETY: from where the thread's stack is in use to its end it is mapped
        // and readable, `self` stays on this thread, and the address is aligned.
        Some(unsafe { std::ptr::read_volatile(address as *const u64) })
    }

    #[inline]
    fn read_pair(&self, address: u64) -> Option<(u64, u64)> {
        let inside = self.low <= address && address <= self.high.wrapping_sub(16);
        if !inside || !address.is_multiple_of(8) {
            return None;
        }
        let address = address as *const u64;
        // SAFETY: as above, for both words.
        Some(unsafe {
            (
                std::ptr::read_volatile(address),
                std::ptr::read_volatile(address.wrapping_add(1)),
            )
        })
    }
}
