//! A small core module that is being made.

use wasm_encoder::{
    CodeSection, ConstExpr, ElementSection, Elements, EntityType, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, ImportSection, MemorySection, MemoryType,
    Module, StartSection, TableSection, TableType, TypeSection, ValType,
};

use super::name;
use crate::component::interface::Import;

/// Its sections so far. What is added to an index space gets the next index there, which is
/// returned; so imports come ahead of what the module has of the same kind.
#[derive(Default)]
pub(super) struct Builder {
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    globals: GlobalSection,
    exports: ExportSection,
    start: Option<u32>,
    elements: ElementSection,
    code: CodeSection,
    imported: Imported,
}

/// How many are imported of each kind.
#[derive(Default)]
struct Imported {
    functions: u32,
    tables: u32,
    memories: u32,
    globals: u32,
    tags: u32,
}

impl Builder {
    /// Adds a type of functions, be it there already or not.
    pub(super) fn ty(
        &mut self,
        params: impl IntoIterator<Item = ValType, IntoIter: ExactSizeIterator>,
        results: impl IntoIterator<Item = ValType, IntoIter: ExactSizeIterator>,
    ) -> u32 {
        let index = self.types.len();
        self.types.ty().function(params, results);
        index
    }

    /// Adds the type of a function of the host's, lowered.
    pub(super) fn lowered(&mut self, import: Import) -> u32 {
        let (params, results) = import.lowered();
        self.ty(params, results)
    }

    /// Imports something.
    pub(super) fn import(&mut self, from: &str, name: &str, ty: impl Into<EntityType>) -> u32 {
        let ty = ty.into();
        self.imports.import(from, name, ty);
        let imported = &mut self.imported;
        let (count, own) = match ty {
            EntityType::Function(_) | EntityType::FunctionExact(_) => {
                (&mut imported.functions, self.functions.len())
            }
            EntityType::Table(_) => (&mut imported.tables, self.tables.len()),
            EntityType::Memory(_) => (&mut imported.memories, self.memories.len()),
            EntityType::Global(_) => (&mut imported.globals, self.globals.len()),
            EntityType::Tag(_) => (&mut imported.tags, 0),
        };
        debug_assert_eq!(own, 0, "imports come first");
        *count += 1;
        *count - 1
    }

    /// Imports a function of the host's by its own name, lowered, with a type of its own.
    pub(super) fn import_lowered(&mut self, import: Import) -> u32 {
        let ty = self.lowered(import);
        self.import(name::HOST, &import.name(), EntityType::Function(ty))
    }

    /// Adds a function.
    pub(super) fn function(&mut self, ty: u32, body: &Function) -> u32 {
        let index = self.imported.functions + self.functions.len();
        self.functions.function(ty);
        self.code.function(body);
        index
    }

    /// Adds a table of nothing.
    pub(super) fn table(&mut self, ty: TableType) -> u32 {
        let index = self.imported.tables + self.tables.len();
        self.tables.table(ty);
        index
    }

    /// Adds a memory.
    pub(super) fn memory(&mut self, ty: MemoryType) -> u32 {
        let index = self.imported.memories + self.memories.len();
        self.memories.memory(ty);
        index
    }

    /// Adds a global.
    pub(super) fn global(&mut self, ty: GlobalType, value: &ConstExpr) -> u32 {
        let index = self.imported.globals + self.globals.len();
        self.globals.global(ty, value);
        index
    }

    /// Exports something, by its index.
    pub(super) fn export(&mut self, name: &str, kind: ExportKind, index: u32) {
        self.exports.export(name, kind, index);
    }

    /// Has a function called when the module is instantiated.
    pub(super) fn start(&mut self, function: u32) {
        self.start = Some(function);
    }

    /// Puts a function in a slot of table 0 when the module is instantiated.
    pub(super) fn fill(&mut self, slot: i32, function: u32) {
        let functions = [function];
        let functions = Elements::Functions(functions[..].into());
        self.elements
            .active(None, &ConstExpr::i32_const(slot), functions);
    }

    /// Returns the module's bytes, without the sections that nothing is in.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut module = Module::new();
        if !self.types.is_empty() {
            module.section(&self.types);
        }
        if !self.imports.is_empty() {
            module.section(&self.imports);
        }
        if !self.functions.is_empty() {
            module.section(&self.functions);
        }
        if !self.tables.is_empty() {
            module.section(&self.tables);
        }
        if !self.memories.is_empty() {
            module.section(&self.memories);
        }
        if !self.globals.is_empty() {
            module.section(&self.globals);
        }
        if !self.exports.is_empty() {
            module.section(&self.exports);
        }
        if let Some(function_index) = self.start {
            module.section(&StartSection { function_index });
        }
        if !self.elements.is_empty() {
            module.section(&self.elements);
        }
        if !self.code.is_empty() {
            module.section(&self.code);
        }
        module.finish()
    }
}

#[cfg(test)]
mod tests {
    use wasmparser::Validator;

    use super::*;
    use crate::component::added::events::NUMBER_TYPE;
    use crate::component::added::memory::MEMORY_TYPE;
    use crate::component::added::slots;

    #[test]
    fn what_is_imported_is_numbered_ahead_of_what_is_not() {
        let zero = ConstExpr::i32_const(0);
        let mut body = Function::new([]);
        body.instructions().end();
        let mut module = Builder::default();
        let ty = module.ty([], []);
        assert_eq!(module.lowered(Import::Look), ty + 1);
        assert_eq!(module.import("a", "f", EntityType::Function(ty)), 0);
        assert_eq!(module.import("a", "t", slots::TABLE_TYPE), 0);
        assert_eq!(module.import_lowered(Import::Look), 1);
        assert_eq!(module.import("a", "m", MEMORY_TYPE), 0);
        assert_eq!(module.import("a", "g", NUMBER_TYPE), 0);
        assert_eq!(module.import("a", "h", NUMBER_TYPE), 1);
        assert_eq!(module.table(slots::TABLE_TYPE), 1);
        assert_eq!(module.memory(MEMORY_TYPE), 1);
        assert_eq!(module.global(NUMBER_TYPE, &zero), 2);
        let own = module.function(ty, &body);
        assert_eq!(own, 2);
        module.export("own", ExportKind::Func, own);
        module.start(own);
        module.fill(slots::GLOBALS, own);
        let wasm = module.finish();
        let text = r#"(module
            (type (func))
            (type (func (param i64 i32 i32 i64)))
            (type (func (param i64 i32 i32 i64)))
            (import "a" "f" (func (type 0)))
            (import "a" "t" (table 2 2 funcref))
            (import "host" "look" (func (type 2)))
            (import "a" "m" (memory 1))
            (import "a" "g" (global (mut i32)))
            (import "a" "h" (global (mut i32)))
            (func (type 0))
            (table 2 2 funcref)
            (memory 1)
            (global (mut i32) (i32.const 0))
            (export "own" (func 2))
            (start 2)
            (elem (i32.const 1) func 2))"#;
        assert_eq!(wasm, wat::parse_str(text).unwrap());
        Validator::new().validate_all(&wasm).unwrap();
    }

    #[test]
    fn sections_that_nothing_is_in_are_left_out() {
        assert_eq!(Builder::default().finish(), Module::new().finish());
    }
}
