//! The engine's names of tasks as listeners have them, who know no engine.

use std::hash::{Hash, Hasher};
use wasmscope_listen::TaskId;
use wasmtime::component::GuestTaskId;

/// Returns what [`Call::task`](wasmscope_listen::Call::task) calls a task of the store.
#[must_use]
pub fn task_id(task: GuestTaskId) -> TaskId {
    let mut number = Number(0);
    task.hash(&mut number);
    TaskId(number.finish())
}

/// The number in the engine's name, which shows it to hashers only. As long as it is of at
/// most eight bytes, no two are the same.
struct Number(u64);

impl Hasher for Number {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = self.0.rotate_left(32) ^ u64::from(number);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
