//! A sample, and who takes it in.

use crate::frame::RawFrame;
use crate::report::{ThreadId, ThreadReport};
use std::time::Duration;

/// How a sample's walk ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StackEnd {
    /// At the thread's root, or where its fiber begins.
    Root,
    /// Earlier: frames further out are missing.
    Cut,
}

/// One sample, as a [`Sink`](crate::Sink) gets it.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// When it was taken, in nanoseconds of `CLOCK_MONOTONIC`.
    pub monotonic_nanos: u64,
    /// How many intervals of the sampled clock it stands for: itself, and those
    /// whose samples were lost just before it.
    pub ticks: u64,
    /// Of the time of those intervals, what the sampler's own handler took of the
    /// thread: they began with the handlers of the samples before. What is left is
    /// the thread's own.
    pub in_handler: Duration,
    /// CPU time that the thread used since its previous sample, where measured.
    pub cpu: Option<Duration>,
    /// The label that the thread had set, see [`set_label`](crate::set_label).
    pub label: u64,
    /// How the walk ended.
    pub end: StackEnd,
    /// The frames, newest first.
    pub frames: &'a [RawFrame],
}

/// Takes in samples. Called on the drain thread, or on a thread that asks for the
/// sink, by one of them at a time, never in a signal handler.
pub trait Sink: Send + 'static {
    /// Takes one sample of one thread; a thread's samples come in order.
    fn sample(&mut self, thread: ThreadId, sample: &Sample<'_>);

    /// Takes the last word on a thread that was detached; all its samples came
    /// before.
    fn detached(&mut self, thread: ThreadReport);
}
