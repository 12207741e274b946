//! Listeners driven without an engine: what each may rely on.

mod bench;
mod causes;
mod fakes;
mod fanout;
mod nesting;
mod slots;
mod stack;
mod tape;
mod values;
mod wazero;
