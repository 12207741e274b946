//! The tables of a thread that fxprof-processed-profile cannot fill: frames,
//! functions, native symbols and resources, column by column.

use std::collections::HashMap;

use indexmap::{IndexMap, IndexSet};
use serde::Serialize;

use crate::category::Category;
use crate::function::FunctionHandle;
use crate::mapping::MappingHandle;
use crate::profile::Profile;
use crate::stack::Frame;

/// The number that stands for "none" in columns that are not nullable.
const NONE: i64 = -1;

/// The position of a category in the profile's list: `Other` is the first.
pub(super) fn category_index(category: Category) -> usize {
    1 + Category::ALL
        .iter()
        .position(|each| *each == category)
        .unwrap_or_default()
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct FrameTable {
    length: usize,
    address: Vec<i64>,
    inline_depth: Vec<u32>,
    category: Vec<usize>,
    subcategory: Vec<u32>,
    func: Vec<usize>,
    native_symbol: Vec<Option<usize>>,
    #[serde(rename = "innerWindowID")]
    inner_window_id: Vec<u32>,
    line: Vec<Option<u32>>,
    column: Vec<Option<u32>>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct FuncTable {
    length: usize,
    name: Vec<usize>,
    #[serde(rename = "isJS")]
    is_js: Vec<bool>,
    #[serde(rename = "relevantForJS")]
    relevant_for_js: Vec<bool>,
    resource: Vec<i64>,
    file_name: Vec<Option<usize>>,
    line_number: Vec<Option<u32>>,
    column_number: Vec<Option<u32>>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct NativeSymbols {
    length: usize,
    address: Vec<u64>,
    function_size: Vec<Option<u32>>,
    lib_index: Vec<usize>,
    name: Vec<usize>,
}

#[derive(Serialize, Default)]
pub(super) struct ResourceTable {
    length: usize,
    lib: Vec<usize>,
    name: Vec<usize>,
    host: Vec<Option<usize>>,
    r#type: Vec<u32>,
}

/// The tables of one thread.
pub(super) struct Tables {
    pub(super) frames: FrameTable,
    pub(super) funcs: FuncTable,
    pub(super) symbols: NativeSymbols,
    pub(super) resources: ResourceTable,
    pub(super) strings: IndexSet<String>,
}

impl Tables {
    /// Fills the tables with the frames of a thread, in their order. `strings` is
    /// the thread's table so far; texts are added at its end.
    pub(super) fn new(
        profile: &Profile,
        frames: &IndexSet<Frame>,
        symbol_starts: &HashMap<(MappingHandle, FunctionHandle), u64>,
        strings: IndexSet<String>,
    ) -> Self {
        let mut tables = Self {
            frames: FrameTable::default(),
            funcs: FuncTable::default(),
            symbols: NativeSymbols::default(),
            resources: ResourceTable::default(),
            strings,
        };
        let mut resources = IndexSet::new();
        let mut funcs = IndexSet::new();
        let mut symbols = IndexMap::new();
        for frame in frames {
            let location = profile.location(frame.location);
            if let Some(mapping) = location.mapping
                && resources.insert(mapping)
            {
                tables.resource(profile, mapping);
            }
            let key = (frame.function, location.mapping);
            let (func, is_new) = funcs.insert_full(key);
            if is_new {
                let resource = location.mapping.and_then(|it| resources.get_index_of(&it));
                tables.func(profile, frame.function, resource);
            }
            // Inlined frames belong to the symbol that they were inlined into.
            let physical = location.lines.last().map(|line| line.function);
            let symbol = location.mapping.zip(physical).map(|key| {
                *symbols.entry(key).or_insert_with(|| {
                    let start = symbol_starts.get(&key).copied().unwrap_or(0);
                    tables.symbol(profile, key, start)
                })
            });
            tables.frame(profile, frame, func, symbol);
        }
        tables
    }

    fn string(&mut self, text: &str) -> usize {
        match self.strings.get_index_of(text) {
            Some(index) => index,
            None => self.strings.insert_full(text.to_owned()).0,
        }
    }

    fn resource(&mut self, profile: &Profile, mapping: MappingHandle) {
        const LIBRARY: u32 = 1;
        let name = self.string(&profile.mapping(mapping).name);
        let table = &mut self.resources;
        table.length += 1;
        table.lib.push(mapping.index());
        table.name.push(name);
        table.host.push(None);
        table.r#type.push(LIBRARY);
    }

    fn func(&mut self, profile: &Profile, function: FunctionHandle, resource: Option<usize>) {
        let function = profile.function(function);
        let name = self.string(&function.name);
        let file = function.file.as_ref().map(|file| self.string(file));
        let table = &mut self.funcs;
        table.length += 1;
        table.name.push(name);
        table.is_js.push(false);
        table.relevant_for_js.push(false);
        table.resource.push(resource.map_or(NONE, |it| it as i64));
        table.file_name.push(file);
        table.line_number.push(function.start_line);
        table.column_number.push(None);
    }

    fn symbol(
        &mut self,
        profile: &Profile,
        (mapping, function): (MappingHandle, FunctionHandle),
        start: u64,
    ) -> usize {
        let name = self.string(&profile.function(function).name);
        let table = &mut self.symbols;
        table.length += 1;
        table.address.push(start);
        table.function_size.push(None);
        table.lib_index.push(mapping.index());
        table.name.push(name);
        table.length - 1
    }

    fn frame(&mut self, profile: &Profile, frame: &Frame, func: usize, symbol: Option<usize>) {
        let location = profile.location(frame.location);
        let category = profile.function(frame.function).category;
        // An address means something only within a library.
        let address = location.mapping.and(location.address);
        let table = &mut self.frames;
        table.length += 1;
        table.address.push(
            address
                .and_then(|address| i64::try_from(address).ok())
                .unwrap_or(NONE),
        );
        table.inline_depth.push(frame.inline_depth);
        table.category.push(category_index(category));
        table.subcategory.push(0);
        table.func.push(func);
        table.native_symbol.push(symbol);
        table.inner_window_id.push(0);
        table.line.push(frame.line);
        table.column.push(frame.column);
    }
}

/// Finds the lowest address of each physical function that the profile knows: a
/// symbol needs an address, and the model has none for functions themselves.
pub(super) fn symbol_starts(profile: &Profile) -> HashMap<(MappingHandle, FunctionHandle), u64> {
    let mut starts = HashMap::new();
    for (_, location) in profile.locations() {
        let physical = location.lines.last().map(|line| line.function);
        if let (Some(key), Some(address)) = (location.mapping.zip(physical), location.address) {
            let start = starts.entry(key).or_insert(address);
            *start = address.min(*start);
        }
    }
    starts
}
