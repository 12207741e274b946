//! Listeners driven without an engine: what each may rely on.

mod bench;
mod call_log;
mod call_timer;
mod causes;
mod components;
mod fakes;
mod fanout;
mod latency;
mod nesting;
mod recorder;
mod scopes;
mod slots;
mod stack;
mod tape;
mod values;
mod wazero;
