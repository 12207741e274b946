//! The part of the walk that crosses host code, as a trait.
//!
//! Host code keeps no frame pointers, so crossing it takes unwind tables; see the
//! `host` feature for an implementation. Who wants guests only gives [`NoHost`].

use crate::{Architecture, Cut, Memory};

/// Steps from a host frame to its caller.
///
/// A step either recovers the caller's registers as they will be when the callee
/// has returned, or says why it cannot. It never guesses.
///
/// # Signal safety
///
/// A walk in a signal handler is as safe there as the unwinder that it is given.
pub trait HostUnwind<A: Architecture> {
    /// Whether host frames are entered at all; if not the walk ends with
    /// [`End::LeftGuest`](crate::End::LeftGuest) without visiting one.
    const ENTERS: bool = true;

    /// Steps to the caller of the frame with `registers`.
    ///
    /// `is_return_address` tells whether the program counter follows a call, as
    /// opposed to being where a thread was interrupted.
    fn step(
        &mut self,
        registers: A::Registers,
        is_return_address: bool,
        memory: &impl Memory,
    ) -> HostStep<A>;
}

/// Where a step through host code led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostStep<A: Architecture> {
    /// To the caller, in host or guest code.
    Caller {
        /// The caller's registers.
        registers: A::Registers,
        /// False when the frame was interrupted by a signal rather than left by
        /// a call.
        is_return_address: bool,
    },
    /// Nowhere: this frame was the thread's first.
    Root,
    /// Nowhere: this frame was a fiber's first.
    Fiber,
    /// To the unknown.
    Cut(Cut),
}

/// Does not walk host frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl<A: Architecture> HostUnwind<A> for NoHost {
    const ENTERS: bool = false;

    #[inline]
    fn step(&mut self, _: A::Registers, _: bool, _: &impl Memory) -> HostStep<A> {
        HostStep::Cut(Cut::UnknownCode)
    }
}
