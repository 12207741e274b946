//! Numbers for threads, in the order in which a trace first sees them.

use std::collections::HashMap;
use std::thread::{self, ThreadId};

/// The threads that were seen.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    numbers: HashMap<ThreadId, u32>,
    /// Most events happen where the one before did.
    last: Option<(ThreadId, u32)>,
}

impl Threads {
    /// Returns this thread's number; they begin with 1.
    pub(crate) fn current(&mut self) -> u32 {
        let id = thread::current().id();
        if let Some((last, number)) = self.last
            && last == id
        {
            return number;
        }
        let next = u32::try_from(self.numbers.len()).map_or(u32::MAX, |count| count + 1);
        let number = *self.numbers.entry(id).or_insert(next);
        self.last = Some((id, number));
        number
    }
}
