//! Which functions are listened to: globs over their names, and whether only the host's.

use crate::args::SelectArgs;
use crate::exit;
use anyhow::Result;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use wasmscope_instrument::Function;
use wasmscope_listen::component::{ComponentFunction, Direction};
use wasmscope_listen::{Definition, FuncIndex};
use wasmscope_symbolize::FunctionName;

/// A choice of functions.
#[derive(Clone, Debug)]
pub(crate) struct Select {
    /// None when every name will do.
    names: Option<GlobSet>,
    imports_only: bool,
    /// Whether imports are those of a component, and not of the core modules in it.
    is_component: bool,
}

/// What a choice looks at.
#[derive(Clone, Debug)]
pub(crate) struct Candidate<'a> {
    index: FuncIndex,
    /// Its module and name, if it is imported.
    import: Option<(&'a str, &'a str)>,
    /// Its name in the name section.
    name: Option<&'a str>,
    exports: Vec<&'a str>,
    component: Option<&'a ComponentFunction>,
}

impl<'a> From<&'a Definition> for Candidate<'a> {
    fn from(definition: &'a Definition) -> Self {
        let import = definition.import.as_ref();
        Self {
            index: definition.index,
            import: import.map(|import| (import.module.as_str(), import.name.as_str())),
            name: definition.name.as_deref(),
            exports: definition.export_names.iter().map(String::as_str).collect(),
            component: definition.component.as_ref(),
        }
    }
}

impl<'a> From<&Function<'a>> for Candidate<'a> {
    fn from(function: &Function<'a>) -> Self {
        Self {
            index: function.index,
            import: function.import,
            name: function.name,
            exports: function.exports.clone(),
            component: None,
        }
    }
}

impl Select {
    /// Reads the globs.
    ///
    /// # Errors
    ///
    /// A usage error that says what is wrong with a glob.
    pub(crate) fn new(args: &SelectArgs) -> Result<Self> {
        let mut set = GlobSetBuilder::new();
        for text in &args.functions {
            // A name is no path: `*` goes over slashes, as over all else.
            let glob = GlobBuilder::new(text)
                .literal_separator(false)
                .backslash_escape(true)
                .build()
                .map_err(|error| exit::usage(format!("--functions {text}: {}", error.kind())))?;
            set.add(glob);
        }
        let names = match args.functions.is_empty() {
            true => None,
            false => Some(set.build().map_err(|error| {
                exit::usage(format!("--functions: these are too many globs: {error}"))
            })?),
        };
        Ok(Self {
            names,
            imports_only: args.imports,
            is_component: false,
        })
    }

    /// Makes it a choice of a component's functions.
    pub(crate) fn of_component(mut self) -> Self {
        self.is_component = true;
        self
    }

    /// Tells whether a function is chosen.
    pub(crate) fn is_chosen<'a>(&self, function: impl Into<Candidate<'a>>) -> bool {
        let candidate = function.into();
        let is_import = match (candidate.component, self.is_component) {
            (Some(function), _) => function.direction == Direction::Import,
            (None, true) => false,
            (None, false) => candidate.import.is_some(),
        };
        if self.imports_only && !is_import {
            return false;
        }
        let Some(names) = &self.names else {
            return true;
        };
        let is_match = |name: &str| names.is_match(name);
        if let Some(function) = candidate.component {
            return wit_names(function).any(|name| is_match(&name));
        }
        if let Some((module, name)) = candidate.import
            && (is_match(name) || is_match(&format!("{module}.{name}")))
        {
            return true;
        }
        match candidate.name {
            Some(raw) if is_match(raw) || is_match(&demangled(raw, candidate.index)) => true,
            None if candidate.exports.is_empty() => is_match(&format!("${}", candidate.index)),
            _ => candidate.exports.iter().any(|name| is_match(name)),
        }
    }
}

/// Returns the names that a component function goes by: with its interface, with and
/// without the version; alone; and a method as WIT declares it, without `[method]`.
fn wit_names(function: &ComponentFunction) -> impl Iterator<Item = String> {
    let name = function.name.as_str();
    let plain = name
        .strip_prefix('[')
        .and_then(|rest| Some(rest.split_once(']')?.1));
    let interface = function.interface.as_deref();
    let unversioned = interface.and_then(|interface| Some(interface.rsplit_once('@')?.0));
    let interfaces = interface.into_iter().chain(unversioned);
    let names = [Some(name), plain];
    let names: Vec<&str> = names.into_iter().flatten().collect();
    let qualified: Vec<String> = interfaces
        .flat_map(|interface| names.iter().map(move |name| format!("{interface}#{name}")))
        .collect();
    let alone = names.iter().map(|name| (*name).to_owned());
    qualified.into_iter().chain(alone.collect::<Vec<_>>())
}

/// Returns a function's name as people write it.
pub(crate) fn demangled(raw: &str, index: FuncIndex) -> String {
    FunctionName::new(Some(raw), index).display.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmscope_listen::component::FunctionType;

    fn select(functions: &[&str], imports: bool) -> Select {
        let functions = functions.iter().map(|&glob| glob.to_owned()).collect();
        Select::new(&SelectArgs { functions, imports }).unwrap()
    }

    fn rust() -> Definition {
        Definition::guest(FuncIndex(7))
            .named("_ZN3app4main17h0123456789abcdefE")
            .exported("run")
    }

    fn wasi() -> Definition {
        Definition::import(FuncIndex(0), "wasi_snapshot_preview1", "fd_write")
            .named("__imported_wasi_snapshot_preview1_fd_write")
    }

    #[test]
    fn names_are_compared_in_all_their_forms() {
        for (glob, chooses_rust, chooses_wasi) in [
            ("app::*", true, false),
            ("_ZN3app*", true, false),
            ("run", true, false),
            ("ru", false, false),
            ("fd_*", false, true),
            ("wasi_*.fd_write", false, true),
            ("{run,fd_write}", true, true),
            ("?d_write", false, true),
            ("$7", false, false),
            ("*", true, true),
        ] {
            let select = select(&[glob], false);
            assert_eq!(select.is_chosen(&rust()), chooses_rust, "{glob}");
            assert_eq!(select.is_chosen(&wasi()), chooses_wasi, "{glob}");
        }
        assert!(select(&["x", "run"], false).is_chosen(&rust()));
    }

    #[test]
    fn imports_alone_and_together_with_names() {
        assert!(select(&[], true).is_chosen(&wasi()));
        assert!(!select(&[], true).is_chosen(&rust()));
        assert!(!select(&["run"], true).is_chosen(&rust()));
        assert!(!select(&["fd_read"], true).is_chosen(&wasi()));
        assert!(select(&[], false).is_chosen(&Definition::guest(FuncIndex(9))));
        assert!(select(&["$9"], false).is_chosen(&Definition::guest(FuncIndex(9))));
    }

    #[test]
    fn component_functions_go_by_their_wit_names() {
        let ty = FunctionType::new::<&str>([], None);
        let flush = ComponentFunction::new(Direction::Import, "[method]output-stream.flush", ty)
            .of_interface("wasi:io/streams@0.2.0");
        let mut run = flush.clone();
        (run.name, run.direction) = ("run".to_owned(), Direction::Export);
        run.interface = None;
        let [flush, run] = [flush, run].map(|function| {
            Definition::import(FuncIndex(0), "core", "import").of_component(function)
        });
        for (glob, chooses_flush, chooses_run) in [
            ("wasi:io/streams@0.2.0#*", true, false),
            ("wasi:io/streams#*", true, false),
            ("wasi:*", true, false),
            ("wasi:io/streams#output-stream.flush", true, false),
            ("output-stream.*", true, false),
            ("\\[method\\]output-stream.flush", true, false),
            ("flush", false, false),
            ("run", false, true),
            ("core.import", false, false),
            ("*", true, true),
        ] {
            let select = select(&[glob], false);
            assert_eq!(select.is_chosen(&flush), chooses_flush, "{glob}");
            assert_eq!(select.is_chosen(&run), chooses_run, "{glob}");
        }
        let imports = select(&[], true).of_component();
        assert!(imports.is_chosen(&flush));
        assert!(!imports.is_chosen(&run));
        // A core module's import, within a component.
        assert!(!imports.is_chosen(&wasi()));
    }

    #[test]
    fn a_glob_that_is_none_is_a_usage_error() {
        let args = SelectArgs {
            functions: vec!["[a".to_owned()],
            imports: false,
        };
        let error = Select::new(&args).unwrap_err();
        assert_eq!(exit::status_of(&error), exit::USAGE);
        assert!(error.to_string().contains("[a"), "{error}");
    }
}
