//! A server that runs all the time, and a profile of the next seconds when somebody
//! asks: nothing is timed before, and the profile has that stretch alone.
//!
//! ```sh
//! cargo run --release --example on_demand -- 5 capture.pb.gz && go tool pprof -top capture.pb.gz
//! ```

#![allow(clippy::print_stderr, reason = "a program that says what it did")]

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wasmscope::{Format, Guest, Profiler};
use wasmtime::{Engine, Instance, Module, Store};

const PLUGIN: &str = "(module
    (func $serve (export \"serve\") (param i32) (call $parse (local.get 0)) (call $render (local.get 0)))
    (func $parse (param i32)
      (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func $render (param i32)
      (local.set 0 (i32.mul (local.get 0) (i32.const 3)))
      (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))";

fn main() -> Result<(), Box<dyn Error>> {
    let argument =
        |index, otherwise: &str| std::env::args().nth(index).unwrap_or(otherwise.to_owned());
    let seconds = argument(1, "5").parse()?;
    run(
        Duration::from_secs_f64(seconds),
        &argument(2, "capture.pb.gz"),
    )
}

pub(crate) fn run(duration: Duration, output: &str) -> Result<(), Box<dyn Error>> {
    let engine = Engine::default();
    let module = Module::new(&engine, PLUGIN)?;
    let profiler = Profiler::builder().product("server").start()?;
    let _guest = profiler.register(Guest::module("plugin", &module))?;

    let (stop, wanted) = (AtomicBool::new(false), AtomicBool::new(false));
    let serve = || -> wasmtime::Result<()> {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let serve = instance.get_typed_func::<i32, ()>(&mut store, "serve")?;
        let mut sampled = None;
        while !stop.load(Ordering::Relaxed) {
            // Between two requests a thread sees whether it is to be sampled: until
            // then there is no timer, and no cost. Its timer goes on over many requests:
            // one of its own for each would never see the beginning of a short one.
            sampled = match (wanted.load(Ordering::Relaxed), sampled) {
                (false, _) => None,
                (true, None) => Some(profiler.attach_thread()?),
                (true, attached) => attached,
            };
            serve.call(&mut store, 1_000_000)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        let workers = [scope.spawn(serve), scope.spawn(serve)];

        // Somebody asks.
        wanted.store(true, Ordering::Relaxed);
        let recording = profiler.capture(duration);
        wanted.store(false, Ordering::Relaxed);

        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        let profile = recording.profile();
        profile.save(output, Format::from_path(output.as_ref())?)?;
        eprintln!(
            "{:.1?} captured, {:?}",
            recording.duration(),
            profile.total()
        );
        Ok(())
    })
}
