//! Listeners on the calls within components: what they hear, in which order, exactly once.

mod bindings;
mod chosen;
mod closes;
mod compiled;
mod composed;
mod deferred;
mod engines;
mod events;
mod labels;
mod ledger;
mod memory;
mod real;
mod refused;
mod returns;
mod stacks;
mod strings;
mod switches;
mod task_labels;
mod tasks;
