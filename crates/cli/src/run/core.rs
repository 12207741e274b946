//! Runs core modules: WASI commands, and functions by name.

use super::{Call, Ending, Host};
use crate::engine::chain;
use crate::settings::UnknownImports;
use crate::{exit, values};
use anyhow::{Result, anyhow};
use std::io::Write as _;
use wasmtime::{ExternType, Func, Linker, Module, Store, Val};
use wasmtime_wasi::p1::{self, WasiP1Ctx};

type CoreHost = Host<WasiP1Ctx>;

/// Runs a module to its end.
pub(super) fn run(call: &Call, module: &Module, host: CoreHost) -> Ending {
    let prepare = || -> Result<_> {
        let arguments = check(call, module)?;
        let mut store = call
            .store(module.engine(), host)
            .map_err(|error| anyhow!(chain(&error)))?;
        let linker = link(call, module, &mut store)?;
        Ok((store, linker, arguments))
    };
    let (mut store, linker, arguments) = match prepare() {
        Ok(prepared) => prepared,
        Err(error) => return Ending::NotRun(error),
    };
    call.watched(|| {
        let result = call.watch.guard(&mut store, |store| {
            let instance = linker.instantiate(&mut *store, module)?;
            // A reactor wants to be told before anything of it is called.
            if let Some(initialize) = instance.get_func(&mut *store, "_initialize") {
                initialize.typed::<(), ()>(&*store)?.call(&mut *store, ())?;
            }
            let function = match &call.invoke {
                Some(name) => instance.get_func(&mut *store, name),
                None => instance
                    .get_func(&mut *store, "_start")
                    .or_else(|| instance.get_func(&mut *store, "")),
            };
            match function {
                Some(function) => invoke(store, &function, &arguments),
                // Checked before, so only a start function can be meant.
                None => Ok(0),
            }
        });
        Ending::of(result)
    })
}

/// Checks what can be checked of a call before anything runs, and reads the
/// arguments.
fn check(call: &Call, module: &Module) -> Result<Vec<Val>> {
    let name = match &call.invoke {
        Some(name) => name.as_str(),
        None if module.get_export("_start").is_some() => "_start",
        None => "",
    };
    match (module.get_export(name), &call.invoke) {
        (Some(ExternType::Func(ty)), Some(_)) => {
            let types: Vec<_> = ty.params().collect();
            values::core_arguments(&types, &call.arguments)
                .map_err(|error| exit::usage(format!("--invoke {name}: {error}")))
        }
        (Some(ExternType::Func(_)), None) => Ok(Vec::new()),
        (_, invoke) => {
            let functions = module.exports().filter_map(|export| match export.ty() {
                ExternType::Func(ty) => {
                    let types: Vec<_> = ty.params().map(|ty| ty.to_string()).collect();
                    Some(format!("{}({})", export.name(), types.join(", ")))
                }
                _ => None,
            });
            let functions: Vec<_> = functions.collect();
            let exports = match functions.is_empty() {
                true => "it exports no functions".to_owned(),
                false => format!("it exports {}", functions.join(", ")),
            };
            Err(match invoke {
                Some(name) => exit::usage(format!(
                    "--invoke {name}: {} exports no such function; {exports}",
                    call.name
                )),
                None => anyhow!(
                    "{}: this module is no command (it does not export _start); say what to call \
                     with --invoke; {exports}",
                    call.name
                ),
            })
        }
    }
}

fn link(call: &Call, module: &Module, store: &mut Store<CoreHost>) -> Result<Linker<CoreHost>> {
    let mut linker = Linker::new(module.engine());
    let linked = p1::add_to_linker_sync(&mut linker, |host: &mut CoreHost| &mut host.wasi)
        .and_then(|()| call.watch.link(&mut linker))
        .and_then(|()| match call.unknown_imports {
            UnknownImports::Refuse => Ok(()),
            UnknownImports::Trap => linker.define_unknown_imports_as_traps(module),
            UnknownImports::Default => {
                linker.define_unknown_imports_as_default_values(&mut *store, module)
            }
        });
    linked.map_err(|error| anyhow!("{}: {}", call.name, chain(&error)))?;
    let missing = module
        .imports()
        .find(|import| linker.get_by_import(&mut *store, import).is_none());
    if let Some(import) = missing {
        return Err(anyhow!(
            "{}: this module imports {} from {}, which is not there; only WASI p1 \
             (wasi_snapshot_preview1) is; -W unknown-imports-trap runs it without",
            call.name,
            import.name(),
            import.module(),
        ));
    }
    // Types that do not fit.
    linker
        .instantiate_pre(module)
        .map_err(|error| anyhow!("{}: {}", call.name, chain(&error)))?;
    Ok(linker)
}

fn invoke(
    store: &mut Store<CoreHost>,
    function: &Func,
    arguments: &[Val],
) -> wasmtime::Result<i32> {
    let mut results = vec![Val::I32(0); function.ty(&*store).results().len()];
    function.call(&mut *store, arguments, &mut results)?;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(values::show_core(&results).as_bytes())?;
    stdout.flush()?;
    Ok(0)
}
