//! Compiles guests of the single-step test for aarch64, and writes the text and the
//! ranges of its functions to files that the test reads on any machine.

use object::{Object, ObjectSection, ObjectSymbol};
use std::fmt::Write as _;
use std::path::Path;
use wasmtime::{Config, Engine, OptLevel, Strategy};

const GUESTS: [&str; 8] = [
    "exceptions",
    "fib",
    "jump_tables",
    "libcalls",
    "many_arguments",
    "numbers",
    "tail_calls",
    "tail_calls_large_frames",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for guest in GUESTS {
        let source = std::fs::read(tests.join(format!("guests/{guest}.wat")))?;
        for setting in ["none", "speed", "signed", "winch"] {
            let object = match engine(setting)?.precompile_module(&source) {
                Ok(object) => object,
                Err(_) if setting == "winch" => continue,
                Err(error) => return Err(error.into()),
            };
            let file = tests.join(format!("aarch64/{guest}.{setting}.hex"));
            std::fs::write(file, fixture(&object)?)?;
        }
    }
    Ok(())
}

fn engine(setting: &str) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.target("aarch64-unknown-linux-gnu")?;
    if setting == "winch" {
        config.strategy(Strategy::Winch);
        return Engine::new(&config);
    }
    config.wasm_exceptions(true);
    config.cranelift_opt_level(match setting {
        "none" => OptLevel::None,
        _ => OptLevel::Speed,
    });
    if setting == "signed" {
        // SAFETY: the flags only change code that is written to a file and never run.
        unsafe {
            config.cranelift_flag_enable("sign_return_address");
            config.cranelift_flag_enable("use_bti");
        }
    }
    Engine::new(&config)
}

fn fixture(object: &[u8]) -> Result<String, Box<dyn std::error::Error>> {
    let object = object::File::parse(object)?;
    let section = object.section_by_name(".text").ok_or("no text")?;
    let mut symbols: Vec<_> = object
        .symbols()
        .filter(|symbol| symbol.section_index() == Some(section.index()))
        .map(|symbol| (symbol.address(), symbol.size(), symbol.name().unwrap_or("")))
        .collect();
    symbols.sort_unstable();
    let mut file = String::new();
    let mut end = 0;
    for (start, len, name) in symbols {
        end = start + len;
        let kind = if name.contains("]::function[") {
            "function"
        } else {
            "trampoline"
        };
        writeln!(file, "{kind} {start:x} {end:x} {name}")?;
    }
    for line in section.data()?[..end as usize].chunks(32) {
        let words = line.chunks(4).map(|word| {
            let bytes = word.iter().map(|byte| format!("{byte:02x}"));
            bytes.collect::<String>()
        });
        writeln!(file, "{}", words.collect::<Vec<_>>().join(" "))?;
    }
    Ok(file)
}
