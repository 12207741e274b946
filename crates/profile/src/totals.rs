//! Sums over a profile: per function, per category, altogether.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use crate::category::Category;
use crate::function::FunctionHandle;
use crate::profile::Profile;

/// A number of samples and the time that they stand for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Total {
    /// The time, of the sampled clock.
    pub weight: Duration,
    /// The number of samples.
    pub count: u64,
}

impl AddAssign for Total {
    fn add_assign(&mut self, other: Self) {
        self.weight = self.weight.saturating_add(other.weight);
        self.count = self.count.saturating_add(other.count);
    }
}

/// What one function took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FunctionTotals {
    /// The function.
    pub function: FunctionHandle,
    /// Samples with the function newest: the time in its own code.
    pub own: Total,
    /// Samples with the function anywhere on the stack, each once however often
    /// it is there: its own time and that of what it called.
    pub total: Total,
}

impl Profile {
    /// Adds up all samples.
    #[must_use]
    pub fn total(&self) -> Total {
        let mut sum = Total::default();
        for sample in self.samples() {
            sum += Total {
                weight: sample.weight,
                count: sample.count,
            };
        }
        sum
    }

    /// Returns the `n` functions with the most own time, the most first. Inlined
    /// functions count as functions. Equal ones are in the order of their names.
    #[must_use]
    pub fn hottest(&self, n: usize) -> Vec<FunctionTotals> {
        let mut totals = self.function_totals();
        totals.sort_by(|a, b| {
            let name = |totals: &FunctionTotals| &self.function(totals.function).name;
            (b.own, b.total)
                .cmp(&(a.own, a.total))
                .then_with(|| name(a).cmp(name(b)))
                .then_with(|| a.function.cmp(&b.function))
        });
        totals.truncate(n);
        totals
    }

    /// Adds up each function that is on the stack of a sample, in the order of
    /// the functions' table.
    #[must_use]
    pub fn function_totals(&self) -> Vec<FunctionTotals> {
        let per_stack = self.stack_totals();
        let mut sums = vec![(Total::default(), Total::default()); self.functions().len()];
        // The last stack that each function was counted for, so that recursion
        // counts once.
        let mut counted_for = vec![None; sums.len()];
        for (stack, _) in self.stacks() {
            let own = per_stack[stack.index()];
            if own == Total::default() {
                continue;
            }
            for (depth, frame) in self.stack_frames(stack).enumerate() {
                let function = frame.function.index();
                if depth == 0 {
                    sums[function].0 += own;
                }
                if counted_for[function] != Some(stack) {
                    counted_for[function] = Some(stack);
                    sums[function].1 += own;
                }
            }
        }
        sums.into_iter()
            .enumerate()
            .filter(|(_, (_, total))| *total != Total::default())
            .map(|(index, (own, total))| FunctionTotals {
                function: FunctionHandle::from_index(index),
                own,
                total,
            })
            .collect()
    }

    /// Adds up the samples by the category of their newest frame. Samples without
    /// a stack are [`Category::Lost`].
    #[must_use]
    pub fn category_totals(&self) -> BTreeMap<Category, Total> {
        let mut sums = BTreeMap::new();
        for sample in self.samples() {
            let category = sample
                .stack
                .and_then(|stack| self.stack_frames(stack).next())
                .map_or(Category::Lost, |frame| {
                    self.function(frame.function).category
                });
            *sums.entry(category).or_insert_with(Total::default) += Total {
                weight: sample.weight,
                count: sample.count,
            };
        }
        sums
    }

    /// Adds up the samples that have exactly each stack, by the stack's index.
    pub(crate) fn stack_totals(&self) -> Vec<Total> {
        let mut sums = vec![Total::default(); self.stacks().len()];
        for sample in self.samples() {
            if let Some(stack) = sample.stack {
                sums[stack.index()] += Total {
                    weight: sample.weight,
                    count: sample.count,
                };
            }
        }
        sums
    }
}
