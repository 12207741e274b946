//! Decides what of a component changes: which modules are rewritten, which functions are
//! wrapped, and which components need what that takes.

use super::rewritten::{Candidate, OriginalModule, RewrittenModule};
use super::scope::Scope;
use super::{Component, interface, steps};
use crate::control::Place;
use crate::{Error, Map, Options, Rewritten, Skipped, dwarf};
use wasmscope_address::FuncIndex;

/// What of a component changes.
#[derive(Debug)]
pub(super) struct Plan<'c, 'a> {
    pub(super) component: &'c Component<'a>,
    pub(super) options: &'c Options,
    /// Whether each module has a probe.
    pub(super) probed: Vec<bool>,
    /// Those modules, rewritten, until they are written.
    modules: Vec<Option<Rewritten>>,
    /// What has no probe although it was asked for, where no function of the module has one.
    skipped: Vec<Vec<(FuncIndex, Skipped)>>,
    /// Whether each function that is lifted or lowered has a probe.
    pub(super) functions: Vec<bool>,
    pub(super) scopes: Vec<Part>,
    /// The name of the import.
    pub(super) import: String,
}

/// What one of the components has to do with probes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Part {
    /// Nothing.
    None,
    /// It hands the host's functions on to others.
    Hands,
    /// It has probes.
    Probed,
}

impl<'c, 'a> Plan<'c, 'a> {
    pub(super) fn new(
        component: &'c Component<'a>,
        options: &'c Options,
        probed: &dyn Fn(Candidate) -> bool,
    ) -> Result<Self, Error> {
        let not_yet = |what: &str| Error::NotYet {
            what: what.to_owned(),
        };
        if options.guarded {
            return Err(not_yet("to guard exports"));
        }
        let (mut modules, mut skipped) = (Vec::new(), Vec::new());
        for (index, nested) in component.modules().iter().enumerate() {
            let probe = |function| {
                probed(Candidate::Core {
                    module: index,
                    function,
                })
            };
            let mut functions = nested.module.functions().iter();
            skipped.push(Vec::new());
            modules.push(None);
            if functions.any(|function| probe(function.index)) {
                let rewritten = nested.module.rewrite_in(Place::Memory, options, &probe);
                let rewritten = rewritten.map_err(|error| error.within(nested.offset))?;
                if rewritten.probes.is_empty() {
                    skipped[index] = rewritten.skipped;
                } else {
                    modules[index] = Some(rewritten);
                }
            }
        }
        let functions = component.functions().iter().enumerate();
        let functions = functions.map(|(index, function)| {
            let wanted = probed(Candidate::Function(index));
            if wanted && function.core.is_none() {
                let name = function.name.as_deref().unwrap_or("without a name");
                return Err(not_yet(&format!(
                    "to hear calls of the function {name}, whose core function is not of numbers only,"
                )));
            }
            Ok(wanted)
        });
        let functions = functions.collect::<Result<Vec<_>, _>>()?;
        let mut plan = Self {
            component,
            options,
            probed: modules.iter().map(Option::is_some).collect(),
            modules,
            skipped,
            functions,
            scopes: Vec::new(),
            import: interface::import_name(&options.suffix),
        };
        plan.find_parts();
        plan.check_values()?;
        Ok(plan)
    }

    /// Tells whether nothing changes.
    pub(super) fn is_empty(&self) -> bool {
        let parts = self.scopes.iter().all(|part| *part == Part::None);
        parts && !self.probed.contains(&true)
    }

    /// Takes a module to be written, and its bytes if they are not the original's.
    pub(super) fn module(&mut self, index: usize) -> (RewrittenModule, Option<Vec<u8>>) {
        let (module, bytes) = match self.modules[index].take() {
            Some(rewritten) => {
                let module = OriginalModule {
                    index,
                    probes: rewritten.probes,
                    skipped: rewritten.skipped,
                    map: rewritten.map,
                    debug: rewritten.debug,
                };
                (module, Some(rewritten.wasm))
            }
            None => {
                let module = OriginalModule {
                    index,
                    probes: Vec::new(),
                    skipped: std::mem::take(&mut self.skipped[index]),
                    map: Map::of_copy(&self.component.modules()[index].module),
                    debug: dwarf::Outcome::Absent,
                };
                (module, None)
            }
        };
        (RewrittenModule::Original(Box::new(module)), bytes)
    }

    fn find_parts(&mut self) {
        let scopes = &self.component.scopes;
        let own = |scope: &Scope<'_>| {
            let modules = scope.core_instantiations.iter().flatten();
            let module = modules.into_iter().any(|module| self.probed[*module]);
            let mut functions = scope.lifted_or_lowered.iter();
            if module || functions.any(|function| self.functions[*function]) {
                Part::Probed
            } else {
                Part::None
            }
        };
        let mut parts = scopes.iter().map(own).collect::<Vec<_>>();
        let mut users = vec![Vec::new(); scopes.len()];
        for (at, scope) in scopes.iter().enumerate() {
            for inner in scope.instantiations.iter().flatten() {
                users[*inner].push(at);
            }
        }
        let is_part = |at: &usize| parts[*at] != Part::None;
        let mut reached = (0..scopes.len()).filter(is_part).collect::<Vec<_>>();
        while let Some(inner) = reached.pop() {
            for user in std::mem::take(&mut users[inner]) {
                steps::count();
                if parts[user] == Part::None {
                    parts[user] = Part::Hands;
                    reached.push(user);
                }
            }
        }
        self.scopes = parts;
    }

    /// What changes may not be used as a value: nobody would know what it imports now.
    fn check_values(&self) -> Result<(), Error> {
        for (module, name) in &self.component.escaped_modules {
            if self.probed[*module] {
                return Err(Error::NotYet {
                    what: format!("a probe in the core module that is passed on as {name:?}"),
                });
            }
        }
        for (scope, name) in &self.component.escaped_scopes {
            if self.scopes[*scope] != Part::None {
                return Err(Error::NotYet {
                    what: format!("a probe in the component that is passed on as {name:?}"),
                });
            }
        }
        Ok(())
    }
}
