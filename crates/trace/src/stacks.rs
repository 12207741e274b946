//! Numbers for execution stacks.
//!
//! Calls nest within one execution stack: a thread's, or a fiber's that others
//! interleave with. A number is taken by the outermost traced call of a stack and free
//! when that closes, so numbers stay small, and most traces have only number 1.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The numbers in use.
#[derive(Debug, Default)]
pub(crate) struct Stacks {
    /// Numbers that were used and are free.
    free: BinaryHeap<Reverse<u32>>,
    /// How many numbers there ever were.
    count: u32,
}

impl Stacks {
    /// Returns the smallest free number; they begin with 1.
    pub(crate) fn take(&mut self) -> u32 {
        if let Some(Reverse(number)) = self.free.pop() {
            return number;
        }
        self.count += 1;
        self.count
    }

    /// Frees a number.
    pub(crate) fn give_back(&mut self, number: u32) {
        self.free.push(Reverse(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_free_number_is_next() {
        let mut stacks = Stacks::default();
        assert_eq!([stacks.take(), stacks.take(), stacks.take()], [1, 2, 3]);
        stacks.give_back(3);
        stacks.give_back(1);
        assert_eq!([stacks.take(), stacks.take(), stacks.take()], [1, 3, 4]);
    }
}
