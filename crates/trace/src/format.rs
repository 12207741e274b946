//! The formats of traces, by name and by a file's ending.

use crate::chrome::Chrome;
use crate::event::Writer;
use crate::json::Json;
use crate::text::Text;
use std::path::Path;

/// A format of traces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Format {
    /// Lines of text, nested calls indented, for people.
    ///
    /// A call within which nothing was traced is one line, any other has a line where it
    /// begins and one where it ends. After ` = ` comes what it returned, after ` ! ` why
    /// it did not, and ` => tail call` says that the next line took its place. Lines of
    /// another execution stack than the first begin with its number: `#2`.
    #[default]
    Text,
    /// One JSON object a line for each event, for programs: a call's open, and its close
    /// with the same `id`.
    ///
    /// | field | what it is |
    /// |---|---|
    /// | `event` | `open` or `close` |
    /// | `id` | tells calls apart; counted from 1 in the order of opens |
    /// | `time` | nanoseconds since the trace began |
    /// | `thread` | the thread, counted from 1 |
    /// | `stack` | the execution stack, counted from 1: within one, calls nest |
    /// | `depth` | how many traced calls are open around it on its stack |
    /// | `kind` | `guest` or `host` |
    /// | `module`, `function`, `index` | who is called; of an import, what it is imported as; of a component function, its interface and its name in WIT |
    /// | `args` | of an open: a list of `type`, `value` and, where it is known, `name` |
    /// | `deferred` | of an open: `true` where the guest may not be interrupted, so that the event is told later, with the time of then |
    /// | `not_lifted` | of a component function: why `args` or `results` are the core function's, and not its own |
    /// | `decoded` | of a call of WASI: an open has the arguments by name, a close `errno` and `outputs` |
    /// | `end` | of a close: `return`, `tail call` or `abort` |
    /// | `results` | of a return, as `args`; `null` where an `async` call's results come later |
    /// | `cause` | of an abort: its `kind` and, where there is more to say, a `message`, or the `status` of an exit |
    ///
    /// A value of 64 bits is a string, since numbers in JSON are often read as `f64`; so
    /// are vectors (hexadecimal) and floats that are no number of JSON (`inf`, `-inf`,
    /// `nan:0x400000`). A null reference is `null`, another one the name of its kind.
    ///
    /// A component function's values have the type that WIT writes. Records are objects,
    /// lists and tuples arrays, a `list<u8>` a string, or `{"hex":...,"length":...}` where
    /// it is not UTF-8 and `{"text":...,"length":...}` where it was cut; a map is an array of pairs. Enums are strings, flags arrays of
    /// those that are set, other cases an object of one member: `{"ok":7}`,
    /// `{"case":null}`. An option is its value or `null`, and `{"some":...}` where that
    /// value is an option again. A handle is its text, `"output-stream #3"`. A list that
    /// was cut is `{"items":[...],"length":...}`, a string `{"text":...,"more":...}`.
    Json,
    /// Chrome's trace events, for Perfetto and `chrome://tracing`: a track for each
    /// execution stack.
    Chrome,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Text, Self::Json, Self::Chrome];

    /// Returns its name: `text`, `json`, `chrome`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Chrome => "chrome",
        }
    }

    /// Finds a format by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Chooses a format by a file's ending: `.jsonl` and `.ndjson` are
    /// [`Format::Json`], `.json` is [`Format::Chrome`], since only that one is a JSON
    /// document as a whole, and all others are [`Format::Text`].
    pub fn from_path(path: &Path) -> Self {
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("jsonl" | "ndjson") => Self::Json,
            Some("json") => Self::Chrome,
            _ => Self::Text,
        }
    }

    pub(crate) fn writer(self, title: String, is_coloured: bool) -> Box<dyn Writer> {
        match self {
            Self::Text => Box::new(Text::new(is_coloured)),
            Self::Json => Box::new(Json),
            Self::Chrome => Box::new(Chrome::new(title)),
        }
    }
}
