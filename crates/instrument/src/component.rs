//! Components: their core modules are rewritten, and hooks are threaded through every
//! instantiation.
//!
//! ```
//! use wasmscope_instrument::component::{Candidate, Component, interface};
//! use wasmscope_instrument::Options;
//!
//! let wasm = wat::parse_str(
//!     r#"(component
//!         (core module $m
//!             (func (export "answer") (result i32) (i32.const 42)))
//!         (core instance $i (instantiate $m))
//!         (func (export "answer") (result u32) (canon lift (core func $i "answer"))))"#,
//! )?;
//! let component = Component::parse(&wasm)?;
//! assert_eq!(component.modules().len(), 1);
//! assert_eq!(component.functions()[0].name.as_deref(), Some("answer"));
//!
//! let rewritten = component.rewrite(&Options::default(), &|candidate| {
//!     matches!(candidate, Candidate::Core { .. })
//! })?;
//! // It imports an instance now, which its host defines.
//! let name = interface::import_name(&Options::default().suffix);
//! assert!(rewritten.wasm.windows(name.len()).any(|bytes| bytes == name.as_bytes()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is added
//!
//! Each component that has probes imports the instance that [`interface`] describes, and so
//! does each that instantiates one. Inside, each instance with probes gets an instance of a
//! small core module beside it, which exports what rewritten modules import (see
//! [`hooks`](crate::hooks)) and calls the host: the function with the probe is the caller of
//! the one that calls the host. What the component lifts and lowers goes through wrappers when it has a
//! probe: core functions that do nothing but call on, and that are rewritten as any other.
//!
//! The engine forbids calls out of a component while it calls `realloc` or `post-return`:
//! these go through functions that say so, and events are [`deferred`] meanwhile.
//!
//! What the host reads and sets while the guest runs, which is [`switches`] and where the next
//! of the [`events`] goes, is in a memory more of each module with probes, laid out as
//! [`SharedLayout`] says. Switches are on, and no event kept, until the host is told of it.
//!
//! [`switches`]: crate::Options::switches
//! [`events`]: crate::Options::events
//!
//! # What cannot be done yet
//!
//! A core module or a component that is passed on as a value cannot have probes: whoever
//! instantiates it would have to give it more. Nor are there
//! [guards](crate::Options::guarded) in components: the host would have to enter the guest
//! again from where the guest called it, which is forbidden.
//!
//! Functions that are built in have probes where a core module imports them, as core
//! functions; only `task.return` is wrapped as what is lowered.

mod added;
mod bindings;
mod canonical;
mod core;
mod core_type;
pub mod deferred;
mod function;
#[cfg(test)]
mod growth;
pub mod interface;
mod names;
mod numbering;
mod output;
mod plan;
mod probes;
mod reading;
mod rewritten;
mod scope;
pub mod shown;
mod steps;
mod tables;
mod writer;

pub use crate::control::SharedLayout;
pub use bindings::Binding;
pub use function::{ComponentFunction, Direction, Signature, StringEncoding};
pub use rewritten::{
    Candidate, Instantiation, OriginalModule, RewrittenComponent, RewrittenModule,
};

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use bindings::Bindings;
use plan::Plan;
use reading::Reading;
use scope::Scope;
use wasmparser::component_types::ResourceId;
use wasmparser::types::Types;
use wasmscope_address::FuncIndex;
use writer::Writer;

use crate::{Error, Module, Options};

/// A component in its binary form, read so that it can be rewritten.
pub struct Component<'a> {
    bytes: &'a [u8],
    modules: Vec<NestedModule<'a>>,
    functions: Vec<ComponentFunction>,
    scopes: Vec<Scope<'a>>,
    bindings: Vec<Bindings>,
    escaped_modules: Vec<(usize, &'a str)>,
    escaped_scopes: Vec<(usize, &'a str)>,
    types: Types,
    resources: HashMap<ResourceId, String>,
}

impl fmt::Debug for Component<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component")
            .field("modules", &self.modules)
            .field("functions", &self.functions)
            .finish_non_exhaustive()
    }
}

/// A core module in a component, or in one that is nested in it.
#[derive(Debug)]
pub struct NestedModule<'a> {
    /// Where its bytes start in the component's. The offsets in `module` count from there.
    pub offset: usize,
    /// The module.
    pub module: Module<'a>,
}

impl<'a> Component<'a> {
    /// Reads the component in `bytes`.
    ///
    /// # Errors
    ///
    /// When the bytes are not a valid component, when a reserved name is used (see
    /// [`hooks`](crate::hooks) and [`interface`]), or when a module in it is an object file.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(Error::TooMany {
                what: "bytes",
                count: bytes.len(),
                limit: u32::MAX as usize,
            });
        }
        let reading = Reading::read(bytes)?;
        let Some(types) = reading.types else {
            return Err(Error::NotComponent);
        };
        let mut modules = Vec::new();
        for range in reading.modules {
            let offset = range.start;
            let module = Module::parse(&bytes[range]).map_err(|error| error.within(offset))?;
            modules.push(NestedModule { offset, module });
        }
        let bindings = bindings::find(&modules, &reading.scopes)?;
        Ok(Self {
            bytes,
            bindings,
            modules,
            functions: reading.functions,
            scopes: reading.scopes,
            escaped_modules: reading.escaped_modules,
            escaped_scopes: reading.escaped_scopes,
            types,
            resources: reading.resources,
        })
    }

    /// Returns all core modules in it, by the numbers that engines give them.
    #[must_use]
    pub fn modules(&self) -> &[NestedModule<'a>] {
        &self.modules
    }

    /// Returns everything that it or a component nested in it lifts or lowers.
    #[must_use]
    pub fn functions(&self) -> &[ComponentFunction] {
        &self.functions
    }

    /// Returns what a function that a core module imports is, in each of that module's
    /// instances.
    pub fn bindings(
        &self,
        module: usize,
        function: FuncIndex,
    ) -> impl Iterator<Item = Binding> + '_ {
        bindings::of_function(&self.scopes, &self.bindings, module, function)
    }

    /// Returns what the functions are that a component lowers and one of the core modules
    /// imports that it instantiates: which it instantiates as the `place`th.
    fn lowered_at(&self, scope: usize, place: usize) -> BTreeMap<FuncIndex, usize> {
        let bindings = self.bindings.get(scope).and_then(|found| found.get(place));
        let bindings = (0..).zip(bindings.into_iter().flatten());
        let lowered = bindings.filter_map(|(function, binding)| match binding {
            Binding::Lowered(number) => Some((FuncIndex(function), *number)),
            Binding::Other | Binding::Unknown => None,
        });
        lowered.collect()
    }

    /// Returns its types, and those of the components that are nested in it.
    #[must_use]
    pub fn types(&self) -> &Types {
        &self.types
    }

    /// Returns what a resource of [`types`](Self::types) is called by the component that uses
    /// it, or by one around it.
    #[must_use]
    pub fn resource_name(&self, resource: ResourceId) -> Option<&str> {
        self.resources.get(&resource).map(String::as_str)
    }

    /// Rewrites the component so that each function tells of its calls for which `probed`
    /// says so.
    ///
    /// Equal inputs give equal bytes. A component where nothing gets a probe stays as it is,
    /// to the byte; so does each of its core modules, its debug information included.
    ///
    /// # Errors
    ///
    /// [`Error::NotYet`] for [what cannot be done](self#what-cannot-be-done-yet), and
    /// [`Error::TooMany`] when the component or a module would exceed a limit of the engines.
    pub fn rewrite(
        &self,
        options: &Options,
        probed: &dyn Fn(Candidate) -> bool,
    ) -> Result<RewrittenComponent, Error> {
        let plan = Plan::new(self, options, probed)?;
        Writer::new(plan).finish()
    }
}
