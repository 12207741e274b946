//! Decides, before anything is written, what a rewritten module consists of: which
//! functions have a probe, and which index everything new and everything moved has.

use std::collections::{BTreeMap, HashMap};

use wasmparser::ValType;
use wasmscope_address::FuncIndex;

use crate::body::Body;
use crate::control::{PAGE, Place, SharedLayout};
use crate::encoding::{self, BlockType};
use crate::events::Events;
use crate::function::Signature;
use crate::guarded::Guarded;
use crate::hooks::{self, Hook, HookType};
use crate::options::Exceptions;
use crate::{Error, Module, Options};

/// The most locals that engines accept in a function, its parameters included.
const MAX_LOCALS: usize = 50_000;
/// The most types, functions, imports, exports or globals that engines accept.
const MAX_ITEMS: usize = 1_000_000;
/// The most element segments that engines accept.
const MAX_ELEMENTS: usize = 100_000;

/// The most memories that engines accept.
const MAX_MEMORIES: usize = 100;
/// The most pages that a memory has.
const MAX_PAGES: usize = 1 << 16;

/// Why a function has no probe although it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Skipped {
    /// It would have more locals than engines accept.
    #[error("it would have more than 50,000 locals")]
    TooManyLocals,
    /// Its body would be longer than engines accept.
    #[error("its body would be longer than 7,654,321 bytes")]
    BodyTooLong,
    /// It is shared between threads, and may not call a hook that is not.
    #[error("its type is shared")]
    Shared,
}

/// What a rewritten module consists of.
#[derive(Debug)]
pub(crate) struct Plan<'m, 'a> {
    pub(crate) module: &'m Module<'a>,
    /// Where what the host shares is.
    pub(crate) place: Place,
    pub(crate) options: &'m Options,
    /// Whether probes hear of exceptions.
    pub(crate) exceptions: bool,
    /// The functions that have a probe, by the probe's number.
    pub(crate) probes: Vec<FuncIndex>,
    /// The number of the probe of each function.
    numbers: Vec<Option<u32>>,
    pub(crate) skipped: BTreeMap<FuncIndex, Skipped>,
    /// The hooks that are imported, in their order.
    pub(crate) hooks: Vec<Hook>,
    /// The index of each hook's type.
    pub(crate) hook_types: Vec<u32>,
    /// The imported functions that have a shim, in the shims' order.
    pub(crate) shims: Vec<FuncIndex>,
    pub(crate) guarded: Guarded,
    /// The index of the type of what guards call.
    pub(crate) inner_type: u32,
    /// What a call of each imported function calls.
    calls: Vec<u32>,
    /// What a reference to each imported function refers to.
    references: Vec<u32>,
    pub(crate) types: NewTypes,
}

/// Types that are appended, each a final type without a supertype, alone in its
/// recursion group.
#[derive(Debug)]
pub(crate) struct NewTypes {
    first: u32,
    /// Their entries of the type section.
    pub(crate) entries: Vec<u8>,
    pub(crate) count: u32,
    indices: HashMap<Vec<u8>, u32>,
}

impl NewTypes {
    /// Returns the index of the type with this entry, adding it when it is new.
    fn add(&mut self, entry: Vec<u8>) -> u32 {
        *self.indices.entry(entry).or_insert_with_key(|entry| {
            self.entries.extend_from_slice(entry);
            self.count += 1;
            self.first + self.count - 1
        })
    }

    fn hook(&mut self, hook: Hook) -> u32 {
        let byte = |ty: HookType| match ty {
            HookType::I32 => encoding::I32,
            HookType::I64 => encoding::I64,
        };
        let params = hook.params();
        let mut entry = vec![0x60, params.len() as u8];
        entry.extend(params.into_iter().map(byte));
        entry.push(0);
        self.add(entry)
    }

    fn results(&mut self, results: &[ValType]) -> u32 {
        let entry = results_entry(results);
        self.add(entry)
    }
}

fn results_entry(results: &[ValType]) -> Vec<u8> {
    let mut entry = vec![0x60, 0];
    encoding::unsigned(&mut entry, results.len() as u32);
    for ty in results {
        encoding::value_type(&mut entry, *ty);
    }
    entry
}

impl<'m, 'a> Plan<'m, 'a> {
    /// Plans a module where each function has a probe that `wanted` says it should, but
    /// for those that were skipped before.
    pub(crate) fn new(
        module: &'m Module<'a>,
        place: Place,
        options: &'m Options,
        wanted: &dyn Fn(FuncIndex) -> bool,
        mut skipped: BTreeMap<FuncIndex, Skipped>,
    ) -> Result<Self, Error> {
        let exceptions = match options.exceptions {
            Exceptions::Never => false,
            Exceptions::Always => true,
            Exceptions::Auto => {
                module.counts.tags > 0 || module.bodies.iter().any(|body| body.exceptions)
            }
        };
        let mut probes = Vec::new();
        let mut numbers = vec![None; module.functions.len()];
        for function in &module.functions {
            let index = function.index;
            if skipped.contains_key(&index) || !wanted(index) {
                continue;
            }
            if let Some(reason) = unsuitable(module, options, index) {
                skipped.insert(index, reason);
                continue;
            }
            numbers[index.0 as usize] = Some(probes.len() as u32);
            probes.push(index);
        }
        let mut plan = Self {
            module,
            place,
            options,
            exceptions,
            probes,
            numbers,
            skipped,
            hooks: Vec::new(),
            hook_types: Vec::new(),
            shims: Vec::new(),
            guarded: Guarded::default(),
            inner_type: 0,
            calls: (0..module.counts.imported_functions).collect(),
            references: (0..module.counts.imported_functions).collect(),
            types: NewTypes {
                first: module.counts.types,
                entries: Vec::new(),
                count: 0,
                indices: HashMap::new(),
            },
        };
        if options.guarded && !plan.probes.is_empty() {
            plan.guarded = Guarded::new(module);
        }
        plan.hooks = plan.used_hooks();
        plan.add_shims();
        plan.add_types();
        plan.check()?;
        Ok(plan)
    }

    fn used_hooks(&self) -> Vec<Hook> {
        let mut used = Vec::new();
        let mut add = |hook: Hook| {
            if !used.contains(&hook) {
                used.push(hook);
            }
        };
        if !self.guarded.functions.is_empty() {
            add(Hook::Guard);
        }
        let called = if self.events().is_some() {
            add(Hook::Flush);
            &[]
        } else {
            &self.probes[..]
        };
        for index in called {
            let function = &self.module.functions[index.0 as usize];
            for (values, hook) in [
                (function.flattened_params(), Hook::Before as fn(u8) -> Hook),
                (function.flattened_results(), Hook::After),
            ] {
                let staged = hooks::staged(values);
                if staged > 0 {
                    add(Hook::Stage);
                }
                add(hook((values - staged * hooks::GROUP) as u8));
            }
            let body = self.body(*index);
            if body.is_some_and(Body::has_tail_calls) {
                add(Hook::Tail);
            }
            if self.exceptions {
                add(Hook::Unwind);
            }
        }
        used.sort_unstable();
        used
    }

    fn add_shims(&mut self) {
        let first = (self.module.functions.len() + self.hooks.len()) as u32;
        for index in &self.probes {
            let Some(import) = self.module.imports().get(index.0 as usize) else {
                break;
            };
            let shim = first + self.shims.len() as u32;
            self.shims.push(*index);
            self.calls[index.0 as usize] = shim;
            if import.signature.closed {
                self.references[index.0 as usize] = shim;
            }
        }
    }

    fn add_types(&mut self) {
        for hook in &self.hooks {
            self.hook_types.push(self.types.hook(*hook));
        }
        if !self.guarded.functions.is_empty() {
            self.inner_type = self.types.results(&[]);
        }
        for index in &self.probes {
            let signature = &self.module.functions[index.0 as usize].signature;
            if signature.results.len() > 1 && !signature.params.is_empty() {
                self.types.results(&signature.results);
            }
        }
    }

    /// Checks that engines accept as many of everything.
    fn check(&self) -> Result<(), Error> {
        let counts = &self.module.counts;
        let exposed = if self.options.expose {
            counts.memories + counts.globals
        } else {
            0
        };
        let added = self.new_globals();
        for (what, count, limit) in [
            ("types", counts.types + self.types.count, MAX_ITEMS),
            (
                "imports",
                counts.imports + self.hooks.len() as u32,
                MAX_ITEMS,
            ),
            (
                "functions",
                (self.module.functions.len() + self.hooks.len()) as u32 + self.new_functions(),
                MAX_ITEMS,
            ),
            (
                "memories",
                counts.memories + u32::from(self.own_pages().is_some()),
                MAX_MEMORIES,
            ),
            (
                "pages of memory",
                self.own_pages().unwrap_or_default(),
                MAX_PAGES,
            ),
            (
                "globals",
                counts.globals + added + self.guarded.globals(),
                MAX_ITEMS,
            ),
            (
                "exports",
                counts.exports + added + 2 + self.guarded.functions.len() as u32 + exposed,
                MAX_ITEMS,
            ),
            (
                "element segments",
                counts.elements + u32::from(self.new_functions() > 0),
                MAX_ELEMENTS,
            ),
        ] {
            let count = count as usize;
            if count > limit {
                return Err(Error::TooMany { what, count, limit });
            }
        }
        Ok(())
    }

    /// Returns the body of a function, unless it is imported.
    pub(crate) fn body(&self, function: FuncIndex) -> Option<&'m Body> {
        let defined = function
            .0
            .checked_sub(self.module.counts.imported_functions)?;
        self.module.bodies.get(defined as usize)
    }

    /// Returns the number of a function's probe.
    pub(crate) fn number(&self, function: FuncIndex) -> Option<u32> {
        self.numbers[function.0 as usize]
    }

    /// Returns the index of a hook that is used.
    pub(crate) fn hook(&self, hook: Hook) -> u32 {
        let at = self.hooks.binary_search(&hook);
        debug_assert!(at.is_ok(), "{hook} is used, but was not planned");
        self.module.counts.imported_functions + at.unwrap_or_default() as u32
    }

    /// Returns the index of a function itself, be it imported or defined.
    pub(crate) fn function(&self, original: u32) -> u32 {
        if original < self.module.counts.imported_functions {
            original
        } else {
            original + self.hooks.len() as u32
        }
    }

    /// Returns the index of what is called instead of a function.
    pub(crate) fn called(&self, original: u32) -> u32 {
        match self.calls.get(original as usize) {
            Some(index) => *index,
            None => original + self.hooks.len() as u32,
        }
    }

    /// Returns how many functions are added.
    pub(crate) fn new_functions(&self) -> u32 {
        (self.shims.len() + 2 * self.guarded.functions.len()) as u32
    }

    /// Returns the index of the function that stands for a guarded one in exports.
    fn guard(&self, number: u32) -> u32 {
        let functions = self.module.functions.len() + self.hooks.len() + self.shims.len();
        functions as u32 + number
    }

    /// Returns the index of the function that a guard calls.
    pub(crate) fn inner(&self, number: u32) -> u32 {
        self.guard(number) + self.guarded.functions.len() as u32
    }

    /// Returns the index of what is exported instead of a function. An import stays what it
    /// is: who imports it from here sees what the module was given.
    pub(crate) fn exported(&self, original: u32) -> u32 {
        match self.guarded.functions.binary_search(&FuncIndex(original)) {
            Ok(number) => self.guard(number as u32),
            Err(_) => self.function(original),
        }
    }

    /// Tells whether references to a function are to what its exports are not, so that
    /// exports do not declare that bodies may refer to it.
    pub(crate) fn needs_declaration(&self, original: u32) -> bool {
        self.referred(original) != self.exported(original)
    }

    /// Returns the index of what is referred to instead of a function.
    pub(crate) fn referred(&self, original: u32) -> u32 {
        match self.references.get(original as usize) {
            Some(index) => *index,
            None => original + self.hooks.len() as u32,
        }
    }

    /// Returns the index of the global that holds the instance's number. The module's key
    /// follows, then the switches.
    pub(crate) fn instance(&self) -> u32 {
        self.module.counts.globals
    }

    /// Returns the index of a global of switches.
    pub(crate) fn switches(&self, n: u32) -> u32 {
        self.instance() + 2 + n
    }

    /// Returns how events are kept, if they are and there is any.
    pub(crate) fn events(&self) -> Option<Events> {
        self.options.events.filter(|_| !self.probes.is_empty())
    }

    /// Returns the index of the memory that is added.
    pub(crate) fn own_memory(&self) -> u32 {
        self.module.counts.memories
    }

    /// Returns how many pages the memory has that is added, if one is.
    pub(crate) fn own_pages(&self) -> Option<u32> {
        let events = self.events();
        match self.place {
            Place::Globals => Some(events?.size() / PAGE),
            Place::Memory => {
                let shares = events.is_some() || self.options.switches;
                (shares && !self.probes.is_empty()).then(|| self.shared().pages())
            }
        }
    }

    /// Returns how the memory is laid out that the host shares.
    pub(crate) fn shared(&self) -> SharedLayout {
        SharedLayout::new(self.events(), self.probes.len() as u32)
    }

    /// Returns the index of the global that says where the next event goes.
    pub(crate) fn position(&self) -> u32 {
        self.switches(self.switch_globals())
    }

    /// Returns the index of the first global that values of guarded exports go through.
    pub(crate) fn passing(&self) -> u32 {
        self.instance() + self.new_globals()
    }

    /// Returns the index of a function that the module defines and that has a probe, if
    /// any has one.
    pub(crate) fn probed_function(&self) -> Option<u32> {
        let defined = self.probes.get(self.shims.len());
        let defined = defined.map(|function| self.function(function.0));
        defined.or_else(|| Some(self.called(self.shims.first()?.0)))
    }

    /// Returns how many globals hold switches.
    pub(crate) fn switch_globals(&self) -> u32 {
        if self.options.switches && self.place == Place::Globals {
            (self.probes.len() as u32).div_ceil(hooks::SWITCHES_PER_GLOBAL)
        } else {
            0
        }
    }

    /// Returns how many globals are added that are exported.
    pub(crate) fn new_globals(&self) -> u32 {
        if self.probes.is_empty() {
            0
        } else {
            let has_position = self.events().is_some() && self.place == Place::Globals;
            2 + self.switch_globals() + u32::from(has_position)
        }
    }

    /// Returns the type of a block that leaves what a probed function returns.
    pub(crate) fn block_type(&self, signature: &Signature) -> BlockType {
        match *signature.results {
            [] => BlockType::Empty,
            [result] => BlockType::Value(result),
            _ if signature.params.is_empty() => BlockType::Function(signature.type_index),
            ref results => {
                let entry = results_entry(results);
                BlockType::Function(self.types.indices.get(&entry).copied().unwrap_or_default())
            }
        }
    }
}

/// Tells why a function cannot have a probe, as far as that shows before it is written.
fn unsuitable(module: &Module<'_>, options: &Options, index: FuncIndex) -> Option<Skipped> {
    let function = &module.functions[index.0 as usize];
    if function.signature.shared {
        return Some(Skipped::Shared);
    }
    let defined = index.0.checked_sub(module.counts.imported_functions)?;
    let locals = module.bodies[defined as usize].locals as usize;
    let saved = if options.events.is_some() {
        1
    } else {
        function.results().len()
    };
    let added = usize::from(options.switches) + saved;
    (locals + added > MAX_LOCALS).then_some(Skipped::TooManyLocals)
}
