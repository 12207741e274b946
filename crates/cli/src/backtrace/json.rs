//! A stack for programs: one JSON document.
//!
//! | field | is |
//! |---|---|
//! | `guest` | the guest's name |
//! | `status` | the program's exit status |
//! | `cause` | `trap`, `exception`, `host`, or `timeout` for where a guest is that cannot be stopped |
//! | `trap` | which trap, as wasmtime's `Trap` calls it; null of other causes |
//! | `messages` | what the error and its causes say, outermost first |
//! | `extent` | how much of the stack is known: `whole`, `rethrown` (from where an exception was thrown on), `newest`, `nothing` |
//! | `frames` | the frames, newest first |
//!
//! Of a core dump there are `guest`, the name in it, and `threads`, each with `name`, `extent`
//! (null where the dump does not say) and `frames`, which have `locals` and `operands` as well:
//! values as `TYPE:NUMBER`, floats by their bits, null where not known.
//!
//! A frame has `kind` (`guest`, `host`), `module`, `function` (its index), `name`, `offset`
//! (of the instruction, from the first byte of the file) and `source`: the calls that are
//! one there, innermost inlined first, each with `function`, `symbol` (the name before it was
//! demangled), `file`, `line`, `column`, `declared_line` and `inlined`. What is not known is
//! null.

use super::{Account, Held, Stack};
use crate::duration;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;
use wasmscope::{Extent, FailureCause, Frame, FrameKind};
use wasmscope_symbolize::SourceFrame;

/// Writes what is shown.
pub(super) fn write(account: &Account, to: &mut impl Write) -> io::Result<()> {
    match account {
        Account::Failure {
            guest,
            failure,
            status,
        } => {
            let (cause, trap) = match failure.cause() {
                FailureCause::Trap(trap) => ("trap", Some(format!("{trap:?}"))),
                FailureCause::Exception => ("exception", None),
                _ => ("host", None),
            };
            let head = json!({
                "guest": guest,
                "status": status,
                "cause": cause,
                "trap": trap,
                "messages": failure.messages(),
                "extent": extent(Some(failure.extent())),
            });
            let stack = Stack {
                frames: failure.frames(),
                held: &[],
                extent: Some(failure.extent()),
            };
            object(&head, "frames", to, |to| frames(&stack, to))?;
        }
        Account::Stuck {
            guest,
            after,
            frames: stack,
            extent: of,
            status,
        } => {
            let head = json!({
                "guest": guest,
                "status": status,
                "cause": "timeout",
                "trap": null,
                "messages": [format!("it does not end after {}", duration::show(*after))],
                "extent": extent(Some(*of)),
            });
            let stack = Stack {
                frames: stack,
                held: &[],
                extent: Some(*of),
            };
            object(&head, "frames", to, |to| frames(&stack, to))?;
        }
        Account::Dump { guest, threads } => {
            object(&json!({ "guest": guest }), "threads", to, |to| {
                list(threads, to, |thread, to| {
                    let stack = Stack {
                        frames: &thread.frames,
                        held: &thread.held,
                        extent: thread.cut.then_some(Extent::Newest),
                    };
                    let head = json!({ "name": thread.name, "extent": extent(stack.extent) });
                    object(&head, "frames", to, |to| frames(&stack, to))
                })
            })?;
        }
    }
    writeln!(to)
}

/// Writes an object with one field more than `head` has.
fn object<W: Write>(
    head: &Value,
    name: &str,
    to: &mut W,
    field: impl FnOnce(&mut W) -> io::Result<()>,
) -> io::Result<()> {
    let head = head.to_string();
    let open = head.strip_suffix('}').unwrap_or(&head);
    write!(to, "{open},\"{name}\":")?;
    field(to)?;
    write!(to, "}}")
}

/// Writes a list, an element a line.
fn list<T, W: Write>(
    elements: impl IntoIterator<Item = T>,
    to: &mut W,
    mut element: impl FnMut(T, &mut W) -> io::Result<()>,
) -> io::Result<()> {
    write!(to, "[")?;
    for (position, it) in elements.into_iter().enumerate() {
        to.write_all(if position == 0 { b"\n" } else { b",\n" })?;
        element(it, to)?;
    }
    write!(to, "]")
}

fn extent(extent: Option<Extent>) -> Option<&'static str> {
    Some(match extent? {
        Extent::Whole => "whole",
        Extent::Rethrown => "rethrown",
        Extent::Nothing => "nothing",
        _ => "newest",
    })
}

/// Writes frames one at a time: there may be a hundred thousand, most of them at few places.
fn frames(stack: &Stack<'_>, to: &mut impl Write) -> io::Result<()> {
    let mut written: HashMap<*const Frame, String> = HashMap::new();
    list(stack.frames.iter().enumerate(), to, |(at, frame), to| {
        let Some(Held { locals, operands }) = stack.held.get(at) else {
            let frame = written
                .entry(Arc::as_ptr(frame))
                .or_insert_with(|| frame_value(frame).to_string());
            return to.write_all(frame.as_bytes());
        };
        let mut value = frame_value(frame);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("locals".to_owned(), json!(locals));
            fields.insert("operands".to_owned(), json!(operands));
        }
        serde_json::to_writer(to, &value).map_err(io::Error::from)
    })
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
