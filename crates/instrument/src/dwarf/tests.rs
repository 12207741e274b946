//! Rewritten debug information says of every instruction what the original said.
//!
//! A synthetic rewriter stretches real modules: it adds locals and instructions in every
//! function, and functions behind them. Then independent readers are asked before and
//! after: `addr2line` for the functions, files, lines and columns of each instruction,
//! `gimli` for the ranges and locations of each entry.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use gimli::{AttributeValue, Dwarf, EndianSlice, LittleEndian};
use wasmparser::{BinaryReader, CodeSectionReader, Operator, Parser, Payload};

mod probed;

use super::line::leb;
use super::{Code, Reason, rewrite};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// A module's code section and custom sections.
struct Sections<'a> {
    code: &'a [u8],
    custom: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Sections<'a> {
    fn of(wasm: &'a [u8]) -> Self {
        let mut sections = Sections {
            code: &[],
            custom: Vec::new(),
        };
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.expect("valid") {
                Payload::CodeSectionStart { range, .. } => sections.code = &wasm[range],
                Payload::CustomSection(custom) => {
                    sections.custom.push((custom.name(), custom.data()));
                }
                _ => {}
            }
        }
        sections
    }
}

/// A stretched code section.
struct Stretched {
    contents: Vec<u8>,
    /// Each instruction's offset before and after.
    instructions: Vec<(u64, u64)>,
    /// Each `nop` that was added: its offset, and where its function was.
    added: Vec<(u64, Range<u64>)>,
}

impl Stretched {
    fn map(&self, old: u64) -> Option<u64> {
        let index = self.instructions.binary_search_by_key(&old, |pair| pair.0);
        index.ok().map(|index| self.instructions[index].1)
    }
}

/// Adds locals to every function, and instructions: some at its entry, one before every
/// third instruction and before the last. With `more` functions at the end.
fn stretch(contents: &[u8], more: u32) -> Stretched {
    const NOP: u8 = 0x01;
    let reader = CodeSectionReader::new(BinaryReader::new(contents, 0)).expect("a code section");
    let mut out = Vec::new();
    leb((reader.count() + more).into(), &mut out);
    let mut instructions = Vec::new();
    let mut added = Vec::new();
    for (number, body) in reader.into_iter().enumerate() {
        let body = body.expect("a body");
        let locals = body.get_locals_reader().expect("locals");
        let mut new = Vec::new();
        leb((locals.get_count() + 1).into(), &mut new);
        let operators = body.get_operators_reader().expect("operators");
        let groups = locals.original_position()..operators.original_position();
        new.extend_from_slice(&contents[groups]);
        new.extend_from_slice(&[3, 0x7f]);
        let first = instructions.len();
        let mut nops = Vec::new();
        nops.extend(new.len()..new.len() + number % 40);
        new.resize(new.len() + number % 40, NOP);
        let offsets = operators.into_iter_with_offsets().collect::<Vec<_>>();
        for (index, operator) in offsets.iter().enumerate() {
            let (operator, offset) = operator.as_ref().expect("an operator");
            let last = index + 1 == offsets.len();
            let end = match offsets.get(index + 1) {
                Some(next) => next.as_ref().expect("an operator").1,
                None => body.range().end,
            };
            if last || index % 3 == 2 || matches!(operator, Operator::Return) {
                nops.push(new.len());
                new.push(NOP);
            }
            instructions.push((*offset as u64, new.len()));
            new.extend_from_slice(&contents[*offset..end]);
        }
        leb(new.len() as u64, &mut out);
        let start = out.len();
        let function = body.range().start as u64..body.range().end as u64;
        for pair in &mut instructions[first..] {
            pair.1 += start;
        }
        added.extend(
            nops.iter()
                .map(|nop| ((nop + start) as u64, function.clone())),
        );
        out.extend_from_slice(&new);
    }
    for _ in 0..more {
        out.extend_from_slice(&[2, 0, 0x0b]);
    }
    Stretched {
        contents: out,
        instructions: instructions
            .into_iter()
            .map(|(old, new)| (old, new as u64))
            .collect(),
        added,
    }
}

fn dwarf<'a, S: AsRef<[u8]>>(sections: &'a [(&'a str, S)]) -> Dwarf<Bytes<'a>> {
    Dwarf::load(|id| {
        let found = sections.iter().find(|(name, _)| *name == id.name());
        let bytes = found.map_or(&[][..], |(_, bytes)| bytes.as_ref());
        Ok::<_, gimli::Error>(EndianSlice::new(bytes, LittleEndian))
    })
    .expect("loads")
}

type Line = Option<(Option<String>, Option<u32>, Option<u32>)>;

/// Every function at an address, innermost first, with file, line and column.
fn frames(context: &addr2line::Context<Bytes<'_>>, address: u64) -> Vec<(Option<String>, Line)> {
    let mut iter = context
        .find_frames(address)
        .skip_all_loads()
        .expect("readable");
    let mut frames = Vec::new();
    while let Some(frame) = iter.next().expect("readable") {
        let name = frame
            .function
            .map(|name| name.raw_name().expect("a name").into_owned());
        frames.push((name, frame.location.map(line)));
    }
    frames
}

fn line(location: addr2line::Location<'_>) -> (Option<String>, Option<u32>, Option<u32>) {
    (
        location.file.map(str::to_owned),
        location.line,
        location.column,
    )
}

/// Of every entry's attribute with addresses: which instructions it covers, by index, and
/// the expression that holds there; or the address itself.
#[derive(Debug, PartialEq)]
enum Covers {
    Instructions(Vec<(usize, usize, Vec<u8>)>),
    Bytes(Vec<u8>),
}

/// Reads what every entry covers, given the instructions' offsets, by the entry's offset.
fn covers(dwarf: &Dwarf<Bytes<'_>>, instructions: &[u64]) -> BTreeMap<(usize, String), Covers> {
    let index = |address: u64| instructions.partition_point(|offset| *offset < address);
    let mut all = BTreeMap::new();
    let mut headers = dwarf.units();
    while let Some(header) = headers.next().expect("readable") {
        let unit = dwarf.unit(header).expect("readable");
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs().expect("readable") {
            let at = unit.header.offset().0 + entry.offset().0;
            let low = entry.attr_value(gimli::DW_AT_low_pc);
            let low = low.and_then(|low| dwarf.attr_address(&unit, low).expect("readable"));
            // gimli adds the length to a tombstone of 64 bits.
            if low.is_none_or(|low| low < u64::MAX - 1) {
                let mut ranges = dwarf.die_ranges(&unit, entry).expect("readable");
                let mut covered = Vec::new();
                while let Some(range) = ranges.next().expect("readable") {
                    covered.push((index(range.begin), index(range.end), Vec::new()));
                }
                all.insert((at, String::from("ranges")), Covers::Instructions(covered));
            }
            for attribute in entry.attrs() {
                let key = (at, attribute.name().to_string());
                if let Some(mut locations) = dwarf
                    .attr_locations(&unit, attribute.value())
                    .expect("readable")
                {
                    let mut covered = Vec::new();
                    while let Some(at) = locations.next().expect("readable") {
                        let (begin, end) = (index(at.range.begin), index(at.range.end));
                        covered.push((begin, end, at.data.0.to_vec()));
                    }
                    all.insert(key, Covers::Instructions(covered));
                } else if let AttributeValue::Exprloc(expression) = attribute.value() {
                    all.insert(key, Covers::Bytes(expression.0.to_vec()));
                } else if let Some(address) = dwarf
                    .attr_address(&unit, attribute.value())
                    .expect("readable")
                {
                    // Tombstones stay what they are, bit by bit.
                    let bytes = match address {
                        0 | 0xffff_fffe.. => address.to_le_bytes(),
                        _ => index(address).to_le_bytes(),
                    };
                    all.insert(key, Covers::Bytes(bytes.to_vec()));
                }
            }
        }
    }
    all
}

/// What a comparison has seen, so that one of nothing fails.
#[derive(Debug, Default)]
struct Seen {
    instructions: usize,
    lines: usize,
    inlined: usize,
    locations: usize,
    added: usize,
}

/// Compares what two sets of sections say of a stretched module.
fn compare(old: &[(&str, &[u8])], new: &[super::Section<'_>], stretched: &Stretched) -> Seen {
    let mut seen = Seen::default();
    let (old, new) = (dwarf(old), dwarf(new));
    let offsets = |new: bool| {
        let pick = move |pair: &(u64, u64)| if new { pair.1 } else { pair.0 };
        stretched.instructions.iter().map(pick).collect::<Vec<_>>()
    };
    let (before, after) = (covers(&old, &offsets(false)), covers(&new, &offsets(true)));
    assert_eq!(before.len(), after.len());
    for (key, before) in &before {
        assert_eq!(before, &after[key], "entry {:#x}, {}", key.0, key.1);
        seen.locations += usize::from(matches!(before, Covers::Instructions(v) if !v.is_empty()));
    }
    let old = addr2line::Context::from_dwarf(old).expect("readable");
    let new = addr2line::Context::from_dwarf(new).expect("readable");
    for &(before, after) in &stretched.instructions {
        let expected = frames(&old, before);
        assert_eq!(expected, frames(&new, after), "{before:#x} -> {after:#x}");
        seen.instructions += 1;
        seen.lines += usize::from(expected.iter().any(|frame| frame.1.is_some()));
        seen.inlined += usize::from(expected.len() > 1);
    }
    let mut functions = std::collections::HashMap::new();
    for (offset, function) in &stretched.added {
        let Some(location) = new.find_location(*offset).expect("readable") else {
            continue;
        };
        let of = functions.entry(function.start).or_insert_with(|| {
            function
                .clone()
                .filter_map(|offset| old.find_location(offset).expect("readable"))
                .map(line)
                .collect::<Vec<_>>()
        });
        assert!(of.contains(&line(location)), "nop at {offset:#x}");
        seen.added += 1;
    }
    seen
}

fn check(wasm: &[u8], more: u32) -> Seen {
    let sections = Sections::of(wasm);
    let stretched = stretch(sections.code, more);
    let map = |offset| stretched.map(offset);
    let code = Code::new(sections.code, &stretched.contents, &map).expect("code");
    let rewritten = rewrite(&sections.custom, &code).expect("rewritten");
    assert_eq!(rewritten.left_out, Vec::<&str>::new());
    compare(&sections.custom, &rewritten.sections, &stretched)
}

fn guest(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests");
    std::fs::read(path.join(name)).expect("a guest")
}

const FIXTURES: [(&str, &[u8]); 4] = [
    ("32, version 2", include_bytes!("tests/guest32-v2.wasm")),
    ("32, version 5", include_bytes!("tests/guest32-v5.wasm")),
    ("64, version 4", include_bytes!("tests/guest64-v4.wasm")),
    ("64, version 5", include_bytes!("tests/guest64-v5.wasm")),
];

#[test]
fn c_says_the_same() {
    for name in [
        "deep",
        "echo",
        "exit7",
        "fib",
        "hostcalls",
        "sleep",
        "table",
        "trap",
    ] {
        let seen = check(&guest(&format!("{name}.wasm")), 0);
        assert!(seen.lines > 1000 && seen.inlined > 100, "{name}: {seen:?}");
        assert!(seen.locations > 100, "{name}: {seen:?}");
        assert!(seen.added > 100, "{name}: {seen:?}");
    }
    let seen = check(&guest("reactor.wasm"), 0);
    assert!(seen.lines > 100 && seen.locations > 5, "{seen:?}");
}

#[test]
fn cpp_says_the_same() {
    let seen = check(&guest("shapes.wasm"), 200);
    assert!(seen.lines > 1000 && seen.inlined > 100, "{seen:?}");
}

#[test]
fn rust_says_the_same() {
    for name in ["alloc", "inline", "loops", "report"] {
        let seen = check(&guest(&format!("{name}.wasm")), 0);
        assert!(seen.lines > 10_000, "{name}: {seen:?}");
        assert!(seen.inlined > 10_000, "{name}: {seen:?}");
    }
}

#[test]
fn other_versions_and_wide_addresses_say_the_same() {
    for (name, wasm) in FIXTURES {
        // So many functions that their count takes another byte, and all moves by one.
        for more in [0, 200] {
            let seen = check(wasm, more);
            assert!(seen.lines > 80 && seen.inlined > 40, "{name}: {seen:?}");
            assert!(seen.locations > 10 && seen.added > 30, "{name}: {seen:?}");
        }
    }
}

#[test]
fn data_keeps_its_address() {
    let sections = Sections::of(FIXTURES[3].1);
    let stretched = stretch(sections.code, 0);
    let map = |offset| stretched.map(offset);
    let code = Code::new(sections.code, &stretched.contents, &map).expect("code");
    let rewritten = rewrite(&sections.custom, &code).expect("rewritten");
    let addresses = |sections: &[(&str, Vec<u8>)]| {
        let found = sections.iter().find(|(name, _)| *name == ".debug_addr");
        let (chunks, _) = found.expect("addresses").1[8..].as_chunks::<8>();
        chunks
            .iter()
            .copied()
            .map(u64::from_le_bytes)
            .collect::<Vec<_>>()
    };
    let owned = |bytes: &[u8]| bytes.to_vec();
    let old = sections
        .custom
        .iter()
        .map(|(name, bytes)| (*name, owned(bytes)));
    let new = rewritten
        .sections
        .iter()
        .map(|(name, bytes)| (*name, owned(bytes)));
    let (old, new) = (
        addresses(&old.collect::<Vec<_>>()),
        addresses(&new.collect::<Vec<_>>()),
    );
    // `table` is at 1024, `removed` nowhere, and `step` behind the first locals.
    assert_eq!(old[..4], [1024, u64::MAX, u64::MAX, 3]);
    assert_eq!(new[..4], [1024, u64::MAX, u64::MAX, 3]);
    assert!(old[4..].iter().zip(&new[4..]).all(|(old, new)| old < new));
}

#[test]
fn sections_hardly_grow() {
    let wasm = guest("report.wasm");
    let sections = Sections::of(&wasm);
    let stretched = stretch(sections.code, 0);
    let map = |offset| stretched.map(offset);
    let code = Code::new(sections.code, &stretched.contents, &map).expect("code");
    let rewritten = rewrite(&sections.custom, &code).expect("rewritten");
    for (name, new) in &rewritten.sections {
        let old = sections.custom.iter().find(|(other, _)| other == name);
        let (old, new) = (old.expect("the same names").1.len(), new.len());
        match *name {
            // The code grows by a fifth.
            ".debug_line" => assert!(new < old + old / 5, "{old} -> {new}"),
            _ => assert_eq!(new, old, "{name}"),
        }
    }
}

#[test]
fn damage_is_told_and_never_panics() {
    let reactor = guest("reactor.wasm");
    for wasm in FIXTURES.iter().map(|(_, wasm)| *wasm).chain([&reactor[..]]) {
        let sections = Sections::of(wasm);
        let stretched = stretch(sections.code, 0);
        let map = |offset| stretched.map(offset);
        let code = Code::new(sections.code, &stretched.contents, &map).expect("code");
        let mut refused = 0;
        for at in 0..sections.custom.len() {
            let (name, bytes) = sections.custom[at];
            if !super::is_debug(name) {
                continue;
            }
            let mut check = |bytes: &[u8]| {
                let mut custom = sections.custom.clone();
                custom[at].1 = bytes;
                if let Err(reason) = rewrite(&custom, &code) {
                    assert!(
                        matches!(
                            reason,
                            Reason::Damaged { .. }
                                | Reason::Unsupported { .. }
                                | Reason::Split { .. }
                        ),
                        "{reason}"
                    );
                    refused += 1;
                }
            };
            for len in 0..bytes.len() {
                check(&bytes[..len]);
            }
            let mut damaged = bytes.to_vec();
            for index in 0..bytes.len() {
                for flip in [0x01, 0x80, 0xff] {
                    damaged[index] ^= flip;
                    check(&damaged);
                    damaged[index] ^= flip;
                }
            }
        }
        assert!(refused > 1000, "{refused}");
    }
}

#[test]
fn object_files_and_split_information_are_refused() {
    let sections = Sections::of(FIXTURES[1].1);
    let stretched = stretch(sections.code, 0);
    let map = |offset| stretched.map(offset);
    let code = Code::new(sections.code, &stretched.contents, &map).expect("code");
    let with = |name| {
        let mut custom = sections.custom.clone();
        custom.push((name, &[]));
        rewrite(&custom, &code).map(|rewritten| rewritten.left_out)
    };
    for name in ["linking", "reloc..debug_info"] {
        let section = String::from(name);
        assert_eq!(with(name), Err(Reason::Relocatable { section }));
    }
    for name in [".debug_info.dwo", ".debug_cu_index"] {
        let section = String::from(name);
        assert_eq!(with(name), Err(Reason::Split { section, offset: 0 }));
    }
    assert_eq!(
        with(".debug_line").expect_err("twice").to_string(),
        "damaged `.debug_line` at 0x0: there are two of them"
    );
    for name in [
        ".debug_aranges",
        ".debug_frame",
        ".debug_macro",
        ".gdb_index",
    ] {
        assert_eq!(with(name), Ok(vec![name]));
    }
}

#[test]
fn a_skeleton_is_refused() {
    // A unit of version 5 that says that it is a skeleton.
    let mut unit = vec![18, 0, 0, 0, 5, 0, 4, 4, 0, 0, 0, 0];
    unit.extend_from_slice(&[0; 10]);
    let code = Code::new(&[0], &[0], &|_| None).expect("code");
    let result = rewrite(&[(".debug_info", &unit), (".debug_abbrev", &[0])], &code);
    let section = String::from(".debug_info");
    assert_eq!(result, Err(Reason::Split { section, offset: 0 }));
}

#[test]
fn no_debug_information_is_none() {
    let code = Code::new(&[0], &[0], &|_| None).expect("code");
    let rewritten = rewrite(&[("name", &[0])], &code).expect("nothing to do");
    assert_eq!(rewritten, super::Rewritten::default());
}

/// One function of a call, a `nop` and the end, before each of which something was
/// inserted.
#[test]
fn what_is_inserted_belongs_to_what_stands_before_it() {
    let old = [1, 5, 0, 0x10, 0, 0x01, 0x0b];
    let new = [1, 9, 0, 0x01, 0x10, 0x81, 0, 0x01, 0x01, 0x01, 0x0b];
    // The function that is called has another index.
    let map = |offset| match offset {
        3 => Some(4),
        5 => Some(8),
        6 => Some(10),
        _ => None,
    };
    let code = Code::new(&old, &new, &map).expect("code");
    let at = [1, 2, 3, 5, 6, 7].map(|offset| code.at(offset));
    assert_eq!(at, [1, 2, 4, 8, 10, 11].map(Some));
    assert_eq!([0, 8, 1 << 40].map(|offset| code.at(offset)), [None; 3]);
    // A call returns to its end.
    assert_eq!(code.after(5), Some(7));
    assert_eq!(code.after(6), Some(9));
    // The row of the first instruction takes the entry, unless there is one for it.
    assert_eq!(code.row(3, None), Some(2));
    assert_eq!(code.row(3, Some(0)), Some(4));
}
