//! Which functions that core modules import are those that their component lowers.
//!
//! Tools often put a table between: what is lowered needs a memory, which the module that
//! calls it brings. So that module gets functions which call through a table, and the table
//! is filled when everything is there:
//!
//! ```text
//!    $main imports f <-- $shim exports "0": call_indirect $t, slot 0
//!                              $t <-- $fixups: (elem (table $t) (i32.const 0) func $lowered)
//! ```

use std::collections::HashMap;

use wasmparser::{
    BinaryReader, ConstExpr, ElementItems, ElementKind, ElementSectionReader, ExportSectionReader,
    ExternalKind, FunctionBody, ImportSectionReader, Operator, TypeRef, WasmFeatures,
};
use wasmscope_address::FuncIndex;

use super::NestedModule;
use super::core::{Core, CoreFunction, CoreInstance};
use super::scope::Scope;
use super::steps;
use super::tables::Tables;
use crate::Error;
use crate::module::id;

/// What a function is that a core module imports, in one of the module's instances.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binding {
    /// One that the component lowers: which of
    /// [`Component::functions`](super::Component::functions).
    Lowered(usize),
    /// Something else: a core module's, or one that is built in.
    Other,
    /// It comes from outside, or by way of a table that others may write.
    Unknown,
}

/// How far functions are followed through instances.
const MAX_DEPTH: u32 = 32;

/// For each core module that a component instantiates, in that order, what the functions are
/// that it imports, by index.
pub(super) type Bindings = Vec<Vec<Binding>>;

/// Finds those of each component.
pub(super) fn find(
    modules: &[NestedModule<'_>],
    scopes: &[Scope<'_>],
) -> Result<Vec<Bindings>, Error> {
    let facts = modules.iter().map(Facts::of);
    let facts = facts.collect::<Result<Vec<_>, _>>()?;
    let found = scopes.iter().map(|scope| {
        let finder = Finder {
            modules,
            facts: &facts,
            core: &scope.core,
            tables: Tables::new(&facts, &scope.core),
        };
        finder.all()
    });
    Ok(found.collect())
}

/// What is asked of a core module often.
pub(super) struct Facts<'a> {
    functions: HashMap<&'a str, u32>,
    pub(super) tables: HashMap<&'a str, u32>,
    pub(super) imported_tables: Vec<(&'a str, &'a str)>,
    /// What fills tables when it is instantiated: for each table, by slot, the place of the
    /// segment among all, and the function.
    pub(super) filled: HashMap<u32, HashMap<u32, (u32, u32)>>,
    /// The table and the slot of each function that only calls on through one.
    through: Vec<Option<(u32, u32)>>,
    /// Whether filling is all that it does to tables: it has no other code than functions
    /// that call on through one.
    pub(super) only_fills: bool,
}

impl<'a> Facts<'a> {
    fn of(nested: &NestedModule<'a>) -> Result<Self, Error> {
        let module = &nested.module;
        let mut facts = Self {
            functions: HashMap::new(),
            tables: HashMap::new(),
            imported_tables: Vec::new(),
            filled: HashMap::new(),
            through: Vec::new(),
            only_fills: true,
        };
        let mut segments = 0;
        for section in &module.sections {
            let contents = &module.bytes[section.contents.clone()];
            let reader =
                BinaryReader::new_features(contents, section.contents.start, WasmFeatures::all());
            match section.id {
                id::IMPORT => {
                    for import in ImportSectionReader::new(reader)?.into_imports() {
                        let import = import?;
                        if let TypeRef::Table(_) = import.ty {
                            facts.imported_tables.push((import.module, import.name));
                        }
                    }
                }
                id::EXPORT => {
                    for export in ExportSectionReader::new(reader)? {
                        let export = export?;
                        match export.kind {
                            ExternalKind::Func | ExternalKind::FuncExact => {
                                facts.functions.insert(export.name, export.index);
                            }
                            ExternalKind::Table => {
                                facts.tables.insert(export.name, export.index);
                            }
                            _ => {}
                        }
                    }
                }
                id::ELEMENT => {
                    for element in ElementSectionReader::new(reader)? {
                        let element = element?;
                        if let ElementKind::Active {
                            table_index,
                            offset_expr,
                        } = element.kind
                        {
                            let functions = functions(element.items)?;
                            if let (Some(first), Some(functions)) =
                                (constant(&offset_expr), functions)
                            {
                                let filled = facts.filled.entry(table_index.unwrap_or(0));
                                let filled = filled.or_default();
                                for (slot, function) in (first..=u32::MAX).zip(functions) {
                                    // What comes later stays.
                                    filled.insert(slot, (segments, function));
                                }
                                segments += 1;
                            } else {
                                facts.only_fills = false;
                            }
                        }
                    }
                }
                // Whatever runs there may write tables.
                id::START => facts.only_fills = false,
                _ => {}
            }
        }
        let functions = (0..).zip(module.functions());
        let through = functions.map(|(index, _)| through_table(nested, index));
        facts.through = through.collect();
        let mut functions = module.functions().iter().zip(&facts.through);
        facts.only_fills &=
            functions.all(|(function, through)| function.import.is_some() || through.is_some());
        Ok(facts)
    }
}

/// Returns the value of an expression that is a constant.
fn constant(expression: &ConstExpr<'_>) -> Option<u32> {
    let mut operators = expression.get_operators_reader();
    match (operators.read().ok()?, operators.read().ok()?) {
        (Operator::I32Const { value }, Operator::End) => Some(value.cast_unsigned()),
        _ => None,
    }
}

/// Returns the functions of a segment that has nothing else.
fn functions(items: ElementItems<'_>) -> Result<Option<Vec<u32>>, Error> {
    Ok(match items {
        ElementItems::Functions(functions) => {
            Some(functions.into_iter().collect::<Result<_, _>>()?)
        }
        ElementItems::Expressions(_, expressions) => {
            let expressions = expressions.into_iter().collect::<Result<Vec<_>, _>>()?;
            let functions = expressions.iter().map(|expression| {
                let mut operators = expression.get_operators_reader();
                match (operators.read().ok()?, operators.read().ok()?) {
                    (Operator::RefFunc { function_index }, Operator::End) => Some(function_index),
                    _ => None,
                }
            });
            functions.collect()
        }
    })
}

/// Returns the table and the slot of a function that does nothing but to call, with its own
/// parameters, what is there.
fn through_table(nested: &NestedModule<'_>, function: u32) -> Option<(u32, u32)> {
    let function = nested.module.functions().get(function as usize)?;
    let range = function.body.clone()?;
    let bytes = nested.module.bytes.get(range.clone())?;
    let reader = BinaryReader::new_features(bytes, range.start, WasmFeatures::all());
    let mut operators = FunctionBody::new(reader).get_operators_reader().ok()?;
    for param in 0..function.params().len() as u32 {
        match operators.read().ok()? {
            Operator::LocalGet { local_index } if local_index == param => {}
            _ => return None,
        }
    }
    let Operator::I32Const { value } = operators.read().ok()? else {
        return None;
    };
    let (Operator::CallIndirect { table_index, .. }
    | Operator::ReturnCallIndirect { table_index, .. }) = operators.read().ok()?
    else {
        return None;
    };
    match operators.read().ok()? {
        Operator::End => Some((table_index, value.cast_unsigned())),
        _ => None,
    }
}

/// Follows the core items of one component.
struct Finder<'f, 'a> {
    modules: &'f [NestedModule<'a>],
    facts: &'f [Facts<'a>],
    core: &'f Core<'a>,
    tables: Tables<'f, 'a>,
}

impl<'a> Finder<'_, 'a> {
    fn all(&self) -> Bindings {
        let instances = (0..).zip(&self.core.instances);
        let instantiated = instances.filter_map(|(number, instance)| match instance {
            CoreInstance::Instantiated(module, _) => Some((number, *module)),
            CoreInstance::Made(_) => None,
        });
        let bindings = instantiated.map(|(number, module)| {
            let functions =
                module.map_or(&[][..], |module| self.modules[module].module.functions());
            let imports = functions.iter().map_while(|function| function.import);
            let bindings = imports.map(move |import| self.import(number, import, MAX_DEPTH));
            bindings.map(|found| found.unwrap_or(Binding::Unknown))
        });
        bindings.map(Iterator::collect).collect()
    }

    /// Returns the instance that an instance imports from under a name.
    fn given(&self, instance: u32, name: &'a str) -> Option<u32> {
        let CoreInstance::Instantiated(_, given) = self.core.instances.get(instance as usize)?
        else {
            return None;
        };
        given.get(name).copied()
    }

    /// Returns what an instance imports as a function.
    fn import(
        &self,
        instance: u32,
        (from, name): (&'a str, &'a str),
        left: u32,
    ) -> Option<Binding> {
        self.exported(self.given(instance, from)?, name, left)
    }

    /// Returns what an instance exports as a function.
    fn exported(&self, instance: u32, name: &'a str, left: u32) -> Option<Binding> {
        let left = left.checked_sub(1)?;
        steps::count();
        match self.core.instances.get(instance as usize)? {
            CoreInstance::Made(items) => {
                let (kind, function) = items.get(name)?;
                if !matches!(kind, ExternalKind::Func | ExternalKind::FuncExact) {
                    return None;
                }
                match self.core.functions.get(*function as usize)? {
                    CoreFunction::Lowered(number) => Some(Binding::Lowered(*number)),
                    CoreFunction::Of(instance, name) => self.exported(*instance, name, left),
                    CoreFunction::BuiltIn => Some(Binding::Other),
                }
            }
            CoreInstance::Instantiated(module, _) => {
                let module = (*module)?;
                let function = *self.facts.get(module)?.functions.get(name)?;
                self.function(instance, module, function, left)
            }
        }
    }

    /// Returns what a function of an instance is.
    fn function(&self, instance: u32, module: usize, function: u32, left: u32) -> Option<Binding> {
        let left = left.checked_sub(1)?;
        let nested = self.modules.get(module)?;
        if let Some(import) = nested.module.functions().get(function as usize)?.import {
            return self.import(instance, import, left);
        }
        match self.facts.get(module)?.through[function as usize] {
            None => Some(Binding::Other),
            Some((table, slot)) => {
                let table = self.tables.table(instance, table)?;
                let (instance, module, function) = self.tables.slot(table, slot)?;
                self.function(instance, module, function, left)
            }
        }
    }
}

/// What a function of a core module is in each of the module's instances.
pub(super) fn of_function<'b>(
    scopes: &'b [Scope<'_>],
    bindings: &'b [Bindings],
    module: usize,
    function: FuncIndex,
) -> impl Iterator<Item = Binding> + 'b {
    let scopes = scopes.iter().zip(bindings);
    let instances =
        scopes.flat_map(|(scope, bindings)| scope.core_instantiations.iter().zip(bindings));
    instances
        .filter(move |(instantiated, _)| **instantiated == Some(module))
        .map(move |(_, bindings)| {
            let binding = bindings.get(function.0 as usize);
            binding.copied().unwrap_or(Binding::Other)
        })
}
