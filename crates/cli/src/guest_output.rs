//! The guest's output on a terminal that the progress line is on as well.
//!
//! What the guest writes must come out as it is, so the line gives way: it is taken
//! off before the guest's bytes are written, and is not drawn while the guest is in
//! the middle of a line of its own. Where there is no progress line, or the guest's
//! output goes elsewhere, nothing of this is between the guest and its output.

use crate::progress::Line;
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// One of the guest's two outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Output {
    Stdout,
    Stderr,
}

impl Output {
    /// Tells whether it goes to a terminal.
    pub(crate) fn is_terminal(self) -> bool {
        match self {
            Self::Stdout => io::IsTerminal::is_terminal(&io::stdout()),
            Self::Stderr => io::IsTerminal::is_terminal(&io::stderr()),
        }
    }
}

/// An output before which the progress line gives way.
#[derive(Clone, Debug)]
pub(crate) struct GuestOutput {
    output: Output,
    line: Arc<Line>,
}

impl GuestOutput {
    pub(crate) fn new(output: Output, line: Arc<Line>) -> Self {
        Self { output, line }
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        self.output.is_terminal()
    }
}

impl StdoutStream for GuestOutput {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        let inner = match self.output {
            Output::Stdout => io::stdout().p2_stream(),
            Output::Stderr => io::stderr().p2_stream(),
        };
        let line = self.line.clone();
        Box::new(Stream { inner, line })
    }

    /// Only for WASI p3, which is not run here.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        match self.output {
            Output::Stdout => io::stdout().async_stream(),
            Output::Stderr => io::stderr().async_stream(),
        }
    }
}

struct Stream {
    inner: Box<dyn OutputStream>,
    line: Arc<Line>,
}

#[async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[async_trait]
impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let Some(&last) = bytes.last() else {
            return self.inner.write(bytes);
        };
        let inner = &mut self.inner;
        self.line.give_way(last, || inner.write(bytes))
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }
}
