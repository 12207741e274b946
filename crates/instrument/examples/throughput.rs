//! Measures how many bytes a second a module or a component is read and rewritten at, with a
//! probe on every function.
//!
//! `cargo run --release -p wasmscope-instrument --example throughput -- FILE.wasm [COPIES]`
//!
//! A module's functions are repeated so that there is enough to measure: `COPIES` times,
//! or until there are 20 MB; a component is taken as it is. A module's debug information is left out of it before. Rates are by
//! the processors' time of all threads, which other programs hardly change, and by the
//! clock, which they do.
#![expect(clippy::print_stdout, reason = "a program that reports")]

use std::error::Error;
use std::sync::OnceLock;
use std::time::Instant;

use wasmparser::{Parser, Payload};
use wasmscope_instrument::component::Component;
use wasmscope_instrument::{Exceptions, Module, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or("which file?")?;
    let wasm = std::fs::read(file)?;
    let is_component = Parser::is_component(&wasm);
    let wasm = if is_component {
        wasm
    } else {
        let wasm = without_debug_information(&wasm)?;
        let copies = match args.next() {
            Some(copies) => copies.parse()?,
            None => (20_000_000 / wasm.len()).max(1),
        };
        repeat(&wasm, copies)?
    };
    println!("{} bytes", wasm.len());
    for threads in [1, 2, 4] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        for exceptions in [Exceptions::Never, Exceptions::Always] {
            let options = Options {
                exceptions,
                ..Options::default()
            };
            let (mut parse, mut rewrite) = (Cost::MAX, Cost::MAX);
            let mut len = 0;
            for _ in 0..5 {
                let start = Cost::now()?;
                let (parsed, end);
                if is_component {
                    let component = pool.install(|| Component::parse(&wasm))?;
                    parsed = Cost::now()?;
                    let rewritten = pool.install(|| component.rewrite(&options, &|_| true))?;
                    end = Cost::now()?;
                    len = rewritten.wasm.len();
                } else {
                    let module = pool.install(|| Module::parse(&wasm))?;
                    parsed = Cost::now()?;
                    let rewritten = pool.install(|| module.rewrite(&options, &|_| true))?;
                    end = Cost::now()?;
                    len = rewritten.wasm.len();
                }
                parse = parse.min(parsed.since(start));
                rewrite = rewrite.min(end.since(parsed));
            }
            let rate = |time: u64| wasm.len() as f64 * 1e3 / time as f64;
            println!(
                "{threads} threads, exceptions {exceptions:?}: MB/s by processor (by clock): \
                 parse {:.0} ({:.0}), rewrite {:.0} ({:.0}), both {:.0} ({:.0}); {:.3} times \
                 the size",
                rate(parse.processor),
                rate(parse.clock),
                rate(rewrite.processor),
                rate(rewrite.clock),
                rate(parse.processor + rewrite.processor),
                rate(parse.clock + rewrite.clock),
                len as f64 / wasm.len() as f64,
            );
        }
    }
    Ok(())
}

/// Nanoseconds, by the clock and by all threads' processors.
#[derive(Clone, Copy)]
struct Cost {
    clock: u64,
    processor: u64,
}

impl Cost {
    const MAX: Self = Self {
        clock: u64::MAX,
        processor: u64::MAX,
    };

    fn now() -> Result<Self, Box<dyn Error>> {
        static START: OnceLock<Instant> = OnceLock::new();
        let mut processor = 0;
        for thread in std::fs::read_dir("/proc/self/task")? {
            let times = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            let running = times.split(' ').next().ok_or("no times")?;
            processor += running.parse::<u64>()?;
        }
        let clock = START.get_or_init(Instant::now).elapsed().as_nanos() as u64;
        Ok(Self { clock, processor })
    }

    fn since(self, start: Self) -> Self {
        Self {
            clock: self.clock - start.clock,
            processor: self.processor - start.processor,
        }
    }

    fn min(self, other: Self) -> Self {
        Self {
            clock: self.clock.min(other.clock),
            processor: self.processor.min(other.processor),
        }
    }
}

fn section(out: &mut Vec<u8>, id: u8, contents: &[u8]) {
    out.push(id);
    number(out, contents.len());
    out.extend_from_slice(contents);
}

fn number(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn without_debug_information(wasm: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut out = wasm[..8].to_vec();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        if let Some((id, range)) = payload.as_section()
            && id != 0
        {
            section(&mut out, id, &wasm[range]);
        }
    }
    Ok(out)
}

/// Repeats the functions that a module defines.
fn repeat(wasm: &[u8], copies: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut out = wasm[..8].to_vec();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else {
            continue;
        };
        let repeated = match &payload {
            Payload::FunctionSection(reader) => Some(reader.count()),
            Payload::CodeSectionStart { count, .. } => Some(*count),
            _ => None,
        };
        let contents = &wasm[range];
        let Some(count) = repeated else {
            section(&mut out, id, contents);
            continue;
        };
        let width = contents
            .iter()
            .position(|byte| byte & 0x80 == 0)
            .ok_or("no count")?
            + 1;
        let mut all = Vec::new();
        number(&mut all, count as usize * copies);
        for _ in 0..copies {
            all.extend_from_slice(&contents[width..]);
        }
        section(&mut out, id, &all);
    }
    Ok(out)
}
