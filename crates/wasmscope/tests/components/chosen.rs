//! Factories given to one instantiation of a component: they choose for no other.

use crate::ledger::Ledger;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Waker};
use wasmscope::listen::{BoxListener, Definition};
use wasmscope::{ListenedComponent, Listening};
use wasmtime::component::{Instance, Linker};
use wasmtime::{Engine, Store};

const RUN: &str = r#"(component
  (core module $m (func (export "run")))
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run"))))"#;

struct Host {
    listening: Listening,
    guest: ListenedComponent,
    linker: Linker<()>,
    store: Store<()>,
}

impl Host {
    fn new(usual: &Ledger) -> Self {
        let listening = usual.listening();
        let engine = Engine::default();
        let bytes = wat::parse_str(RUN).expect("it is text");
        let guest = listening.compile_component(&engine, bytes);
        let mut linker = Linker::new(&engine);
        listening
            .add_to_component_linker(&mut linker)
            .expect("the names are free");
        Self {
            listening,
            guest: guest.expect("it is rewritten and compiled"),
            linker,
            store: Store::new(&engine, ()),
        }
    }

    fn run(&mut self, instance: Instance) {
        let run = instance.get_typed_func::<(), ()>(&mut self.store, "run");
        let run = run.expect("it is exported");
        run.call(&mut self.store, ()).expect("it returns");
    }

    /// Runs an instance that nobody chooses for.
    fn run_another(&mut self) {
        let instance = self
            .linker
            .instantiate(&mut self.store, self.guest.component());
        self.run(instance.expect("it is instantiated"));
    }
}

fn factory(ledger: &Ledger) -> impl Fn(&Definition) -> Option<BoxListener> + Send + Sync + 'static {
    let listener = BoxListener::new(ledger.clone());
    move |_: &Definition| Some(listener.clone())
}

#[test]
fn a_factory_chooses_for_its_instance_only() {
    let (usual, chosen) = (Ledger::default(), Ledger::default());
    let mut host = Host::new(&usual);
    let instance =
        host.listening
            .instantiate_component(&mut host.store, factory(&chosen), |store| {
                host.linker.instantiate(store, host.guest.component())
            });
    host.run(instance.expect("it is instantiated"));
    assert_eq!((chosen.settled(), usual.settled()), (2, 0));
    host.run_another();
    assert_eq!((chosen.settled(), usual.settled()), (2, 2));
}

#[test]
fn a_factory_is_forgotten_after_a_panic() {
    let (usual, chosen) = (Ledger::default(), Ledger::default());
    let mut host = Host::new(&usual);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let panics = |_: &mut Store<()>| -> wasmtime::Result<Instance> { panic!("the host's own") };
        host.listening
            .instantiate_component(&mut host.store, factory(&chosen), panics)
    }));
    assert!(panicked.is_err());
    host.run_another();
    assert_eq!((chosen.settled(), usual.settled()), (0, 2));
}

#[test]
fn a_factory_is_forgotten_when_its_future_is_dropped() {
    let (usual, chosen) = (Ledger::default(), Ledger::default());
    let mut host = Host::new(&usual);
    {
        let waits = async |_: &mut Store<()>| pending::<wasmtime::Result<Instance>>().await;
        let future =
            host.listening
                .instantiate_component_async(&mut host.store, factory(&chosen), waits);
        let polled = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    host.run_another();
    assert_eq!((chosen.settled(), usual.settled()), (0, 2));
}
