//! Which memories and globals are which instance's.
//!
//! The engine lists the memories and globals of a store in the order of the instances that define
//! them, so where all binaries are known the answer is counted out. Which ones an instance imports
//! the engine tells nobody but its own writer of dumps, so that is asked then, and all but this is
//! thrown away; where it cannot do that, what is imported is not known.

use super::definitions::Definitions;
use wasmscope_coredump::{CoreDump, Instance};
use wasmtime::{AsContextMut, ExternType, HeapType, Module, ValType, WasmCoreDump};

/// The memories and globals of one instance, in its own order, as the engine numbers them.
#[derive(Clone, Default, Debug)]
pub(super) struct Owned {
    pub(super) memories: Vec<Option<u32>>,
    pub(super) globals: Vec<Option<u32>>,
    /// Which of its memories is a shared one, and which that is.
    pub(super) shared: Option<(usize, usize)>,
}

impl Owned {
    /// Gives an instance of `module` its shared memory, if it is known to have that one alone.
    pub(super) fn share(&mut self, module: &Module, number: usize) {
        let imported = module.imports();
        let imported = imported.filter(|import| matches!(import.ty(), ExternType::Memory(_)));
        let defined = module.resources_required().num_memories as usize;
        let all = imported.count() + defined;
        // Where the engine cannot be asked.
        if self.memories.is_empty() && all == 1 {
            self.memories.push(None);
        }
        let unknown = self.memories.iter().enumerate();
        let mut unknown = unknown.filter(|(_, memory)| memory.is_none());
        if let (Some((slot, _)), None, true) =
            (unknown.next(), unknown.next(), self.memories.len() == all)
        {
            self.shared = Some((slot, number));
        }
    }
}

/// Returns what each instance of a dump owns, `None` where that cannot be told. Of each instance
/// `definitions` are its module's, where its bytes are known.
pub(super) fn owned<S: AsContextMut>(
    dump: &WasmCoreDump,
    store: &mut S,
    definitions: &[Option<Definitions>],
) -> Option<Vec<Owned>>
where
    S::Data: 'static,
{
    let modules: Vec<Module> = dump
        .instances()
        .iter()
        .map(|instance| instance.module(&*store).clone())
        .collect();
    let counted = counted(dump, &modules, definitions);
    let mut imports = modules.iter().flat_map(Module::imports);
    let is_whole =
        !imports.any(|import| matches!(import.ty(), ExternType::Memory(_) | ExternType::Global(_)));
    if counted.is_some() && is_whole {
        return counted;
    }
    if !can_be_asked(dump, &modules, store) {
        return counted;
    }
    let file = dump.serialize(&mut *store, "");
    let told = CoreDump::recover(&file).ok()?.dump.instances;
    if told.len() != modules.len() {
        return None;
    }
    let owned = modules.iter().zip(told).map(|(module, told)| {
        let Instance {
            memories, globals, ..
        } = told;
        Owned {
            memories: with_shared(module, memories),
            globals,
            shared: None,
        }
    });
    Some(owned.collect())
}

/// Counts out what each instance defines. What it imports is not known.
///
/// There may be memories and globals of the host's own, and modules that the engine made, of which
/// nobody has the bytes. So it must come out even: what known modules define is all that there is.
fn counted(
    dump: &WasmCoreDump,
    modules: &[Module],
    definitions: &[Option<Definitions>],
) -> Option<Vec<Owned>> {
    let (mut memories, mut globals) = (0, 0);
    let next = |count: &mut u32| {
        *count += 1;
        Some(*count - 1)
    };
    let mut all = Vec::new();
    for (module, definitions) in modules.iter().zip(definitions) {
        let none = Definitions::default();
        let definitions = match definitions {
            Some(definitions) => definitions,
            None if module.resources_required().num_memories == 0 => &none,
            None => return None,
        };
        let mut owned = Owned::default();
        for import in module.imports() {
            match import.ty() {
                ExternType::Memory(_) => owned.memories.push(None),
                ExternType::Global(_) => owned.globals.push(None),
                _ => {}
            }
        }
        for is_shared in &definitions.memories {
            // These are not listed.
            let memory = (!is_shared).then(|| next(&mut memories)).flatten();
            owned.memories.push(memory);
        }
        for _ in 0..definitions.globals {
            owned.globals.push(next(&mut globals));
        }
        all.push(owned);
    }
    let is_even = dump.memories().len() == memories as usize
        && dump.globals().len() == globals as usize
        && all.len() == modules.len();
    is_even.then_some(all)
}

/// Tells whether the engine's writer can be asked. It fails where there are globals of types
/// that it does not know, and where a global is none of the store's but a component's own,
/// which modules that the engine makes between components import under this name.
fn can_be_asked<S: AsContextMut>(dump: &WasmCoreDump, modules: &[Module], store: &S) -> bool {
    let is_known = |ty: &ValType| match ty {
        ValType::Ref(ty) => matches!(
            ty.heap_type().top(),
            HeapType::Extern | HeapType::Func | HeapType::Any
        ),
        _ => true,
    };
    let mut globals = dump.globals().iter();
    let mut imports = modules.iter().flat_map(Module::imports);
    globals.all(|global| is_known(global.ty(store).content()))
        && !imports.any(|import| {
            import.module() == "flags" && matches!(import.ty(), ExternType::Global(_))
        })
}

/// Puts shared memories back into a module's list, as unknown: the engine leaves them out.
fn with_shared(module: &Module, listed: Vec<Option<u32>>) -> Vec<Option<u32>> {
    let imported = module.imports().filter_map(|import| match import.ty() {
        ExternType::Memory(ty) => Some(ty.is_shared()),
        _ => None,
    });
    let imported: Vec<bool> = imported.collect();
    let defined = module.resources_required().num_memories as usize;
    let Some(missing) = (imported.len() + defined).checked_sub(listed.len()) else {
        return listed;
    };
    let shared_imports = imported.iter().filter(|shared| **shared).count();
    let mut listed = listed.into_iter();
    let mut all: Vec<_> = imported
        .iter()
        .map(|shared| {
            if *shared {
                None
            } else {
                listed.next().flatten()
            }
        })
        .collect();
    if missing == shared_imports {
        all.extend(listed);
    } else {
        // Some that it defines are shared, and which of them it is not known.
        all.resize(imported.len() + defined, None);
    }
    all
}
