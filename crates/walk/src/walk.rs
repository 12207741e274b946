//! The walk.

use crate::{
    Architecture, Cut, End, Frame, FrameKind, HostStep, HostUnwind, Memory, Text, Texts, Unwound,
};
use core::ops::ControlFlow;
use wasmscope_address::HostPc;

/// Visits the frames of a stack, newest first, from the registers of a thread that
/// was interrupted anywhere.
///
/// ```text
///             the stack                       what reads it
///
///   high  |  ...               |
///         |  host              |              HostUnwind, to the root
///         +--------------------+
///         |  return to host    |
///   +---->|  host's fp         |              entry trampoline: body rule;
///   |     |  ...               |              outside all texts, so host
///   |     +--------------------+
///   |     |  return to guest   |
///   +-----|  caller's fp       |<----+        guest: body rule, in a loop
///         |  ...               |     |
///         +--------------------+     |
///         |  return to guest   |     |
///         |  caller's fp       |-----+<-- fp  newest frame: the rule of the
///   low   |  ...               |      <-- sp  window that pc is in, or body
/// ```
///
/// - `registers` are those of the interrupted thread; `pc` may be guest or host.
/// - `texts` says which addresses are guest code; all others are host code.
/// - `host` steps through host code, and may lead back into guest code.
/// - `visit` gets each frame before its caller is looked for, and may stop.
///
/// The walk ends by itself in any memory whatever: within guest code each frame
/// must lie above the one before.
///
/// # Signal safety
///
/// Safe in a signal handler if `memory`, `texts`, `host` and `visit` are. The walk
/// itself allocates nothing, takes no lock, calls no system and cannot panic.
#[inline]
pub fn walk<A: Architecture>(
    registers: A::Registers,
    memory: &impl Memory,
    texts: &(impl Texts<A> + ?Sized),
    host: &mut impl HostUnwind<A>,
    mut visit: impl FnMut(Frame) -> ControlFlow<()>,
) -> End {
    walk_from(registers, false, memory, texts, host, &mut visit)
}

/// Visits the frames of a stack that was left by a call, newest first: as [`walk`], but
/// the program counter in `registers` is the return address of that call, and the stack
/// pointer is as it will be after it. So is a stack that was exchanged for another one.
///
/// # Signal safety
///
/// As [`walk`].
#[inline]
pub fn walk_left<A: Architecture>(
    registers: A::Registers,
    memory: &impl Memory,
    texts: &(impl Texts<A> + ?Sized),
    host: &mut impl HostUnwind<A>,
    mut visit: impl FnMut(Frame) -> ControlFlow<()>,
) -> End {
    walk_from(registers, true, memory, texts, host, &mut visit)
}

/// Is shown the frames of a walk, newest first.
///
/// A closure will do. A type of one's own can say that it wants to be inlined into the walk,
/// which for a visitor that does little is half the time.
pub trait Visit {
    /// Takes a frame in, and says whether to go on.
    fn frame(&mut self, frame: Frame) -> ControlFlow<()>;
}

impl<F: FnMut(Frame) -> ControlFlow<()>> Visit for F {
    #[inline(always)]
    fn frame(&mut self, frame: Frame) -> ControlFlow<()> {
        self(frame)
    }
}

/// Visits the frames of a stack as [`walk`] does, from a frame that may have called another:
/// then its program counter `is_return_address`.
///
/// # Signal safety
///
/// As [`walk`].
#[inline]
pub fn walk_from<A: Architecture>(
    registers: A::Registers,
    is_return_address: bool,
    memory: &impl Memory,
    texts: &(impl Texts<A> + ?Sized),
    host: &mut impl HostUnwind<A>,
    visit: &mut impl Visit,
) -> End {
    let mut registers = registers;
    let mut is_return_address = is_return_address;
    loop {
        let pc = A::pc(&registers);
        // A return address may be the end of its text, when the call is the last
        // instruction there: the call itself is inside.
        let asked = if is_return_address {
            HostPc(pc.0.wrapping_sub(1))
        } else {
            pc
        };
        registers = if let Some(text) = texts.find(asked) {
            let next = guest(text, &registers, is_return_address, memory, texts, visit);
            match next {
                Ok(caller) if is_host_entered(host) => caller,
                Ok(_) => return End::LeftGuest,
                Err(end) => return end,
            }
        } else {
            if !is_host_entered(host) {
                return End::LeftGuest;
            }
            let frame = Frame {
                pc,
                kind: FrameKind::Host,
                is_return_address,
                base: None,
            };
            if visit.frame(frame).is_break() {
                return End::Stopped;
            }
            match host.step(registers, is_return_address, memory) {
                HostStep::Caller {
                    registers: caller,
                    is_return_address: returns,
                } => {
                    is_return_address = returns;
                    registers = caller;
                    continue;
                }
                HostStep::Root => return End::Root,
                HostStep::Fiber => return End::Fiber,
                HostStep::Cut(cut) => return End::Cut(cut),
            }
        };
        is_return_address = true;
    }
}

/// Says whether host frames are wanted, from the type of `host` alone.
#[inline(always)]
fn is_host_entered<A: Architecture, H: HostUnwind<A>>(_: &H) -> bool {
    H::ENTERS
}

/// Walks guest frames from the one with `registers`, and returns the registers of
/// the first host frame.
#[inline]
fn guest<A: Architecture>(
    text: Text<'_, A>,
    registers: &A::Registers,
    is_return_address: bool,
    memory: &impl Memory,
    texts: &(impl Texts<A> + ?Sized),
    visit: &mut impl Visit,
) -> Result<A::Registers, End> {
    let mut text = text;
    let mut frame = Frame {
        pc: A::pc(registers),
        kind: FrameKind::Guest,
        is_return_address,
        base: None,
    };

    // The newest frame. A frame that called another is in its body: code follows
    // each call before a frame is taken down.
    let rule = if is_return_address {
        None
    } else {
        text.rule_at(frame.pc)
    };
    let fp = A::fp(registers);
    let newest = match rule {
        Some(rule) => A::unwind_window(rule, registers, memory),
        None if fp < A::sp(registers) => Err(Cut::Order),
        None => body(fp, memory),
    };
    let mut unwound = match newest {
        Ok(unwound) => unwound,
        Err(cut) => return Err(last(frame, cut, visit)),
    };

    // Then its callers. What is rare is kept out of this loop.
    loop {
        frame.base = Some(unwound.base);
        if visit.frame(frame).is_break() {
            return Err(End::Stopped);
        }
        let return_address = A::strip(unwound.return_address);
        let call = HostPc(return_address.0.wrapping_sub(1));
        if !text.range.contains(call) {
            match other_text(texts, call) {
                Some(other) => text = other,
                None => return Ok(A::caller(return_address, unwound.base, unwound.fp)),
            }
        }
        frame.pc = return_address;
        frame.is_return_address = true;
        // No two frames overlap: the caller's pair is above this frame.
        if unwound.fp < unwound.base {
            return Err(last(frame, Cut::Order, visit));
        }
        unwound = match body(unwound.fp, memory) {
            Ok(unwound) => unwound,
            Err(cut) => return Err(last(frame, cut, visit)),
        };
    }
}

/// Visits a frame whose caller is not known.
#[cold]
#[inline(never)]
fn last(frame: Frame, cut: Cut, visit: &mut impl Visit) -> End {
    let frame = Frame {
        base: None,
        ..frame
    };
    match visit.frame(frame) {
        ControlFlow::Continue(()) => End::Cut(cut),
        ControlFlow::Break(()) => End::Stopped,
    }
}

#[cold]
#[inline(never)]
fn other_text<A: Architecture>(
    texts: &(impl Texts<A> + ?Sized),
    call: HostPc,
) -> Option<Text<'_, A>> {
    texts.find(call)
}

/// Reads the pair that the frame pointer points to.
#[inline(always)]
fn body(fp: u64, memory: &impl Memory) -> Result<Unwound, Cut> {
    // Frame pointers of compiled code are multiples of 16 on both machines.
    if !fp.is_multiple_of(16) {
        return Err(Cut::Alignment);
    }
    let (caller, return_address) = memory.read_pair(fp).ok_or(Cut::Memory)?;
    Ok(Unwound {
        return_address,
        fp: caller,
        // Cannot wrap: the pair was read.
        base: fp.wrapping_add(16),
    })
}
