//! The core modules that are added to a component.
//!
//! ```text
//!    events     one for each component instance: a memory that says whether calls out are
//!               forbidden, and keeps the events that happened while they were
//!    hooks      one for each instance with probes: what its module imports as hooks; tells
//!               the host, or keeps the event
//!    quiet      in front of what is called where calls out are forbidden
//!    look       hands an instance's memories to the host, behind its events
//!    globals    hands the values of its globals to the host, ahead of that
//!    flushing   stands for hooks where the guest keeps its events
//!    share      tells the host where the memory is that it shares with an instance
//!    wrapper    in front of functions that are lifted or lowered; it is what has their probes
//! ```

mod flushing;
mod share;

pub(super) use flushing::flushing;
pub(super) use share::share;

use wasm_encoder::reencode::{self, Reencode, RoundtripReencoder};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ElementSection, Elements, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, GlobalType, ImportSection,
    InstructionSink, MemArg, MemorySection, MemoryType, Module, RefType, StartSection,
    TableSection, TableType, TypeSection, ValType,
};

use super::deferred::{HEAD, LOST, MEMORY, QUIET, RECORDS, STATE};
use super::interface::{self, GLOBALS, Import, LOOK};
use crate::hooks::{Hook, UNATTACHED};

/// The names that these modules import each other's exports by.
pub(super) mod name {
    /// The instance of the module of events.
    pub(crate) const EVENTS: &str = "events";
    /// The lowered functions of the host.
    pub(crate) const HOST: &str = "host";
    /// The instance of a module of hooks.
    pub(crate) const HOOKS: &str = "hooks";
    /// The functions that others stand in front of.
    pub(crate) const INNER: &str = "inner";
    /// The instance whose globals are shown.
    pub(crate) const GUEST: &str = "guest";
    pub(crate) const MEMORY: &str = "memory";
    pub(crate) const NEXT: &str = "next";
    pub(crate) const LOOK: &str = "look";
    pub(crate) const SHARE: &str = "share";
    pub(crate) const NUMBER: &str = "number";
    pub(crate) const FUNCTION: &str = "function";
}

const NUMBER_TYPE: GlobalType = GlobalType {
    val_type: ValType::I32,
    mutable: true,
    shared: false,
};
/// Behind the events there may be room for the values of globals.
const MEMORY_TYPE: MemoryType = MemoryType {
    minimum: (MEMORY >> 16) as u64,
    maximum: None,
    memory64: false,
    shared: false,
    page_size_log2: None,
};
const LOOK_TABLE: TableType = TableType {
    element_type: RefType::FUNCREF,
    table64: false,
    minimum: SLOTS,
    maximum: Some(SLOTS),
    shared: false,
};
/// The table's slots: what shows memories, and what shows globals.
const SLOTS: u64 = 2;
const MEMORIES_SLOT: i32 = 0;
const GLOBALS_SLOT: i32 = 1;

fn at(offset: u32, align: u32) -> MemArg {
    MemArg {
        offset: u64::from(offset),
        align,
        memory_index: 0,
    }
}

/// Makes the module of events, with room for so many words of values behind them. The
/// instances of hooks beside it take numbers from `first` on.
pub(super) fn events(first: u32, words: usize) -> Vec<u8> {
    let mut memories = MemorySection::new();
    let more = (words * size_of::<u64>()).div_ceil(1 << USUAL_PAGE);
    let pages = MEMORY_TYPE.minimum + more as u64;
    memories.memory(MemoryType {
        minimum: pages,
        maximum: Some(pages),
        ..MEMORY_TYPE
    });
    let mut globals = GlobalSection::new();
    globals.global(NUMBER_TYPE, &ConstExpr::i32_const(first.cast_signed()));
    let mut exports = ExportSection::new();
    exports
        .export(name::MEMORY, ExportKind::Memory, 0)
        .export(name::NEXT, ExportKind::Global, 0);
    let mut module = Module::new();
    module
        .section(&memories)
        .section(&globals)
        .section(&exports);
    module.finish()
}

/// Globals of the module of hooks.
mod global {
    pub(super) const NEXT: u32 = 0;
    pub(super) const NUMBER: u32 = 1;
    pub(super) const LOOKS: u32 = 2;
}

/// Makes the module of hooks for modules that were rewritten with this suffix.
pub(super) fn hooks(key: u64, suffix: &str) -> Vec<u8> {
    let mut types = TypeSection::new();
    let mut imports = ImportSection::new();
    for import in Import::all() {
        let (params, results) = import.lowered();
        let ty = EntityType::Function(types.len());
        types.ty().function(params, results);
        imports.import(name::HOST, &import.name(), ty);
    }
    let nothing = types.len();
    types.ty().function([], []);
    imports
        .import(name::EVENTS, name::NEXT, NUMBER_TYPE)
        .import(name::EVENTS, name::MEMORY, MEMORY_TYPE);
    let mut tables = TableSection::new();
    tables.table(LOOK_TABLE);
    let mut globals = GlobalSection::new();
    globals.global(NUMBER_TYPE, &ConstExpr::i32_const(UNATTACHED));
    globals.global(NUMBER_TYPE, &ConstExpr::i32_const(0));
    let mut exports = ExportSection::new();
    exports.export(name::LOOK, ExportKind::Table, 0).export(
        name::NUMBER,
        ExportKind::Global,
        global::NUMBER,
    );

    let first = Import::count();
    let (attach, drain, look) = (first, first + 1, first + 2);
    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    for body in [attach_body(key), drain_body(), look_body(nothing)] {
        functions.function(nothing);
        code.function(&body);
    }
    for (at, hook) in interface::hooks().iter().enumerate() {
        let import = Import::Hook(at as u32);
        exports.export(
            &hook.import(suffix),
            ExportKind::Func,
            first + functions.len(),
        );
        functions.function(types.len());
        let params: Vec<_> = hook
            .params()
            .into_iter()
            .map(interface::core_type)
            .collect();
        code.function(&hook_body(&params, import, *hook, drain, look));
        types.ty().function(params, []);
    }
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&tables)
        .section(&globals)
        .section(&exports)
        .section(&StartSection {
            function_index: attach,
        })
        .section(&code);
    module.finish()
}

/// Takes the next number, and asks the host what it is to be called.
fn attach_body(key: u64) -> Function {
    let mut body = Function::new([(1, ValType::I32)]);
    body.instructions()
        .i64_const(key.cast_signed())
        .global_get(global::NEXT)
        .global_get(global::NEXT)
        .i32_const(1)
        .i32_add()
        .global_set(global::NEXT)
        .i32_const(0)
        .i32_const(MEMORY.cast_signed())
        .call(Import::Attach.index())
        .local_tee(0)
        .i32_const((!(LOOK | GLOBALS)).cast_signed())
        .i32_and()
        .global_set(global::NUMBER)
        .local_get(0)
        .i32_const((LOOK | GLOBALS).cast_signed())
        .i32_and()
        .global_set(global::LOOKS)
        .end();
    body
}

fn load_state<'a, 'b>(code: &'a mut InstructionSink<'b>) -> &'a mut InstructionSink<'b> {
    code.i32_const(0).i32_load(at(STATE, 2))
}

fn load_lost<'a, 'b>(code: &'a mut InstructionSink<'b>) -> &'a mut InstructionSink<'b> {
    code.i32_const(0).i64_load(at(LOST, 3))
}

/// Tells what was kept.
fn drain_body() -> Function {
    let mut body = Function::new([(1, ValType::I32), (1, ValType::I64)]);
    let mut code = body.instructions();
    load_state(&mut code).local_set(0);
    load_lost(&mut code)
        .local_set(1)
        .i32_const(0)
        .i32_const(0)
        .i32_store(at(STATE, 2))
        .i32_const(0)
        .i64_const(0)
        .i64_store(at(LOST, 3))
        .i32_const(RECORDS.cast_signed())
        .local_get(0)
        .local_get(1)
        .call(Import::Deferred.index())
        .end();
    body
}

/// Shows what is wanted and there: globals, memories, or that there are none.
fn look_body(nothing: u32) -> Function {
    let mut body = Function::new([]);
    body.instructions()
        .global_get(global::LOOKS)
        .i32_const(GLOBALS.cast_signed())
        .i32_and()
        .if_(BlockType::Empty)
        .i32_const(GLOBALS_SLOT)
        .table_get(0)
        .ref_is_null()
        .i32_eqz()
        .if_(BlockType::Empty)
        .i32_const(GLOBALS_SLOT)
        .call_indirect(0, nothing)
        .end()
        .end()
        .global_get(global::LOOKS)
        .i32_const(LOOK.cast_signed())
        .i32_and()
        .if_(BlockType::Empty)
        .i32_const(MEMORIES_SLOT)
        .table_get(0)
        .ref_is_null()
        .i32_eqz()
        .if_(BlockType::Empty)
        .i32_const(MEMORIES_SLOT)
        .call_indirect(0, nothing)
        .return_()
        .end()
        .end()
        .i32_const(0)
        .i32_const(0)
        .call(Import::Look.index())
        .end();
    body
}

fn hook_body(params: &[ValType], import: Import, hook: Hook, drain: u32, look: u32) -> Function {
    let first_value = params.iter().position(|ty| *ty == ValType::I64);
    let first_value = first_value.unwrap_or(params.len()) as u32;
    let values = params.len() as u32 - first_value;
    let end = params.len() as u32;
    // The bytes that are kept.
    let kept = end;
    let mut body = Function::new([(1, ValType::I32)]);
    let mut code = body.instructions();
    load_state(&mut code).if_(BlockType::Empty);
    load_state(&mut code)
        .i32_const(QUIET)
        .i32_and()
        .if_(BlockType::Empty);

    // Keep it, unless one before it had no room.
    let size = HEAD + values * 8;
    load_state(&mut code)
        .i32_const(!QUIET)
        .i32_and()
        .local_tee(kept)
        .i32_const((MEMORY - RECORDS - size).cast_signed())
        .i32_gt_u();
    load_lost(&mut code)
        .i64_eqz()
        .i32_eqz()
        .i32_or()
        .if_(BlockType::Empty)
        .i32_const(0);
    load_lost(&mut code)
        .i64_const(1)
        .i64_add()
        .i64_store(at(LOST, 3))
        .return_()
        .end();
    let Import::Hook(place) = import else {
        unreachable!("only hooks have such a body");
    };
    code.local_get(kept)
        .i32_const((place | values << 8).cast_signed())
        .i32_store(at(RECORDS, 2))
        .local_get(kept)
        .global_get(global::NUMBER)
        .i32_store(at(RECORDS + 4, 2))
        .local_get(kept);
    match hook {
        // The module's own number stays what it is at first.
        Hook::Before(_) => code.local_get(0).i32_const(UNATTACHED).i32_sub(),
        _ => code.i32_const(0),
    };
    code.i32_store(at(RECORDS + 8, 2))
        .local_get(kept)
        .i32_const(0)
        .i32_store(at(RECORDS + 12, 2));
    for value in 0..values {
        code.local_get(kept)
            .local_get(first_value + value)
            .i64_store(at(RECORDS + HEAD + value * 8, 3));
    }
    code.i32_const(0);
    load_state(&mut code)
        .i32_const(size.cast_signed())
        .i32_add()
        .i32_store(at(STATE, 2))
        .return_()
        .end();

    code.call(drain).end();
    for param in 0..end {
        match (hook, param) {
            (Hook::Before(_), 0) => code
                .global_get(global::NUMBER)
                .local_get(0)
                .i32_const(UNATTACHED)
                .i32_sub(),
            _ => code.local_get(param),
        };
    }
    code.call(import.index());
    if hook != Hook::Stage {
        code.global_get(global::LOOKS)
            .if_(BlockType::Empty)
            .call(look)
            .end();
    }
    code.end();
    body
}

/// A core function's type, of numbers only.
pub(super) type CoreType = (Box<[ValType]>, Box<[ValType]>);

/// Makes the module of a function that forbids calls out while it calls another of the
/// same type.
pub(super) fn quiet(ty: &CoreType) -> Vec<u8> {
    const INNER: u32 = 0;
    let mut types = TypeSection::new();
    types
        .ty()
        .function(ty.0.iter().copied(), ty.1.iter().copied());
    let mut imports = ImportSection::new();
    imports
        .import(name::EVENTS, name::MEMORY, MEMORY_TYPE)
        .import(name::INNER, name::FUNCTION, EntityType::Function(0));
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export(name::FUNCTION, ExportKind::Func, 1);
    let before = ty.0.len() as u32;
    let mut body = Function::new([(1, ValType::I32)]);
    let mut instructions = body.instructions();
    load_state(&mut instructions)
        .i32_const(QUIET)
        .i32_and()
        .local_set(before)
        .i32_const(0);
    load_state(&mut instructions)
        .i32_const(QUIET)
        .i32_or()
        .i32_store(at(STATE, 2));
    for param in 0..before {
        instructions.local_get(param);
    }
    instructions.call(INNER).i32_const(0);
    load_state(&mut instructions)
        .i32_const(!QUIET)
        .i32_and()
        .local_get(before)
        .i32_or()
        .i32_store(at(STATE, 2))
        .end();
    let mut code = CodeSection::new();
    code.function(&body);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&exports)
        .section(&code);
    module.finish()
}

/// What the usual size of a memory's pages is a power of two of.
const USUAL_PAGE: u32 = 16;

/// The name of the `n`th memory that is shown, and of what shows it.
pub(super) fn nth(name: &str, n: usize) -> String {
    format!("{name}{n}")
}

/// Makes the module that shows memories, by their indices and the size of their pages as a
/// power of two; `None` is the usual size. Those that are not the first go ahead of it.
pub(super) fn look(memories: &[(u32, Option<u32>)]) -> Vec<u8> {
    let mut types = TypeSection::new();
    let (first, other, nothing) = (0, 1, 2);
    let (params, results) = Import::Look.lowered();
    types.ty().function(params, results);
    let (params, results) = Import::Memory.lowered();
    types.ty().function(params, results);
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    imports.import(name::HOST, name::LOOK, EntityType::Function(first));
    for (n, (_, page_size_log2)) in memories.iter().enumerate() {
        let memory = MemoryType {
            minimum: 0,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: *page_size_log2,
        };
        imports.import(name::HOST, &nth(name::MEMORY, n), memory);
    }
    let others = || memories.iter().filter(|(index, _)| *index > 0);
    for n in 0..others().count() {
        let ty = EntityType::Function(other);
        imports.import(name::HOST, &nth(name::LOOK, n), ty);
    }
    imports.import(name::HOOKS, name::LOOK, LOOK_TABLE);
    let mut body = Function::new([]);
    let mut code = body.instructions();
    let mut shows = 1;
    let mut first = None;
    for (memory, (index, page_size_log2)) in (0..).zip(memories) {
        if *index == 0 {
            first = Some((memory, page_size_log2));
            continue;
        }
        code.i32_const(index.cast_signed()).i32_const(0);
        size_of_memory(&mut code, memory, *page_size_log2).call(shows);
        shows += 1;
    }
    code.i32_const(0);
    match first {
        Some((memory, page_size_log2)) => size_of_memory(&mut code, memory, *page_size_log2),
        None => code.i32_const(0),
    };
    code.call(0).end();
    shower(types, imports, shows, nothing, MEMORIES_SLOT, &body)
}

/// Puts how many bytes a memory has: of 4 GiB, which is longer than a list can be, all but
/// the last.
fn size_of_memory<'a, 'b>(
    code: &'a mut InstructionSink<'b>,
    memory: u32,
    page_size_log2: Option<u32>,
) -> &'a mut InstructionSink<'b> {
    let size = |code: &mut InstructionSink<'b>| {
        code.memory_size(memory)
            .i64_extend_i32_u()
            .i64_const(i64::from(page_size_log2.unwrap_or(USUAL_PAGE)))
            .i64_shl();
    };
    size(code);
    code.i64_const(i64::from(u32::MAX));
    size(code);
    code.i64_const(i64::from(u32::MAX))
        .i64_lt_u()
        .select()
        .i32_wrap_i64()
}

/// Makes the module that shows the values of globals, which it imports by these names.
pub(super) fn globals(
    globals: &[(String, wasmparser::GlobalType)],
) -> Result<Vec<u8>, reencode::Error> {
    let mut types = TypeSection::new();
    let (show, nothing) = (0, 1);
    let (params, results) = Import::Globals.lowered();
    types.ty().function(params, results);
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    imports
        .import(name::HOST, name::LOOK, EntityType::Function(show))
        .import(name::EVENTS, name::MEMORY, MEMORY_TYPE);
    let mut body = Function::new([]);
    let mut code = body.instructions();
    let mut end = MEMORY;
    for (index, (global, ty)) in (0..).zip(globals) {
        let encoded = RoundtripReencoder.global_type(*ty)?;
        imports.import(name::GUEST, global, encoded);
        code.i32_const(0);
        let mut store = |code: &mut InstructionSink<'_>| {
            code.i64_store(at(end, 3));
            end += 8;
        };
        match ty.content_type {
            wasmparser::ValType::I32 => store(code.global_get(index).i64_extend_i32_u()),
            wasmparser::ValType::I64 => store(code.global_get(index)),
            wasmparser::ValType::F32 => store(
                code.global_get(index)
                    .i32_reinterpret_f32()
                    .i64_extend_i32_u(),
            ),
            wasmparser::ValType::F64 => store(code.global_get(index).i64_reinterpret_f64()),
            wasmparser::ValType::V128 => {
                store(code.global_get(index).i64x2_extract_lane(0));
                code.i32_const(0);
                store(code.global_get(index).i64x2_extract_lane(1));
            }
            wasmparser::ValType::Ref(_) => store(
                code.global_get(index)
                    .ref_is_null()
                    .i32_eqz()
                    .i64_extend_i32_u(),
            ),
        }
    }
    imports.import(name::HOOKS, name::LOOK, LOOK_TABLE);
    code.i32_const(MEMORY.cast_signed())
        .i32_const((end - MEMORY).cast_signed())
        .call(0)
        .end();
    Ok(shower(types, imports, 1, nothing, GLOBALS_SLOT, &body))
}

/// Makes a module whose one function, beside so many that are imported, is in a slot of the
/// imported table.
fn shower(
    types: TypeSection,
    imports: ImportSection,
    imported: u32,
    ty: u32,
    slot: i32,
    body: &Function,
) -> Vec<u8> {
    let mut functions = FunctionSection::new();
    functions.function(ty);
    let mut elements = ElementSection::new();
    let own = [imported];
    elements.active(
        None,
        &ConstExpr::i32_const(slot),
        Elements::Functions(own[..].into()),
    );
    let mut code = CodeSection::new();
    code.function(body);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&elements)
        .section(&code);
    module.finish()
}

/// The name of the `n`th function of a wrapper, and of what it wraps.
pub(super) fn wrapped(n: usize) -> String {
    n.to_string()
}

/// Makes the module of functions that each call another of the same type. The first half of
/// its functions are those others.
pub(super) fn wrapper(inner: &[CoreType]) -> Vec<u8> {
    let mut types = TypeSection::new();
    let mut imports = ImportSection::new();
    let mut functions = FunctionSection::new();
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    for (n, (params, results)) in inner.iter().enumerate() {
        let index = n as u32;
        types
            .ty()
            .function(params.iter().copied(), results.iter().copied());
        imports.import(name::INNER, &wrapped(n), EntityType::Function(index));
        functions.function(index);
        exports.export(&wrapped(n), ExportKind::Func, (inner.len() + n) as u32);
        let mut body = Function::new([]);
        let mut instructions = body.instructions();
        for param in 0..params.len() as u32 {
            instructions.local_get(param);
        }
        instructions.call(index).end();
        code.function(&body);
    }
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&exports)
        .section(&code);
    module.finish()
}
