//! Factories given to one instantiation: they choose for no other, however it ends.

use crate::heard::Heard;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use wasmscope::listen::BoxListener;
use wasmscope::{Listened, Listening};
use wasmtime::{Caller, Engine, Instance, Linker, Store};

/// Calls the host while it starts.
const STARTS: &str = "(module
   (import \"host\" \"call\" (func $call))
   (func $begin (call $call))
   (start $begin))";

/// What is heard of an instance that starts.
const STARTED: [&str; 4] = ["> begin[]", "> call[]", "< call[]", "< begin[]"];

/// What is heard of one whose start did not come to an end, once another event shows that.
const LEFT: [&str; 4] = [
    "> begin[]",
    "> call[]",
    "! call: unknown",
    "! begin: unknown",
];

/// A guest that starts, and one store for its instances.
struct Host {
    listening: Listening,
    listened: Listened,
    linker: Linker<()>,
    store: Store<()>,
}

impl Host {
    fn new(usual: &Heard, define: impl FnOnce(&mut Linker<()>)) -> Self {
        let listening = usual.listening().build();
        let engine = Engine::default();
        let bytes = wat::parse_str(STARTS).expect("the text is right");
        let listened = listening.compile(&engine, bytes).expect("it is compiled");
        let mut linker = Linker::new(&engine);
        listening.add_to_linker(&mut linker).expect("free");
        define(&mut linker);
        Self {
            listening,
            listened,
            linker,
            store: Store::new(&engine, ()),
        }
    }
}

/// Waits until it is dropped, if it is told to.
struct Waits(bool);

impl Future for Waits {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match self.0 {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn ready(future: impl Future<Output = wasmtime::Result<Instance>>) -> Instance {
    match poll(pin!(future)) {
        Poll::Ready(instance) => instance.expect("it is instantiated"),
        Poll::Pending => panic!("nothing waits"),
    }
}

/// A host whose function waits as long as the flag says so.
fn waiting(usual: &Heard) -> (Host, Arc<AtomicBool>) {
    let waits = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&waits);
    let host = Host::new(usual, move |linker| {
        linker
            .func_wrap_async("host", "call", move |_: Caller<'_, ()>, (): ()| {
                Box::new(Waits(flag.load(Ordering::Relaxed)))
            })
            .expect("free");
    });
    (host, waits)
}

#[test]
fn a_factory_is_forgotten_when_its_future_is_dropped() {
    let (usual, chosen) = (Heard::default(), Heard::default());
    let (mut host, waits) = waiting(&usual);
    let (linker, module) = (&host.linker, host.listened.module());
    let listener = BoxListener::new(chosen.clone());
    {
        let instantiate = async |store: &mut Store<()>| {
            let instance = linker.instantiate_async(store, module);
            instance.await
        };
        let future = host
            .listening
            .instantiate_async(&mut host.store, listener, instantiate);
        assert!(poll(pin!(future)).is_pending());
    }
    assert_eq!(chosen.take(), LEFT[..2]);
    waits.store(false, Ordering::Relaxed);
    ready(linker.instantiate_async(&mut host.store, module));
    assert_eq!(chosen.take(), LEFT[2..]);
    assert_eq!(usual.take(), STARTED);
}

#[test]
fn the_factory_before_is_in_force_again_when_a_future_is_dropped() {
    let (usual, outer, inner) = (Heard::default(), Heard::default(), Heard::default());
    let (mut host, waits) = waiting(&usual);
    let (linker, module, listening) = (&host.linker, host.listened.module(), &host.listening);
    let (first, second) = (outer.clone(), inner.clone());
    let instantiate = async |store: &mut Store<()>| {
        {
            let waiting = listening.instantiate_async(
                store,
                BoxListener::new(second.clone()),
                async |store: &mut Store<()>| linker.instantiate_async(store, module).await,
            );
            assert!(poll(pin!(waiting)).is_pending());
        }
        waits.store(false, Ordering::Relaxed);
        linker.instantiate_async(store, module).await
    };
    let listener = BoxListener::new(first.clone());
    ready(listening.instantiate_async(&mut host.store, listener, instantiate));
    assert_eq!(inner.take(), LEFT);
    assert_eq!(outer.take(), STARTED);
    ready(linker.instantiate_async(&mut host.store, module));
    assert_eq!(usual.take(), STARTED);
}

#[test]
fn a_factory_is_forgotten_when_a_host_function_panics() {
    let (usual, chosen) = (Heard::default(), Heard::default());
    let panics = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&panics);
    let mut host = Host::new(&usual, move |linker| {
        let call = move || assert!(!flag.load(Ordering::Relaxed), "the host's own");
        linker.func_wrap("host", "call", call).expect("free");
    });
    let (linker, module) = (&host.linker, host.listened.module());
    let listener = BoxListener::new(chosen.clone());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        host.listening
            .instantiate(&mut host.store, listener, |store| {
                linker.instantiate(store, module)
            })
    }));
    assert!(panicked.is_err());
    assert_eq!(chosen.take(), LEFT[..2]);
    panics.store(false, Ordering::Relaxed);
    linker
        .instantiate(&mut host.store, module)
        .expect("it is instantiated");
    assert_eq!(chosen.take(), LEFT[2..]);
    assert_eq!(usual.take(), STARTED);
}
