//! What is in the tables of core instances, as far as that stays as it is.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use wasmparser::ExternalKind;

use super::bindings::Facts;
use super::core::{Core, CoreInstance};
use super::names::ByName;
use super::steps;

/// A table: the instance that defines it, and which of its tables it is.
type Table = (u32, u32);

/// A function of an instance: the instance's number, its module and the function's index.
pub(super) type Place = (u32, usize, u32);

/// The tables of one component.
pub(super) struct Tables<'f, 'a> {
    facts: &'f [Facts<'a>],
    /// What the tables of each core instance are.
    instances: Vec<OfInstance<'a>>,
    /// The instances that fill a table, the last first. Of those that fill the same slots
    /// there is only the last.
    fillers: HashMap<Table, Vec<Filler>>,
    /// The tables that somebody may write to.
    written: HashSet<Table>,
    /// Whether somebody may write to any table.
    all_written: bool,
    /// What was found in slots.
    slots: RefCell<HashMap<(Table, u32), Option<Place>>>,
}

struct Filler {
    instance: u32,
    module: usize,
    /// The indices that the table has there.
    indices: Vec<u32>,
}

/// What the tables of a core instance are. `None` where nobody knows.
enum OfInstance<'a> {
    /// Of one that is made of items: those, by name.
    Made(ByName<'a, Option<Table>>),
    /// Those that an instance of a module imports, by index.
    Instantiated(usize, Vec<Option<Table>>),
    /// Of one of a module from outside.
    Unknown,
}

impl<'f, 'a> Tables<'f, 'a> {
    pub(super) fn new(facts: &'f [Facts<'a>], core: &Core<'a>) -> Self {
        let mut tables = Self {
            facts,
            instances: Vec::new(),
            fillers: HashMap::new(),
            written: HashSet::new(),
            all_written: false,
            slots: RefCell::default(),
        };
        // An instance refers only to those ahead of it.
        for instance in &core.instances {
            steps::count();
            let found = tables.of_instance(core, instance);
            tables.instances.push(found);
        }
        tables.find_written(core);
        tables.find_fillers();
        tables
    }

    fn of_instance(&self, core: &Core<'a>, instance: &CoreInstance<'a>) -> OfInstance<'a> {
        match instance {
            CoreInstance::Made(items) => {
                let tables = items
                    .iter()
                    .filter(|(_, item)| item.0 == ExternalKind::Table);
                let tables = tables.map(|(name, (_, table))| {
                    steps::count();
                    let source = core.tables.get(*table as usize);
                    (name, source.and_then(|(of, name)| self.exported(*of, name)))
                });
                OfInstance::Made(tables.collect())
            }
            CoreInstance::Instantiated(Some(module), given) => {
                let imported = self.facts[*module].imported_tables.iter();
                let imported = imported.map(|(from, name)| {
                    steps::count();
                    self.exported(*given.get(from)?, name)
                });
                OfInstance::Instantiated(*module, imported.collect())
            }
            CoreInstance::Instantiated(None, _) => OfInstance::Unknown,
        }
    }

    /// Returns the table that an instance exports under a name.
    fn exported(&self, instance: u32, name: &'a str) -> Option<Table> {
        match self.instances.get(instance as usize)? {
            OfInstance::Made(tables) => *tables.get(name)?,
            OfInstance::Instantiated(module, _) => {
                let index = *self.facts[*module].tables.get(name)?;
                self.table(instance, index)
            }
            OfInstance::Unknown => None,
        }
    }

    /// Returns which table one of an instance of a module is, by its index there.
    pub(super) fn table(&self, instance: u32, index: u32) -> Option<Table> {
        let OfInstance::Instantiated(_, imported) = self.instances.get(instance as usize)? else {
            return None;
        };
        match imported.get(index as usize) {
            Some(table) => *table,
            None => Some((instance, index)),
        }
    }

    /// Returns the function that is in a slot of a table once all is instantiated, if everything
    /// that has the table only fills it.
    pub(super) fn slot(&self, table: Table, slot: u32) -> Option<Place> {
        let known = self.slots.borrow().get(&(table, slot)).copied();
        known.unwrap_or_else(|| {
            let found = self.find_slot(table, slot);
            self.slots.borrow_mut().insert((table, slot), found);
            found
        })
    }

    fn find_slot(&self, table: Table, slot: u32) -> Option<Place> {
        let OfInstance::Instantiated(module, _) = self.instances.get(table.0 as usize)? else {
            return None;
        };
        let stays = self.facts[*module].only_fills && !self.written.contains(&table);
        if !stays || self.all_written {
            return None;
        }
        self.fillers.get(&table)?.iter().find_map(|filler| {
            let filled = &self.facts[filler.module].filled;
            let found = filler.indices.iter().filter_map(|index| {
                steps::count();
                filled.get(index)?.get(&slot)
            });
            // What comes later stays.
            let (_, function) = found.max()?;
            Some((filler.instance, filler.module, *function))
        })
    }

    /// Finds what instances of modules from outside have: nobody knows what they do.
    fn find_written(&mut self, core: &Core<'a>) {
        let mut given = HashSet::new();
        for instance in &core.instances {
            if let CoreInstance::Instantiated(None, instances) = instance {
                given.extend(instances.values().inspect(|_| steps::count()));
            }
        }
        for instance in given {
            match self.instances.get(instance as usize) {
                Some(OfInstance::Made(tables)) => {
                    for table in tables.values() {
                        steps::count();
                        match table {
                            Some(table) => _ = self.written.insert(*table),
                            None => self.all_written = true,
                        }
                    }
                }
                Some(OfInstance::Instantiated(module, _)) => {
                    let exported = self.facts[*module].tables.values();
                    let exported = exported.inspect(|_| steps::count());
                    let tables = exported.filter_map(|index| self.table(instance, *index));
                    let tables = tables.collect::<Vec<_>>();
                    self.written.extend(tables);
                }
                Some(OfInstance::Unknown) => self.all_written = true,
                None => {}
            }
        }
    }

    /// Finds what instances of known modules do with tables.
    fn find_fillers(&mut self) {
        let mut seen = HashSet::new();
        // The last come first, as they are those that stay.
        for (number, instance) in self.instances.iter().enumerate().rev() {
            let number = number as u32;
            let OfInstance::Instantiated(module, imported) = instance else {
                continue;
            };
            let facts = &self.facts[*module];
            let mut had = HashMap::<Table, Vec<u32>>::new();
            let own = facts.filled.keys().copied();
            let own = own.filter(|index| imported.len() <= *index as usize);
            let own = own.map(|index| (index, Some((number, index))));
            for (index, table) in (0..).zip(imported.iter().copied()).chain(own) {
                steps::count();
                if let Some(table) = table {
                    had.entry(table).or_default().push(index);
                }
            }
            for (table, indices) in had {
                if !facts.only_fills {
                    self.written.insert(table);
                } else if indices.iter().any(|index| facts.filled.contains_key(index))
                    && seen.insert((table, *module, indices.clone()))
                {
                    let filler = Filler {
                        instance: number,
                        module: *module,
                        indices,
                    };
                    self.fillers.entry(table).or_default().push(filler);
                }
            }
        }
    }
}
