//! The same stack from a host function, from a signal there, and from the trap that follows.

use crate::patience::LONG;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use wasmscope::{Explainer, Frame, FrameKind, Guest, OsThread, Walker};
use wasmtime::{Engine, Linker, Module, Store};

type Places = Vec<(Option<u32>, Option<u32>, Option<u64>)>;

/// The guest's frames: function, offset, and address where it has one.
fn places(frames: &[Arc<Frame>]) -> Places {
    let guests = frames.iter().filter(|frame| frame.kind == FrameKind::Guest);
    guests
        .map(|frame| {
            (
                frame.function.map(|function| function.0),
                frame.offset.map(|offset| offset.0),
                frame.pc.map(|pc| pc.0),
            )
        })
        .collect()
}

#[test]
fn from_a_host_function_a_signal_and_a_trap() {
    let bytes = wat::parse_str(
        "(module (import \"host\" \"look\" (func $look (param i32)))
            (func $down (param i32)
                (if (i32.eqz (local.get 0))
                    (then (call $look (i32.const 5)))
                    (else (call $down (i32.sub (local.get 0) (i32.const 1))))))
            (func $run (export \"run\") (param i32) (call $down (local.get 0))))",
    )
    .unwrap();
    let engine = Engine::default();
    let module = Module::new(&engine, &bytes).unwrap();
    let walker = Walker::new().unwrap();
    let explainer = Explainer::new();
    let guest = || Guest::module("guest", &module).bytes(bytes.clone());
    let _walked = walker.register(guest()).unwrap();
    let _explained = explainer.register(guest()).unwrap();

    // Another thread asks, while this one waits in the host function.
    let (ask, asked) = mpsc::channel::<OsThread>();
    let (answer, answered) = mpsc::channel();
    let asking = walker.clone();
    let other = std::thread::spawn(move || {
        for thread in asked {
            let backtrace = asking.capture_thread(thread, LONG).unwrap();
            answer.send(places(&asking.name(&backtrace))).unwrap();
        }
    });

    let seen = Arc::new(Mutex::new(Vec::<Places>::new()));
    let mut linker = Linker::new(&engine);
    let (saw, inside) = (Arc::clone(&seen), walker.clone());
    let channels = Mutex::new((ask, answered));
    linker
        .func_wrap("host", "look", move |_: i32| -> wasmtime::Result<()> {
            let captured = places(&inside.name(&inside.capture()));
            let channels = channels.lock().unwrap();
            channels.0.send(OsThread::current().unwrap()).unwrap();
            let from_signal = channels.1.recv().unwrap();
            saw.lock().unwrap().extend([captured, from_signal]);
            Err(wasmtime::Error::msg("enough"))
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<i32, ()>(&mut store, "run")
        .unwrap();
    for depth in [0, 1, 7] {
        let error = run.call(&mut store, depth).unwrap_err();
        let failed = explainer.explain(&error);
        let mut seen = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(seen[0].len(), depth as usize + 2);
        assert_eq!(
            seen[0], seen[1],
            "a signal shows what the host function shows"
        );
        for (_, _, pc) in &mut seen[0] {
            *pc = None;
        }
        let mut trapped = places(failed.frames());
        for (_, _, pc) in &mut trapped {
            *pc = None;
        }
        assert_eq!(seen[0], trapped, "and so does the error");
    }
    drop((instance, store, linker));
    other.join().unwrap();
}
