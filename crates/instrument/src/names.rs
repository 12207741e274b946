//! Rewrites the name section: functions that moved keep their names, and so do their
//! labels, of which a probe opens some ahead of the body.
//!
//! Locals, types, tables, memories, globals, segments and tags keep their indices.

use wasmparser::{BinaryReader, Result};
use wasmscope_address::FuncIndex;

use crate::body::Marked;
use crate::encoding;
use crate::plan::Plan;
use crate::probe::Probe;

const FUNCTIONS: u8 = 1;
const LOCALS: u8 = 2;
const LABELS: u8 = 3;

/// Rewrites the contents of the name section. What cannot be read is left out: names say
/// nothing that matters to the engine.
pub(crate) fn rewrite(plan: &Plan<'_, '_>, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut reader = BinaryReader::new(data, 0);
    while let Ok((id, contents)) = subsection(&mut reader) {
        let rewritten = match id {
            FUNCTIONS => functions(plan, contents),
            LOCALS => indirect(plan, contents, |_| Opened::default()),
            LABELS => indirect(plan, contents, |function| Opened::new(plan, function)),
            _ => Ok(contents.to_vec()),
        };
        if let Ok(contents) = rewritten {
            out.push(id);
            encoding::unsigned(&mut out, contents.len() as u32);
            out.extend_from_slice(&contents);
        }
    }
    out
}

fn subsection<'a>(reader: &mut BinaryReader<'a>) -> Result<(u8, &'a [u8])> {
    let id = reader.read_u8()?;
    let len = reader.read_var_u32()?;
    Ok((id, reader.read_bytes(len as usize)?))
}

/// Rewrites the names of functions. A shim is named as the import that it stands for.
fn functions(plan: &Plan<'_, '_>, data: &[u8]) -> Result<Vec<u8>> {
    let mut reader = BinaryReader::new(data, 0);
    let mut named = Vec::new();
    for _ in 0..reader.read_var_u32()? {
        let index = reader.read_var_u32()?;
        let name = reader.read_unlimited_string()?;
        if (index as usize) < plan.module.functions.len() {
            named.push((plan.function(index), name));
        }
    }
    for import in &plan.shims {
        if let Some(name) = plan.module.functions[import.0 as usize].name {
            named.push((plan.called(import.0), name));
        }
    }
    let mut out = Vec::with_capacity(data.len());
    encoding::unsigned(&mut out, named.len() as u32);
    for (index, name) in named {
        encoding::unsigned(&mut out, index);
        encoding::name(&mut out, name);
    }
    Ok(out)
}

/// Rewrites names of things in functions, whose indices become what `opened` says.
fn indirect(
    plan: &Plan<'_, '_>,
    data: &[u8],
    opened: impl Fn(FuncIndex) -> Opened,
) -> Result<Vec<u8>> {
    let mut reader = BinaryReader::new(data, 0);
    let mut functions = Vec::new();
    let mut kept = 0;
    for _ in 0..reader.read_var_u32()? {
        let function = reader.read_var_u32()?;
        let known = (function as usize) < plan.module.functions.len();
        let count = reader.read_var_u32()?;
        if known {
            encoding::unsigned(&mut functions, plan.function(function));
            encoding::unsigned(&mut functions, count);
            kept += 1;
        }
        let opened = if known {
            opened(FuncIndex(function))
        } else {
            Opened::default()
        };
        for _ in 0..count {
            let index = reader.read_var_u32()?;
            let name = reader.read_unlimited_string()?;
            if known {
                encoding::unsigned(&mut functions, opened.moved(index));
                encoding::name(&mut functions, name);
            }
        }
    }
    let mut out = Vec::with_capacity(functions.len() + 5);
    encoding::unsigned(&mut out, kept);
    out.extend_from_slice(&functions);
    Ok(out)
}

/// The labels that a probe opens. Labels are numbered in the order in which they are
/// opened.
#[derive(Default)]
struct Opened {
    /// How many are opened ahead of the body.
    first: u32,
    /// How many of the body's own labels are opened before each of the others.
    others: Vec<u32>,
}

impl Opened {
    fn new(plan: &Plan<'_, '_>, function: FuncIndex) -> Self {
        let (Some(_), Some(body)) = (plan.number(function), plan.body(function)) else {
            return Self::default();
        };
        let mut others = Vec::new();
        for mark in &body.marks {
            if let Marked::ReturnCall(labels) | Marked::ReturnCallValue(labels) = mark.marked() {
                others.extend((0..Probe::event_labels(plan)).map(|_| labels));
            }
        }
        Self {
            first: Probe::labels(plan),
            others,
        }
    }

    /// Returns the index that a label of the body has.
    fn moved(&self, label: u32) -> u32 {
        let others = self.others.partition_point(|before| *before <= label);
        label.saturating_add(self.first + others as u32)
    }
}
