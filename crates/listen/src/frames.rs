//! Frames given by hand, for tests and for [`crate::bench`].

use wasmscope_address::HostPc;

use crate::definition::Definition;
use crate::instance::InstanceId;
use crate::stack::{Line, RawFrame, SourceOffset, StackSource};
use crate::value::Value;
use crate::values::Values;

/// One frame with all that can be known of it, results included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The function.
    pub definition: Definition,
    /// The parameters at the call.
    pub params: Vec<Value>,
    /// What the call is going to return.
    pub results: Vec<Value>,
    /// The program counter.
    pub pc: HostPc,
    /// The offset in the original module.
    pub source_offset: Option<SourceOffset>,
    /// The line of source text.
    pub line: Option<Line>,
    /// The instance.
    pub instance: Option<InstanceId>,
}

impl Frame {
    /// Makes a frame that calls a function, of which nothing else is known.
    #[must_use]
    pub fn new(
        definition: Definition,
        params: impl Into<Vec<Value>>,
        results: impl Into<Vec<Value>>,
    ) -> Self {
        Self {
            definition,
            params: params.into(),
            results: results.into(),
            pc: HostPc(0),
            source_offset: None,
            line: None,
            instance: None,
        }
    }
}

/// A stack of given frames, newest first; [`crate::Stack::from_frames`] walks it.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    given: Vec<Frame>,
    raw: Vec<RawFrame>,
    params: Vec<Vec<u64>>,
}

impl Frames {
    /// Takes frames, newest first.
    #[must_use]
    pub fn new(given: impl Into<Vec<Frame>>) -> Self {
        let given = given.into();
        let raw = given
            .iter()
            .zip(0..)
            .map(|(frame, key)| RawFrame { pc: frame.pc, key });
        Self {
            raw: raw.collect(),
            params: given.iter().map(|frame| flatten(&frame.params)).collect(),
            given,
        }
    }

    /// Returns the frames, newest first.
    #[must_use]
    pub fn given(&self) -> &[Frame] {
        &self.given
    }

    fn get(&self, frame: RawFrame) -> Option<&Frame> {
        self.given.get(usize::try_from(frame.key).ok()?)
    }
}

/// Flattens values into words.
pub(crate) fn flatten(values: &[Value]) -> Vec<u64> {
    let mut words = Vec::with_capacity(values.len());
    for value in values {
        value.flatten(&mut words);
    }
    words
}

impl StackSource for Frames {
    fn frames(&self) -> &[RawFrame] {
        &self.raw
    }

    fn definition(&self, frame: RawFrame) -> Option<&Definition> {
        Some(&self.get(frame)?.definition)
    }

    fn source_offset(&self, frame: RawFrame) -> Option<SourceOffset> {
        self.get(frame)?.source_offset
    }

    fn line(&self, frame: RawFrame) -> Option<Line> {
        self.get(frame)?.line.clone()
    }

    fn instance(&self, frame: RawFrame) -> Option<InstanceId> {
        self.get(frame)?.instance
    }

    fn params(&self, frame: RawFrame) -> Option<Values<'_>> {
        let words = self.params.get(usize::try_from(frame.key).ok()?)?;
        Some(Values::new(&self.get(frame)?.definition.params, words))
    }
}
