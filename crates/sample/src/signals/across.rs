//! A walk that goes on where one stack was resumed by another.

use super::stack_memory::{MappingQuery, StackMemory};
use crate::CodeMap;
use wasmscope_walk::host::{HostCache, HostObjects, HostUnwinder};
use wasmscope_walk::x86_64::Registers;
use wasmscope_walk::{Cut, End, HostStep, HostUnwind, Memory, Visit, X86_64};

/// More stacks than resume each other anywhere: a chain that is damaged may be a ring.
const MOST_STACKS: usize = 4096;

/// Notes the frame that a step was last asked about.
struct Noting<'a> {
    host: HostUnwinder<'a>,
    last: Option<Registers>,
}

impl HostUnwind<X86_64> for Noting<'_> {
    fn step(
        &mut self,
        registers: Registers,
        is_return_address: bool,
        memory: &impl Memory,
    ) -> HostStep<X86_64> {
        self.last = Some(registers);
        self.host.step(registers, is_return_address, memory)
    }
}

/// Walks from where a thread was interrupted, in `memory`, over fibers and continuations, to
/// the thread's root.
///
/// # Signal safety
///
/// As [`wasmscope_walk::walk`]; one system call for each further stack.
pub(super) fn walk_across(
    registers: Registers,
    memory: StackMemory<'_>,
    code: &CodeMap,
    objects: &HostObjects,
    cache: &mut HostCache,
    query: &MappingQuery,
    visit: &mut impl Visit,
) -> End {
    let (mut registers, mut memory) = (registers, memory);
    let mut is_return_address = false;
    for _ in 0..MOST_STACKS {
        let mut host = Noting {
            host: HostUnwinder::new(objects, cache),
            last: None,
        };
        let end = wasmscope_walk::walk_from::<X86_64>(
            registers,
            is_return_address,
            &memory,
            code,
            &mut host,
            visit,
        );
        let End::Fiber = end else { return end };
        let switch = host.last.and_then(|last| host.host.switch(&last, &memory));
        let Some(switch) = switch else {
            return End::Cut(Cut::UnknownCode);
        };
        memory = StackMemory::at(switch.sp(), super::stack_memory::StackBounds::NONE, query);
        registers = match switch.registers(&memory) {
            Some(registers) => registers,
            None => return End::Cut(Cut::Memory),
        };
        is_return_address = true;
    }
    End::Cut(Cut::Order)
}
