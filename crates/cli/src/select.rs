//! Which functions are listened to: globs over their names, and whether only the host's.

use crate::args::SelectArgs;
use crate::exit;
use anyhow::Result;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use wasmscope_instrument::Function;
use wasmscope_listen::{Definition, FuncIndex};
use wasmscope_symbolize::FunctionName;

/// A choice of functions.
#[derive(Clone, Debug)]
pub(crate) struct Select {
    /// None when every name will do.
    names: Option<GlobSet>,
    imports_only: bool,
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
}

impl<'a> From<&'a Definition> for Candidate<'a> {
    fn from(definition: &'a Definition) -> Self {
        let import = definition.import.as_ref();
        Self {
            index: definition.index,
            import: import.map(|import| (import.module.as_str(), import.name.as_str())),
            name: definition.name.as_deref(),
            exports: definition.export_names.iter().map(String::as_str).collect(),
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
        })
    }

    /// Tells whether a function is chosen.
    pub(crate) fn is_chosen<'a>(&self, function: impl Into<Candidate<'a>>) -> bool {
        let candidate = function.into();
        if self.imports_only && candidate.import.is_none() {
            return false;
        }
        let Some(names) = &self.names else {
            return true;
        };
        let is_match = |name: &str| names.is_match(name);
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

/// Returns a function's name as people write it.
pub(crate) fn demangled(raw: &str, index: FuncIndex) -> String {
    FunctionName::new(Some(raw), index).display.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

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
