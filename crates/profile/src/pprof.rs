//! pprof: the format of `go tool pprof`, Parca, Pyroscope and others.
//!
//! A compressed protocol buffer, specified by `proto/profile.proto` in
//! github.com/google/pprof. How the model is laid out in it:
//!
//! | model | pprof |
//! |---|---|
//! | sample | values `samples/count` and `wall/nanoseconds` or `cpu/nanoseconds`, summed up over samples of the same thread, stack and labels |
//! | thread | labels `thread` (its name), `thread_id`, `process` |
//! | labels | labels; an empty text reads back as the number 0 |
//! | mapping | mapping, at an address range of its own: guests are not mapped anywhere, so ranges are laid out one after the other |
//! | address in a mapping | start of the mapping's range + address |
//! | category | in the mapping's file name: `[wasi]` for code without a mapping, `host [engine]` where a mapping's file does not tell |
//! | product, mechanism, accounting | comments |
//!
//! A mapping of size zero reads back as large as its highest address needs.
//!
//! There is no place for times, CPU times of samples, markers and counters.

mod label;
mod mapping;
mod message;
mod read;
mod wire;
mod write;

pub use read::{LIMIT, read, read_with_limit};
pub use write::write;

const FORMAT: &str = "pprof";
