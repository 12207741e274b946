//! What happens in a trace: calls open and close.
//!
//! Writers see only this. An event is borrowed from the call that it tells of and is
//! gone when it is written, so a trace of any length needs the same memory.

use crate::subject::Subject;
use crate::typed::Typed;
use crate::wasi::{Decoded, Outcome};
use std::error::Error;
use std::time::Duration;
use wasmscope_listen::{Cause, Values};

/// What open and close of one call have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    /// Tells calls apart; counted from 1.
    pub(crate) id: u64,
    /// Since the trace began.
    pub(crate) time: Duration,
    /// The thread that it happened on; counted from 1.
    pub(crate) thread: u32,
    /// The execution stack: within one, calls nest; counted from 1.
    pub(crate) stack: u32,
    /// How many traced calls are open around it.
    pub(crate) depth: u32,
    pub(crate) subject: &'a Subject,
}

/// What a call is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a> {
    pub(crate) values: Values<'a>,
    pub(crate) decoded: Option<&'a Decoded>,
    pub(crate) typed: Option<&'a Typed>,
    /// Whether the call is told later than it happened.
    pub(crate) is_deferred: bool,
}

/// How a call ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End<'a> {
    Return {
        values: Values<'a>,
        decoded: Option<&'a Outcome>,
        typed: Option<&'a Typed>,
    },
    TailCall,
    Abort(&'a Cause<'a>),
}

/// Turns events into bytes of a format. Bytes that are written stay written: a writer
/// leaves the output well-formed after each event.
pub(crate) trait Writer: Send {
    /// Writes what comes before all events.
    fn begin(&mut self, out: &mut Vec<u8>);

    /// Writes that a call opens.
    fn open(&mut self, event: &Event<'_>, arguments: &Arguments<'_>, out: &mut Vec<u8>);

    /// Writes that a call closes.
    fn close(&mut self, event: &Event<'_>, end: &End<'_>, out: &mut Vec<u8>);

    /// Writes what comes after all events.
    fn end(&mut self, out: &mut Vec<u8>);
}

/// Splits a cause into its kind and what is said about it, on one line where that is
/// possible.
pub(crate) fn explain(cause: &Cause<'_>) -> (&'static str, Option<String>) {
    match cause {
        Cause::Trap(error) => {
            // The kind says that already.
            let message = message(*error);
            let what = message.strip_prefix("wasm trap: ").unwrap_or(&message);
            ("trap", Some(what.to_owned()))
        }
        Cause::HostError(error) => ("error", Some(message(*error))),
        Cause::StackOverflow => ("stack overflow", None),
        Cause::Exception => ("exception", None),
        Cause::Exit(status) => ("exit", Some(status.to_string())),
        Cause::Panic => ("panic", None),
        Cause::FutureDropped => ("future dropped", None),
        Cause::StoreDropped => ("store dropped", None),
        Cause::Unknown => ("unknown", None),
        other => ("other", Some(other.to_string())),
    }
}

/// Engines put a backtrace, in several lines, before what happened; the trace is one
/// already.
fn message(error: &(dyn Error + 'static)) -> String {
    let mut next = Some(error);
    let chain = std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    });
    let mut messages = chain.map(ToString::to_string);
    let first = messages.next().unwrap_or_default();
    match first.contains('\n') {
        true => messages.find(|text| !text.contains('\n')).unwrap_or(first),
        false => first,
    }
}
