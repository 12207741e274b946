//! Reads a function's body once: validates it, and marks the operators that rewriting
//! may change.
//!
//! Between the marks a body is copied as it is, so rewriting never decodes it again.

use std::ops::Range;

use rayon::prelude::*;
use wasmparser::{
    FuncToValidate, FuncValidatorAllocations, FunctionBody, ValidatorResources, WasmFeatures,
};

use crate::Error;
use crate::encoding::opcode;

/// A body that is yet to be read, with what validates it.
pub(crate) type Unread<'a> = (FuncToValidate<ValidatorResources>, FunctionBody<'a>);

/// What rewriting needs to know of a function's body.
#[derive(Debug)]
pub(crate) struct Body {
    /// Its file offsets, from the locals' declarations to past the last `end`.
    pub(crate) range: Range<usize>,
    /// The file offset of its first operator.
    pub(crate) operators: usize,
    /// How many locals it has, its parameters included.
    pub(crate) locals: u32,
    /// The operators that rewriting may change, in their order.
    pub(crate) marks: Vec<Mark>,
    /// Whether it throws or catches exceptions.
    pub(crate) exceptions: bool,
}

/// An operator that rewriting may change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// Its file offset.
    pub(crate) offset: u32,
    /// What it is, above [`DETAIL_BITS`] bits of detail.
    packed: u32,
}

/// Enough for every depth and number of labels: a body has at most 7,654,321 bytes.
const DETAIL_BITS: u32 = 24;

/// What a marked operator is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Marked {
    /// `call`
    Call,
    /// `ref.func`
    RefFunc,
    /// `return`, with the depth of the function's own label.
    Return(u32),
    /// `return_call`, with how many labels are opened before it in the body.
    ReturnCall(u32),
    /// `return_call_indirect` or `return_call_ref`, with the same.
    ReturnCallValue(u32),
}

impl Mark {
    fn new(offset: usize, marked: Marked) -> Self {
        let (kind, detail) = match marked {
            Marked::Call => (0, 0),
            Marked::RefFunc => (1, 0),
            Marked::Return(depth) => (2, depth),
            Marked::ReturnCall(labels) => (3, labels),
            Marked::ReturnCallValue(labels) => (4, labels),
        };
        Self {
            offset: offset as u32,
            packed: kind << DETAIL_BITS | detail,
        }
    }

    /// Tells what is marked.
    pub(crate) fn marked(self) -> Marked {
        let detail = self.packed & ((1 << DETAIL_BITS) - 1);
        match self.packed >> DETAIL_BITS {
            0 => Marked::Call,
            1 => Marked::RefFunc,
            2 => Marked::Return(detail),
            3 => Marked::ReturnCall(detail),
            _ => Marked::ReturnCallValue(detail),
        }
    }
}

impl Body {
    /// Reads all bodies of a module, in parallel.
    ///
    /// # Errors
    ///
    /// The first body's that is invalid.
    pub(crate) fn read_all(bodies: Vec<Unread<'_>>) -> Result<Vec<Self>, Error> {
        let bodies: Vec<_> = bodies
            .into_par_iter()
            .map_init(FuncValidatorAllocations::default, |allocations, unread| {
                Self::read(unread, allocations)
            })
            .collect();
        bodies.into_iter().collect()
    }

    fn read(
        (to_validate, body): Unread<'_>,
        allocations: &mut FuncValidatorAllocations,
    ) -> Result<Self, Error> {
        let mut validator = to_validate.into_validator(std::mem::take(allocations));
        let mut reader = body.get_binary_reader();
        reader.set_features(WasmFeatures::all());
        validator.read_locals(&mut reader)?;
        let operators = reader.original_position();
        let locals = validator.len_locals();
        let bytes = body.as_bytes();
        let range = body.range();
        let mut marks = Vec::new();
        let mut labels = 0;
        let mut exceptions = false;
        while !reader.eof() {
            let offset = reader.original_position();
            let mut mark = |marked| marks.push(Mark::new(offset, marked));
            match bytes[offset - range.start] {
                opcode::CALL => mark(Marked::Call),
                opcode::REF_FUNC => mark(Marked::RefFunc),
                opcode::RETURN => {
                    mark(Marked::Return(
                        validator.control_stack_height().wrapping_sub(1),
                    ));
                }
                opcode::RETURN_CALL => mark(Marked::ReturnCall(labels)),
                opcode::RETURN_CALL_INDIRECT | opcode::RETURN_CALL_REF => {
                    mark(Marked::ReturnCallValue(labels));
                }
                opcode::BLOCK | opcode::LOOP | opcode::IF => labels += 1,
                opcode::TRY | opcode::TRY_TABLE => {
                    labels += 1;
                    exceptions = true;
                }
                opcode::THROW | opcode::THROW_REF => exceptions = true,
                _ => {}
            }
            reader.visit_operator(&mut validator.visitor(offset))??;
        }
        reader.finish_expression(&validator.visitor(reader.original_position()))?;
        *allocations = validator.into_allocations();
        Ok(Self {
            range,
            operators,
            locals,
            marks,
            exceptions,
        })
    }

    /// Tells whether the body makes tail calls.
    pub(crate) fn has_tail_calls(&self) -> bool {
        self.marks.iter().any(|mark| {
            matches!(
                mark.marked(),
                Marked::ReturnCall(_) | Marked::ReturnCallValue(_)
            )
        })
    }
}
