//! What is remembered of host frames is what their tables say: on a real stack, on the same
//! stack at another place, with each of its words damaged, and with memory that fails
//! anywhere.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![expect(unsafe_code, reason = "asks the kernel for words of memory")]

use std::cell::Cell;
use std::ops::ControlFlow;
use wasmscope_address::{HostPc, TextRange};
use wasmscope_walk::host::{HostCache, HostMemo, HostObjects, HostUnwinder, MemoUnwinder, here};
use wasmscope_walk::x86_64::Registers;
use wasmscope_walk::{
    Cut, End, Frame, FrameKind, Memory, MemoryFn, Text, Windows, Words, X86_64, walk,
};
use wasmtime::{Caller, Engine, Linker, Module, Store};

const GUEST: &str = r#"(module
    (import "host" "look" (func $look (param i32)))
    (func $down (param i32 i32)
        (if (i32.eqz (local.get 0))
            (then (call $look (local.get 1)))
            (else (call $down (i32.sub (local.get 0) (i32.const 1)) (local.get 1)))))
    (func (export "run") (param i32 i32) (call $down (local.get 0) (local.get 1))))"#;

/// A stack, from some registers to where it ends.
#[derive(Clone)]
struct Stack {
    registers: Registers,
    start: u64,
    words: Vec<u64>,
}

impl Stack {
    /// Copies the calling thread's stack.
    #[inline(never)]
    fn copy() -> Self {
        let registers = here();
        // More than these stacks have, and less than would reach the program's code.
        let words = (0..8_192_u64).map_while(|at| read(registers.sp + at * 8));
        let words = words.collect();
        Self {
            registers,
            start: registers.sp,
            words,
        }
    }

    fn memory(&self) -> Words<'_> {
        Words {
            start: self.start,
            words: &self.words,
        }
    }

    /// Returns the same stack as it would be elsewhere.
    fn moved(&self, by: u64) -> Self {
        let end = self.start + self.words.len() as u64 * 8;
        let elsewhere = |word: u64| match (self.start..end).contains(&word) {
            true => word + by,
            false => word,
        };
        Self {
            registers: Registers {
                sp: self.registers.sp + by,
                fp: elsewhere(self.registers.fp),
                ..self.registers
            },
            start: self.start + by,
            words: self.words.iter().map(|word| elsewhere(*word)).collect(),
        }
    }
}

/// Reads this process's memory by asking the kernel, which cannot fault.
fn read(address: u64) -> Option<u64> {
    let mut word = 0u64;
    let local = libc::iovec {
        iov_base: (&raw mut word).cast(),
        iov_len: 8,
    };
    let remote = libc::iovec {
        iov_base: address as *mut _,
        iov_len: 8,
    };
    // SAFETY: the local side is a live word; the kernel checks the other.
    let read = unsafe {
        libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0)
    };
    (read == 8).then_some(word)
}

/// What a walk saw: whose code, where.
type Seen = (Vec<(FrameKind, u64)>, End);

fn guests((frames, end): &Seen) -> Seen {
    let guests = frames.iter().filter(|(kind, _)| *kind == FrameKind::Guest);
    (guests.copied().collect(), *end)
}

struct Walks {
    objects: HostObjects,
    windows: Windows<X86_64>,
    range: TextRange,
}

impl Walks {
    fn of(module: &Module) -> Self {
        let text = module.text();
        let functions = module
            .functions()
            .map(|function| function.offset as u32..(function.offset + function.len) as u32);
        Self {
            objects: HostObjects::load(),
            windows: Windows::<X86_64>::classify(text, functions),
            range: TextRange::new(HostPc(text.as_ptr() as u64), text.len() as u32)
                .expect("does not wrap"),
        }
    }

    fn text(&self) -> Text<'_, X86_64> {
        Text {
            range: self.range,
            windows: &self.windows,
        }
    }

    /// By the tables.
    fn plain(&self, registers: Registers, memory: &impl Memory) -> Seen {
        let mut cache = HostCache::new();
        let mut host = HostUnwinder::new(&self.objects, &mut cache);
        let mut frames = Vec::new();
        let end = walk::<X86_64>(registers, memory, &self.text(), &mut host, |frame| {
            note(&mut frames, frame)
        });
        (frames, end)
    }

    /// By what is remembered.
    fn remembered(
        &self,
        memo: &mut HostMemo,
        leaps: bool,
        registers: Registers,
        memory: &impl Memory,
    ) -> Seen {
        let mut cache = HostCache::new();
        let host = HostUnwinder::new(&self.objects, &mut cache);
        let text = self.text();
        let mut host = MemoUnwinder::new(host, memo, &text, leaps);
        let mut frames = Vec::new();
        let end = walk::<X86_64>(registers, memory, &text, &mut host, |frame| {
            note(&mut frames, frame)
        });
        (frames, end)
    }
}

fn note(frames: &mut Vec<(FrameKind, u64)>, frame: Frame) -> ControlFlow<()> {
    frames.push((frame.kind, frame.pc.0));
    ControlFlow::Continue(())
}

/// Copies stacks on which a guest is entered twice, at several depths.
fn stacks() -> (Walks, Vec<Stack>) {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).expect("compiles");
    let mut linker = Linker::<Vec<Stack>>::new(&engine);
    let look = |mut caller: Caller<'_, Vec<Stack>>, depth: i32| -> wasmtime::Result<()> {
        if depth == 0 {
            let stack = Stack::copy();
            caller.data_mut().push(stack);
            return Ok(());
        }
        let run = caller
            .get_export("run")
            .and_then(wasmtime::Extern::into_func);
        let run = run.expect("an export").typed::<(i32, i32), ()>(&caller)?;
        run.call(&mut caller, (depth, 0))
    };
    linker.func_wrap("host", "look", look).expect("a new name");
    let mut store = Store::new(&engine, Vec::new());
    let instance = linker
        .instantiate(&mut store, &module)
        .expect("instantiates");
    let run = instance
        .get_typed_func::<(i32, i32), ()>(&mut store, "run")
        .expect("an export");
    for (depth, again) in [(0, 1), (3, 2), (40, 60)] {
        run.call(&mut store, (depth, again)).expect("runs");
    }
    (Walks::of(&module), store.into_data())
}

#[test]
fn a_remembered_walk_is_the_plain_one() {
    let (walks, stacks) = stacks();
    let (mut each, mut leaps) = (HostMemo::new(), HostMemo::new());
    assert_eq!(stacks.len(), 3);
    for stack in &stacks {
        let plain = walks.plain(stack.registers, &stack.memory());
        assert_eq!(plain.1, End::Root);
        assert!(guests(&plain).0.len() >= 8, "{plain:?}");
        for by in [0, 0, 1 << 20, 48] {
            let moved = stack.moved(by);
            let memory = moved.memory();
            let kept = walks.remembered(&mut each, false, moved.registers, &memory);
            assert_eq!(kept, plain);
            let leapt = walks.remembered(&mut leaps, true, moved.registers, &memory);
            assert_eq!(guests(&leapt), guests(&plain));
            assert!(leapt.0.len() < plain.0.len());
        }
    }
}

#[test]
fn damage_is_noticed_wherever_it_is() {
    let (walks, stacks) = stacks();
    let stack = &stacks[1];
    let (mut each, mut leaps) = (HostMemo::new(), HostMemo::new());
    let whole = walks.plain(stack.registers, &stack.memory());
    let mut changed = 0;
    let end = stack.words.len().min(2_500);
    for at in 0..end {
        let near = stack.start + at as u64 * 8;
        for value in [
            0,
            stack.words[at].wrapping_add(8),
            near + 64,
            stack.words[(at + 7) % end],
        ] {
            // What is remembered is of the stack as it was.
            let _ = walks.remembered(&mut leaps, true, stack.registers, &stack.memory());
            let mut damaged = stack.clone();
            damaged.words[at] = value;
            let memory = damaged.memory();
            let plain = walks.plain(stack.registers, &memory);
            changed += usize::from(plain != whole);
            let kept = walks.remembered(&mut each, false, stack.registers, &memory);
            assert_eq!(kept, plain, "word {at} is {value:#x}");
            let leapt = walks.remembered(&mut leaps, true, stack.registers, &memory);
            assert_eq!(guests(&leapt), guests(&plain), "word {at} is {value:#x}");
        }
    }
    assert!(changed > 100, "{changed} of the damages matter");
}

#[test]
fn memory_that_fails_cuts_the_stack_and_no_more() {
    let (walks, stacks) = stacks();
    let stack = &stacks[2];
    let whole = walks.plain(stack.registers, &stack.memory());
    let mut memo = HostMemo::new();
    for leaps in [false, true] {
        for remembers in [false, true] {
            for allowed in 0_usize.. {
                if !remembers {
                    memo = HostMemo::new();
                }
                let left = Cell::new(allowed);
                let memory = MemoryFn(|address| {
                    left.set(left.get().checked_sub(1)?);
                    stack.memory().read(address)
                });
                // Once it has failed it goes on failing.
                let (frames, end) = walks.remembered(&mut memo, leaps, stack.registers, &memory);
                let seen = guests(&(frames, end)).0;
                assert!(guests(&whole).0.starts_with(&seen));
                if end == End::Root {
                    assert_eq!(seen, guests(&whole).0);
                    assert!(allowed > 100, "{allowed} reads");
                    break;
                }
                assert_eq!(end, End::Cut(Cut::Memory), "{allowed} reads");
            }
        }
    }
}
