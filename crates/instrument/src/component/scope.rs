//! What is known of one component among those that are nested in each other: where the
//! items of its index spaces come from.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use wasmparser::{ComponentExternalKind, MemoryType};

use super::core::Core;
use super::core_type::CoreType;
use super::names::ByName;
use super::steps;

/// One component: the outermost, or one nested in it.
#[derive(Debug, Default)]
pub(super) struct Scope<'a> {
    /// Its core modules: which one each is, unless it is a value that comes from outside.
    pub(super) modules: Vec<Option<usize>>,
    /// Its components: which scope each is, unless it is a value that comes from outside.
    pub(super) components: Vec<Option<usize>>,
    pub(super) functions: Vec<Function<'a>>,
    pub(super) instances: Vec<Instance<'a>>,
    pub(super) exports: Vec<Item<'a>>,
    /// The names of the types that it imports.
    pub(super) imported_types: Vec<&'a str>,
    /// What is instantiated of core modules.
    pub(super) core_instantiations: Vec<Option<usize>>,
    /// What is instantiated of components.
    pub(super) instantiations: Vec<Option<usize>>,
    /// The functions that are lifted and lowered, in their order.
    pub(super) lifted_or_lowered: Vec<usize>,
    /// The types of core functions that are called where calls out are forbidden, by their
    /// index; `None` where it is of more than numbers.
    pub(super) quiet: BTreeMap<u32, Option<CoreType>>,
    pub(super) memories: Vec<MemoryType>,
    pub(super) core: Core<'a>,
}

/// Something that is exported, or given to an instance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    pub(super) name: &'a str,
    pub(super) kind: ComponentExternalKind,
    pub(super) index: u32,
}

/// Items, in their order and by their names. Many instances may share them.
#[derive(Clone, Debug)]
pub(super) struct Items<'a>(Arc<(Vec<Item<'a>>, ByName<'a, usize>)>);

impl<'a> Items<'a> {
    fn get(&self, name: &'a str) -> Option<&Item<'a>> {
        let (items, places) = &*self.0;
        items.get(*places.get(name)?)
    }

    fn iter(&self) -> impl Iterator<Item = &Item<'a>> {
        self.0.0.iter()
    }
}

impl<'a> From<Vec<Item<'a>>> for Items<'a> {
    fn from(items: Vec<Item<'a>>) -> Self {
        let places = items.iter().enumerate();
        let places = places.map(|(place, item)| (item.name, place)).collect();
        Self(Arc::new((items, places)))
    }
}

/// Where a function of a component comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Function<'a> {
    Import(&'a str),
    /// Exported by an instance.
    Of(u32, &'a str),
    /// Lifted: which of the functions that are lifted or lowered.
    Lifted(usize),
}

/// Where an instance of a component comes from.
#[derive(Clone, Debug)]
pub(super) enum Instance<'a> {
    Import(&'a str),
    /// Exported by an instance, by this name.
    Of(&'a str),
    /// Of one of the scopes, unless it is of a component that comes from outside.
    Instantiated(Option<usize>, Items<'a>),
    Made(Items<'a>),
}

impl<'a> Scope<'a> {
    /// Returns the interface and the name by which a function is imported that is lowered.
    pub(super) fn imported(&self, function: u32) -> (Option<&'a str>, Option<&'a str>) {
        match self.functions.get(function as usize) {
            Some(Function::Import(name)) => (None, Some(name)),
            Some(Function::Of(instance, name)) => {
                let interface = match self.instances.get(*instance as usize) {
                    Some(Instance::Import(name) | Instance::Of(name)) => Some(*name),
                    _ => None,
                };
                (interface, Some(name))
            }
            _ => (None, None),
        }
    }

    /// Adds what exporting something adds to its index space.
    pub(super) fn copy(&mut self, kind: ComponentExternalKind, index: u32) {
        let index = index as usize;
        match kind {
            ComponentExternalKind::Module => self.modules.push(self.modules[index]),
            ComponentExternalKind::Component => self.components.push(self.components[index]),
            ComponentExternalKind::Func => self.functions.push(self.functions[index]),
            ComponentExternalKind::Instance => self.instances.push(self.instances[index].clone()),
            ComponentExternalKind::Value | ComponentExternalKind::Type => {}
        }
    }
}

/// How far names are followed through instances of instances.
const MAX_DEPTH: u32 = 32;

/// Finds by which interface and name each lifted function leaves its component.
pub(super) struct Names<'s, 'a> {
    scopes: &'s [Scope<'a>],
    found: Vec<Option<(Option<&'a str>, &'a str)>>,
    /// How far the items of each instance were followed, by scope. To go there again, and no
    /// further, finds nothing: all that it leads to has a name.
    followed: HashMap<(usize, u32), u32>,
}

impl<'s, 'a> Names<'s, 'a> {
    /// Finds the names of the functions that are lifted, of `count` that are lifted or
    /// lowered. The first export that a function has counts, else what it is called when it
    /// is given to another component.
    pub(super) fn find(
        scopes: &'s [Scope<'a>],
        count: usize,
    ) -> Vec<Option<(Option<&'a str>, &'a str)>> {
        let mut names = Self {
            scopes,
            found: vec![None; count],
            followed: HashMap::new(),
        };
        for (number, scope) in scopes.iter().enumerate() {
            for item in &scope.exports {
                names.item(number, None, item, MAX_DEPTH);
            }
        }
        for (number, scope) in scopes.iter().enumerate() {
            for instance in &scope.instances {
                if let Instance::Instantiated(_, items) = instance {
                    for item in items.iter() {
                        names.item(number, None, item, MAX_DEPTH);
                    }
                }
            }
        }
        names.found
    }

    fn item(&mut self, scope: usize, interface: Option<&'a str>, item: &Item<'a>, left: u32) {
        steps::count();
        let Some(left) = left.checked_sub(1) else {
            return;
        };
        match item.kind {
            ComponentExternalKind::Func => {
                if let Some(lifted) = self.lifted(&self.scopes[scope], item.index, left)
                    && let Some(found @ None) = self.found.get_mut(lifted)
                {
                    *found = Some((interface, item.name));
                }
            }
            ComponentExternalKind::Instance => {
                self.instance(scope, item.name, item.index, left);
            }
            _ => {}
        }
    }

    /// Names what an instance exports that is known by the name `interface`.
    fn instance(&mut self, scope: usize, interface: &'a str, index: u32, left: u32) {
        let followed = self.followed.entry((scope, index)).or_default();
        if left <= *followed {
            return;
        }
        *followed = left;
        let scopes = self.scopes;
        match scopes[scope].instances.get(index as usize) {
            Some(Instance::Made(items)) => {
                for item in items.iter() {
                    self.item(scope, Some(interface), item, left);
                }
            }
            Some(Instance::Instantiated(Some(inner), given)) => {
                // What its exports lead to outside it is what it was given.
                let inner = &scopes[*inner];
                for export in &inner.exports {
                    steps::count();
                    if let Some(Function::Import(import)) =
                        inner.functions.get(export.index as usize)
                        && export.kind == ComponentExternalKind::Func
                        && let Some(argument) = given.get(import)
                    {
                        let named = Item {
                            name: export.name,
                            ..*argument
                        };
                        self.item(scope, Some(interface), &named, left);
                    }
                }
            }
            _ => {}
        }
    }

    /// Returns which lifted function a function is.
    fn lifted(&self, scope: &Scope<'a>, function: u32, left: u32) -> Option<usize> {
        let left = left.checked_sub(1)?;
        match *scope.functions.get(function as usize)? {
            Function::Lifted(lifted) => Some(lifted),
            Function::Import(_) => None,
            Function::Of(instance, name) => {
                let Instance::Made(items) = scope.instances.get(instance as usize)? else {
                    return None;
                };
                let item = items.get(name)?;
                if item.kind != ComponentExternalKind::Func {
                    return None;
                }
                self.lifted(scope, item.index, left)
            }
        }
    }
}
