//! Fibers whose places are taken by others.

use crate::counting::allocations;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use wasmscope::{BacktraceEnd, Fibers, FrameKind, Guest, WalkedGuest, Walker};
use wasmtime::{Caller, Config, Engine, InstancePre, Linker, Module, Store};

const DESCENDS: &str = "(module
    (import \"host\" \"look\" (func $look))
    (func $down (param i32)
        (if (i32.eqz (local.get 0))
            (then (call $look))
            (else (call $down (i32.sub (local.get 0) (i32.const 1))))))
    (func (export \"run\") (param i32) (call $down (local.get 0))))";

/// Where the host function saw itself on the stack, by calls to it.
type Seen = Arc<Mutex<Vec<(usize, usize)>>>;

struct Host {
    pre: InstancePre<usize>,
    _guest: WalkedGuest,
}

fn host(mut config: Config, walker: &Walker, stack: usize, seen: &Seen) -> Host {
    config.async_stack_size(stack).max_wasm_stack(stack / 2);
    let engine = Engine::new(&config).unwrap();
    let bytes = wat::parse_str(DESCENDS).unwrap();
    let module = Module::new(&engine, &bytes).unwrap();
    let guest = Guest::module("descends", &module).bytes(bytes);
    let guest = walker.register(guest).unwrap();
    let mut linker = Linker::new(&engine);
    let (walker, seen) = (walker.clone(), Arc::clone(seen));
    let look = move |caller: Caller<'_, usize>| {
        let here = 0u8;
        for _ in 0..3 {
            let backtrace = walker.capture();
            assert_eq!(backtrace.end(), BacktraceEnd::Whole);
            let frames = walker.name(&backtrace);
            let guests = frames.iter().filter(|frame| frame.kind == FrameKind::Guest);
            assert_eq!(guests.count(), *caller.data());
        }
        let mut backtrace = walker.capture();
        let count = allocations(|| walker.capture_into(&mut backtrace));
        assert_eq!(count, 0, "on a fiber as elsewhere");
        let at = std::ptr::from_ref(&here).addr();
        seen.lock().unwrap().push((at, stack));
    };
    linker.func_wrap("host", "look", look).unwrap();
    Host {
        pre: linker.instantiate_pre(&module).unwrap(),
        _guest: guest,
    }
}

/// Polls to the end what never waits.
fn ready<R>(future: impl Future<Output = R>) -> R {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits for nothing"),
    }
}

impl Host {
    /// Calls a guest on a fiber, the stack of which is there until the store is dropped.
    fn descend(&self, depth: i32) -> Store<usize> {
        // The guest's functions: one for each level, and the export.
        let frames = usize::try_from(depth).unwrap() + 2;
        let mut store = Store::new(self.pre.module().engine(), frames);
        let instance = ready(self.pre.instantiate_async(&mut store)).unwrap();
        let run = instance
            .get_typed_func::<i32, ()>(&mut store, "run")
            .unwrap();
        ready(run.call_async(&mut store, depth)).unwrap();
        store
    }
}

/// Where a stack ended is remembered; what took its place may end elsewhere.
#[test]
fn stacks_that_take_the_places_of_others_are_whole() {
    let walker = Walker::new().unwrap();
    let fibers = Fibers::new(&walker).unwrap();
    let seen = Seen::default();
    // Ends differ by pages, of which a stack has some above the host function.
    let sizes = [64, 68, 72, 80, 92, 112].map(|kilobytes: usize| kilobytes << 10);
    let mut hosts: Vec<Host> = sizes
        .iter()
        .map(|size| host(Config::new(), &walker, *size, &seen))
        .collect();
    for size in sizes {
        let mut config = Config::new();
        config.with_host_stack(fibers.stack_creator());
        hosts.push(host(config, &walker, size, &seen));
    }
    let mut random = 1u64;
    let mut below = |end: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 8).unwrap() % end
    };
    let mut stores: Vec<Store<usize>> = Vec::new();
    for _ in 0..3_000 {
        let depth = i32::try_from(below(500)).unwrap();
        if stores.len() == 8 {
            stores.swap_remove(below(8));
        }
        stores.push(hosts[below(hosts.len())].descend(depth));
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3_000);
    // The same piece of memory was on stacks of different sizes, again and again.
    let mut last = HashMap::new();
    let taken = seen.iter().filter(|(at, size)| {
        last.insert(at >> 16, *size)
            .is_some_and(|other| other != *size)
    });
    assert!(taken.count() > 100);
}
