//! Runs components: commands of WASI p2, and functions by name.

use super::{Call, Ending, Host};
use crate::engine::chain;
use crate::settings::UnknownImports;
use crate::{exit, values};
use anyhow::{Result, anyhow, bail};
use std::io::Write as _;
use wasmtime::Store;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{
    Component, ComponentExportIndex, InstancePre, Linker, ResourceTable, Val,
};
use wasmtime_wasi::p2::bindings::sync::CommandPre;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// WASI's state for a component.
pub(super) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
}

impl Wasi {
    pub(super) fn new(context: WasiCtx) -> Self {
        let table = ResourceTable::new();
        Self { context, table }
    }
}

type ComponentHost = Host<Wasi>;

impl WasiView for ComponentHost {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi.context,
            table: &mut self.wasi.table,
        }
    }
}

/// What to call.
enum Entry {
    Command(CommandPre<ComponentHost>),
    Function {
        instance: InstancePre<ComponentHost>,
        index: ComponentExportIndex,
        arguments: Vec<Val>,
        results: usize,
    },
}

/// Runs a component to its end.
pub(super) fn run(call: &Call, component: &Component, host: ComponentHost) -> Ending {
    let prepare = || -> Result<_> {
        let store = call
            .store(component.engine(), host)
            .map_err(|error| anyhow!(chain(&error)))?;
        Ok((store, entry(call, component)?))
    };
    let (mut store, entry) = match prepare() {
        Ok(prepared) => prepared,
        Err(error) => return Ending::NotRun(error),
    };
    call.watched(|| {
        let run = |store: &mut Store<ComponentHost>| match &entry {
            Entry::Command(command) => {
                let command = command.instantiate(&mut *store)?;
                let result = command.wasi_cli_run().call_run(&mut *store)?;
                Ok(i32::from(result.is_err()))
            }
            Entry::Function {
                instance,
                index,
                arguments,
                results,
            } => {
                let instance = instance.instantiate(&mut *store)?;
                let function = instance
                    .get_func(&mut *store, index)
                    .ok_or_else(|| wasmtime::Error::msg("the export is gone"))?;
                let mut results = vec![Val::Bool(false); *results];
                function.call(&mut *store, arguments, &mut results)?;
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(values::show_component(&results).as_bytes())?;
                stdout.flush()?;
                Ok(0)
            }
        };
        Ending::of(call.watch.guard(&mut store, run))
    })
}

/// Links the component and finds what to call.
fn entry(call: &Call, component: &Component) -> Result<Entry> {
    let mut linker = Linker::<ComponentHost>::new(component.engine());
    let linked = wasmtime_wasi::p2::add_to_linker_sync(&mut linker)
        .and_then(|()| call.watch.link_component(&mut linker))
        .and_then(|()| match call.unknown_imports {
            UnknownImports::Trap => linker.define_unknown_imports_as_traps(component),
            UnknownImports::Refuse | UnknownImports::Default => Ok(()),
        });
    linked.map_err(|error| anyhow!("{}: {}", call.name, chain(&error)))?;
    if call.unknown_imports == UnknownImports::Default {
        return Err(exit::usage(
            "-W unknown-imports-default is for core modules only",
        ));
    }
    let instance = linker.instantiate_pre(component).map_err(|error| {
        anyhow!(
            "{}: this component cannot be linked: {}; WASI p2 (wasi:cli and what belongs to it, \
             0.2) is there, nothing else; -W unknown-imports-trap runs it without",
            call.name,
            chain(&error)
        )
    })?;
    match &call.invoke {
        Some(invoke) => function(call, component, instance, invoke),
        None => match CommandPre::new(instance) {
            Ok(command) => Ok(Entry::Command(command)),
            Err(_) => bail!(
                "{}: this component is no command (it does not export wasi:cli/run@0.2); say what \
                 to call with --invoke; it exports {}",
                call.name,
                exports(component)
            ),
        },
    }
}

fn function(
    call: &Call,
    component: &Component,
    instance: InstancePre<ComponentHost>,
    invoke: &str,
) -> Result<Entry> {
    let (name, arguments) = values::component_call(invoke, &call.arguments)
        .map_err(|error| exit::usage(error.to_string()))?;
    let (ty, index) = find(component, &name).ok_or_else(|| {
        exit::usage(format!(
            "--invoke {name}: {} exports no such function; it exports {}",
            call.name,
            exports(component)
        ))
    })?;
    let types: Vec<_> = ty
        .params()
        .map(|(name, ty)| (name.to_owned(), ty))
        .collect();
    let arguments = values::component_arguments(&types, &arguments)
        .map_err(|error| exit::usage(format!("--invoke {name}: {error}")))?;
    Ok(Entry::Function {
        instance,
        index,
        arguments,
        results: ty.results().len(),
    })
}

/// Finds a function among the exports, or in an exported instance: `name`, or
/// `instance#name`.
fn find(component: &Component, name: &str) -> Option<(ComponentFunc, ComponentExportIndex)> {
    if let Some((ComponentItem::ComponentFunc(ty), index)) = component.get_export(None, name) {
        return Some((ty, index));
    }
    let (wanted, name) = match name.split_once('#') {
        Some((instance, name)) => (Some(instance), name),
        None => (None, name),
    };
    let ty = component.component_type();
    ty.exports(component.engine()).find_map(|(instance, _)| {
        if wanted.is_some_and(|wanted| wanted != instance) {
            return None;
        }
        let (item, parent) = component.get_export(None, instance)?;
        let ComponentItem::ComponentInstance(_) = item else {
            return None;
        };
        match component.get_export(Some(&parent), name)? {
            (ComponentItem::ComponentFunc(ty), index) => Some((ty, index)),
            _ => None,
        }
    })
}

/// Lists the functions that can be called.
fn exports(component: &Component) -> String {
    let engine = component.engine();
    let mut names = Vec::new();
    for (name, item) in component.component_type().exports(engine) {
        match item.ty {
            ComponentItem::ComponentFunc(_) => names.push(name.to_owned()),
            ComponentItem::ComponentInstance(instance) => {
                for (inner, item) in instance.exports(engine) {
                    if matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                        names.push(format!("{name}#{inner}"));
                    }
                }
            }
            _ => {}
        }
    }
    match names.is_empty() {
        true => "no functions".to_owned(),
        false => names.join(", "),
    }
}
