//! The shadow stack: what the stack must be, from the instructions executed.
//!
//! Knows nothing of frame pointers or windows. A call pushes, a return pops, a jump
//! to another function's start replaces the newest frame, and a transfer to a
//! handler drops every frame below the new stack pointer.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};

/// The two instructions that every compiled function starts with.
const PROLOGUE: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];

/// One call that has not returned.
#[derive(Clone, Copy)]
struct Call {
    /// Where the return address was pushed.
    slot: u64,
    return_address: u64,
    /// The host called the guest.
    from_host: bool,
}

/// The instruction about to be executed, and the stack pointer before it.
#[derive(Clone, Copy)]
struct Pending {
    what: Mnemonic,
    next: u64,
    target: u64,
    sp: u64,
}

pub(crate) struct Shadow {
    calls: Vec<Call>,
    pending: Option<Pending>,
    /// Things that should not have happened.
    pub(crate) errors: u64,
    pub(crate) host_calls: u64,
    pub(crate) tail_calls: u64,
    pub(crate) transfers: u64,
}

impl Shadow {
    pub(crate) fn new() -> Self {
        Self {
            calls: Vec::with_capacity(1 << 16),
            pending: None,
            errors: 0,
            host_calls: 0,
            tail_calls: 0,
            transfers: 0,
        }
    }

    fn push(&mut self, call: Call) {
        if self.calls.len() < self.calls.capacity() {
            self.calls.push(call);
        } else {
            self.errors += 1;
        }
    }

    /// Execution is before the instruction at `pc`, in a text. `code` are the bytes
    /// from there, `top` the word at the stack pointer.
    pub(crate) fn in_guest(&mut self, pc: u64, sp: u64, code: &[u8], top: u64) {
        let starts_function = code.starts_with(&PROLOGUE);
        match self.pending.take() {
            Some(pending) => self.stepped(pending, pc, sp, starts_function, top),
            // Out of host code: by a call, by a return, or to a handler.
            None if starts_function => self.push(Call {
                slot: sp,
                return_address: top,
                from_host: true,
            }),
            None => match self.calls.last() {
                Some(call) if call.return_address == pc && call.slot + 8 == sp => {
                    self.calls.pop();
                }
                _ => self.transferred(sp),
            },
        }
        let mut decoder = Decoder::with_ip(64, code, pc, DecoderOptions::NONE);
        let mut instruction = Instruction::default();
        decoder.decode_out(&mut instruction);
        self.pending = Some(Pending {
            what: instruction.mnemonic(),
            next: instruction.next_ip(),
            target: instruction.near_branch_target(),
            sp,
        });
    }

    /// Execution is before the instruction at `pc`, in no text.
    pub(crate) fn in_host(&mut self, pc: u64, sp: u64, top: u64) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        match pending.what {
            Mnemonic::Call => {
                self.host_calls += 1;
                self.called(pending, sp, top);
            }
            Mnemonic::Ret => self.returned(pending, pc),
            _ => self.errors += 1,
        }
    }

    /// A fault was handled, and execution goes on at another place.
    pub(crate) fn faulted(&mut self) {
        self.pending = None;
    }

    fn stepped(&mut self, pending: Pending, pc: u64, sp: u64, starts_function: bool, top: u64) {
        match pending.what {
            Mnemonic::Call => self.called(pending, sp, top),
            Mnemonic::Ret => self.returned(pending, pc),
            Mnemonic::Jmp if starts_function => {
                self.tail_calls += 1;
                match self.calls.last_mut() {
                    Some(call) if call.return_address == top => call.slot = sp,
                    _ => self.errors += 1,
                }
            }
            Mnemonic::Jmp => {}
            _ if pc == pending.next || pc == pending.target => {}
            _ => self.transferred(sp),
        }
    }

    fn called(&mut self, pending: Pending, sp: u64, top: u64) {
        if sp != pending.sp - 8 || top != pending.next {
            self.errors += 1;
        }
        self.push(Call {
            slot: sp,
            return_address: top,
            from_host: false,
        });
    }

    fn returned(&mut self, pending: Pending, pc: u64) {
        match self.calls.pop() {
            // A frame that was moved keeps its old slot here.
            Some(call) if call.return_address == pc && call.slot >= pending.sp => {}
            _ => self.errors += 1,
        }
    }

    fn transferred(&mut self, sp: u64) {
        self.transfers += 1;
        while self.calls.last().is_some_and(|call| call.slot < sp) {
            self.calls.pop();
        }
        if self.calls.is_empty() {
            self.errors += 1;
        }
    }

    /// Returns whether host frames lie between guest frames.
    pub(crate) fn is_nested(&self) -> bool {
        self.calls.iter().filter(|call| call.from_host).count() > 1
    }

    /// Returns the return addresses from the newest to the newest entry from the
    /// host.
    pub(crate) fn callers(&self) -> impl Iterator<Item = u64> + '_ {
        let calls = self.calls.iter().rev();
        calls
            .take_while(|call| !call.from_host)
            .map(|call| call.return_address)
    }

    /// Returns all return addresses into guest code, the newest first.
    pub(crate) fn all_callers(&self) -> impl Iterator<Item = u64> + '_ {
        let calls = self.calls.iter().rev();
        calls
            .filter(|call| !call.from_host)
            .map(|call| call.return_address)
    }
}
