//! What a function is, before it is ever called: its names, its type, who wrote it.
//!
//! A factory decides by this whether to listen; a listener sees it with each call. It
//! belongs to the original module, so all its instances share one. Where a definition
//! comes from (a module's bytes, a test) is no business of this crate.

use std::fmt;

use wasmscope_address::FuncIndex;

use crate::component::{ComponentFunction, Direction};
use crate::value::ValueType;

/// Describes one function of a module's index space.
///
/// ```
/// use wasmscope_listen::{Definition, FuncIndex, ValueType};
///
/// let f = Definition::guest(FuncIndex(7)).in_module("app").named("fib").typed([ValueType::I32], [ValueType::I32]);
/// assert_eq!(f.debug_name(), "app.fib");
/// assert_eq!(Definition::guest(FuncIndex(8)).in_module("app").debug_name(), "app.$8");
///
/// let g = Definition::import(FuncIndex(0), "wasi_snapshot_preview1", "random_get");
/// assert_eq!(g.debug_name(), "wasi_snapshot_preview1.random_get");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Definition {
    /// The module's own name, from its name section.
    pub module: Option<String>,
    /// The function's index in the original module.
    pub index: FuncIndex,
    /// The function's name, from the name section.
    pub name: Option<String>,
    /// The names under which the module exports it.
    pub export_names: Vec<String>,
    /// Where it is imported from.
    pub import: Option<Import>,
    /// The types of its parameters.
    pub params: Vec<ValueType>,
    /// The types of its results.
    pub results: Vec<ValueType>,
    /// Its parameters' names in order; shorter than `params` when the last ones have none.
    pub param_names: Vec<Option<String>>,
    /// Its results' names in order; shorter than `results` when the last ones have none.
    pub result_names: Vec<Option<String>>,
    /// Whether the guest or its host implements it.
    pub kind: FunctionKind,
    /// The component function whose core side it is.
    pub component: Option<ComponentFunction>,
}

/// Names what an imported function is imported from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Import {
    /// The module name of the import.
    pub module: String,
    /// The field name of the import.
    pub name: String,
}

/// Tells who implements a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FunctionKind {
    /// WebAssembly: this module, or another one that it is linked to.
    Guest,
    /// The host.
    Host,
}

impl Definition {
    /// Makes the definition of a guest's function without names, parameters or results.
    #[must_use]
    pub fn guest(index: FuncIndex) -> Self {
        Self {
            module: None,
            index,
            name: None,
            export_names: Vec::new(),
            import: None,
            params: Vec::new(),
            results: Vec::new(),
            param_names: Vec::new(),
            result_names: Vec::new(),
            kind: FunctionKind::Guest,
            component: None,
        }
    }

    /// Makes the definition of a host function that a module imports.
    #[must_use]
    pub fn import(index: FuncIndex, module: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            import: Some(Import {
                module: module.into(),
                name: name.into(),
            }),
            kind: FunctionKind::Host,
            ..Self::guest(index)
        }
    }

    /// Sets the module's name.
    #[must_use]
    pub fn in_module(mut self, module: impl Into<String>) -> Self {
        self.module = Some(module.into());
        self
    }

    /// Sets the function's name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds an export name.
    #[must_use]
    pub fn exported(mut self, name: impl Into<String>) -> Self {
        self.export_names.push(name.into());
        self
    }

    /// Sets the types of parameters and results.
    #[must_use]
    pub fn typed(
        mut self,
        params: impl Into<Vec<ValueType>>,
        results: impl Into<Vec<ValueType>>,
    ) -> Self {
        self.params = params.into();
        self.results = results.into();
        self
    }

    /// Sets the names of the parameters, in order.
    #[must_use]
    pub fn param_names<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.param_names = names.into_iter().map(|n| Some(n.to_owned())).collect();
        self
    }

    /// Sets the names of the results, in order.
    #[must_use]
    pub fn result_names<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.result_names = names.into_iter().map(|n| Some(n.to_owned())).collect();
        self
    }

    /// Makes it the core side of a component function. One that the component imports
    /// is taken for the host's.
    #[must_use]
    pub fn of_component(mut self, function: ComponentFunction) -> Self {
        self.kind = match function.direction {
            Direction::Import => FunctionKind::Host,
            Direction::Export => FunctionKind::Guest,
        };
        self.component = Some(function);
        self
    }

    /// Tells whether the host implements the function.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.kind == FunctionKind::Host
    }

    /// Returns the module's and the function's name as one, for people: `module.name`.
    ///
    /// A component function goes by its WIT name: `wasi:cli/stdout@0.2.0#get-stdout`. An
    /// imported function goes by what it is imported as. One without a name of its
    /// own goes by its first export, and without that by its index: `module.$7`. The
    /// same as what [`fmt::Display`] writes.
    #[must_use]
    pub fn debug_name(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(function) = &self.component {
            return write!(f, "{function}");
        }
        if let Some(import) = &self.import {
            return write!(f, "{}.{}", import.module, import.name);
        }
        if let Some(module) = &self.module {
            write!(f, "{module}.")?;
        }
        match self.name.as_ref().or(self.export_names.first()) {
            Some(name) => f.write_str(name),
            None => write!(f, "${}", self.index),
        }
    }
}
