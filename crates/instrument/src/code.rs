//! Writes the bodies of a module's functions, in parallel.
//!
//! Consecutive functions make a piece of work that is written into one buffer, so the
//! result does not depend on who did what. Between the marked operators bytes are
//! copied.

use std::ops::Range;

use rayon::prelude::*;
use wasmscope_address::FuncIndex;

use crate::body::{Body, Marked};
use crate::encoding::{self, Code, opcode};
use crate::function::Function;
use crate::guarded;
use crate::map::{Segment, Segments};
use crate::plan::Plan;
use crate::probe::Probe;

/// The longest body that engines accept.
pub(crate) const MAX_BODY: usize = 7_654_321;

/// About how many bytes of bodies make a piece of work.
const PIECE: usize = 1 << 17;

/// A new code section's functions, and where their bytes come from.
#[derive(Default, Debug)]
pub(crate) struct Functions {
    /// The bodies with their sizes, one after the other.
    pub(crate) pieces: Vec<Vec<u8>>,
    /// What was copied: original offsets from the start of the code section's contents,
    /// rewritten ones from the first body's size.
    pub(crate) segments: Segments,
    /// The bodies of the functions that the original defines, in the same offsets.
    pub(crate) bodies: Vec<(Range<u32>, Range<u32>)>,
    /// The functions that are referred to in bodies and that no export declares, sorted.
    pub(crate) references: Vec<u32>,
    /// The functions whose bodies became longer than engines accept.
    pub(crate) too_long: Vec<FuncIndex>,
}

/// The functions of one piece of work.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    segments: Segments,
    bodies: Vec<(Range<u32>, Range<u32>)>,
    references: Vec<u32>,
    too_long: Vec<FuncIndex>,
    /// The body that is being written, and what it copies.
    body: Vec<u8>,
    copied: Segments,
}

impl Functions {
    /// Writes every function that `plan` wants: those of the original, then the shims, then
    /// what guards exports.
    /// The original's code section has its contents from `start` on.
    pub(crate) fn write(plan: &Plan<'_, '_>, start: usize) -> Self {
        let module = plan.module;
        let pieces: Vec<Piece> = split(&module.bodies)
            .into_par_iter()
            .map(|range| {
                let mut piece = Piece::default();
                for defined in range {
                    let before = match defined.checked_sub(1) {
                        Some(last) => module.bodies[last].range.end,
                        None => start + encoding::read_unsigned(&module.bytes[start..]).1,
                    };
                    let function = &module.defined()[defined];
                    piece.function(plan, function, &module.bodies[defined], start, before);
                }
                piece
            })
            .collect();
        let mut functions = Self::default();
        let mut base = 0;
        for piece in pieces {
            functions.segments.append(&piece.segments, base);
            functions.bodies.extend(
                piece
                    .bodies
                    .into_iter()
                    .map(|(original, Range { start, end })| (original, start + base..end + base)),
            );
            functions.references.extend(piece.references);
            functions.too_long.extend(piece.too_long);
            base += piece.bytes.len() as u32;
            functions.pieces.push(piece.bytes);
        }
        functions.references.sort_unstable();
        functions.references.dedup();
        functions.pieces.push(shims(plan));
        functions.pieces.push(guarded::write(plan));
        functions
    }

    /// Returns how long all bodies are, with their sizes.
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }
}

/// Splits functions into runs of about [`PIECE`] bytes.
fn split(bodies: &[Body]) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut first = 0;
    let mut bytes = 0;
    for (at, body) in bodies.iter().enumerate() {
        bytes += body.range.len();
        if bytes >= PIECE {
            pieces.push(first..at + 1);
            first = at + 1;
            bytes = 0;
        }
    }
    pieces.push(first..bodies.len());
    pieces
}

/// Writes the shims of the imports that have a probe.
fn shims(plan: &Plan<'_, '_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut body = Vec::new();
    for index in &plan.shims {
        let signature = &*plan.module.functions[index.0 as usize].signature;
        let params = signature.params.len() as u32;
        let number = plan.number(*index).unwrap_or_default();
        let probe = Probe::new(plan, number, signature, params);
        body.clear();
        encoding::unsigned(&mut body, probe.locals().len() as u32);
        write_runs(&mut body, &probe);
        let mut code = Code(&mut body);
        probe.enter(&mut code);
        for local in 0..params {
            code.local_get(local);
        }
        code.call(index.0).end();
        probe.leave(&mut code);
        encoding::unsigned(&mut out, body.len() as u32);
        out.extend_from_slice(&body);
    }
    out
}

/// Writes the declarations of the locals that a probe adds.
fn write_runs(out: &mut Vec<u8>, probe: &Probe<'_, '_, '_>) {
    for (count, ty) in probe.locals() {
        encoding::unsigned(out, count);
        encoding::value_type(out, ty);
    }
}

impl Piece {
    /// Adds one function of the original. Its size starts at `before` in the file.
    fn function(
        &mut self,
        plan: &Plan<'_, '_>,
        function: &Function<'_>,
        body: &Body,
        start: usize,
        before: usize,
    ) {
        self.body.clear();
        self.copied.clear();
        let probe = plan
            .number(function.index)
            .map(|number| Probe::new(plan, number, &function.signature, body.locals));
        self.body(plan, body, probe.as_ref(), start);
        if self.body.len() > MAX_BODY {
            self.too_long.push(function.index);
        }
        let width = body.range.start - before;
        let at = self.bytes.len() as u32;
        encoding::unsigned_padded(&mut self.bytes, self.body.len() as u32, width);
        self.segments.push(Segment {
            original: (before - start) as u32,
            rewritten: at,
            len: width as u32,
        });
        let at = self.bytes.len() as u32;
        self.segments.append(&self.copied, at);
        self.bytes.extend_from_slice(&self.body);
        let original = (body.range.start - start) as u32..(body.range.end - start) as u32;
        self.bodies.push((original, at..self.bytes.len() as u32));
    }

    fn body(
        &mut self,
        plan: &Plan<'_, '_>,
        body: &Body,
        probe: Option<&Probe<'_, '_, '_>>,
        start: usize,
    ) {
        let mut copy = Copy {
            bytes: plan.module.bytes,
            start,
            at: body.range.start,
            out: &mut self.body,
            segments: &mut self.copied,
        };
        if let Some(probe) = probe {
            copy.locals(body, probe);
            probe.enter(&mut Code(copy.out));
        }
        for mark in &body.marks {
            let at = mark.offset as usize;
            match mark.marked() {
                Marked::Call => copy.index(at, |index| plan.called(index)),
                Marked::RefFunc => copy.index(at, |index| {
                    if plan.needs_declaration(index) {
                        self.references.push(index);
                    }
                    plan.referred(index)
                }),
                Marked::Return(depth) => {
                    if probe.is_some() {
                        copy.branch(at, depth);
                    }
                }
                Marked::ReturnCall(_) => {
                    if let Some(probe) = probe {
                        copy.up_to(at);
                        probe.tail_call(&mut Code(copy.out));
                    }
                    copy.index(at, |index| plan.called(index));
                }
                Marked::ReturnCallValue(_) => {
                    if let Some(probe) = probe {
                        copy.up_to(at);
                        probe.tail_call(&mut Code(copy.out));
                    }
                }
            }
        }
        copy.up_to(body.range.end);
        if let Some(probe) = probe {
            probe.leave(&mut Code(copy.out));
        }
    }
}

/// A body that is being copied.
struct Copy<'c> {
    bytes: &'c [u8],
    /// The file offset that original offsets count from.
    start: usize,
    /// The file offset of what is copied next.
    at: usize,
    out: &'c mut Vec<u8>,
    segments: &'c mut Segments,
}

impl Copy<'_> {
    fn segment(&mut self, len: usize) {
        self.segments.push(Segment {
            original: (self.at - self.start) as u32,
            rewritten: self.out.len() as u32,
            len: len as u32,
        });
        self.at += len;
    }

    /// Copies what is left before file offset `end`.
    fn up_to(&mut self, end: usize) {
        let bytes = &self.bytes[self.at..end];
        self.segment(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    /// Copies the locals' declarations and adds the probe's.
    fn locals(&mut self, body: &Body, probe: &Probe<'_, '_, '_>) {
        let (declared, width) = encoding::read_unsigned(&self.bytes[self.at..]);
        let added = probe.locals().len() as u32;
        self.segment(width);
        encoding::unsigned_padded(self.out, declared + added, width);
        self.up_to(body.operators);
        write_runs(self.out, probe);
    }

    /// Copies up to the operator at file offset `at` and it, with another index in place
    /// of its only one.
    fn index(&mut self, at: usize, index: impl FnOnce(u32) -> u32) {
        self.up_to(at + 1);
        let (original, width) = encoding::read_unsigned(&self.bytes[self.at..]);
        self.segment(width);
        encoding::unsigned_padded(self.out, index(original), width);
    }

    /// Copies up to the `return` at file offset `at`, and makes that a branch.
    fn branch(&mut self, at: usize, depth: u32) {
        debug_assert_eq!(self.bytes[at], opcode::RETURN);
        self.up_to(at);
        self.segment(1);
        Code(self.out).br(depth);
    }
}
