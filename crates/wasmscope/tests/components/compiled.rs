//! A component that is listened to, and a linker that has what it imports of listeners.

use wasmscope::{ListenedComponent, Listening};
use wasmtime::Engine;
use wasmtime::component::Linker;

/// Compiles a component in text form for its listeners. What else it imports the linker lacks.
pub(crate) fn compiled<T: 'static>(
    listening: &Listening,
    engine: &Engine,
    text: &str,
) -> (ListenedComponent, Linker<T>) {
    let bytes = wat::parse_str(text).expect("it is text");
    let guest = listening
        .compile_component(engine, bytes)
        .expect("it is a component");
    let mut linker = Linker::new(engine);
    listening
        .add_to_component_linker(&mut linker)
        .expect("free");
    (guest, linker)
}
