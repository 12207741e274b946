//! Checks the windows of aarch64 text at every instruction, on any machine.
//!
//! The text was compiled once, by `tests/aarch64/generate`. Here each function is
//! executed as far as frames are concerned, along all its paths: what happens to
//! `sp`, `fp` and `lr` and to the words that are stored from and loaded into them.
//! Before each instruction the walk must find the caller that the function was
//! entered from, and its frame pointer.
#![expect(clippy::print_stdout, reason = "a reader wants to see the counts")]

use std::collections::{BTreeMap, HashMap};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use wasmscope_address::{HostPc, TextOffset, TextRange};
use wasmscope_walk::{Aarch64, End, MemoryFn, NoHost, Text, Window, Windows, aarch64, walk};

const START: u64 = 0x4000_0000;
const RETURN: u64 = 0x7f00_1230;
const CALLER_FP: u64 = 0x7ff0_0000;
const ENTRY_SP: u64 = 0x7fe0_0000;
/// What a signed return address has in its upper bits here.
const SIGNATURE: u64 = 0x1b << 56;
const GARBAGE: u64 = 0xdead_beef;

struct Fixture {
    name: String,
    text: Vec<u8>,
    functions: Vec<Range<u32>>,
    trampolines: Vec<Range<u32>>,
}

fn fixtures() -> Vec<Fixture> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/aarch64");
    let mut fixtures: Vec<Fixture> = std::fs::read_dir(folder)
        .expect("the folder of fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "hex"))
        .map(|path| {
            let mut fixture = Fixture {
                name: path.file_stem().expect("a name").to_string_lossy().into(),
                text: Vec::new(),
                functions: Vec::new(),
                trampolines: Vec::new(),
            };
            for line in std::fs::read_to_string(&path).expect("a fixture").lines() {
                let words: Vec<&str> = line.split(' ').collect();
                let hex = |word: &str| u32::from_str_radix(word, 16).expect("hexadecimal");
                match words[0] {
                    "function" => fixture.functions.push(hex(words[1])..hex(words[2])),
                    "trampoline" => fixture.trampolines.push(hex(words[1])..hex(words[2])),
                    _ => fixture
                        .text
                        .extend(words.iter().flat_map(|word| hex(word).to_be_bytes())),
                }
            }
            fixture
        })
        .collect();
    fixtures.sort_by(|a, b| a.name.cmp(&b.name));
    fixtures
}

/// What matters of a machine's state.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Machine {
    sp: u64,
    fp: u64,
    lr: u64,
    /// `x16` and `x28`, which hold amounts and Winch's own stack pointer.
    x16: u64,
    x28: u64,
    memory: BTreeMap<u64, u64>,
}

enum Next {
    Falls,
    Jumps(u32),
    Branches(u32),
    Computed,
    Ends,
}

impl Machine {
    fn read(&self, register: u32) -> u64 {
        match register {
            16 => self.x16,
            28 => self.x28,
            29 => self.fp,
            30 => self.lr,
            31 => self.sp,
            _ => GARBAGE,
        }
    }

    fn write(&mut self, register: u32, value: u64) {
        match register {
            16 => self.x16 = value,
            28 => self.x28 = value,
            29 => self.fp = value,
            30 => self.lr = value,
            31 => self.sp = value,
            _ => {}
        }
    }

    fn load(&self, address: u64) -> u64 {
        self.memory.get(&address).copied().unwrap_or(GARBAGE)
    }

    fn execute(&mut self, word: u32, at: u32, following: u32) -> Next {
        let (rd, rn, rt2) = (word & 31, (word >> 5) & 31, (word >> 10) & 31);
        let signed =
            |value: u32, bits: u32| i64::from((value << (32 - bits)) as i32 >> (32 - bits));
        let imm7 = signed((word >> 15) & 0x7f, 7) * 8;
        let imm9 = signed((word >> 12) & 0x1ff, 9);
        let imm12 = u64::from((word >> 10) & 0xfff);
        let base = self.read(rn);
        match word {
            // add and subtract, immediate; only where stack registers take part.
            _ if word & 0x7f80_0000 == 0x1100_0000 || word & 0x7f80_0000 == 0x5100_0000 => {
                let amount = imm12 << if word & (1 << 22) == 0 { 0 } else { 12 };
                let value = match word & 0x4000_0000 {
                    0 => base.wrapping_add(amount),
                    _ => base.wrapping_sub(amount),
                };
                self.write(rd, value);
            }
            // add and subtract, extended register.
            _ if word & 0xffe0_0000 == 0x8b20_0000 => {
                self.write(rd, base.wrapping_add(self.read((word >> 16) & 31)));
            }
            _ if word & 0xffe0_0000 == 0xcb20_0000 => {
                self.write(rd, base.wrapping_sub(self.read((word >> 16) & 31)));
            }
            // orr, shifted register, as a move; movz.
            _ if word & 0xffe0_ffe0 == 0xaa00_03e0 => {
                let from = (word >> 16) & 31;
                self.write(rd, if from == 31 { 0 } else { self.read(from) });
            }
            _ if word & 0xff80_0000 == 0xd280_0000 => {
                let amount = u64::from((word >> 5) & 0xffff) << (16 * ((word >> 21) & 3));
                self.write(rd, amount);
            }
            // stp and ldp of eight-byte registers: after, before, at an offset.
            _ if word & 0xfe00_0000 == 0xa800_0000 => {
                let moved = base.wrapping_add_signed(imm7);
                let mode = (word >> 23) & 3;
                let address = if mode == 1 { base } else { moved };
                if word & (1 << 22) == 0 {
                    self.memory.insert(address, self.read(rd));
                    self.memory.insert(address + 8, self.read(rt2));
                } else {
                    self.write(rd, self.load(address));
                    self.write(rt2, self.load(address + 8));
                }
                if mode & 1 == 1 {
                    self.write(rn, moved);
                }
            }
            // str and ldr with a nine-bit offset; with a twelve-bit one.
            _ if word & 0xffa0_0000 == 0xf800_0000 && word & 0xc00 != 0x800 => {
                let moved = base.wrapping_add_signed(imm9);
                let address = if word & 0xc00 == 0x400 { base } else { moved };
                if word & (1 << 22) == 0 {
                    self.memory.insert(address, self.read(rd));
                } else {
                    self.write(rd, self.load(address));
                }
                if word & 0x400 != 0 {
                    self.write(rn, moved);
                }
            }
            _ if word & 0xff80_0000 == 0xf900_0000 => {
                let address = base.wrapping_add(imm12 * 8);
                if word & (1 << 22) == 0 {
                    self.memory.insert(address, self.read(rd));
                } else {
                    self.write(rd, self.load(address));
                }
            }
            // paciaz, paciasp; autiaz, autiasp.
            0xd503_231f | 0xd503_233f => self.lr |= SIGNATURE,
            0xd503_239f | 0xd503_23bf => self.lr &= !SIGNATURE,
            // ret, retaa; brk and udf.
            0xd65f_03c0 | 0xd65f_0bff => return Next::Ends,
            _ if word & 0xffe0_001f == 0xd420_0000 || word >> 16 == 0 => return Next::Ends,
            // b; bl, blr.
            _ if word & 0xfc00_0000 == 0x1400_0000 => {
                return Next::Jumps(
                    at.wrapping_add_signed(signed(word & 0x3ff_ffff, 26) as i32 * 4),
                );
            }
            _ if word & 0xfc00_0000 == 0x9400_0000 || word & 0xffff_fc1f == 0xd63f_0000 => {
                self.lr = START + u64::from(at) + 4;
                // A callee that pops its arguments: the caller takes the room back.
                if following & 0xff80_03ff == 0xd100_03ff {
                    self.sp += u64::from((following >> 10) & 0xfff);
                }
            }
            _ if word & 0xffff_fc1f == 0xd61f_0000 => return Next::Computed,
            // b.cond, cbz, cbnz; tbz, tbnz.
            _ if word & 0xff00_0010 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000 => {
                let offset = signed((word >> 5) & 0x7_ffff, 19) as i32 * 4;
                return Next::Branches(at.wrapping_add_signed(offset));
            }
            _ if word & 0x7e00_0000 == 0x3600_0000 => {
                let offset = signed((word >> 5) & 0x3fff, 14) as i32 * 4;
                return Next::Branches(at.wrapping_add_signed(offset));
            }
            _ => {}
        }
        Next::Falls
    }
}

#[derive(Default, Debug)]
struct Counts {
    instructions: usize,
    wrong: usize,
    in_windows: usize,
    ends: usize,
}

/// Executes one function along all its paths.
fn execute(fixture: &Fixture, function: &Range<u32>, windows: &[Window<Aarch64>]) -> Counts {
    let word_at = |at: u32| {
        let bytes = fixture.text.get(at as usize..at as usize + 4);
        bytes.map_or(0, |bytes| {
            u32::from_le_bytes(bytes.try_into().expect("four"))
        })
    };
    let range = TextRange::new(HostPc(START), fixture.text.len() as u32).expect("does not wrap");
    let text = Text::<Aarch64> { range, windows };
    let entered = Machine {
        sp: ENTRY_SP,
        fp: CALLER_FP,
        lr: RETURN,
        x16: GARBAGE,
        x28: GARBAGE,
        memory: BTreeMap::new(),
    };
    let mut counts = Counts::default();
    let mut seen: HashMap<u32, (u64, u64)> = HashMap::new();
    let mut open = vec![(function.start, entered)];
    while let Some((at, mut machine)) = open.pop() {
        if !function.contains(&at) {
            continue;
        }
        if let Some((sp, fp)) = seen.insert(at, (machine.sp, machine.fp)) {
            assert_eq!(
                (sp, fp),
                (machine.sp, machine.fp),
                "{} {at:#x}",
                fixture.name
            );
            continue;
        }
        counts.instructions += 1;
        let pc = HostPc(START + u64::from(at));
        counts.in_windows += usize::from(text.rule_at(pc).is_some());
        // The caller is host code, which gets the registers that the walk found.
        let registers = aarch64::Registers {
            pc,
            sp: machine.sp,
            fp: machine.fp,
            lr: machine.lr,
        };
        let mut host = Caller(None);
        let memory = MemoryFn(|address| machine.memory.get(&address).copied());
        let mut base = None;
        let _ = walk::<Aarch64>(registers, &memory, &text, &mut host, |frame| {
            base = base.or(frame.base);
            ControlFlow::Continue(())
        });
        let found = host.0.map(|caller| (caller.pc.0, caller.fp));
        if found != Some((RETURN, CALLER_FP)) {
            counts.wrong += 1;
            if !windows.is_empty() {
                let word = word_at(at);
                println!(
                    "{}: wrong at {at:#x} ({word:08x}): {found:x?}",
                    fixture.name
                );
            }
        }

        match machine.execute(word_at(at), at, word_at(at + 4)) {
            Next::Falls => open.push((at + 4, machine)),
            Next::Jumps(target) => {
                counts.ends += usize::from(!function.contains(&target));
                open.push((target, machine));
            }
            Next::Branches(target) => {
                open.push((target, machine.clone()));
                open.push((at + 4, machine));
            }
            Next::Ends => counts.ends += 1,
            // A tail call, or a jump table that follows.
            Next::Computed if machine.fp == CALLER_FP => counts.ends += 1,
            Next::Computed => {
                let table = at + 4;
                let mut entry = table;
                let mut end = function.end;
                while entry < end {
                    let target = table.wrapping_add(word_at(entry));
                    if !function.contains(&target) {
                        break;
                    }
                    if target > entry {
                        end = end.min(target);
                    }
                    open.push((target, machine.clone()));
                    entry += 4;
                }
            }
        }
    }
    counts
}

/// Takes the registers of the first host frame.
struct Caller(Option<aarch64::Registers>);

impl wasmscope_walk::HostUnwind<Aarch64> for Caller {
    fn step(
        &mut self,
        registers: aarch64::Registers,
        _: bool,
        _: &impl wasmscope_walk::Memory,
    ) -> wasmscope_walk::HostStep<Aarch64> {
        self.0 = Some(registers);
        wasmscope_walk::HostStep::Root
    }
}

fn check(windows_of: impl Fn(&Fixture) -> Vec<Window<Aarch64>>) -> Counts {
    let mut total = Counts::default();
    for fixture in fixtures() {
        let windows = windows_of(&fixture);
        let mut of_this = Counts::default();
        for function in fixture.functions.iter().chain(&fixture.trampolines) {
            let counts = execute(&fixture, function, &windows);
            assert!(counts.ends > 0, "{} {function:x?} never ends", fixture.name);
            of_this.instructions += counts.instructions;
            of_this.wrong += counts.wrong;
            of_this.in_windows += counts.in_windows;
            of_this.ends += counts.ends;
        }
        println!("{:>32}: {of_this:?}", fixture.name);
        total.instructions += of_this.instructions;
        total.wrong += of_this.wrong;
        total.in_windows += of_this.in_windows;
        total.ends += of_this.ends;
    }
    println!("{total:?}");
    assert!(total.instructions > 0, "no fixtures");
    total
}

#[test]
fn the_caller_is_found_at_every_instruction() {
    let total = check(|fixture| {
        Windows::classify(&fixture.text, fixture.functions.iter().cloned()).into_vec()
    });
    assert_eq!(total.wrong, 0);
}

#[test]
fn without_windows_it_is_not() {
    let total = check(|_| Vec::new());
    assert!(total.wrong * 100 > total.instructions);
}

#[test]
fn signatures_are_stripped_from_every_frame() {
    let windows: [Window<Aarch64>; 0] = [];
    let range = TextRange::new(HostPc(START), 0x1000).expect("does not wrap");
    let text = Text {
        range,
        windows: &windows,
    };
    let memory = MemoryFn(|address| match address {
        0x1000 => Some(0x1020),
        0x1008 => Some((START + 0x40) | 0xfa5b << 48),
        0x1020 => Some(0),
        0x1028 => Some(RETURN | 0x00c1 << 48),
        _ => None,
    });
    let registers = aarch64::Registers {
        pc: HostPc(START),
        sp: 0x1000,
        fp: 0x1000,
        lr: 0,
    };
    let mut frames = Vec::new();
    let end = walk::<Aarch64>(registers, &memory, &text, &mut NoHost, |frame| {
        frames.push(range.offset_of(frame.pc).expect("in the text"));
        ControlFlow::Continue(())
    });
    assert_eq!(end, End::LeftGuest);
    assert_eq!(frames, [TextOffset(0), TextOffset(0x40)]);
}
