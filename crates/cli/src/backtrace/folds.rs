//! Folds long recursions, of one function or of a few that call each other.

use std::collections::HashMap;
use std::hash::Hash;

/// A part of a stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// The frame at this position.
    Frame(usize),
    /// So many frames, of so many functions that stand before them too.
    Folded { frames: usize, functions: usize },
}

/// The most functions that are taken for one recursion.
const MOST_FUNCTIONS: usize = 8;
/// A recursion is as many frames for each of its functions.
const FRAMES_EACH: usize = 10;
/// How often each of its functions is in it, at the least: what only leads there is not of it.
const OFTEN: usize = 3;
/// How many of them are shown first, at the least.
const SHOWN_FIRST: usize = 3;
/// How many of them are shown last.
const SHOWN_LAST: usize = 1;

/// Folds a stack, of which each frame's function is given.
pub(super) fn fold<F: Eq + Hash>(functions: &[F]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(rest) = functions.get(at..).filter(|rest| !rest.is_empty()) {
        let Some((frames, functions)) = recursion(rest) else {
            parts.push(Part::Frame(at));
            at += 1;
            continue;
        };
        let first = functions.max(SHOWN_FIRST);
        parts.extend((at..at + first).map(Part::Frame));
        parts.push(Part::Folded {
            frames: frames - first - SHOWN_LAST,
            functions,
        });
        let end = at + frames;
        parts.extend((end - SHOWN_LAST..end).map(Part::Frame));
        at = end;
    }
    parts
}

/// Returns how long the recursion is that a stack begins with, and of how many functions.
fn recursion<F: Eq + Hash>(stack: &[F]) -> Option<(usize, usize)> {
    let mut counts: HashMap<&F, usize> = HashMap::new();
    let is_recursion = |len: usize, counts: &HashMap<&F, usize>| {
        len >= counts.len().max(1) * FRAMES_EACH && counts.values().all(|count| *count >= OFTEN)
    };
    for (len, function) in stack.iter().enumerate() {
        if let Some(count) = counts.get_mut(function) {
            *count += 1;
            continue;
        }
        if is_recursion(len, &counts) {
            return Some((len, counts.len()));
        }
        if counts.len() == MOST_FUNCTIONS {
            return None;
        }
        counts.insert(function, 1);
    }
    is_recursion(stack.len(), &counts).then_some((stack.len(), counts.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Folds letters, and writes what becomes of them.
    fn folded(stack: &str) -> String {
        let letters: Vec<char> = stack.chars().collect();
        let parts = fold(&letters);
        let counted = parts.iter().map(|part| match part {
            Part::Frame(_) => 1,
            Part::Folded { frames, .. } => *frames,
        });
        assert_eq!(counted.sum::<usize>(), letters.len());
        let written = parts.into_iter().map(|part| match part {
            Part::Frame(at) => letters[at].to_string(),
            Part::Folded { frames, functions } => format!("[{frames}x{functions}]"),
        });
        written.collect()
    }

    #[test]
    fn stacks_without_recursion_stay() {
        for stack in ["", "a", "abc", "abcdefghijklmnop", "aaaaaaaaa", "abababab"] {
            assert_eq!(folded(stack), stack);
        }
    }

    #[test]
    fn one_function() {
        assert_eq!(folded(&"a".repeat(10)), "aaa[6x1]a");
        let stack = format!("xy{}z", "a".repeat(100_000));
        assert_eq!(folded(&stack), "xyaaa[99996x1]az");
    }

    #[test]
    fn functions_that_call_each_other_in_any_order() {
        assert_eq!(folded(&format!("x{}y", "ab".repeat(20))), "xaba[36x2]by");
        assert_eq!(folded(&"aabbab".repeat(10)), "aab[56x2]b");
        let many = "abcdefgh".repeat(100);
        assert_eq!(folded(&many), "abcdefgh[791x8]h");
        let more = "abcdefghi".repeat(100);
        assert_eq!(folded(&more), more);
    }

    #[test]
    fn one_recursion_in_another() {
        let stack = format!("{}{}", "a".repeat(50), "bc".repeat(50));
        assert_eq!(folded(&stack), "aaa[46x1]abcb[96x2]c");
    }
}
