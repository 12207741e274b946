//! What stands where [`signals`](crate) cannot be used: the same names, so that
//! embedders write one program. A sampler does not start here, so that there is
//! never one whose other methods could be called.

use crate::{
    CodeMap, Error, HostFrames, Options, RawFrame, Sink, StackEnd, ThreadId, ThreadReport,
};
use std::convert::Infallible;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use wasmscope_address::TextRange;

/// Samples threads; there is none on this platform.
#[derive(Debug)]
pub struct Sampler<S: Sink> {
    never: Infallible,
    sink: PhantomData<S>,
}

impl<S: Sink> Sampler<S> {
    /// Starts no sampler.
    ///
    /// # Errors
    ///
    /// [`Error::Platform`], always.
    pub fn start(options: Options, sink: S) -> Result<Self, Error> {
        drop((options, sink));
        Err(Error::Platform)
    }

    /// Returns the options it was started with.
    #[must_use]
    pub fn options(&self) -> &Options {
        match self.never {}
    }

    /// Samples the calling thread until the guard is dropped.
    ///
    /// # Errors
    ///
    /// None: there is no sampler to call it on.
    pub fn attach_thread(&self) -> Result<ThreadGuard, Error> {
        match self.never {}
    }

    /// Adds guest code.
    ///
    /// # Errors
    ///
    /// None: there is no sampler to call it on.
    pub fn add_code(&self, _range: TextRange, _windows: GuestWindows) -> Result<(), Error> {
        match self.never {}
    }

    /// Removes guest code.
    pub fn remove_code(&self, _range: TextRange) {
        match self.never {}
    }

    /// Returns the code that is registered now.
    #[must_use]
    pub fn code(&self) -> CodeMap {
        match self.never {}
    }

    /// Looks again which libraries are loaded.
    pub fn reload_host_objects(&self) {
        match self.never {}
    }

    /// Prepares to capture stacks without signals.
    #[must_use]
    pub fn stack_capture(&self) -> StackCapture {
        match self.never {}
    }

    /// Gives access to the sink as it is.
    pub fn sink_undrained(&self) -> SinkAccess<'_, S> {
        match self.never {}
    }

    /// Drains all rings and then gives access to the sink.
    pub fn sink(&self) -> SinkAccess<'_, S> {
        match self.never {}
    }

    /// Reports on the threads whose last word the sink has not got yet.
    #[must_use]
    pub fn threads(&self) -> Vec<ThreadReport> {
        match self.never {}
    }
}

/// Access to a sampler's sink; there is none on this platform.
#[derive(Debug)]
pub struct SinkAccess<'a, S> {
    never: Infallible,
    sink: PhantomData<&'a mut S>,
}

impl<S> Deref for SinkAccess<'_, S> {
    type Target = S;

    fn deref(&self) -> &S {
        match self.never {}
    }
}

impl<S> DerefMut for SinkAccess<'_, S> {
    fn deref_mut(&mut self) -> &mut S {
        match self.never {}
    }
}

/// Keeps a thread attached; there is none on this platform.
#[derive(Debug)]
pub struct ThreadGuard {
    never: Infallible,
    not_send: PhantomData<*const ()>,
}

impl ThreadGuard {
    /// Returns the sampler's number of this thread.
    #[must_use]
    pub fn id(&self) -> ThreadId {
        match self.never {}
    }

    /// Keeps the thread attached until it exits.
    pub fn keep_until_thread_exits(self) {
        match self.never {}
    }
}

/// Captures stacks by walking them; there is none on this platform.
#[derive(Debug)]
pub struct StackCapture {
    never: Infallible,
}

impl StackCapture {
    /// Prepares to capture; `None`, since stacks cannot be walked on this platform.
    #[must_use]
    pub fn new() -> Option<Self> {
        None
    }

    /// Replaces `frames` with the calling thread's stack.
    pub fn capture(
        &mut self,
        _code: &CodeMap,
        _at_most: usize,
        _frames: &mut Vec<RawFrame>,
    ) -> StackEnd {
        match self.never {}
    }

    /// Visits the frames of the calling thread's stack.
    pub fn visit(
        &mut self,
        _code: &CodeMap,
        _visit: impl FnMut(wasmscope_walk::Frame) -> std::ops::ControlFlow<()>,
    ) -> wasmscope_walk::End {
        match self.never {}
    }
}

/// Reads memory of this process that may not be there: nothing, on this platform.
pub fn read_memory(_address: u64, _words: &mut [u64]) -> usize {
    0
}

/// A stack that is there; nobody asks on this platform.
#[derive(Debug)]
pub struct KnownStack(());

impl KnownStack {
    /// Says where a stack is, which nobody asks for here.
    ///
    /// # Safety
    ///
    /// None is needed: it is not read.
    #[must_use]
    #[expect(unsafe_code, reason = "so it is declared where stacks are walked")]
    pub unsafe fn new(_range: Range<usize>) -> Self {
        Self(())
    }
}

/// Captures stacks of one thread; there is none on this platform.
#[derive(Debug)]
pub struct OwnCapture {
    never: Infallible,
}

impl OwnCapture {
    /// Prepares to capture; `None`, since stacks cannot be walked on this platform.
    #[must_use]
    pub fn new() -> Option<Self> {
        None
    }

    /// Looks again which libraries are loaded, of which nothing is known here.
    pub fn reload_host_objects() {}

    /// Takes in libraries that were loaded since.
    pub fn refresh(&mut self) {
        match self.never {}
    }

    /// Visits the frames of the calling thread's stack.
    pub fn visit(
        &mut self,
        _code: &CodeMap,
        _generation: u64,
        _host_frames: HostFrames,
        _visit: &mut impl wasmscope_walk::Visit,
    ) -> wasmscope_walk::End {
        match self.never {}
    }
}

impl StackCapture {
    /// Visits the frames of a stack that was left.
    pub fn visit_left(
        &mut self,
        _left: crate::LeftStack<'_>,
        _code: &CodeMap,
        _visit: impl FnMut(wasmscope_walk::Frame) -> std::ops::ControlFlow<()>,
    ) -> wasmscope_walk::End {
        match self.never {}
    }
}

/// What the walk must know of a guest's code: nothing, where nothing is walked.
#[derive(Clone, Debug)]
pub struct GuestWindows;

/// Finds what the walk must know of a compiled text; nothing on this platform.
#[must_use]
pub fn find_windows(
    _text: &[u8],
    _functions: impl IntoIterator<Item = Range<u32>>,
) -> GuestWindows {
    GuestWindows
}

/// Sets the label of the calling thread's samples; `None`, and no effect, since no
/// thread is attached on this platform.
pub fn set_label(_label: u64) -> Option<u64> {
    None
}

/// A task's label; there is none on this platform.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TaskLabel;

/// Runs `work`; no thread is attached on this platform, so the label is nobody's.
pub fn with_label<R>(_label: Option<u64>, work: impl FnOnce() -> R) -> R {
    work()
}

/// Tells whether tasks' labels may be set: never on this platform.
#[must_use]
pub fn takes_task_labels() -> bool {
    false
}

/// Puts a label in effect on the stack that the caller runs on; no effect on this platform.
pub fn set_task_label(_label: Option<u64>) -> TaskLabel {
    TaskLabel
}

/// Puts a task's label back in effect; no effect on this platform.
pub fn restore_task_label(_task: TaskLabel) {}

/// Returns the calling thread's number and label, if it is attached to a sampler:
/// never on this platform.
#[must_use]
pub fn current_thread() -> Option<(ThreadId, u64)> {
    None
}

/// Tells whether the calling thread is attached to a sampler: never on this platform.
#[must_use]
pub fn is_attached() -> bool {
    false
}

/// One thread of this process; it cannot be told which on this platform.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OsThread {
    never: Infallible,
}

impl OsThread {
    /// Returns no thread.
    ///
    /// # Errors
    ///
    /// [`Error::Platform`], always.
    pub fn current() -> Result<Self, Error> {
        Err(Error::Platform)
    }

    /// Returns no thread.
    ///
    /// # Errors
    ///
    /// [`Error::Platform`], always.
    pub fn with_tid(_tid: u32) -> Result<Self, Error> {
        Err(Error::Platform)
    }

    /// Returns no threads.
    ///
    /// # Errors
    ///
    /// [`Error::Platform`], always.
    pub fn all() -> Result<Vec<Self>, Error> {
        Err(Error::Platform)
    }

    /// Returns the system's number of it.
    #[must_use]
    pub fn tid(self) -> u32 {
        match self.never {}
    }

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> Option<String> {
        match self.never {}
    }

    /// Tells whether it has not ended yet.
    #[must_use]
    pub fn is_alive(self) -> bool {
        match self.never {}
    }
}

/// Captures the stacks of other threads; there is none on this platform.
#[derive(Clone, Debug)]
pub struct ThreadCapture {
    never: Infallible,
}

impl ThreadCapture {
    /// Prepares nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Platform`], always.
    pub fn new() -> Result<Self, Error> {
        Err(Error::Platform)
    }

    /// Captures the stack of another thread.
    ///
    /// # Errors
    ///
    /// None: there is nothing to call it on.
    pub fn capture(
        &self,
        _thread: OsThread,
        _code: &std::sync::Arc<CodeMap>,
        _at_most: usize,
        _within: std::time::Duration,
        _frames: &mut Vec<wasmscope_walk::Frame>,
    ) -> Result<wasmscope_walk::End, Error> {
        match self.never {}
    }
}

/// Gets the stack of a thread whose process is about to end; never on this platform.
pub trait FatalReport: Send + Sync {
    /// Returns the guests' code.
    fn code(&self) -> &CodeMap;

    /// Says which signal it is.
    fn begin(&self, signal: i32, tid: u32);

    /// Visits a frame.
    fn frame(&self, frame: wasmscope_walk::Frame);

    /// Says how the walk ended.
    fn end(&self, end: wasmscope_walk::End);
}

/// Does nothing: there are no such reports on this platform.
///
/// # Errors
///
/// [`Error::Platform`], unless there is to be none.
pub fn set_fatal_report(report: Option<std::sync::Arc<dyn FatalReport>>) -> Result<(), Error> {
    report.map_or(Ok(()), |_| Err(Error::Platform))
}

/// Does nothing: there are no such reports on this platform.
pub fn report_this_thread() {}

/// Does nothing: there are no such reports on this platform.
pub fn write_to_stderr(_text: &[u8]) {}
