//! A function as traces name it, prepared once for all its calls.

use crate::typed::{self, Signature};
use crate::wasi;
use wasmscope_listen::{Definition, FuncIndex, Value};

/// A function whose calls are traced.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// What the text shows: `fib`, `env.now`, `wasi.fd_write`, `$7`,
    /// `wasi:cli/stdout@0.2.0#get-stdout`.
    pub(crate) label: String,
    /// Its name alone.
    pub(crate) name: String,
    /// The module that it is imported from, or the one that it is defined in; of a
    /// component function, its interface.
    pub(crate) module: Option<String>,
    pub(crate) index: FuncIndex,
    pub(crate) is_host: bool,
    /// The parameters' names.
    pub(crate) params: Vec<Option<String>>,
    /// The results' names.
    pub(crate) results: Vec<Option<String>>,
    /// What it is to WASI.
    pub(crate) wasi: Option<wasi::Function>,
    /// Its type, when it is a component function.
    pub(crate) signature: Option<Signature>,
}

impl Subject {
    /// Prepares a function; `name` is what people call it, where that is known better
    /// than by its definition.
    pub(crate) fn new(definition: &Definition, name: Option<String>) -> Self {
        let (module, name, label) = match (&definition.component, &definition.import) {
            (Some(function), _) => {
                let label = function.to_string();
                (function.interface.clone(), function.name.clone(), label)
            }
            (None, Some(import)) => {
                let short = match wasi::is_wasi(&import.module) {
                    true => "wasi",
                    false => &import.module,
                };
                let label = format!("{short}.{}", import.name);
                (Some(import.module.clone()), import.name.clone(), label)
            }
            (None, None) => {
                let own = definition.name.as_ref().or(definition.export_names.first());
                let name = name
                    .or_else(|| own.cloned())
                    .unwrap_or_else(|| format!("${}", definition.index));
                (definition.module.clone(), name.clone(), name)
            }
        };
        let wasi = definition.import.as_ref().and_then(|import| {
            wasi::Function::find(&import.module, &import.name)
                // A host of its own may have another function of this name.
                .filter(|wasi| definition.is_host() && wasi.width() == definition.params.len())
        });
        Self {
            label,
            name,
            module,
            index: definition.index,
            is_host: definition.is_host(),
            params: definition.param_names.clone(),
            results: definition.result_names.clone(),
            wasi,
            signature: typed::signature(definition),
        }
    }
}

/// Pairs values with their names.
pub(crate) fn named<'a>(
    names: &'a [Option<String>],
    values: impl Iterator<Item = Value> + 'a,
) -> impl Iterator<Item = (Option<&'a str>, Value)> {
    let names = names.iter().map(Option::as_deref);
    values
        .zip(names.chain(std::iter::repeat(None)))
        .map(|(value, name)| (name, value))
}
