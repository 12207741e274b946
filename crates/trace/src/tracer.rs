//! The listener that writes a trace, and the factory that attaches it to functions.

use crate::builder::Builder;
use crate::error::Error;
use crate::event::{Arguments, End, Event, Writer};
use crate::instance::InstanceMemory;
use crate::sink::Sink;
use crate::stacks::Stacks;
use crate::subject::Subject;
use crate::threads::Threads;
use crate::typed::Typed;
use crate::wasi::Limits;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wasmscope_listen::{BoxListener, Call, Cause, Definition, Factory, Listener, Values};

/// Writes the calls of the functions that it is attached to. A clone writes the same
/// trace.
///
/// It is a [`Factory`]: give it to whoever instruments a module. Events are written as
/// they happen, from whatever thread; no event is kept in memory for longer than it
/// takes to fill a buffer. When the output fails the trace ends and the guest goes on;
/// [`Tracer::finish`] says so.
#[derive(Clone)]
pub struct Tracer {
    shared: Arc<Shared>,
}

/// What a trace holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Calls that opened.
    pub opens: u64,
    /// Calls that closed, by whatever end.
    pub closes: u64,
}

pub(crate) type Select = Box<dyn Fn(&Definition) -> bool + Send + Sync>;
pub(crate) type Names = Box<dyn Fn(&Definition) -> Option<String> + Send + Sync>;
pub(crate) type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

/// What a trace is made with.
pub(crate) struct Options {
    pub(crate) select: Select,
    pub(crate) names: Names,
    pub(crate) clock: Clock,
    pub(crate) depth: u32,
    pub(crate) limits: Limits,
}

struct Shared {
    options: Options,
    /// Tells the states of this trace from those of another one.
    number: u32,
    /// The trace has ended, or its output failed.
    is_over: AtomicBool,
    trace: Mutex<Trace>,
}

/// The trace itself.
struct Trace {
    writer: Box<dyn Writer>,
    sink: Sink,
    stacks: Stacks,
    threads: Threads,
    counts: Counts,
    error: Option<Error>,
}

impl Tracer {
    /// Begins to describe a trace.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(options: Options, mut writer: Box<dyn Writer>, mut sink: Sink) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        sink.other(|out| writer.begin(out));
        let trace = Trace {
            writer,
            sink,
            stacks: Stacks::default(),
            threads: Threads::default(),
            counts: Counts::default(),
            error: None,
        };
        let shared = Shared {
            options,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            is_over: AtomicBool::new(false),
            trace: Mutex::new(trace),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Ends the trace and says what is in it. What happens later is not written;
    /// calls that are still open stay open in it.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] when the output did not take everything, the first time that
    /// this is called.
    pub fn finish(&self) -> Result<Counts, Error> {
        let mut trace = self.shared.lock();
        if !self.shared.is_over.swap(true, Ordering::AcqRel) {
            let Trace { writer, sink, .. } = &mut *trace;
            sink.other(|out| writer.end(out));
            if let Err(error) = sink.flush() {
                trace.error = Some(error);
            }
        }
        match trace.error.take() {
            Some(error) => Err(error),
            None => Ok(trace.counts),
        }
    }

    /// Returns what is in it so far.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// Tells whether the output failed, so that the trace ended before the guest.
    pub fn is_over(&self) -> bool {
        self.shared.is_over.load(Ordering::Acquire)
    }
}

impl Factory for Tracer {
    fn listener(&self, definition: &Definition) -> Option<BoxListener> {
        let options = &self.shared.options;
        (options.select)(definition).then(|| {
            BoxListener::new(Traced {
                subject: Subject::new(definition, (options.names)(definition)),
                shared: self.shared.clone(),
            })
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Trace> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one event, unless the trace is over.
    fn write(&self, trace: &mut Trace, write: impl FnOnce(&mut dyn Writer, &mut Vec<u8>)) -> bool {
        if self.is_over.load(Ordering::Acquire) {
            return false;
        }
        let Trace { writer, sink, .. } = trace;
        if let Err(error) = sink.event(|out| write(writer.as_mut(), out)) {
            trace.error = Some(error);
            self.is_over.store(true, Ordering::Release);
        }
        true
    }
}

/// One function's listener.
struct Traced {
    subject: Subject,
    shared: Arc<Shared>,
}

/// What a call leaves until its close, and for the calls within it.
#[derive(Clone, Copy, Debug)]
struct Opened {
    /// 0 when it is not in the trace.
    id: u64,
    trace: u32,
    stack: u32,
    depth: u32,
}

impl Opened {
    /// A call that is not in the trace.
    fn hidden(trace: u32, stack: u32, depth: u32) -> Self {
        Self {
            id: 0,
            trace,
            stack,
            depth,
        }
    }
}

impl Traced {
    fn close(&self, opened: Opened, end: &End<'_>) {
        let is_outermost = opened.depth == 0;
        if opened.id == 0 && !is_outermost {
            return;
        }
        let time = (self.shared.options.clock)();
        let mut trace = self.shared.lock();
        if is_outermost {
            trace.stacks.give_back(opened.stack);
        }
        if opened.id != 0 {
            let event = self.event(opened, time, trace.threads.current());
            let is_written = self
                .shared
                .write(&mut trace, |writer, out| writer.close(&event, end, out));
            trace.counts.closes += u64::from(is_written);
        }
    }

    fn event(&self, opened: Opened, time: Duration, thread: u32) -> Event<'_> {
        Event {
            id: opened.id,
            time,
            thread,
            stack: opened.stack,
            depth: opened.depth,
            subject: &self.subject,
        }
    }
}

impl Listener for Traced {
    type State = Opened;

    fn before(&self, call: &Call<'_>) -> Opened {
        let Shared {
            options, number, ..
        } = &*self.shared;
        if self.shared.is_over.load(Ordering::Acquire) {
            return Opened::hidden(*number, 0, u32::MAX);
        }
        let time = (options.clock)();
        let parent = call
            .parents()
            .find_map(|parent| parent.find_state(|state: &Opened| state.trace == *number));
        let mut opened = match parent {
            Some(parent) => Opened::hidden(*number, parent.stack, parent.depth.saturating_add(1)),
            None => Opened::hidden(*number, 0, 0),
        };
        if opened.depth >= options.depth && parent.is_some() {
            return opened;
        }
        let memory = InstanceMemory(call.instance());
        let values = call.params();
        let decoded = self
            .subject
            .wasi
            .map(|wasi| wasi.arguments(values.words(), &memory, &options.limits));
        let typed = Typed::params(call, &options.limits);
        let arguments = Arguments {
            values,
            decoded: decoded.as_ref(),
            typed: typed.as_ref(),
            is_deferred: call.is_deferred(),
        };
        let mut trace = self.shared.lock();
        if parent.is_none() {
            opened.stack = trace.stacks.take();
        }
        if opened.depth < options.depth {
            opened.id = trace.counts.opens + 1;
            let event = self.event(opened, time, trace.threads.current());
            let is_written = self.shared.write(&mut trace, |writer, out| {
                writer.open(&event, &arguments, out);
            });
            trace.counts.opens += u64::from(is_written);
        }
        opened
    }

    fn after(&self, call: &Call<'_>, results: Values<'_>, opened: Opened) {
        let decoded = self.subject.wasi.filter(|_| opened.id != 0).map(|wasi| {
            let memory = InstanceMemory(call.instance());
            let limits = &self.shared.options.limits;
            wasi.outcome(call.params().words(), results.words(), &memory, limits)
        });
        let typed = match opened.id {
            0 => None,
            _ => Typed::results(call, results, &self.shared.options.limits),
        };
        let end = End::Return {
            values: results,
            decoded: decoded.as_ref(),
            typed: typed.as_ref(),
        };
        self.close(opened, &end);
    }

    fn tail_call(&self, _call: &Call<'_>, opened: Opened) {
        self.close(opened, &End::TailCall);
    }

    fn abort(&self, _call: &Call<'_>, cause: &Cause<'_>, opened: Opened) {
        self.close(opened, &End::Abort(cause));
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer")
            .field("is_over", &self.is_over())
            .finish_non_exhaustive()
    }
}
