//! Which host code can be unwound, and how.
//!
//! framehop follows the frame pointer where it finds no table or cannot evaluate
//! one, and does not say so. So each function's table is looked through once, when
//! objects are loaded, and the few that framehop would get wrong are marked.

use super::program_headers::Mapped;
use alloc::vec::Vec;
use core::ops::Range;
use gimli::{
    BaseAddresses, CallFrameInstruction, CieOrFde, EhFrame, EndianSlice, FrameDescriptionEntry,
    LittleEndian, Operation, Register, UnwindExpression, UnwindSection as _, X86_64,
};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;
type Fde<'a> = FrameDescriptionEntry<Bytes<'a>, usize>;

/// How the frames of a function are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// By its table.
    Table,
    /// By its table, in which it may say that it has no caller.
    MayBeRoot,
    /// By the registers that the kernel saved when it delivered a signal.
    Signal,
    /// By the return address on top of the stack: a stub on its way to a function.
    Stub,
    /// Not at all: a fiber starts here.
    Fiber,
    /// Not at all: a stack-switching continuation starts here.
    Continuation,
    /// By a table that framehop cannot evaluate.
    Opaque,
}

/// The code of one function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    start: u64,
    len: u32,
    kind: Kind,
}

/// The code of all functions that have tables, sorted.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    functions: Vec<Function>,
    /// What looks like stubs and the like, until `finish` knows which are.
    stubs: Vec<Function>,
}

impl Coverage {
    /// Returns how to leave the function that has the instruction at `pc`.
    pub(super) fn kind_at(&self, pc: u64) -> Option<Kind> {
        let functions = &self.functions;
        let after = functions.partition_point(|function| function.start <= pc);
        let function = functions.get(after.checked_sub(1)?)?;
        (pc.wrapping_sub(function.start) < u64::from(function.len)).then_some(function.kind)
    }

    /// Adds the functions of an object.
    pub(super) fn add(&mut self, mapped: &Mapped) {
        let of_kind = |kind| {
            move |range: &Range<u64>| Function {
                start: range.start,
                len: u32::try_from(range.end.wrapping_sub(range.start)).unwrap_or(0),
                kind,
            }
        };
        self.stubs
            .extend(mapped.stubs.iter().map(of_kind(Kind::Stub)));
        let continuations = mapped.continuations.iter();
        self.stubs
            .extend(continuations.map(of_kind(Kind::Continuation)));
        let Some(eh_frame) = &mapped.eh_frame else {
            return;
        };
        let bases = BaseAddresses::default().set_eh_frame(eh_frame.address);
        let mut section = EhFrame::from(Bytes::new(&eh_frame.bytes, LittleEndian));
        section.set_address_size(8);
        let mut entries = section.entries(&bases);
        // What follows the last entry is not always marked: an error ends the list.
        while let Ok(Some(entry)) = entries.next() {
            let CieOrFde::Fde(partial) = entry else {
                continue;
            };
            let Ok(fde) = partial.parse(EhFrame::cie_from_offset) else {
                continue;
            };
            self.functions.push(Function {
                start: mapped.bias.wrapping_add(fde.initial_address()),
                len: u32::try_from(fde.len()).unwrap_or(u32::MAX),
                kind: kind(&section, &bases, &fde),
            });
        }
    }

    /// Puts everything in order once all objects are added.
    pub(super) fn finish(mut self) -> Self {
        self.functions
            .sort_unstable_by_key(|function| function.start);
        // Most functions follow each other: half the search.
        self.functions.dedup_by(|next, last| {
            let end = last.start.wrapping_add(u64::from(last.len));
            let is_one = last.kind == next.kind && end == next.start;
            match last.len.checked_add(next.len) {
                Some(len) if is_one => {
                    last.len = len;
                    true
                }
                _ => false,
            }
        });
        // What looks like a stub and has a table is a part of a function.
        let mut stubs = core::mem::take(&mut self.stubs);
        stubs.retain(|stub| self.kind_at(stub.start).is_none());
        self.functions.append(&mut stubs);
        self.functions
            .sort_unstable_by_key(|function| function.start);
        self.functions.shrink_to_fit();
        self
    }
}

fn kind<'a>(section: &EhFrame<Bytes<'a>>, bases: &BaseAddresses, fde: &Fde<'a>) -> Kind {
    if fde.is_signal_trampoline() {
        return Kind::Signal;
    }
    let mut kind = Kind::Table;
    let common = fde.cie().instructions(section, bases);
    let own = fde.instructions(section, bases);
    for mut instructions in [common, own] {
        loop {
            match instructions.next() {
                Ok(Some(instruction)) => match kind_by(section, fde, &instruction) {
                    Kind::Table => {}
                    special => kind = special,
                },
                Ok(None) => break,
                Err(_) => return Kind::Opaque,
            }
            if matches!(kind, Kind::Opaque | Kind::Fiber) {
                return kind;
            }
        }
    }
    kind
}

/// Returns what one instruction of a table makes of its function.
fn kind_by<'a>(
    section: &EhFrame<Bytes<'a>>,
    fde: &Fde<'a>,
    instruction: &CallFrameInstruction<usize>,
) -> Kind {
    let is_known = |register: Register| register == X86_64::RSP || register == X86_64::RBP;
    let is_wanted = |register: Register| register == X86_64::RA || register == X86_64::RBP;
    match instruction {
        CallFrameInstruction::DefCfa { register, .. }
        | CallFrameInstruction::DefCfaSf { register, .. }
        | CallFrameInstruction::DefCfaRegister { register }
            if !is_known(*register) =>
        {
            Kind::Opaque
        }
        CallFrameInstruction::DefCfaExpression { expression } => {
            kind_by_expression(section, fde, expression)
        }
        CallFrameInstruction::Undefined { register } if *register == X86_64::RA => Kind::MayBeRoot,
        CallFrameInstruction::Expression { register, .. }
        | CallFrameInstruction::ValExpression { register, .. }
        | CallFrameInstruction::Register {
            dest_register: register,
            ..
        } if is_wanted(*register) => Kind::Opaque,
        _ => Kind::Table,
    }
}

fn kind_by_expression<'a>(
    section: &EhFrame<Bytes<'a>>,
    fde: &Fde<'a>,
    expression: &UnwindExpression<usize>,
) -> Kind {
    /// `DW_OP_breg7 0` would be as good, but the engine's fibers write it so:
    /// `DW_OP_reg7 (rsp); DW_OP_deref; DW_OP_plus_uconst 0x38`.
    const FIBER: [u8; 4] = [0x57, 0x06, 0x23, 0x38];
    let Ok(expression) = expression.get(section) else {
        return Kind::Opaque;
    };
    if expression.0.slice() == FIBER {
        return Kind::Fiber;
    }
    let mut operations = expression.operations(fde.cie().encoding());
    loop {
        match operations.next() {
            Ok(Some(Operation::Deref { .. })) | Err(_) => return Kind::Opaque,
            Ok(Some(_)) => {}
            Ok(None) => return Kind::Table,
        }
    }
}
