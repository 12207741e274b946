//! Runs scripts of the official test suite (`.wast`) on an engine.
//!
//! Here, because the engine's own runner keeps its linker to itself: this one hands
//! each module to a [`Passage`], which may change its bytes, serve what it imports
//! and look on while it runs. What each command gave is written down, so that two
//! runs can be compared, as well as held against what the script expects.
//!
//! Leaves to `script/value.rs` what a value is and which values a script accepts, and
//! to the tests what passages there are.

#[path = "script/value.rs"]
pub(crate) mod value;

use json_from_wast::{Action, Command, Const, WasmFile, Wast};
use std::collections::HashMap;
use std::thread::ScopedJoinHandle;
use wasmtime::{
    Engine, Extern, Func, Instance, Linker, Result, Store, ThrownException, Trap, Val, bail,
    error::Context as _, format_err,
};
use wasmtime_wast::{SpectestConfig, link_spectest};

/// How a script's modules come onto the engine, and what happens around their calls.
pub(crate) trait Passage: Sync {
    /// What each store holds.
    type Data: Send + 'static;
    /// A module that was compiled.
    type Module: Clone + Send + Sync;

    /// Makes what a new store holds.
    fn data(&self) -> Self::Data;

    /// Defines what the modules import beyond what the script gives them.
    fn link(&self, linker: &mut Linker<Self::Data>) -> Result<()>;

    /// Compiles a module, which may be invalid.
    fn compile(&self, engine: &Engine, wasm: &[u8]) -> Result<Self::Module>;

    /// Instantiates a module.
    fn instantiate(
        &self,
        linker: &Linker<Self::Data>,
        store: &mut Store<Self::Data>,
        module: &Self::Module,
    ) -> Result<Instance>;

    /// Calls a function.
    fn call(
        &self,
        store: &mut Store<Self::Data>,
        func: Func,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()>;

    /// Looks at a store that is used no more.
    fn end(&self, store: Store<Self::Data>) -> Result<()>;
}

/// What a script's commands gave.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The line of each command, and what it gave: values in text, with all bits, or
    /// why it failed when it was to fail. Nothing when it did not give what the script
    /// expects. Two runs of a script can be compared by them.
    pub(crate) outcomes: Vec<(u32, Option<String>)>,
    /// The line of each command that did not give what the script expects, and what
    /// was wrong.
    pub(crate) failures: Vec<(u32, String)>,
}

/// Where texts of failures differ between the specification and the engine: what the
/// script says, and what the engine says instead.
const SYNONYMS: &[(&str, &str)] = &[
    ("uninitialized element", "uninitialized element"),
    ("null function", "uninitialized element"),
    ("null function", "null reference"),
    ("null structure reference", "null reference"),
    ("null array reference", "null reference"),
    ("null i31 reference", "null reference"),
    ("null exception reference", "null reference"),
];

/// Runs a script to its end.
///
/// # Errors
///
/// When the script cannot be read, or the passage does not like a store's end.
pub(crate) fn run<P: Passage>(
    passage: &P,
    engine: &Engine,
    name: &str,
    text: &str,
) -> Result<Report> {
    let mut lexer = wast::lexer::Lexer::new(text);
    // Names in the suite hold what looks like other characters.
    lexer.allow_confusing_unicode(true);
    let buffer = wast::parser::ParseBuffer::new_with_lexer(lexer)?;
    let script = wast::parser::parse::<wast::Wast<'_>>(&buffer)?;
    let mut script =
        Wast::from_ast(name, text, script).map_err(|error| format_err!("{error:#}"))?;
    let files: HashMap<String, Vec<u8>> = script.wasms.drain(..).collect();
    let mut runner = Runner::new(passage, engine, &files, HashMap::new())?;
    link_spectest(
        &mut runner.linker,
        &mut runner.store,
        &SpectestConfig {
            use_shared_memory: true,
            suppress_prints: true,
        },
    )?;
    runner.commands(script.commands)
}

/// One thread of a script: its store, and the instances that it knows.
struct Runner<'a, P: Passage> {
    passage: &'a P,
    files: &'a HashMap<String, Vec<u8>>,
    linker: Linker<P::Data>,
    store: Store<P::Data>,
    current: Option<Instance>,
    definitions: HashMap<Option<String>, P::Module>,
}

impl<'a, P: Passage> Runner<'a, P> {
    fn new(
        passage: &'a P,
        engine: &Engine,
        files: &'a HashMap<String, Vec<u8>>,
        definitions: HashMap<Option<String>, P::Module>,
    ) -> Result<Self> {
        let mut linker = Linker::new(engine);
        // A script may give a name to one module after another.
        linker.allow_shadowing(true);
        passage.link(&mut linker)?;
        Ok(Self {
            passage,
            files,
            linker,
            store: Store::new(engine, passage.data()),
            current: None,
            definitions,
        })
    }

    fn commands(mut self, commands: Vec<Command<'_>>) -> Result<Report> {
        let mut report = Report::default();
        std::thread::scope(|scope| {
            let mut threads = HashMap::new();
            for command in commands {
                let line = command.line();
                let gave = match command {
                    Command::Thread {
                        name,
                        shared_module,
                        commands,
                        ..
                    } => self.thread(shared_module.as_deref()).map(|thread| {
                        let thread = scope.spawn(move || thread.commands(commands));
                        threads.insert(name.into_owned(), thread);
                        "a thread".to_owned()
                    }),
                    Command::Wait { thread, .. } => wait(&mut threads, &thread, &mut report),
                    command => self.command(command),
                };
                match gave {
                    Ok(gave) => report.outcomes.push((line, Some(gave))),
                    Err(error) => {
                        report.outcomes.push((line, None));
                        report.failures.push((line, format!("{error:#}")));
                    }
                }
            }
        });
        self.passage.end(self.store).context("at the store's end")?;
        Ok(report)
    }

    /// A thread with a store of its own, which shares one module's exports.
    fn thread(&mut self, shared: Option<&str>) -> Result<Self> {
        let mut thread = Self::new(
            self.passage,
            self.linker.engine(),
            self.files,
            self.definitions.clone(),
        )?;
        if let Some(shared) = shared {
            let items: Vec<_> = self
                .linker
                .iter(&mut self.store)
                .filter(|(module, ..)| *module == shared)
                .map(|(module, name, item)| (module.to_owned(), name.to_owned(), item))
                .collect();
            for (module, name, item) in items {
                // Only shared memories can leave their store.
                if let Extern::SharedMemory(_) = item {
                    thread.linker.define(&self.store, &module, &name, item)?;
                }
            }
        }
        Ok(thread)
    }

    /// Runs one command and says what it gave; an error when that is not what the
    /// script expects.
    fn command(&mut self, command: Command<'_>) -> Result<String> {
        match command {
            Command::Module { name, file, .. } => {
                let module = self.compile(&file)?;
                self.instantiate(name.as_deref(), &module)?;
                Ok("an instance".to_owned())
            }
            Command::ModuleDefinition { name, file, .. } => {
                let module = self.compile(&file)?;
                self.definitions
                    .insert(name.map(|name| name.into_owned()), module);
                Ok("a module".to_owned())
            }
            Command::ModuleInstance {
                instance, module, ..
            } => {
                let module = self
                    .definitions
                    .get(&module.map(|name| name.into_owned()))
                    .cloned()
                    .ok_or_else(|| format_err!("no such module"))?;
                self.instantiate(instance.as_deref(), &module)?;
                Ok("an instance".to_owned())
            }
            Command::Register { name, as_, .. } => {
                match name {
                    Some(name) => {
                        self.linker.alias_module(&name, &as_)?;
                    }
                    None => {
                        let current = self
                            .current
                            .ok_or_else(|| format_err!("no instance to register"))?;
                        self.linker.instance(&mut self.store, &as_, current)?;
                    }
                }
                Ok("a name".to_owned())
            }
            Command::Action { action, .. } => {
                let values = self.act(&action)??;
                value::show(&mut self.store, &values)
            }
            Command::AssertReturn {
                action, expected, ..
            } => {
                let values = self.act(&action)??;
                if values.len() != expected.len() {
                    bail!("{} values, expected {}", values.len(), expected.len());
                }
                for (value, expected) in values.iter().zip(&expected) {
                    let Const::Core(expected) = expected else {
                        bail!("a component's value is expected");
                    };
                    if !value::matches(&mut self.store, value, expected)? {
                        bail!("got {value:?}, expected {expected:?}");
                    }
                }
                value::show(&mut self.store, &values)
            }
            Command::AssertTrap { action, text, .. }
            | Command::AssertExhaustion { action, text, .. } => {
                let Err(error) = self.act(&action)? else {
                    bail!("no trap, expected `{text}`");
                };
                expect_trap(&error, &text)
            }
            Command::AssertUninstantiable { file, text, .. } => {
                let module = self.compile(&file)?;
                let Err(error) = self.instantiate(None, &module) else {
                    bail!("an instance, expected `{text}`");
                };
                expect_trap(&error, &text)
            }
            Command::AssertUnlinkable { file, text, .. } => {
                let module = self.compile(&file)?;
                let Err(error) = self.instantiate(None, &module) else {
                    bail!("an instance, expected `{text}`");
                };
                if error.is::<Trap>() {
                    bail!("`{error:#}`, expected it not to link");
                }
                Ok(without_numbers(&format!("{error:#}")))
            }
            Command::AssertException { action, .. } => {
                let Err(error) = self.act(&action)? else {
                    bail!("no exception");
                };
                if !error.is::<ThrownException>() {
                    bail!("`{error:#}`, expected an exception");
                }
                let exception = self
                    .store
                    .take_pending_exception()
                    .ok_or_else(|| format_err!("no exception is pending"))?;
                let fields: Vec<Val> = exception.fields(&mut self.store)?.collect();
                value::show(&mut self.store, &fields)
            }
            Command::AssertSuspension { action, .. } => {
                let Err(error) = self.act(&action)? else {
                    bail!("no suspension");
                };
                if error.downcast_ref::<Trap>() != Some(&Trap::UnhandledTag) {
                    bail!("`{error:#}`, expected a suspension");
                }
                Ok("a suspension".to_owned())
            }
            // What is wrong with them is told in the engine's words, not the script's.
            Command::AssertInvalid { file, text, .. }
            | Command::AssertMalformed { file, text, .. } => match self.compile(&file) {
                Ok(_) => bail!("a module, expected `{text}`"),
                Err(_) => Ok("no module".to_owned()),
            },
            Command::AssertInvalidCustom { .. } | Command::AssertMalformedCustom { .. } => {
                bail!("the engine does not look into custom sections")
            }
            Command::Thread { .. } | Command::Wait { .. } => bail!("a thread within a command"),
        }
    }

    fn compile(&self, file: &WasmFile<'_>) -> Result<P::Module> {
        let name = file.binary_filename.as_ref().unwrap_or(&file.filename);
        let wasm = wat::parse_bytes(&self.files[&**name])?;
        self.passage.compile(self.linker.engine(), &wasm)
    }

    fn instantiate(&mut self, name: Option<&str>, module: &P::Module) -> Result<()> {
        let instance = self
            .passage
            .instantiate(&self.linker, &mut self.store, module)?;
        if let Some(name) = name {
            self.linker.instance(&mut self.store, name, instance)?;
        }
        self.current = Some(instance);
        Ok(())
    }

    /// Does what a command says; the outer error is the script's, the inner one the
    /// guest's.
    fn act(&mut self, action: &Action<'_>) -> Result<Result<Vec<Val>>> {
        match action {
            Action::Invoke {
                module,
                field,
                args,
            } => {
                let func = self
                    .export(module.as_deref(), field)?
                    .into_func()
                    .ok_or_else(|| format_err!("`{field}` is no function"))?;
                let params: Vec<Val> = args
                    .iter()
                    .map(|arg| match arg {
                        Const::Core(arg) => value::make(&mut self.store, arg),
                        Const::Component(_) => bail!("a component's value is given"),
                    })
                    .collect::<Result<_>>()?;
                let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
                let called = self
                    .passage
                    .call(&mut self.store, func, &params, &mut results);
                Ok(called.map(|()| results))
            }
            Action::Get { module, field } => {
                let global = self
                    .export(module.as_deref(), field)?
                    .into_global()
                    .ok_or_else(|| format_err!("`{field}` is no global"))?;
                Ok(Ok(vec![global.get(&mut self.store)]))
            }
        }
    }

    fn export(&mut self, module: Option<&str>, name: &str) -> Result<Extern> {
        match module {
            Some(module) => self.linker.get(&mut self.store, module, name).ok(),
            None => self
                .current
                .and_then(|current| current.get_export(&mut self.store, name)),
        }
        .ok_or_else(|| format_err!("no export `{name}`"))
    }
}

/// Waits for a thread of a script, and takes over what its commands gave.
fn wait(
    threads: &mut HashMap<String, ScopedJoinHandle<'_, Result<Report>>>,
    name: &str,
    report: &mut Report,
) -> Result<String> {
    let thread = threads
        .remove(name)
        .ok_or_else(|| format_err!("no thread `{name}`"))?;
    let theirs = thread.join().expect("a script's thread panicked")?;
    report.outcomes.extend(theirs.outcomes);
    report.failures.extend(theirs.failures);
    Ok("a thread's end".to_owned())
}

/// A message without the numbers that the engine gives to types, which depend on what
/// else it has compiled.
fn without_numbers(message: &str) -> String {
    let mut parts = message.split("(engine ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += "(engine ";
        out += part.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out
}

/// Says which trap a failure is, if it is the one that a script expects.
fn expect_trap(error: &wasmtime::Error, expected: &str) -> Result<String> {
    let cause = error.root_cause().to_string();
    let same = cause.contains(expected)
        || SYNONYMS
            .iter()
            .any(|(theirs, ours)| expected.starts_with(theirs) && cause.contains(ours));
    if same {
        Ok(cause)
    } else {
        bail!("`{cause}`, expected `{expected}`")
    }
}
