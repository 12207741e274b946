//! Takes dumps of stores.

use super::contents;
use super::definitions::Definitions;
use super::instances::{Owned, owned};
use super::shared::Shared;
use super::stack::{Known, Modules, Stack};
use super::trap::Trap;
use crate::code::Code;
use crate::{Error, Explainer};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use wasmscope_coredump as model;
use wasmscope_coredump::{CoreDump, Frame, Thread};
use wasmtime::{AsContextMut, Instance, Module, WasmBacktrace, WasmCoreDump};

/// Takes core dumps of stores, in terms of the guests that an [`Explainer`] knows.
///
/// The engine has to be configured with `Config::coredump_on_trap(true)`. See [the
/// module](crate::core_dump) for an example.
///
/// # What is in a dump
///
/// - The modules of the store that have instances, under the names that they were registered with. A core module
///   of a component has that name, `#`, and its number in the component. Others have their own
///   name, or `<anonymous-module-3>`.
/// - All instances, with their memories and globals. Of guests that were rewritten, what the
///   original has. What only [hidden](crate::Guest::hidden) guests have is left out, and all
///   memories and globals where it is not known which are theirs.
/// - One thread, `main`: the whole stack that the engine recorded, whatever
///   `Config::wasm_backtrace_max_frames` says, but `None`, with the original's functions and
///   offsets. Functions that a rewriter added are left out. Where the stack could be read in
///   part only it is marked as [cut](Thread::cut).
/// - Offsets of the older frames (beyond those that `wasm_backtrace_max_frames` allows) need
///   the guest's [bytes](crate::Guest::bytes); otherwise they may be unknown.
///
/// # What is not
///
/// The engine does not tell, so these are missing in the dump, never made up:
///
/// - Locals and operands.
/// - Which of several instances of a module a frame belongs to: such frames belong to an
///   instance of that module without memories and globals, which stands for any of them.
/// - Shared memories that no instance exports, and what references refer to. Of those that are
///   exported each byte is read by itself: other threads may run meanwhile, so that what is far
///   apart may be of different moments. Whose they are is known where a module has but one.
/// - Which memories and globals an instance imports, in stores that have globals of exceptions
///   or continuations, or components linked to components. Which it defines is known there if all
///   guests of the store are registered with their bytes, none is rewritten, and the host has made
///   no memories or globals of its own. The memories and globals are there in any case.
///
/// # Cost
///
/// Memories are not copied, but for shared ones: a dump borrows them. To tell which memories and
/// globals are which instance's, the engine makes a copy of what is not zero in them, which is
/// dropped before the dump is returned; not so if all guests of the store are as above, and none
/// imports a memory or a global.
#[derive(Clone)]
pub struct Dumper {
    name: String,
    explainer: Explainer,
    trap: Trap,
}

impl Dumper {
    /// Takes dumps in the name of a process, with the guests that `explainer` knows now or
    /// will know.
    #[must_use]
    pub fn new(name: impl Into<String>, explainer: &Explainer) -> Self {
        Self {
            name: name.into(),
            explainer: explainer.clone(),
            trap: Trap::default(),
        }
    }

    /// Takes a dump of a store with the stack of an error that it returned. Memories and
    /// globals are as they are now: nothing should have run in the store since.
    ///
    /// # Errors
    ///
    /// [`Error::NoCoreDump`].
    pub fn dump<'s, S>(
        &self,
        store: &'s mut S,
        error: &wasmtime::Error,
    ) -> Result<CoreDump<'s>, Error>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let taken = error
            .downcast_ref::<WasmCoreDump>()
            .ok_or(Error::NoCoreDump)?;
        let modules = Modules::new(
            taken.modules(),
            &self.explainer.known(),
            &self.trap.modules(),
        );
        let stack = error
            .downcast_ref::<WasmBacktrace>()
            .map(|backtrace| modules.stack(backtrace));
        // Without a backtrace the engine keeps no stack, or there was none.
        let stack = stack.unwrap_or_default();
        let mut dump = Instances::new(taken, &modules, store).dump(&modules, &stack);
        dump.name.clone_from(&self.name);
        Ok(dump.contents(taken, store))
    }

    /// Takes a dump of a store that has not failed, with the stack of now if a guest of the
    /// store runs: for host functions, and whoever holds the store.
    ///
    /// It calls a function of a guest of its own that traps: that is how the engine comes to
    /// keep a dump. Its instance, which has no memory, stays in the store, unseen by this
    /// dumper and its clones: one for each dump, which counts towards the limit of a
    /// `ResourceLimiter` and takes a slot of a pooling allocator until the store is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::DumpNow`] when the store refuses the instance or the call, as those do that
    /// want `call_async`; [`Error::NoCoreDump`].
    pub fn dump_now<'s, S>(&self, store: &'s mut S) -> Result<CoreDump<'s>, Error>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let module = self.trap.module(store.as_context().engine());
        let error = (|| {
            let instance = Instance::new(&mut *store, &module?, &[])?;
            let trap = instance.get_typed_func::<(), ()>(&mut *store, Trap::EXPORT)?;
            trap.call(&mut *store, ())
        })();
        self.dump_trapped(store, error)
    }

    /// As [`dump_now`](Self::dump_now), for stores that want `call_async`.
    ///
    /// # Errors
    ///
    /// As [`dump_now`](Self::dump_now).
    pub async fn dump_now_async<'s, S>(&self, store: &'s mut S) -> Result<CoreDump<'s>, Error>
    where
        S: AsContextMut,
        S::Data: Send + 'static,
    {
        let module = self.trap.module(store.as_context().engine());
        let error = async {
            let instance = Instance::new_async(&mut *store, &module?, &[]).await?;
            let trap = instance.get_typed_func::<(), ()>(&mut *store, Trap::EXPORT)?;
            trap.call_async(&mut *store, ()).await
        };
        let error = error.await;
        self.dump_trapped(store, error)
    }

    fn dump_trapped<'s, S>(
        &self,
        store: &'s mut S,
        result: wasmtime::Result<()>,
    ) -> Result<CoreDump<'s>, Error>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        match result {
            Err(error) if error.is::<wasmtime::Trap>() => self.dump(store, &error),
            Err(error) => Err(Error::DumpNow(error)),
            // It cannot return.
            Ok(()) => Err(Error::NoCoreDump),
        }
    }
}

impl fmt::Debug for Dumper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dumper")
            .field("name", &self.name)
            .field("explainer", &self.explainer)
            .finish()
    }
}

/// The instances of a store, and what is to be shown of them.
struct Instances {
    /// Each instance to be shown, with the number of its module.
    shown: Vec<(usize, Owned)>,
    /// Which of the store's memories and globals are to be shown.
    memories: Vec<bool>,
    globals: Vec<bool>,
    /// The shared memories of those instances.
    shared: Shared,
}

impl Instances {
    fn new<S>(taken: &WasmCoreDump, modules: &Modules, store: &mut S) -> Self
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let number = |module: &Module| {
            let mut all = modules.modules.iter();
            all.position(|of| Module::same(&of.module, module))
        };
        let of: Vec<Option<usize>> = taken
            .instances()
            .iter()
            .map(|instance| number(instance.module(&*store)))
            .collect();
        let definitions = definitions(modules);
        let defined = |number: &Option<usize>| definitions.get((*number)?)?.clone();
        let defined: Vec<_> = of.iter().map(defined).collect();
        let owned = owned(taken, store, &defined);
        // Where nobody can tell what hidden guests have, all of it is hidden.
        let hides = |number: &Option<usize>| {
            let known = number.and_then(|number| modules.modules.get(number)?.known.as_ref());
            known.is_some_and(|known| known.code.hidden)
        };
        let all = owned.is_none() && of.iter().any(hides);
        let owned = owned.unwrap_or_else(|| vec![Owned::default(); of.len()]);
        let mut hidden = (
            vec![all; taken.memories().len()],
            vec![all; taken.globals().len()],
        );
        let mut shown = Vec::new();
        let mut shared = Shared::default();
        for ((instance, number), mut owned) in taken.instances().iter().zip(of).zip(owned) {
            let Some(number) = number else { continue };
            let mark = |marks: &mut [bool], owned: &[Option<u32>], value: bool| {
                for index in owned.iter().flatten() {
                    if let Some(mark) = marks.get_mut(*index as usize) {
                        *mark = value;
                    }
                }
            };
            mark(&mut hidden.0, &owned.memories, true);
            mark(&mut hidden.1, &owned.globals, true);
            let Some(of) = modules.modules.get(number).filter(|of| !of.hidden) else {
                continue;
            };
            if let Some(known) = &of.known
                && known.code.is_rewritten()
                && known.module.is_none()
            {
                continue;
            }
            if let Some(memory) = shared.add(instance, &mut *store) {
                owned.share(&of.module, memory);
            }
            let owned = match &of.known {
                Some(known) if known.code.is_rewritten() => original(owned, counts(known)),
                _ => owned,
            };
            shown.push((number, owned));
        }
        // What an instance shows is shown, whoever else has it.
        for (_, owned) in &shown {
            for (marks, owned) in [
                (&mut hidden.0, &owned.memories),
                (&mut hidden.1, &owned.globals),
            ] {
                for index in owned.iter().flatten() {
                    if let Some(mark) = marks.get_mut(*index as usize) {
                        *mark = false;
                    }
                }
            }
        }
        let not = |marks: Vec<bool>| marks.into_iter().map(|hidden| !hidden).collect();
        Self {
            shown,
            memories: not(hidden.0),
            globals: not(hidden.1),
            shared,
        }
    }

    /// Makes a dump of modules, instances and the stack.
    fn dump(self, modules: &Modules, stack: &Stack) -> Taken {
        let renumber = |shown: &[bool]| {
            let mut next = 0;
            let numbers = shown.iter().map(|shown| {
                let number = next;
                next += u32::from(*shown);
                shown.then_some(number)
            });
            numbers.collect::<Vec<Option<u32>>>()
        };
        let (memories, globals) = (renumber(&self.memories), renumber(&self.globals));
        // Shared ones come behind.
        let unshared = memories.iter().flatten().count() as u32;
        let mut names = Names::default();
        let mut instances = Vec::new();
        // The only instance of each module; none where there are several.
        let mut only: HashMap<u32, Option<u32>> = HashMap::new();
        for (number, owned) in self.shown {
            let module = names.number(modules, Some(number));
            let new = |owned: Vec<Option<u32>>, numbers: &[Option<u32>]| {
                let index = |index: Option<u32>| *numbers.get(index? as usize)?;
                owned.into_iter().map(index).collect()
            };
            let mut memories: Vec<_> = new(owned.memories, &memories);
            if let Some((slot, number)) = owned.shared
                && let Some(memory) = memories.get_mut(slot)
            {
                *memory = Some(unshared + number as u32);
            }
            let index = instances.len() as u32;
            only.entry(module)
                .and_modify(|only| *only = None)
                .or_insert(Some(index));
            instances.push(model::Instance {
                module,
                memories,
                globals: new(owned.globals, &globals),
            });
        }
        let mut any: HashMap<u32, u32> = HashMap::new();
        let frames = stack.frames.iter().map(|frame| {
            let module = names.number(modules, frame.module);
            let instance = only.get(&module).copied().flatten();
            let instance = instance.unwrap_or_else(|| {
                *any.entry(module).or_insert_with(|| {
                    instances.push(model::Instance {
                        module,
                        ..model::Instance::default()
                    });
                    instances.len() as u32 - 1
                })
            });
            Frame {
                instance: Some(instance),
                function: frame.function,
                code_offset: frame.code_offset,
                locals: Vec::new(),
                stack: Vec::new(),
            }
        });
        let thread = Thread {
            name: "main".into(),
            frames: frames.collect(),
            cut: stack.cut,
        };
        Taken {
            name: String::new(),
            modules: names.names,
            instances,
            thread,
            memories: self.memories,
            globals: self.globals,
            shared: self.shared,
        }
    }
}

/// Returns what each module defines, where its bytes are known and it is what they say.
fn definitions(modules: &Modules) -> Vec<Option<Definitions>> {
    let mut read: HashMap<*const Code, Option<Vec<Definitions>>> = HashMap::new();
    let of = modules.modules.iter().map(|of| {
        let Known { code, module } = of.known.as_ref()?;
        if code.is_rewritten() {
            return None;
        }
        let all = read
            .entry(Arc::as_ptr(code))
            .or_insert_with(|| Definitions::read(code.bytes()?));
        all.as_ref()?.get(module.as_ref()?.0 as usize).cloned()
    });
    of.collect()
}

/// Returns how many memories and globals a module has, if it is a module of its own, and its
/// bytes are known.
fn counts(known: &Known) -> Option<(u32, u32)> {
    if known.code.is_component() {
        return None;
    }
    let module = wasmscope_instrument::Module::parse(known.code.bytes()?).ok()?;
    Some((module.memories(), module.globals()))
}

/// Leaves what the original of a rewritten module has: the first of its memories and globals.
fn original(mut owned: Owned, counts: Option<(u32, u32)>) -> Owned {
    if let Some((memories, globals)) = counts {
        owned.memories.truncate(memories as usize);
        owned.globals.truncate(globals as usize);
    }
    owned
}

/// The names of a dump's modules.
#[derive(Default)]
struct Names {
    names: Vec<String>,
    numbers: HashMap<Option<usize>, u32>,
}

impl Names {
    /// Returns the number in the dump of one of the store's modules.
    fn number(&mut self, modules: &Modules, module: Option<usize>) -> u32 {
        let Self { names, numbers } = self;
        *numbers.entry(module).or_insert_with(|| {
            let module = module.and_then(|module| modules.modules.get(module));
            names.push(match module {
                Some(of) => name(&of.module, of.known.as_ref(), names.len()),
                None => "<a guest that is not registered>".to_owned(),
            });
            names.len() as u32 - 1
        })
    }
}

fn name(module: &Module, known: Option<&Known>, number: usize) -> String {
    match known {
        Some(Known {
            code,
            module: Some(index),
        }) if code.is_component() => format!("{}#{index}", code.name()),
        Some(Known { code, .. }) if !code.is_component() => code.name(),
        _ => match module.name() {
            Some(name) => name.to_owned(),
            None => format!("<anonymous-module-{number}>"),
        },
    }
}

/// A dump that lacks what memories and globals hold.
struct Taken {
    name: String,
    modules: Vec<String>,
    instances: Vec<model::Instance>,
    thread: Thread<'static>,
    memories: Vec<bool>,
    globals: Vec<bool>,
    shared: Shared,
}

impl Taken {
    fn contents<'s, S>(self, taken: &WasmCoreDump, store: &'s mut S) -> CoreDump<'s>
    where
        S: AsContextMut,
        S::Data: 'static,
    {
        let shown = taken.globals().iter().zip(self.globals);
        let globals = shown
            .filter(|(_, shown)| *shown)
            .map(|(global, _)| contents::global(global, &mut *store))
            .collect();
        let store: &S = store;
        let shown = taken.memories().iter().zip(self.memories);
        let memories = shown
            .filter(|(_, shown)| *shown)
            .map(|(memory, _)| contents::memory(memory, store.as_context()));
        let mut memories: Vec<model::Memory<'s>> = memories.collect();
        for copied in self.shared.contents() {
            memories.push(copied);
        }
        CoreDump {
            name: self.name.into(),
            modules: self.modules.into_iter().map(Into::into).collect(),
            instances: self.instances,
            memories,
            globals,
            threads: vec![self.thread],
        }
    }
}
