//! What a trace shall hold, and how it is written.

use crate::format::Format;
use crate::sink::Sink;
use crate::tracer::{Clock, Names, Options, Select, Tracer};
use crate::wasi::Limits;
use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};
use wasmscope_listen::Definition;

/// Describes a trace; [`Builder::write_to`] begins it.
pub struct Builder {
    format: Format,
    title: String,
    is_coloured: bool,
    is_direct: bool,
    select: Select,
    names: Names,
    clock: Clock,
    depth: u32,
    limits: Limits,
}

impl Default for Builder {
    /// All functions, at any depth, as text.
    fn default() -> Self {
        let begin = Instant::now();
        Self {
            format: Format::default(),
            title: "guest".to_owned(),
            is_coloured: false,
            is_direct: false,
            select: Box::new(|_| true),
            names: Box::new(|_| None),
            clock: Box::new(move || begin.elapsed()),
            depth: u32::MAX,
            limits: Limits::default(),
        }
    }
}

impl Builder {
    /// Sets the format.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Sets what viewers call the guest.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets whether text has colours; by default it has not.
    pub fn coloured(mut self, is_coloured: bool) -> Self {
        self.is_coloured = is_coloured;
        self
    }

    /// Sets whether each event is handed on at once, as for a terminal; by default
    /// they are handed on many at a time.
    pub fn direct(mut self, is_direct: bool) -> Self {
        self.is_direct = is_direct;
        self
    }

    /// Traces only functions that this accepts.
    pub fn select(mut self, select: impl Fn(&Definition) -> bool + Send + Sync + 'static) -> Self {
        self.select = Box::new(select);
        self
    }

    /// Takes the names of functions from elsewhere, for instance demangled; where
    /// there is none, from the definition.
    pub fn names(
        mut self,
        names: impl Fn(&Definition) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.names = Box::new(names);
        self
    }

    /// Takes the time since the trace began from elsewhere; by default it is that of
    /// the system's monotonic clock.
    pub fn clock(mut self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Traces only calls with fewer than so many traced functions around them.
    pub fn depth(mut self, depth: u32) -> Self {
        self.depth = depth;
        self
    }

    /// Sets how much is shown of what a guest reads or writes through WASI.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Begins the trace. There is a buffer already, so `output` needs none.
    pub fn write_to(self, output: impl Write + Send + 'static) -> Tracer {
        let options = Options {
            select: self.select,
            names: self.names,
            clock: self.clock,
            depth: self.depth,
            limits: self.limits,
        };
        let writer = self.format.writer(self.title, self.is_coloured);
        Tracer::new(options, writer, Sink::new(Box::new(output), self.is_direct))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("format", &self.format)
            .field("title", &self.title)
            .field("depth", &self.depth)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
