//! The guests, and what each says of itself.
//!
//! A guest is a `.wat` file whose `run` takes nothing and returns nothing or one
//! `i64`. Comments in it may say:
//!
//! - `;; expect: 55` the result of `run`, or `;; expect: trap`.
//! - `;; winch: no` Winch does not compile this, or `;; winch: with AVX`.
//!
//! It may import from `host`: `ping (param i64) (result i64)` adds one;
//! `again (param i64) (result i64)` calls the guest's export `again`;
//! `try_again` does, and returns -1 if that traps; `fail (param i64)` fails.

use crate::stepper::{Counts, Stepper, Walker};
use std::path::PathBuf;
use wasmtime::{Caller, Config, Engine, Extern, Linker, Module, OptLevel, Store, Strategy, Val};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compiler {
    CraneliftNone,
    CraneliftSpeed,
    Winch,
}

impl Compiler {
    pub(crate) const ALL: [Self; 3] = [Self::CraneliftNone, Self::CraneliftSpeed, Self::Winch];

    fn engine(self) -> Engine {
        let mut config = Config::new();
        config.strategy(match self {
            Self::Winch => Strategy::Winch,
            _ => Strategy::Cranelift,
        });
        if self == Self::CraneliftNone {
            config.cranelift_opt_level(OptLevel::None);
        } else if self == Self::CraneliftSpeed {
            config.cranelift_opt_level(OptLevel::Speed);
        }
        if self != Self::Winch {
            config.wasm_tail_call(true);
            config.wasm_function_references(true);
            config.wasm_gc(true);
            config.wasm_exceptions(true);
        }
        // Guests overflow their stack in a few hundred frames.
        config.max_wasm_stack(24 << 10);
        Engine::new(&config).expect("the engine takes its configuration")
    }
}

pub(crate) struct Guest {
    pub(crate) name: String,
    source: String,
}

impl Guest {
    /// Returns all guests, in the order of their names.
    pub(crate) fn all() -> Vec<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/guests");
        let mut guests: Vec<Self> = std::fs::read_dir(folder)
            .expect("the folder of guests")
            .map(|file| file.expect("a file").path())
            .map(|path| Self {
                name: path.file_stem().expect("a name").to_string_lossy().into(),
                source: std::fs::read_to_string(&path).expect("a guest"),
            })
            .collect();
        guests.sort_by(|a, b| a.name.cmp(&b.name));
        guests
    }

    fn says(&self, key: &str) -> Option<&str> {
        let start = format!(";; {key}:");
        let line = self.source.lines().find(|line| line.starts_with(&start))?;
        Some(line[start.len()..].trim())
    }

    /// Steps through `run`; `None` if the guest says this compiler refuses it.
    pub(crate) fn step(&self, compiler: Compiler, walker: Walker) -> Option<Counts> {
        let engine = compiler.engine();
        let module = Module::new(&engine, &self.source);
        let is_refused = compiler == Compiler::Winch
            && match self.says("winch") {
                Some("no") => true,
                Some("with AVX") => !std::is_x86_feature_detected!("avx"),
                _ => false,
            };
        if is_refused {
            assert!(module.is_err(), "{}: Winch takes it after all", self.name);
            return None;
        }
        let module = module.unwrap_or_else(|error| panic!("{}: {error:?}", self.name));
        let mut store = Store::new(&engine, ());
        let instance = linker(&engine)
            .instantiate(&mut store, &module)
            .expect("the guest instantiates");
        let run = instance
            .get_func(&mut store, "run")
            .expect("an export `run`");
        let mut results = vec![Val::I64(0); run.ty(&store).results().len()];

        let mut outcome = Ok(());
        let counts = Stepper::on(&module, walker).run(|| {
            outcome = run.call(&mut store, &[], &mut results);
        });
        match (self.says("expect"), outcome) {
            (Some("trap"), Err(_)) => {}
            (Some("trap"), Ok(())) => panic!("{} did not trap", self.name),
            (_, Err(error)) => panic!("{}: {error:?}", self.name),
            (Some(expected), Ok(())) => {
                let result = results[0].unwrap_i64().to_string();
                assert_eq!(result, expected, "{}", self.name);
            }
            (None, Ok(())) => assert!(results.is_empty(), "{} says no result", self.name),
        }
        Some(counts)
    }
}

fn linker(engine: &Engine) -> Linker<()> {
    fn again(mut caller: Caller<'_, ()>, value: i64) -> wasmtime::Result<i64> {
        let Some(Extern::Func(again)) = caller.get_export("again") else {
            panic!("no export `again`")
        };
        again.typed::<i64, i64>(&caller)?.call(&mut caller, value)
    }
    let mut linker = Linker::new(engine);
    linker
        .func_wrap("host", "ping", |value: i64| value + 1)
        .expect("a new name");
    linker
        .func_wrap("host", "again", again)
        .expect("a new name");
    linker
        .func_wrap("host", "try_again", |caller: Caller<'_, ()>, value: i64| {
            again(caller, value).unwrap_or(-1)
        })
        .expect("a new name");
    linker
        .func_wrap("host", "fail", |_: i64| -> wasmtime::Result<()> {
            Err(wasmtime::format_err!("failed as asked"))
        })
        .expect("a new name");
    linker
}
