//! A run of host frames as one step of the walk, remembered from sample to sample.
//!
//! Between the thread's root and its guest lie some thirty host frames, the same
//! ones for as long as the guest runs. Unwinding them by tables costs a hundred
//! nanoseconds each when the tables are not in the cache. But what an unwinder
//! returns depends on nothing but the registers that it starts with, the words that
//! it reads, and the tables. So a run is remembered with every word that was read;
//! when it starts with the same registers and each of those words is what it was,
//! its outcome is what it was, exactly.
//!
//! Only for walks that leave host frames out: then nobody asks what lies between.

use std::cell::Cell;
use wasmscope_address::HostPc;
use wasmscope_walk::{Architecture, HostStep, HostUnwind, Memory, Native, Texts};

type Registers = <Native as Architecture>::Registers;

/// Words of one run that are remembered; a longer run is unwound each time.
const MOST_READS: usize = 256;

/// Runs that are remembered: guests that call the host that calls guests have more
/// than one on a stack.
const RUNS: usize = 4;

/// What one thread's handler remembers. Allocates nothing after it was made.
#[derive(Debug)]
pub(crate) struct HostRuns {
    runs: [Run; RUNS],
    next: usize,
}

/// One remembered run.
#[derive(Debug)]
struct Run {
    /// Of the code and the tables that it was unwound with; 0 when there is none.
    generation: u64,
    start: Option<Registers>,
    outcome: Option<HostStep<Native>>,
    reads: Reads,
}

/// The words that were read, with their addresses.
#[derive(Debug)]
struct Reads {
    words: Box<[Cell<(u64, u64)>]>,
    /// More than there is room for means that some are missing.
    count: Cell<usize>,
}

impl HostRuns {
    pub(crate) fn new() -> Self {
        Self {
            runs: std::array::from_fn(|_| Run {
                generation: 0,
                start: None,
                outcome: None,
                reads: Reads {
                    words: vec![Cell::new((0, 0)); MOST_READS].into(),
                    count: Cell::new(0),
                },
            }),
            next: 0,
        }
    }
}

impl Run {
    /// Returns the outcome, if unwinding from `start` would come to it again.
    fn outcome(
        &self,
        generation: u64,
        start: Registers,
        memory: &impl Memory,
    ) -> Option<HostStep<Native>> {
        if self.generation != generation || self.start != Some(start) {
            return None;
        }
        let read = self.reads.words.get(..self.reads.count.get())?;
        read.iter()
            .all(|word| {
                let (address, value) = word.get();
                memory.read(address) == Some(value)
            })
            .then_some(self.outcome)?
    }
}

/// Memory that notes what is read.
struct Noting<'a, M> {
    memory: &'a M,
    reads: &'a Reads,
}

impl<M: Memory> Memory for Noting<'_, M> {
    fn read(&self, address: u64) -> Option<u64> {
        let value = self.memory.read(address);
        let count = self.reads.count.get();
        // What cannot be read cannot be compared later.
        match (self.reads.words.get(count), value) {
            (Some(word), Some(value)) => {
                word.set((address, value));
                self.reads.count.set(count.wrapping_add(1));
            }
            _ => self.reads.count.set(usize::MAX),
        }
        value
    }
}

/// Steps over whole runs: from the first host frame to the guest that called it, or
/// to the end.
pub(crate) struct HostRun<'a, H, T> {
    pub(crate) unwinder: H,
    /// Where the guests are: a run ends there.
    pub(crate) guests: &'a T,
    pub(crate) runs: &'a mut HostRuns,
    /// Differs whenever the guests or the unwinder's tables do; never 0.
    pub(crate) generation: u64,
}

impl<H: HostUnwind<Native>, T: Texts<Native>> HostUnwind<Native> for HostRun<'_, H, T> {
    fn step(
        &mut self,
        registers: Registers,
        is_return_address: bool,
        memory: &impl Memory,
    ) -> HostStep<Native> {
        // A run that a signal interrupted is not met again.
        if !is_return_address {
            return self.unwind(registers, false, memory);
        }
        for run in &self.runs.runs {
            if let Some(outcome) = run.outcome(self.generation, registers, memory) {
                return outcome;
            }
        }
        // Takes the run out of the memory while it is written.
        let index = self.runs.next % RUNS;
        self.runs.next = self.runs.next.wrapping_add(1);
        let Some(run) = self.runs.runs.get_mut(index) else {
            return self.unwind(registers, true, memory);
        };
        run.generation = 0;
        run.reads.count.set(0);
        let noting = Noting {
            memory,
            reads: &run.reads,
        };
        let outcome = unwind(
            &mut self.unwinder,
            self.guests,
            registers,
            is_return_address,
            &noting,
        );
        if run.reads.count.get() <= MOST_READS {
            run.start = Some(registers);
            run.outcome = Some(outcome);
            run.generation = self.generation;
        }
        outcome
    }
}

impl<H: HostUnwind<Native>, T: Texts<Native>> HostRun<'_, H, T> {
    fn unwind(
        &mut self,
        registers: Registers,
        is_return_address: bool,
        memory: &impl Memory,
    ) -> HostStep<Native> {
        unwind(
            &mut self.unwinder,
            self.guests,
            registers,
            is_return_address,
            memory,
        )
    }
}

/// Unwinds to the next guest frame, or to the end.
fn unwind(
    unwinder: &mut impl HostUnwind<Native>,
    guests: &impl Texts<Native>,
    mut registers: Registers,
    mut is_return_address: bool,
    memory: &impl Memory,
) -> HostStep<Native> {
    loop {
        let step = unwinder.step(registers, is_return_address, memory);
        let HostStep::Caller {
            registers: caller,
            is_return_address: returns,
        } = step
        else {
            return step;
        };
        let pc = Native::pc(&caller).0;
        let call = HostPc(if returns { pc.wrapping_sub(1) } else { pc });
        if guests.find(call).is_some() {
            return step;
        }
        registers = caller;
        is_return_address = returns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CodeMap;
    use wasmscope_walk::{Cut, Words};

    /// Host frames of two words, the return address above; `0` is the root. Counts
    /// its steps.
    struct Chain<'a>(&'a Cell<u32>);

    impl HostUnwind<Native> for Chain<'_> {
        fn step(&mut self, from: Registers, _: bool, memory: &impl Memory) -> HostStep<Native> {
            self.0.set(self.0.get() + 1);
            match memory.read(from.sp + 8) {
                None => HostStep::Cut(Cut::Memory),
                Some(0) => HostStep::Root,
                Some(pc) => HostStep::Caller {
                    registers: Registers {
                        pc: HostPc(pc),
                        sp: from.sp + 16,
                        ..from
                    },
                    is_return_address: true,
                },
            }
        }
    }

    fn steps_and_outcome(
        runs: &mut HostRuns,
        words: &[u64],
        generation: u64,
    ) -> (u32, HostStep<Native>) {
        let memory = Words {
            start: 0x1000,
            words,
        };
        let steps = Cell::new(0);
        let start = Registers {
            pc: HostPc(0x77),
            sp: 0x1000,
            fp: 0,
        };
        let guests = CodeMap::default();
        let outcome = HostRun {
            unwinder: Chain(&steps),
            guests: &guests,
            runs,
            generation,
        }
        .step(start, true, &memory);
        (steps.get(), outcome)
    }

    #[test]
    fn a_run_is_unwound_once() {
        let mut runs = HostRuns::new();
        let words = [0, 0x10, 0, 0x20, 0, 0];
        assert_eq!(steps_and_outcome(&mut runs, &words, 1), (3, HostStep::Root));
        assert_eq!(steps_and_outcome(&mut runs, &words, 1), (0, HostStep::Root));
    }

    #[test]
    fn any_word_that_was_read_and_changed_is_noticed() {
        for changed in [1, 3, 5] {
            let mut runs = HostRuns::new();
            let mut words = [0, 0x10, 0, 0x20, 0, 0];
            steps_and_outcome(&mut runs, &words, 1);
            words[changed] += 0x30;
            assert_ne!(steps_and_outcome(&mut runs, &words, 1).0, 0, "{changed}");
        }
        // Words that no unwinder read do not matter.
        let mut runs = HostRuns::new();
        steps_and_outcome(&mut runs, &[0, 0x10, 0, 0], 1);
        assert_eq!(steps_and_outcome(&mut runs, &[9, 0x10, 9, 0], 1).0, 0);
    }

    #[test]
    fn other_code_or_tables_are_noticed() {
        let mut runs = HostRuns::new();
        steps_and_outcome(&mut runs, &[0, 0x10, 0, 0], 1);
        assert_eq!(steps_and_outcome(&mut runs, &[0, 0x10, 0, 0], 2).0, 2);
    }

    #[test]
    fn a_run_too_long_or_cut_is_not_remembered() {
        let mut runs = HostRuns::new();
        let mut long = vec![1; 2 * (MOST_READS + 2)];
        long.extend([0, 0]);
        for words in [&long[..], &[0, 0x10][..]] {
            let first = steps_and_outcome(&mut runs, words, 1);
            assert_eq!(steps_and_outcome(&mut runs, words, 1), first);
        }
    }
}
