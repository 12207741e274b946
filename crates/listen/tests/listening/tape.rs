//! A listener that writes down what it hears, for tests to compare.

use std::sync::{Arc, Mutex};

use wasmscope_listen::{BoxListener, Call, Cause, Definition, Factory, Listener, Values};

/// Writes a line for each event; a clone writes to the same tape.
#[derive(Clone, Default)]
pub(crate) struct Tape {
    lines: Arc<Mutex<Vec<String>>>,
    mark: &'static str,
}

/// What the tape leaves in a call: its depth among the calls on the same tape.
pub(crate) struct Depth(pub(crate) usize);

impl Tape {
    /// Returns a listener that writes to the same tape, with a mark before each line.
    pub(crate) fn marked(&self, mark: &'static str) -> Self {
        Self {
            mark,
            ..self.clone()
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines
            .lock()
            .expect("no test panics while writing")
            .clone()
    }

    pub(crate) fn write(&self, line: &str) {
        let mut lines = self.lines.lock().expect("no test panics while writing");
        lines.push(format!("{}{line}", self.mark));
    }
}

impl Listener for Tape {
    type State = Depth;

    fn before(&self, call: &Call<'_>) -> Depth {
        let parent = call.parents().find_map(|parent| parent.state::<Depth>());
        let depth = parent.map_or(0, |parent| parent.0 + 1);
        self.write(&format!("{depth} before {call:?}"));
        Depth(depth)
    }

    fn after(&self, call: &Call<'_>, results: Values<'_>, state: Depth) {
        self.write(&format!("{} after {call:?} {results:?}", state.0));
    }

    fn tail_call(&self, call: &Call<'_>, state: Depth) {
        self.write(&format!("{} tail_call {call:?}", state.0));
    }

    fn abort(&self, call: &Call<'_>, cause: &Cause<'_>, state: Depth) {
        self.write(&format!("{} abort {call:?} {cause}", state.0));
    }
}

/// As a factory, it listens to every function.
impl Factory for Tape {
    fn listener(&self, _: &Definition) -> Option<BoxListener> {
        Some(BoxListener::new(self.clone()))
    }
}
