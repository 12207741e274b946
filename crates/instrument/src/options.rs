//! How a module is rewritten, whatever its functions are.

use crate::events::Events;

/// How a module is rewritten.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// What is appended to the name of each hook and of each export that is added.
    pub suffix: String,
    /// A number by which a host knows the module: the value of the global
    /// [`key_export`](crate::hooks::key_export).
    pub key: u64,
    /// Whether probes keep [`events`](crate::events) in the guest, and how many; else each
    /// calls its host with the values of the call.
    pub events: Option<Events>,
    /// Whether probes hear of exceptions that pass through their function.
    pub exceptions: Exceptions,
    /// Whether probes can be turned off and on while guests run.
    pub switches: bool,
    /// Whether all memories and globals are exported under names of ours too, for hosts
    /// that read them.
    pub expose: bool,
    /// Whether the values of globals can be had with each event in components too, where
    /// [`expose`](Self::expose) alone shows memories: see
    /// [`component::shown`](crate::component::shown).
    pub show_globals: bool,
    /// Whether the exports of functions that the module defines are entered by way of the
    /// host's [`Guard`](crate::hooks::Hook::Guard), which then sees how each call ends. The
    /// functions themselves stay what tables, references and the start refer to. A module
    /// where no function has a probe has no guards either.
    pub guarded: bool,
    /// What becomes of the debug information.
    pub dwarf: Dwarf,
}

/// Whether probes hear of exceptions that pass through their function.
///
/// It needs an engine that has the exceptions proposal turned on, and it costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Exceptions {
    /// In modules that have a tag, or an operator that throws or catches.
    #[default]
    Auto,
    /// Never.
    Never,
    /// Always.
    Always,
}

/// What becomes of the debug information.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Dwarf {
    /// It is left out: whoever has the [`Map`](crate::Map) asks the original.
    #[default]
    Strip,
    /// It follows the code, as [`dwarf`](crate::dwarf) tells, behind all other sections.
    Rewrite,
}
