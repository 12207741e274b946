//! Finding the windows in x86-64 text.
//!
//! A function is decoded from its start to its end, and the state of its frame is
//! carried from one instruction to the next:
//!
//! ```text
//!            push rbp            mov rbp,rsp            sub rsp,n; mov rbp,rsp
//!   Entry ------------> Pushed ---------------> body --------------------------> Moving
//!     ^                                          | ^                               |
//!     |            pop rbp, leave                | |        mov [rsp+8],reg        |
//!     +------------------------------------------+ +-------------------------------+
//! ```
//!
//! A return and a tail call's jump leave the function in `Entry`, so code after
//! them is in the body again: every block but those starts and ends with a frame,
//! because both compilers build and take down frames within one block.
//!
//! What is not code has to be stepped over. Constants and the padding stand at a
//! function's end. Jump tables stand within it, just after their jump:
//!
//! ```text
//!         lea    r1, [rip + table]
//!         movsxd r2, dword [r1 + 4*index]
//!         add    r1, r2
//!         jmp    r1
//! table:  dd     target - table, ...
//! ```
//!
//! A table's length is not written anywhere. It ends where an entry does not lead
//! into the function, and at the latest where some jump leads.

use super::{Rule, X86_64};
use crate::Window;
use crate::architecture::Classify;
use alloc::vec::Vec;
use core::ops::Range;
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, OpKind, Register};
use wasmscope_address::TextOffset;

/// How a function of either compiler starts: `push rbp; mov rbp,rsp`.
const PROLOGUE: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];

/// How often a function is read again because a jump led into what was taken for
/// a jump table. Each time at least one table gets shorter.
const MOST_READINGS: usize = 16;

impl Classify for X86_64 {
    fn classify_function(text: &[u8], function: Range<u32>, windows: &mut Vec<Window<Self>>) {
        let Some(code) = text.get(function.start as usize..function.end as usize) else {
            return;
        };
        let mut reading = Reading {
            code,
            function,
            targets: None,
            tables: Vec::new(),
            windows,
        };
        let before = reading.windows.len();
        // Few functions have jump tables; only for those are targets collected.
        if reading.sweep(&[]).is_ok() {
            return;
        }
        let mut limits = Vec::new();
        for _ in 0..MOST_READINGS {
            reading.windows.truncate(before);
            reading.targets = Some(Vec::new());
            reading.tables.clear();
            let _ = reading.sweep(&limits);
            let broken = reading.targets.take().unwrap_or_default();
            let known = limits.len();
            limits.extend(broken.into_iter().filter(|target| {
                let inside = |table: &Range<u32>| table.start < *target && *target < table.end;
                reading.tables.iter().any(inside)
            }));
            if limits.len() == known {
                return;
            }
            limits.sort_unstable();
            limits.dedup();
        }
    }

    fn classify_gap(text: &[u8], gap: Range<u32>, windows: &mut Vec<Window<Self>>) {
        // Trampolines follow each other without padding and nobody lists them. The
        // second instruction of a prologue occurs nowhere else in them.
        let Some(bytes) = text.get(gap.start as usize..gap.end as usize) else {
            return;
        };
        let prologues = bytes
            .windows(PROLOGUE.len())
            .enumerate()
            .filter(|(_, bytes)| *bytes == PROLOGUE)
            .filter_map(|(at, _)| gap.start.checked_add(u32::try_from(at).ok()?));
        let mut open: Option<u32> = None;
        for start in prologues {
            if let Some(before) = open.replace(start) {
                Self::classify_function(text, before..start, windows);
            }
        }
        if let Some(last) = open {
            Self::classify_function(text, last..gap.end, windows);
        }
    }
}

/// The state of the frame before an instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Body,
    Window(Rule),
}

/// One function as it is read.
struct Reading<'a> {
    code: &'a [u8],
    function: Range<u32>,
    /// Where direct jumps lead; `None` while that does not matter.
    targets: Option<Vec<u32>>,
    /// What was taken for jump tables.
    tables: Vec<Range<u32>>,
    windows: &'a mut Vec<Window<X86_64>>,
}

/// There is a jump table, and targets are not collected.
struct HasTables;

impl Reading<'_> {
    /// Reads the function once. Tables end at the latest at the sorted `limits`.
    fn sweep(&mut self, limits: &[u32]) -> Result<(), HasTables> {
        let start = self.function.start;
        let mut decoder = Decoder::with_ip(
            64,
            self.code,
            u64::from(start),
            DecoderOptions::NO_INVALID_CHECK,
        );
        let mut instruction = Instruction::default();
        let mut state = State::Window(Rule::Entry);
        let mut loaded_address = None;
        let mut lowered_by = None;
        while decoder.can_decode() {
            decoder.decode_out(&mut instruction);
            let at = instruction.ip32();
            let next = instruction.next_ip32();
            self.mark(state, at, next);

            let was_lowered_by = lowered_by.take();
            match instruction.code() {
                Code::Push_r64
                    if state == State::Window(Rule::Entry)
                        && instruction.op0_register() == Register::RBP =>
                {
                    state = State::Window(Rule::Pushed);
                }
                Code::Mov_rm64_r64 | Code::Mov_r64_rm64 => {
                    state = after_mov(state, &instruction, was_lowered_by);
                }
                Code::Pop_r64 if instruction.op0_register() == Register::RBP => {
                    state = State::Window(Rule::Entry);
                }
                Code::Leaveq => state = State::Window(Rule::Entry),
                Code::Sub_rm64_imm8 | Code::Sub_rm64_imm32
                    if instruction.op0_kind() == OpKind::Register
                        && instruction.op0_register() == Register::RSP =>
                {
                    lowered_by = u32::try_from(instruction.immediate(1)).ok();
                }
                Code::Lea_r64_m if instruction.is_ip_rel_memory_operand() => {
                    loaded_address = u32::try_from(instruction.ip_rel_memory_address()).ok();
                }
                Code::Retnq | Code::Retnq_imm16 | Code::Ud2 | Code::Int3 => state = State::Body,
                Code::Jmp_rel8_64 | Code::Jmp_rel32_64 => {
                    state = State::Body;
                    self.note_target(&instruction);
                }
                Code::Jmp_rm64 => {
                    state = State::Body;
                    if loaded_address == Some(next) {
                        if self.targets.is_none() {
                            return Err(HasTables);
                        }
                        let end = self.table_end(next, limits);
                        self.tables.push(next..end);
                        let skip = end.wrapping_sub(start) as usize;
                        if decoder.set_position(skip).is_err() {
                            return Ok(());
                        }
                        decoder.set_ip(u64::from(end));
                    }
                }
                _ => {
                    if self.targets.is_some() && instruction.op0_kind() == OpKind::NearBranch64 {
                        self.note_target(&instruction);
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds the instruction to the windows if the body rule does not hold before it.
    fn mark(&mut self, state: State, at: u32, next: u32) {
        let State::Window(rule) = state else { return };
        if let Some(last) = self.windows.last_mut()
            && last.end.0 == at
            && last.rule == rule
            && at != self.function.start
        {
            last.end.0 = next;
            return;
        }
        self.windows.push(Window {
            start: TextOffset(at),
            // Broken code may decode past the end of its function.
            end: TextOffset(next.min(self.function.end)),
            rule,
        });
    }

    fn note_target(&mut self, instruction: &Instruction) {
        if let Some(targets) = &mut self.targets
            && let Ok(target) = u32::try_from(instruction.near_branch_target())
        {
            targets.push(target);
        }
    }

    /// Finds the end of the jump table at `table`.
    fn table_end(&self, table: u32, limits: &[u32]) -> u32 {
        let after = limits.partition_point(|limit| *limit <= table);
        let mut end = limits
            .get(after)
            .map_or(self.function.end, |limit| (*limit).min(self.function.end));
        let mut entry = table;
        loop {
            let Some(next) = entry.checked_add(4).filter(|next| *next <= end) else {
                return entry;
            };
            let offset = entry.wrapping_sub(self.function.start) as usize;
            let Some(bytes) = self
                .code
                .get(offset..)
                .and_then(|bytes| bytes.first_chunk::<4>())
            else {
                return entry;
            };
            let Some(target) = table.checked_add_signed(i32::from_le_bytes(*bytes)) else {
                return entry;
            };
            let is_in_table = table <= target && target < next;
            if !self.function.contains(&target) || is_in_table {
                return entry;
            }
            if target >= next {
                end = end.min(target);
            }
            entry = next;
        }
    }
}

/// Returns the state after a move of a whole register.
fn after_mov(state: State, instruction: &Instruction, lowered_by: Option<u32>) -> State {
    let is_rbp_from_rsp = instruction.op0_kind() == OpKind::Register
        && instruction.op1_kind() == OpKind::Register
        && instruction.op0_register() == Register::RBP
        && instruction.op1_register() == Register::RSP;
    match state {
        State::Window(Rule::Pushed) if is_rbp_from_rsp => State::Body,
        State::Body if is_rbp_from_rsp => match lowered_by {
            Some(by) => State::Window(Rule::Moving { by }),
            None => State::Body,
        },
        // The last of the two words has been copied.
        State::Window(Rule::Moving { .. })
            if instruction.op0_kind() == OpKind::Memory
                && instruction.memory_base() == Register::RSP
                && instruction.memory_displacement64() == 8 =>
        {
            State::Body
        }
        state => state,
    }
}
