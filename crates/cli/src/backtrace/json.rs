//! A stack for programs: one JSON document.
//!
//! | field | is |
//! |---|---|
//! | `guest` | the guest's name |
//! | `status` | the program's exit status |
//! | `cause` | `trap`, `exception` or `host` |
//! | `trap` | which trap, as wasmtime's `Trap` calls it; null of other causes |
//! | `messages` | what the error and its causes say, outermost first |
//! | `extent` | how much of the stack is known: `whole`, `newest`, `nothing` |
//! | `frames` | the frames, newest first |
//!
//! A frame has `kind` (`guest`, `host`), `module`, `function` (its index), `name`, `offset`
//! (of the instruction, from the first byte of the file) and `source`: the calls that are
//! one there, innermost inlined first, each with `function`, `symbol` (the name before it was
//! demangled), `file`, `line`, `column`, `declared_line` and `inlined`. What is not known is
//! null.

use super::Stack;
use serde_json::{Value, json};
use std::io::{self, Write};
use wasmscope::{Extent, FailureCause, Frame, FrameKind};
use wasmscope_symbolize::SourceFrame;

/// Writes a stack.
pub(super) fn write(stack: &Stack, to: &mut impl Write) -> io::Result<()> {
    let failure = &stack.failure;
    let (cause, trap) = match failure.cause() {
        FailureCause::Trap(trap) => ("trap", Some(format!("{trap:?}"))),
        FailureCause::Exception => ("exception", None),
        _ => ("host", None),
    };
    let extent = match failure.extent() {
        Extent::Whole => "whole",
        Extent::Nothing => "nothing",
        _ => "newest",
    };
    // A frame at a time: a stack may have a hundred thousand.
    let head = json!({
        "guest": stack.guest,
        "status": stack.status,
        "cause": cause,
        "trap": trap,
        "messages": failure.messages(),
        "extent": extent,
    });
    let head = serde_json::to_string(&head)?;
    write!(to, "{},\"frames\":[", head.trim_end_matches('}'))?;
    for (position, frame) in failure.frames().iter().enumerate() {
        to.write_all(if position == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *to, &frame_value(frame))?;
    }
    writeln!(to, "]}}")
}

fn frame_value(frame: &Frame) -> Value {
    let kind = match frame.kind {
        FrameKind::Guest => "guest",
        FrameKind::Host => "host",
        FrameKind::Trampoline => "trampoline",
        _ => "builtin",
    };
    json!({
        "kind": kind,
        "module": frame.module.as_deref(),
        "function": frame.function.map(|function| function.0),
        "name": &*frame.name,
        "offset": frame.offset.map(|offset| offset.0),
        "source": frame.source.iter().map(call_value).collect::<Vec<_>>(),
    })
}

fn call_value(call: &SourceFrame) -> Value {
    json!({
        "function": &*call.function,
        "symbol": call.raw.as_deref(),
        "file": call.file.as_deref(),
        "line": call.line,
        "column": call.column,
        "declared_line": call.declared_line,
        "inlined": call.inlined,
    })
}
