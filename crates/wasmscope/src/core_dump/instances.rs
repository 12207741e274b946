//! Which memories and globals are which instance's.
//!
//! The engine tells nobody but its own writer of dumps, so that is asked, and all but this is
//! thrown away. It copies the memories, so where there is but one instance and its binary is
//! known, the answer is worked out instead.

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

/// Returns what each instance of a dump owns, `None` where the engine cannot tell.
///
/// `sole` is how many memories and globals the module of the only instance has, where there is
/// but one instance and that is known.
pub(super) fn owned<S: AsContextMut>(
    dump: &WasmCoreDump,
    store: &mut S,
    sole: Option<(u32, u32)>,
) -> Option<Vec<Owned>>
where
    S::Data: 'static,
{
    let modules: Vec<Module> = dump
        .instances()
        .iter()
        .map(|instance| instance.module(&*store).clone())
        .collect();
    if let ([module], Some((memories, globals))) = (&*modules, sole)
        && owns_all(dump, module, memories, globals)
    {
        return Some(vec![Owned {
            memories: (0..memories).map(Some).collect(),
            globals: (0..globals).map(Some).collect(),
            shared: None,
        }]);
    }
    if !can_be_asked(dump, &modules, store) {
        return None;
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

/// Tells whether all memories and globals are a module's own: it imports none, and has as many
/// as there are.
fn owns_all(dump: &WasmCoreDump, module: &Module, memories: u32, globals: u32) -> bool {
    let imports = module
        .imports()
        .any(|import| matches!(import.ty(), ExternType::Memory(_) | ExternType::Global(_)));
    !imports
        && dump.memories().len() == memories as usize
        && dump.globals().len() == globals as usize
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
