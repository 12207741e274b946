//! Drives a listener over and over, to find out what it costs.

use std::time::{Duration, Instant};

use crate::boxed::BoxListener;
use crate::call::{Call, Site};
use crate::definition::Definition;
use crate::frames::{Frames, flatten};
use crate::instance::Instance;
use crate::parent::Parent;
use crate::slot::Slot;
use crate::stack::StackSource;
use crate::values::Values;

/// Calls the newest frame's function `times` times, and returns how long that took.
///
/// Each call is a `before` and an `after`, with the frame's parameters and results and
/// with all frames as its stack. There are no parents. Time goes to the listener but for
/// about a nanosecond a call.
///
/// # Errors
///
/// Fails when there is no frame: a call has at least that of the called function.
pub fn bench(
    times: u64,
    listener: &BoxListener,
    instance: &dyn Instance,
    frames: &Frames,
) -> Result<Duration, EmptyStack> {
    let called = frames.given().first().ok_or(EmptyStack)?;
    let params = flatten(&called.params);
    let results = flatten(&called.results);
    let results = Values::new(&called.definition.results, &results);
    let site = GivenSite {
        definition: &called.definition,
        params: &params,
        instance,
        frames,
    };
    let start = Instant::now();
    for _ in 0..times {
        let mut slot = Slot::new();
        let call = Call::new(&site);
        listener.before(&call, &mut slot);
        listener.after(&call, results, &mut slot);
    }
    Ok(start.elapsed())
}

/// Says that no frames were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to drive a listener: the stack has no frames")]
pub struct EmptyStack;

struct GivenSite<'a> {
    definition: &'a Definition,
    params: &'a [u64],
    instance: &'a dyn Instance,
    frames: &'a Frames,
}

impl Site for GivenSite<'_> {
    fn definition(&self) -> &Definition {
        self.definition
    }

    fn params(&self) -> &[u64] {
        self.params
    }

    fn instance(&self) -> &dyn Instance {
        self.instance
    }

    fn stack(&self) -> &dyn StackSource {
        self.frames
    }

    fn parent(&self, _: Option<u64>) -> Option<Parent<'_>> {
        None
    }
}
