//! What is appended to the sections of a rewritten module.

use crate::control::{self, Place};
use crate::encoding::{self, Code};
use crate::events;
use crate::hooks;
use crate::module::id;
use crate::plan::Plan;

/// What is appended to a section.
#[derive(Default, Debug)]
pub(crate) struct Addition {
    pub(crate) count: u32,
    /// The entries' bytes; those of the code section are elsewhere.
    pub(crate) entries: Vec<u8>,
}

/// Returns what is appended to each section, by its identifier, in the order of
/// sections; a section that nothing is appended to is left out. What stands
/// for the `undeclared` functions is referred to in bodies and declared nowhere else.
pub(crate) fn all(plan: &Plan<'_, '_>, undeclared: &[u32]) -> Vec<(u8, Addition)> {
    let mut additions = vec![
        (id::TYPE, types(plan)),
        (id::IMPORT, imports(plan)),
        (id::FUNCTION, functions(plan)),
        (id::MEMORY, memory(plan)),
        (id::GLOBAL, globals(plan)),
        (id::EXPORT, exports(plan)),
        (id::ELEMENT, declaration(plan, undeclared)),
        (
            id::CODE,
            Addition {
                count: plan.new_functions(),
                entries: Vec::new(),
            },
        ),
    ];
    additions.retain(|(_, addition)| addition.count > 0);
    additions
}

fn types(plan: &Plan<'_, '_>) -> Addition {
    Addition {
        count: plan.types.count,
        entries: plan.types.entries.clone(),
    }
}

fn imports(plan: &Plan<'_, '_>) -> Addition {
    let mut entries = Vec::new();
    for (hook, ty) in plan.hooks.iter().zip(&plan.hook_types) {
        encoding::name(&mut entries, hooks::MODULE);
        encoding::name(&mut entries, &hook.import(&plan.options.suffix));
        entries.push(0);
        encoding::unsigned(&mut entries, *ty);
    }
    Addition {
        count: plan.hooks.len() as u32,
        entries,
    }
}

/// Gives each shim the type of what it stands in front of.
fn functions(plan: &Plan<'_, '_>) -> Addition {
    let mut entries = Vec::new();
    for index in plan.shims.iter().chain(&plan.guarded.functions) {
        let signature = &plan.module.functions[index.0 as usize].signature;
        encoding::unsigned(&mut entries, signature.type_index);
    }
    for _ in &plan.guarded.functions {
        encoding::unsigned(&mut entries, plan.inner_type);
    }
    Addition {
        count: plan.new_functions(),
        entries,
    }
}

/// Makes the memory that is added: of a size that does not change, so it stays where it is.
fn memory(plan: &Plan<'_, '_>) -> Addition {
    const HAS_MAXIMUM: u8 = 1;
    let Some(pages) = plan.own_pages() else {
        return Addition::default();
    };
    let mut entries = vec![HAS_MAXIMUM];
    encoding::unsigned(&mut entries, pages);
    encoding::unsigned(&mut entries, pages);
    Addition { count: 1, entries }
}

fn globals(plan: &Plan<'_, '_>) -> Addition {
    const IMMUTABLE: u8 = 0;
    const MUTABLE: u8 = 1;
    const ALL_ON: i32 = -1;
    let count = plan.new_globals();
    let mut entries = Vec::new();
    if count > 0 {
        entries.extend([encoding::I32, MUTABLE]);
        Code(&mut entries).i32_const(hooks::UNATTACHED).end();
        entries.extend([encoding::I64, IMMUTABLE]);
        Code(&mut entries)
            .i64_const(plan.options.key.cast_signed())
            .end();
    }
    for _ in 0..plan.switch_globals() {
        entries.extend([encoding::I32, MUTABLE]);
        Code(&mut entries).i32_const(ALL_ON).end();
    }
    if let Some(events) = plan.events()
        && plan.place == Place::Globals
    {
        entries.extend([encoding::I32, MUTABLE]);
        let position = events.first_position().cast_signed();
        Code(&mut entries).i32_const(position).end();
    }
    plan.guarded.write_globals(&mut entries);
    Addition {
        count: count + plan.guarded.globals(),
        entries,
    }
}

fn exports(plan: &Plan<'_, '_>) -> Addition {
    const FUNCTION: u8 = 0;
    const MEMORY: u8 = 2;
    const GLOBAL: u8 = 3;
    let suffix = &plan.options.suffix;
    let mut addition = Addition::default();
    let mut export = |name: String, kind: u8, index: u32| {
        encoding::name(&mut addition.entries, &name);
        addition.entries.push(kind);
        encoding::unsigned(&mut addition.entries, index);
        addition.count += 1;
    };
    if let Some(function) = plan.probed_function() {
        export(hooks::instance_export(suffix), GLOBAL, plan.instance());
        export(hooks::key_export(suffix), GLOBAL, plan.instance() + 1);
        for n in 0..plan.switch_globals() {
            export(hooks::switches_export(n, suffix), GLOBAL, plan.switches(n));
        }
        export(hooks::function_export(suffix), FUNCTION, function);
        match plan.place {
            Place::Globals if plan.events().is_some() => {
                export(events::memory_export(suffix), MEMORY, plan.own_memory());
                export(events::position_export(suffix), GLOBAL, plan.position());
            }
            Place::Memory if plan.own_pages().is_some() => {
                export(control::shared_export(suffix), MEMORY, plan.own_memory());
            }
            _ => {}
        }
    }
    for number in 0..plan.guarded.functions.len() as u32 {
        export(
            hooks::inner_export(number, suffix),
            FUNCTION,
            plan.inner(number),
        );
    }
    if plan.options.expose {
        for index in 0..plan.module.counts.memories {
            export(hooks::memory_export(index, suffix), MEMORY, index);
        }
        for index in 0..plan.module.counts.globals {
            export(hooks::global_export(index, suffix), GLOBAL, index);
        }
    }
    addition
}

/// Makes the segment that declares what stands for these functions, so that bodies may
/// refer to it: what declared the function may have been its export, which is of another,
/// be it the raw import or a guard.
fn declaration(plan: &Plan<'_, '_>, functions: &[u32]) -> Addition {
    if functions.is_empty() {
        return Addition::default();
    }
    let mut entries = vec![3, 0];
    encoding::unsigned(&mut entries, functions.len() as u32);
    for function in functions {
        encoding::unsigned(&mut entries, plan.referred(*function));
    }
    Addition { count: 1, entries }
}
