//! The table of a module of hooks: what shows an instance puts itself there.

use wasm_encoder::{RefType, TableType};

/// The slot of what shows memories.
pub(super) const MEMORIES: i32 = 0;
/// The slot of what shows globals.
pub(super) const GLOBALS: i32 = 1;
const COUNT: u64 = 2;

/// The type of the table.
pub(super) const TABLE_TYPE: TableType = TableType {
    element_type: RefType::FUNCREF,
    table64: false,
    minimum: COUNT,
    maximum: Some(COUNT),
    shared: false,
};
