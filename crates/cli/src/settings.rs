//! The settings behind `-O`, `-C`, `-W` and `-S`: those of `wasmtime run` that make
//! sense for a guest that is profiled, by the same names.
//!
//! Each group is a table of names, what they say in help, and what they do. A
//! setting that `wasmtime run` has and this program refuses is in the table too,
//! with the reason.

use crate::{duration, exit};
use anyhow::Result;
use std::fmt::Write as _;
use std::time::Duration;
use wasmtime::{Collector, Config, Inlining, OptLevel, RegallocAlgorithm, StoreLimitsBuilder};

/// What one setting does to the engine.
type EngineSetting = Box<dyn Fn(&mut Config)>;

/// Everything that the settings say.
#[derive(Default)]
pub(crate) struct Settings {
    /// What each setting does to the engine, in the order given.
    engine: Vec<EngineSetting>,
    pub(crate) limits: Limits,
    pub(crate) wasi: WasiSettings,
    pub(crate) fuel: Option<u64>,
    pub(crate) max_wasm_stack: Option<usize>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) unknown_imports: UnknownImports,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("engine", &self.engine.len())
            .field("limits", &self.limits)
            .field("wasi", &self.wasi)
            .finish_non_exhaustive()
    }
}

/// What a store may hold.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    memory_size: Option<usize>,
    table_elements: Option<usize>,
    instances: Option<usize>,
    tables: Option<usize>,
    memories: Option<usize>,
    trap_on_grow_failure: bool,
}

impl Limits {
    /// Makes the engine's limiter of it.
    pub(crate) fn build(&self) -> wasmtime::StoreLimits {
        let mut limits = StoreLimitsBuilder::new().trap_on_grow_failure(self.trap_on_grow_failure);
        if let Some(size) = self.memory_size {
            limits = limits.memory_size(size);
        }
        if let Some(elements) = self.table_elements {
            limits = limits.table_elements(elements);
        }
        if let Some(instances) = self.instances {
            limits = limits.instances(instances);
        }
        if let Some(tables) = self.tables {
            limits = limits.tables(tables);
        }
        if let Some(memories) = self.memories {
            limits = limits.memories(memories);
        }
        limits.build()
    }
}

/// What becomes of imports that nobody provides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum UnknownImports {
    /// The guest does not run.
    #[default]
    Refuse,
    /// Calling one traps.
    Trap,
    /// Calling one returns zeros.
    Default,
}

/// What WASI gives the guest.
#[derive(Clone, Debug)]
pub(crate) struct WasiSettings {
    pub(crate) inherit_env: bool,
    pub(crate) inherit_stdin: bool,
    pub(crate) inherit_stdout: bool,
    pub(crate) inherit_stderr: bool,
    pub(crate) inherit_network: bool,
    pub(crate) tcp: Option<bool>,
    pub(crate) udp: Option<bool>,
    pub(crate) allow_ip_name_lookup: Option<bool>,
    pub(crate) cwd: Option<String>,
    pub(crate) max_random_size: Option<u64>,
}

impl Default for WasiSettings {
    fn default() -> Self {
        Self {
            inherit_env: false,
            inherit_stdin: true,
            inherit_stdout: true,
            inherit_stderr: true,
            inherit_network: false,
            tcp: None,
            udp: None,
            allow_ip_name_lookup: None,
            cwd: None,
            max_random_size: None,
        }
    }
}

impl Settings {
    /// Reads the settings of one group, each text a list with commas.
    ///
    /// # Errors
    ///
    /// A usage error that lists the known settings, or says what a value must be.
    pub(crate) fn read(&mut self, group: &Group, texts: &[String]) -> Result<()> {
        for part in texts.iter().flat_map(|text| text.split(',')) {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (part, None),
            };
            // As in wasmtime, `_` is as good as `-`.
            let name = name.replace('_', "-");
            let setting = group.settings.iter().find(|setting| setting.name == name);
            let Some(setting) = setting else {
                return Err(exit::usage(format!(
                    "-{} {name}: there is no such setting; there are:\n{}",
                    group.flag,
                    group.list().trim_end()
                )));
            };
            let value = Value { text: value };
            (setting.apply)(self, &value)
                .map_err(|reason| exit::usage(format!("-{} {part}: {reason}", group.flag)))?;
        }
        Ok(())
    }

    /// Applies the engine's part.
    pub(crate) fn configure(&self, config: &mut Config) {
        for apply in &self.engine {
            apply(config);
        }
    }

    fn engine(&mut self, apply: impl Fn(&mut Config) + 'static) -> Applied {
        self.engine.push(Box::new(apply));
        Ok(())
    }
}

/// A group of settings under one flag.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) flag: char,
    settings: &'static [Setting],
}

impl Group {
    /// Tells whether `-X help` was asked for.
    pub(crate) fn is_help(texts: &[String]) -> bool {
        texts.iter().any(|text| text == "help")
    }

    /// Lists the settings, a line each.
    pub(crate) fn list(&self) -> String {
        self.settings
            .iter()
            .fold(String::new(), |mut list, setting| {
                let left = format!("{}{}", setting.name, setting.value);
                let _ = writeln!(list, "  -{} {left:34} {}", self.flag, setting.help);
                list
            })
    }
}

#[derive(Debug)]
struct Setting {
    name: &'static str,
    /// How its value is written, `=N` for example.
    value: &'static str,
    help: &'static str,
    apply: fn(&mut Settings, &Value<'_>) -> Applied,
}

/// What is wrong with a value, if anything.
type Applied = Result<(), String>;

struct Value<'a> {
    text: Option<&'a str>,
}

impl Value<'_> {
    fn boolean(&self) -> Result<bool, String> {
        match self.text {
            None | Some("y" | "yes" | "true") => Ok(true),
            Some("n" | "no" | "false") => Ok(false),
            Some(_) => Err("the value is y or n".to_owned()),
        }
    }

    fn number<N: TryFrom<u64>>(&self) -> Result<N, String> {
        let text = self.text.unwrap_or_default().replace('_', "");
        let number = match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        };
        number
            .and_then(|number| N::try_from(number).ok())
            .ok_or_else(|| "the value is a whole number, in bytes where it is a size".to_owned())
    }

    fn one_of<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, String> {
        let found = choices.iter().find(|(name, _)| Some(*name) == self.text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            format!("the value is one of {}", names.join(", "))
        })
    }
}

/// A setting that is yes or no and goes to a method of the engine's configuration.
macro_rules! switch {
    ($name:literal, $method:ident, $help:literal) => {
        Setting {
            name: $name,
            value: "[=y|n]",
            help: $help,
            apply: |settings, value| {
                let on = value.boolean()?;
                settings.engine(move |config| {
                    config.$method(on);
                })
            },
        }
    };
}

/// A setting that is a number and goes to a method of the engine's configuration.
macro_rules! size {
    ($name:literal, $method:ident, $help:literal) => {
        Setting {
            name: $name,
            value: "=N",
            help: $help,
            apply: |settings, value| {
                let size = value.number()?;
                settings.engine(move |config| {
                    config.$method(size);
                })
            },
        }
    };
}

/// A setting with a field of its own: a number that may be left out, or yes or no.
macro_rules! field {
    ($name:literal, $value:literal, $help:literal, $($field:ident).+, number) => {
        Setting {
            name: $name,
            value: $value,
            help: $help,
            apply: |settings, value| {
                settings.$($field).+ = Some(value.number()?);
                Ok(())
            },
        }
    };
    ($name:literal, $value:literal, $help:literal, $($field:ident).+, boolean) => {
        Setting {
            name: $name,
            value: $value,
            help: $help,
            apply: |settings, value| {
                settings.$($field).+ = value.boolean()?.into();
                Ok(())
            },
        }
    };
}

/// `-O`: optimisation and tuning.
pub(crate) const OPTIMIZE: Group = Group {
    flag: 'O',
    settings: &[
        Setting {
            name: "opt-level",
            value: "=0|1|2|s",
            help: "How much the compiler optimises (default: 2)",
            apply: |settings, value| {
                let level = value.one_of(&[
                    ("0", OptLevel::None),
                    ("1", OptLevel::Speed),
                    ("2", OptLevel::Speed),
                    ("s", OptLevel::SpeedAndSize),
                ])?;
                settings.engine(move |config| {
                    config.cranelift_opt_level(level);
                })
            },
        },
        Setting {
            name: "regalloc-algorithm",
            value: "=backtracking|single-pass",
            help: "How registers are allocated",
            apply: |settings, value| {
                let algorithm = value.one_of(&[
                    ("backtracking", RegallocAlgorithm::Backtracking),
                    ("single-pass", RegallocAlgorithm::SinglePass),
                ])?;
                settings.engine(move |config| {
                    config.cranelift_regalloc_algorithm(algorithm);
                })
            },
        },
        switch!(
            "memory-may-move",
            memory_may_move,
            "Whether linear memories may move"
        ),
        size!(
            "memory-reservation",
            memory_reservation,
            "Address space reserved for a memory"
        ),
        size!(
            "memory-reservation-for-growth",
            memory_reservation_for_growth,
            "Address space reserved after a memory"
        ),
        size!(
            "memory-guard-size",
            memory_guard_size,
            "Size of guard regions of memories"
        ),
        switch!(
            "memory-init-cow",
            memory_init_cow,
            "Whether memories start as copy-on-write"
        ),
        switch!(
            "table-lazy-init",
            table_lazy_init,
            "Whether tables are filled when used"
        ),
        switch!(
            "signals-based-traps",
            signals_based_traps,
            "Whether traps come from signals"
        ),
    ],
};

/// `-C`: code generation.
pub(crate) const CODEGEN: Group = Group {
    flag: 'C',
    settings: &[
        Setting {
            name: "compiler",
            value: "=cranelift|winch",
            help: "Which compiler (default: cranelift)",
            apply: |settings, value| {
                let strategy = value.one_of(&[
                    ("cranelift", wasmtime::Strategy::Cranelift),
                    ("winch", wasmtime::Strategy::Winch),
                ])?;
                settings.engine(move |config| {
                    config.strategy(strategy);
                })
            },
        },
        Setting {
            name: "collector",
            value: "=drc|null|copying",
            help: "Which garbage collector",
            apply: |settings, value| {
                let collector = value.one_of(&[
                    ("drc", Collector::DeferredReferenceCounting),
                    ("null", Collector::Null),
                    ("copying", Collector::Copying),
                ])?;
                settings.engine(move |config| {
                    config.collector(collector);
                })
            },
        },
        Setting {
            name: "inlining",
            value: "[=y|n]",
            help: "Whether functions are inlined, which hides their frames; not for trace (default: n)",
            apply: |settings, value| {
                let inlining = match value.boolean()? {
                    true => Inlining::Yes,
                    false => Inlining::No,
                };
                settings.engine(move |config| {
                    config.compiler_inlining(inlining);
                })
            },
        },
        switch!(
            "parallel-compilation",
            parallel_compilation,
            "Whether all processors compile"
        ),
        switch!(
            "native-unwind-info",
            native_unwind_info,
            "Whether code has unwind tables"
        ),
    ],
};

/// `-W`: Wasm proposals and limits.
pub(crate) const WASM: Group = Group {
    flag: 'W',
    settings: &[
        field!(
            "fuel",
            "=N",
            "Fuel for the guest; it traps when that is used up",
            fuel,
            number
        ),
        field!(
            "max-wasm-stack",
            "=N",
            "Stack for the guest",
            max_wasm_stack,
            number
        ),
        field!(
            "max-memory-size",
            "=N",
            "Size that a memory may reach",
            limits.memory_size,
            number
        ),
        field!(
            "max-table-elements",
            "=N",
            "Size that a table may reach",
            limits.table_elements,
            number
        ),
        field!(
            "max-instances",
            "=N",
            "How many instances there may be",
            limits.instances,
            number
        ),
        field!(
            "max-tables",
            "=N",
            "How many tables there may be",
            limits.tables,
            number
        ),
        field!(
            "max-memories",
            "=N",
            "How many memories there may be",
            limits.memories,
            number
        ),
        field!(
            "trap-on-grow-failure",
            "[=y|n]",
            "Whether memory.grow and table.grow trap instead of failing",
            limits.trap_on_grow_failure,
            boolean
        ),
        Setting {
            name: "timeout",
            value: "=DURATION",
            help: "The same as --timeout",
            apply: |settings, value| {
                settings.timeout = Some(duration::parse(value.text.unwrap_or_default())?);
                Ok(())
            },
        },
        Setting {
            name: "unknown-imports-trap",
            value: "[=y|n]",
            help: "Whether imports that nobody provides trap when called",
            apply: |settings, value| {
                if value.boolean()? {
                    settings.unknown_imports = UnknownImports::Trap;
                }
                Ok(())
            },
        },
        Setting {
            name: "unknown-imports-default",
            value: "[=y|n]",
            help: "Whether imports that nobody provides return zeros",
            apply: |settings, value| {
                if value.boolean()? {
                    settings.unknown_imports = UnknownImports::Default;
                }
                Ok(())
            },
        },
        switch!(
            "nan-canonicalization",
            cranelift_nan_canonicalization,
            "Whether NaNs are all one"
        ),
        switch!("bulk-memory", wasm_bulk_memory, "Bulk memory"),
        switch!("multi-memory", wasm_multi_memory, "Several memories"),
        switch!("multi-value", wasm_multi_value, "Several results"),
        switch!("reference-types", wasm_reference_types, "References"),
        switch!(
            "function-references",
            wasm_function_references,
            "Typed function references"
        ),
        switch!("gc", wasm_gc, "Garbage collection"),
        switch!("exceptions", wasm_exceptions, "Exceptions"),
        switch!("tail-call", wasm_tail_call, "Tail calls"),
        switch!("simd", wasm_simd, "SIMD"),
        switch!("relaxed-simd", wasm_relaxed_simd, "Relaxed SIMD"),
        switch!(
            "relaxed-simd-deterministic",
            relaxed_simd_deterministic,
            "Whether relaxed SIMD is the same everywhere"
        ),
        switch!("threads", wasm_threads, "Atomics and shared memories"),
        switch!("memory64", wasm_memory64, "Memories of 64-bit addresses"),
        switch!(
            "extended-const",
            wasm_extended_const,
            "Extended constant expressions"
        ),
        switch!(
            "custom-page-sizes",
            wasm_custom_page_sizes,
            "Memories of other page sizes"
        ),
        switch!(
            "wide-arithmetic",
            wasm_wide_arithmetic,
            "128-bit arithmetic"
        ),
        switch!("stack-switching", wasm_stack_switching, "Stack switching"),
        switch!(
            "component-model-async",
            wasm_component_model_async,
            "Async components"
        ),
        Setting {
            name: "epoch-interruption",
            value: "",
            help: "Not needed, and refused: sampling and --timeout use no epochs",
            apply: |_, _| Err("sampling and --timeout need no epochs; leave it out".to_owned()),
        },
    ],
};

/// `-S`: WASI.
pub(crate) const WASI: Group = Group {
    flag: 'S',
    settings: &[
        field!(
            "inherit-env",
            "[=y|n]",
            "Whether the guest gets this environment (default: n)",
            wasi.inherit_env,
            boolean
        ),
        field!(
            "inherit-stdin",
            "[=y|n]",
            "Whether it gets standard input (default: y)",
            wasi.inherit_stdin,
            boolean
        ),
        field!(
            "inherit-stdout",
            "[=y|n]",
            "Whether it gets standard output (default: y)",
            wasi.inherit_stdout,
            boolean
        ),
        field!(
            "inherit-stderr",
            "[=y|n]",
            "Whether it gets standard error (default: y)",
            wasi.inherit_stderr,
            boolean
        ),
        field!(
            "inherit-network",
            "[=y|n]",
            "Whether it may use the network (default: n)",
            wasi.inherit_network,
            boolean
        ),
        field!("tcp", "[=y|n]", "Whether it may use TCP", wasi.tcp, boolean),
        field!("udp", "[=y|n]", "Whether it may use UDP", wasi.udp, boolean),
        field!(
            "allow-ip-name-lookup",
            "[=y|n]",
            "Whether it may look names up",
            wasi.allow_ip_name_lookup,
            boolean
        ),
        Setting {
            name: "cwd",
            value: "=DIR",
            help: "What it is told is its current directory",
            apply: |settings, value| {
                let text = value.text.ok_or("the value is a directory of the guest")?;
                settings.wasi.cwd = Some(text.to_owned());
                Ok(())
            },
        },
        field!(
            "max-random-size",
            "=N",
            "Most random bytes in one call",
            wasi.max_random_size,
            number
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    fn read(group: &Group, text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        match settings.read(group, &[text.to_owned()]) {
            Ok(()) => Ok(settings),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_list_sets_each_of_its_parts() {
        let settings = read(&WASM, "max-memory-size=1_000,fuel=0x10,exceptions=n").unwrap();
        assert_eq!(settings.limits.memory_size, Some(1000));
        assert_eq!(settings.fuel, Some(16));
        assert_eq!(settings.engine.len(), 1);
        assert!(read(&WASI, "inherit_env").unwrap().wasi.inherit_env);
    }

    #[test]
    fn what_is_not_known_is_told_with_what_is() {
        let error = read(&WASM, "exeptions").unwrap_err();
        assert!(
            error.contains("-W exeptions") && error.contains("-W exceptions"),
            "{error}"
        );
        for (group, text, expected) in [
            (&CODEGEN, "compiler=gcc", "cranelift, winch"),
            (&OPTIMIZE, "opt-level", "0, 1, 2, s"),
            (&WASM, "gc=maybe", "y or n"),
            (&WASM, "fuel=-1", "whole number"),
            (&WASM, "epoch-interruption", "no epochs"),
            (&WASI, "", "no such setting"),
        ] {
            let error = read(group, text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
