//! A server on tokio that runs the plug-ins of two tenants, and gives each tenant a
//! profile of its own time and code that tells nothing of the other nor of the host.
//!
//! It listens on the loopback, sends itself requests, writes `tenant-a.json.gz` and
//! `tenant-b.json.gz` into the directory that is named, and ends.
//!
//! ```sh
//! cargo run --release --example tokio_server -- .
//! ```

#![allow(clippy::print_stderr, reason = "a program that says what it did")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wasmscope::{Clock, Format, Guest, Labels, Profiler, Selection};
use wasmtime::{Engine, Linker, Module, Store};

const TENANTS: [&str; 2] = ["a", "b"];

/// A tenant's plug-in: `$NAME_count` does the work, `handle` is called for a request.
fn plugin(tenant: &str) -> String {
    format!(
        "(module
           (func $handle_{tenant} (export \"handle\") (param i32) (result i32)
             (i32.add (call $count_{tenant} (local.get 0)) (i32.const 1)))
           (func $count_{tenant} (param i32) (result i32) (local $n i32)
             (loop (local.set $n (i32.add (local.get $n) (i32.const 1)))
                   (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
             (local.get $n)))"
    )
}

fn main() -> Result<(), Box<dyn Error>> {
    run(&std::env::args().nth(1).unwrap_or(".".to_owned()))
}

pub(crate) fn run(directory: &str) -> Result<(), Box<dyn Error>> {
    let engine = Engine::default();
    let modules: Vec<Module> = TENANTS
        .iter()
        .map(|tenant| Module::new(&engine, plugin(tenant)))
        .collect::<Result<_, _>>()?;

    // Profiling, part one of three: the guests, and each thread of the runtime.
    let profiler = Profiler::builder().clock(Clock::Cpu).start()?;
    let guests = TENANTS.iter().zip(&modules).map(|(tenant, module)| {
        profiler.register(Guest::module(format!("plugin-{tenant}"), module))
    });
    let guests: Vec<_> = guests.collect::<Result<_, _>>()?;
    let sampled = profiler.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(move || {
            if let Ok(thread) = sampled.attach_thread() {
                thread.keep_until_thread_exits();
            }
        })
        .build()?;

    let served = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(serve(listener, Arc::new(modules)));
        // A bounded number of requests, made by ourselves.
        let requests = (0..40u8).map(|number| tokio::spawn(request(address, number % 2)));
        let mut served = 0;
        for request in requests.collect::<Vec<_>>() {
            served += u32::from(request.await?? > 0);
        }
        server.abort();
        Ok::<_, Box<dyn Error>>(served)
    })?;
    eprintln!("{served} requests served");

    // Part three: one profile for each tenant, safe to hand out.
    let recording = profiler.take();
    for tenant in TENANTS {
        let its_own = Selection::everything()
            .labelled("tenant", tenant)
            .only_guests([format!("plugin-{tenant}")])
            .guest_safe();
        let path = Path::new(directory).join(format!("tenant-{tenant}.json.gz"));
        recording.select(&its_own).save(&path, Format::Firefox)?;
    }
    drop(guests);
    Ok(())
}

/// Answers requests: one byte, the tenant's number; the answer is the plug-in's.
async fn serve(listener: TcpListener, modules: Arc<Vec<Module>>) {
    for number in 0.. {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        let modules = modules.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &modules, number).await {
                eprintln!("failed to answer request {number}: {error}");
            }
        });
    }
}

async fn answer(
    mut stream: TcpStream,
    modules: &[Module],
    number: i64,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let tenant = usize::from(stream.read_u8().await?);
    let (name, module) = TENANTS
        .get(tenant)
        .zip(modules.get(tenant))
        .ok_or("no such tenant")?;

    // Part two: whatever is done for this request carries its labels.
    let labels = Labels::new()
        .with("tenant", *name)
        .with_number("request", number);
    let result = labels.follow(handle(module)).await?;

    stream.write_i32(result).await?;
    Ok(())
}

/// Runs the plug-in, on a fiber of its own.
async fn handle(module: &Module) -> Result<i32, wasmtime::Error> {
    let mut store = Store::new(module.engine(), ());
    let linker = Linker::new(module.engine());
    let instance = linker.instantiate_async(&mut store, module).await?;
    let handle = instance.get_typed_func::<i32, i32>(&mut store, "handle")?;
    handle.call_async(&mut store, 10_000_000).await
}

async fn request(address: std::net::SocketAddr, tenant: u8) -> std::io::Result<i32> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_u8(tenant).await?;
    stream.read_i32().await
}
