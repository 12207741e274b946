//! Host calls that block survive being sampled. The signal handler asks for restarted
//! system calls, but `poll`, `epoll_wait` and `nanosleep` are never restarted: whoever
//! calls them must go on, as the standard library, tokio and the engine's WASI do.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "support/patience.rs"]
mod patience;

use patience::Patience;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wasmscope::profile::Category;
use wasmscope::{Clock, Guest, Mechanism, Profiler, Rate};
use wasmtime::{Engine, Linker, Module, Store};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

fn profiler() -> Profiler {
    Profiler::builder()
        .clock(Clock::Wall)
        .rate(Rate::hertz(5000).unwrap())
        .start()
        .unwrap()
}

#[test]
fn the_standard_library_sleeps_as_long_as_asked() {
    for mechanism in [
        Mechanism::MonotonicTimer,
        Mechanism::MonotonicTimerOnCpuTime,
    ] {
        let profiler = Profiler::builder()
            .mechanism(mechanism)
            .rate(Rate::hertz(5000).unwrap())
            .start()
            .unwrap();
        let _thread = profiler.attach_thread().unwrap();
        let begin = Instant::now();
        std::thread::sleep(Duration::from_millis(100));
        assert!(begin.elapsed() >= Duration::from_millis(100));
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let waited = receiver.recv_timeout(Duration::from_millis(50));
        assert!(waited.is_err() && begin.elapsed() >= Duration::from_millis(150));
        drop(sender);
    }
}

#[test]
fn tokio_s_timers_and_sockets_work_on_sampled_threads() {
    let profiler = profiler();
    let attach = profiler.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(move || attach.attach_thread().unwrap().keep_until_thread_exits())
        .build()
        .unwrap();
    let echoed = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while let Ok(byte) = stream.read_u8().await {
                        // In between all workers wait in epoll, where signals hit them.
                        tokio::time::sleep(Duration::from_millis(2)).await;
                        stream.write_u8(byte).await.unwrap();
                    }
                });
            }
        });
        let sampled = profiler.clone();
        let client = tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut echoed = 0;
            // A busy machine merges ticks into one sample: until there are enough.
            let kept = || sampled.snapshot().profile().accounting().unwrap().kept;
            let patience = Patience::for_what("a hundred samples of the workers");
            while echoed < 50 || kept() <= 100 {
                patience.check();
                let byte = echoed as u8;
                stream.write_u8(byte).await.unwrap();
                assert_eq!(stream.read_u8().await.unwrap(), byte);
                echoed += 1;
            }
            echoed
        });
        client.await.unwrap()
    });
    assert!(echoed >= 50);
    drop(runtime);
    let accounting = profiler.take_profile().accounting().unwrap();
    assert!(accounting.kept > 100, "they were sampled: {accounting:?}");
}

#[test]
fn a_wasi_guest_that_sleeps_does_what_it_does_unsampled() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/sleep.wasm");
    let bytes = std::fs::read(path).unwrap();
    let engine = Engine::default();
    let module = Module::new(&engine, &bytes).unwrap();
    let run = || {
        let mut linker: Linker<WasiP1Ctx> = Linker::new(&engine);
        p1::add_to_linker_sync(&mut linker, |context| context).unwrap();
        let output = MemoryOutputPipe::new(4096);
        let wasi = WasiCtxBuilder::new()
            .args(&["sleep.wasm", "10"])
            .stdout(output.clone())
            .build_p1();
        let mut store = Store::new(&engine, wasi);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let start = instance
            .get_typed_func::<(), ()>(&mut store, "_start")
            .unwrap();
        let status = match start.call(&mut store, ()) {
            Ok(()) => 0,
            Err(error) => error.downcast::<I32Exit>().expect("no trap").0,
        };
        (status, output.contents())
    };
    let unsampled = run();
    assert_eq!(unsampled.0, 0);
    assert!(unsampled.1.starts_with(b"sleep "));

    let profiler = profiler();
    let guest = Guest::module("sleep", &module).bytes(bytes.clone());
    let _guest = profiler.register(guest).unwrap();
    let thread = profiler.attach_thread().unwrap();
    let sampled = run();
    drop(thread);
    assert_eq!(sampled, unsampled);

    let profile = profiler.take_profile();
    // By weight: a sample of a busy machine's stands for many ticks.
    let asleep: Duration = profile
        .samples()
        .filter(|sample| {
            sample
                .stack
                .into_iter()
                .flat_map(|stack| profile.stack_frames(stack))
                .map(|frame| profile.function(frame.function))
                .any(|function| {
                    function.category == Category::Wasi && function.name.ends_with("poll_oneoff")
                })
        })
        .map(|sample| sample.weight)
        .sum();
    assert!(
        asleep > Duration::from_millis(4),
        "{asleep:?} of {:?}",
        profile.total()
    );
}
