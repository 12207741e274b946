//! A listener that writes down what it hears, and a guest to hear.

use std::sync::{Arc, Mutex, PoisonError};
use wasmscope::listen::{BoxListener, Call, Cause, Definition, Listener, Values};
use wasmscope::{Listened, Listening, ListeningBuilder};
use wasmtime::{Engine, Instance, Linker, Store, TypedFunc};

/// What was heard, a line each.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    /// Returns what was heard since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn say(&self, line: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }

    /// Listens to every function.
    pub(crate) fn listening(&self) -> ListeningBuilder {
        Listening::builder(BoxListener::new(self.clone()))
    }
}

/// Returns a function's name, without its module's.
pub(crate) fn name(definition: &Definition) -> String {
    match (&definition.name, &definition.import) {
        (_, Some(import)) => import.name.clone(),
        (Some(name), None) => name.clone(),
        (None, None) => definition.debug_name(),
    }
}

impl Listener for Heard {
    /// The name, to see that each close gets what its `before` left.
    type State = String;

    fn before(&self, call: &Call<'_>) -> String {
        let name = name(call.definition());
        self.say(format!("> {name}{:?}", call.params()));
        name
    }

    fn after(&self, call: &Call<'_>, results: Values<'_>, state: String) {
        assert_eq!(state, name(call.definition()));
        self.say(format!("< {state}{results:?}"));
    }

    fn tail_call(&self, call: &Call<'_>, state: String) {
        assert_eq!(state, name(call.definition()));
        self.say(format!("~ {state}"));
    }

    fn abort(&self, call: &Call<'_>, cause: &Cause<'_>, state: String) {
        assert_eq!(state, name(call.definition()));
        self.say(format!("! {state}: {cause}"));
    }
}

/// A guest in text, with listeners on every function.
pub(crate) struct Guest {
    pub(crate) listening: Listening,
    /// Its binary, as it was before.
    pub(crate) bytes: Vec<u8>,
    /// Kept as long as its instance.
    _listened: Listened,
    pub(crate) store: Store<()>,
    pub(crate) instance: Instance,
}

impl Guest {
    pub(crate) fn new(
        builder: ListeningBuilder,
        text: &str,
        define: impl FnOnce(&mut Linker<()>),
    ) -> Self {
        Self::on(&Engine::default(), builder, text, define)
    }

    /// The same, on an engine that is at hand.
    pub(crate) fn on(
        engine: &Engine,
        builder: ListeningBuilder,
        text: &str,
        define: impl FnOnce(&mut Linker<()>),
    ) -> Self {
        let listening = builder.build();
        let bytes = wat::parse_str(text).expect("the text is right");
        let listened = listening
            .compile(engine, bytes.clone())
            .expect("it is rewritten and compiled");
        let mut linker = Linker::new(engine);
        listening
            .add_to_linker(&mut linker)
            .expect("the names are free");
        define(&mut linker);
        let mut store = Store::new(engine, ());
        let instance = linker
            .instantiate(&mut store, listened.module())
            .expect("it is instantiated");
        Self {
            listening,
            bytes,
            _listened: listened,
            store,
            instance,
        }
    }

    /// Calls an export that takes and returns nothing, without a scope.
    pub(crate) fn call(&mut self, name: &str) -> wasmtime::Result<()> {
        self.function(name)?.call(&mut self.store, ())
    }

    /// Returns an export that takes and returns nothing.
    pub(crate) fn function(&mut self, name: &str) -> wasmtime::Result<TypedFunc<(), ()>> {
        self.instance.get_typed_func(&mut self.store, name)
    }

    /// The same, in a scope.
    pub(crate) fn guarded(&mut self, name: &str) -> wasmtime::Result<()> {
        let function = self.function(name)?;
        self.listening
            .guard(&mut self.store, |store| function.call(store, ()))
    }
}
