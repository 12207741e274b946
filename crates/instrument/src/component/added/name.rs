//! The names that the modules that are added import each other's exports by.

/// The instance of the module of events.
pub(in crate::component) const EVENTS: &str = "events";
/// The lowered functions of the host.
pub(in crate::component) const HOST: &str = "host";
/// The instance of a module of hooks.
pub(in crate::component) const HOOKS: &str = "hooks";
/// The functions that others stand in front of.
pub(in crate::component) const INNER: &str = "inner";
/// The instance whose globals are shown.
pub(in crate::component) const GUEST: &str = "guest";
pub(in crate::component) const MEMORY: &str = "memory";
pub(in crate::component) const NEXT: &str = "next";
pub(in crate::component) const LOOK: &str = "look";
pub(in crate::component) const SHARE: &str = "share";
pub(in crate::component) const NUMBER: &str = "number";
pub(in crate::component) const FUNCTION: &str = "function";

/// Returns the name of the `n`th memory that is shown, or of what shows it.
pub(in crate::component) fn nth(name: &str, n: usize) -> String {
    format!("{name}{n}")
}
