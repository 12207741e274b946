//! Walks stacks of compiled WebAssembly, exactly, at every instruction.
//!
//! ```
//! use core::ops::ControlFlow;
//! use wasmscope_address::{HostPc, TextOffset, TextRange};
//! use wasmscope_walk::{x86_64, End, NoHost, Text, Window, Words, X86_64, walk};
//!
//! // One text with one function at its start: `push rbp; mov rbp,rsp; ...; ret`.
//! // While its frame is not built, the return address is on top of the stack.
//! let window = |start, end, rule| Window { start: TextOffset(start), end: TextOffset(end), rule };
//! let windows = [
//!     window(0x00, 0x01, x86_64::Rule::Entry),  // before `push rbp`
//!     window(0x01, 0x04, x86_64::Rule::Pushed), // before `mov rbp,rsp`
//!     window(0x3f, 0x40, x86_64::Rule::Entry),  // before `ret`
//! ];
//! let range = TextRange::new(HostPc(0x7000), 0x100).expect("does not wrap");
//! let texts = [Text { range, windows: &windows }];
//!
//! // It has called itself once and was interrupted before the `push`.
//! let stack = Words { start: 0x1000, words: &[
//!     0x7020,         // 0x1000, sp: the newest frame's return address
//!     0,              // 0x1008
//!     0x1040, 0x7090, // 0x1010, fp: its caller's pair
//!     0, 0, 0, 0,     // 0x1020
//!     0, 0x40_0000,   // 0x1040: the entry trampoline's pair, returning to the host
//! ] };
//! let registers = x86_64::Registers { pc: HostPc(0x7000), sp: 0x1000, fp: 0x1010 };
//!
//! let mut frames = Vec::new();
//! let end = walk::<X86_64>(registers, &stack, &texts, &mut NoHost, |frame| {
//!     frames.push(frame.pc.0);
//!     ControlFlow::Continue(())
//! });
//! assert_eq!(end, End::LeftGuest);
//! assert_eq!(frames, [0x7000, 0x7020, 0x7090]); // following `rbp` would miss 0x7020
//! ```
//!
//! # What you supply, what you get
//!
//! You supply the registers, the [`Memory`] of the stack, the [`Texts`] that are
//! guest code with their [`Window`]s, and optionally a [`HostUnwind`]. You get raw
//! [`Frame`]s, newest first, and an [`End`] that says whether the stack is whole.
//! Names come later, from elsewhere.
//!
//! The core needs neither `std` nor an allocator, contains no `unsafe`, and can be
//! called from a signal handler. Two features add what happens before that:
//!
//! - `classify`: `Windows::classify` finds the windows in a compiled text.
//! - `host`: `host::HostUnwinder` steps through host code by its unwind tables.
//!   So far on x86-64 Linux only; elsewhere the feature adds nothing.
//!
//! # What it does not do
//!
//! It does not cross from one stack to another, whose memory is handed in apart: at the
//! first frame of a fiber or of a stack-switching continuation it ends, and a
//! `host::HostUnwinder` says where the stack that resumed it goes on. It does not know the
//! few instructions in which one stack is exchanged for another.
#![no_std]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic,
        clippy::expect_used
    )
)]

#[cfg(any(feature = "classify", feature = "host", test))]
extern crate alloc;
#[cfg(any(feature = "host", test))]
extern crate std;

pub mod aarch64;
mod architecture;
mod frame;
#[cfg(feature = "classify")]
#[doc(hidden)]
pub mod fuzz;
#[cfg(all(feature = "host", target_arch = "x86_64", target_os = "linux"))]
pub mod host;
mod host_unwind;
mod memory;
mod text;
mod walk;
mod window;
#[cfg(feature = "classify")]
mod windows;
pub mod x86_64;

pub use aarch64::Aarch64;
pub use architecture::{Architecture, Unwound};
pub use frame::{Cut, End, Frame, FrameKind};
pub use host_unwind::{HostStep, HostUnwind, NoHost};
pub use memory::{Expected, Memory, MemoryFn, Words};
pub use text::{Text, Texts};
pub use walk::{Visit, walk, walk_from, walk_left};
pub use window::Window;
#[cfg(feature = "classify")]
pub use windows::Windows;
pub use x86_64::X86_64;

/// The architecture that this program runs on.
#[cfg(target_arch = "x86_64")]
pub type Native = X86_64;
/// The architecture that this program runs on.
#[cfg(target_arch = "aarch64")]
pub type Native = Aarch64;
