//! Which of a store's tasks an event is of.

use std::fmt;

/// Tells the tasks of one store apart: those that components run at the same time, and each
/// call of a component by another.
///
/// A number is used again once its task is over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({})", self.0)
    }
}
