//! What is not asked is not read: files of 100 MB in which everything else is
//! garbage answer as if it were not there.

use wasm_encoder::Encode;
use wasmscope_address::{FuncIndex, ModuleIndex, WasmOffset};
use wasmscope_symbolize::Symbols;

use crate::generate::{IMPORTS, Plan, start};

const MODULE: ModuleIndex = ModuleIndex(0);

/// Bytes that may not be looked at.
struct Untouchable;

impl AsRef<[u8]> for Untouchable {
    fn as_ref(&self) -> &[u8] {
        panic!("the bytes were asked for");
    }
}

#[test]
fn nothing_is_read_before_the_first_question() {
    let symbols = Symbols::new(Untouchable).with_debug_bytes(Untouchable);
    assert_eq!(symbols.problem(), None);
    let loader = Box::new(|_: &str| panic!("the loader was asked"));
    assert_eq!(
        Symbols::new(Untouchable)
            .with_debug_loader(loader)
            .problem(),
        None
    );
}

/// A module's sections: id, contents.
fn sections(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut reader = wasmparser::BinaryReader::new(&bytes[8..], 8);
    let mut sections = Vec::new();
    while !reader.eof() {
        let id = reader.read_u8().unwrap();
        let contents = reader.read_reader().unwrap();
        let range = contents.range();
        sections.push((id, bytes[range].to_vec()));
    }
    sections
}

fn join(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    for (id, contents) in sections {
        bytes.push(*id);
        contents.encode(&mut bytes);
    }
    bytes
}

/// The contents of a custom section, if it is called `name`.
fn custom<'a>(section: &'a mut (u8, Vec<u8>), name: &str) -> Option<&'a mut [u8]> {
    let (id, contents) = section;
    let start = 1 + name.len();
    let found = *id == 0 && contents.get(1..start) == Some(name.as_bytes());
    found.then(|| &mut contents[start..])
}

#[test]
fn a_name_needs_the_name_section_only() {
    let mut parts = sections(&Plan::new(5).bytes());
    for part in &mut parts {
        if custom(part, "name").is_some() {
            continue;
        }
        match part.0 {
            // A custom section's own name is part of its header.
            0 => {
                let name = part.1[0] as usize;
                part.1[1 + name..].fill(0xff);
            }
            10 => part.1 = vec![0xff; 100 << 20],
            _ => part.1.fill(0xff),
        }
    }
    let symbols = Symbols::new(join(&parts));
    assert_eq!(
        &*symbols.function_name(MODULE, FuncIndex(3)).display,
        "second"
    );
    assert_eq!(symbols.module_name(MODULE).as_deref(), Some("demo"));
    assert_eq!(symbols.problem(), None);
    // The garbage is garbage: asked about, it is a problem.
    symbols.frames(MODULE, FuncIndex(3), WasmOffset(1000));
    assert!(symbols.problem().is_some());
}

#[test]
fn a_line_needs_its_own_unit_only() {
    let plain = Plan::new(4).bytes();
    let mut parts = sections(&plain);
    for part in &mut parts {
        // The code section's first bytes decide where it is; no others count.
        if part.0 == 10 {
            part.1.resize(100 << 20, 0xff);
        }
        // Function 1 of unit 1 is told by the last entries and sequence there;
        // all of unit 2 follows. Its line program is broken.
        if let Some(lines) = custom(part, ".debug_line") {
            let first = u32::from_le_bytes(*lines.first_chunk().unwrap()) as usize + 4;
            lines[first + 4..].fill(0xff);
        }
    }
    let bytes = join(&parts);
    // The code section's size takes three bytes more now.
    let at = |index| WasmOffset(start(&plain, 0, index) + 3);
    let symbols = Symbols::new(bytes);
    let frames = symbols.frames(MODULE, FuncIndex(IMPORTS), at(0));
    assert_eq!(frames[0].line, Some(30));
    let frames = symbols.frames(MODULE, FuncIndex(IMPORTS + 1), at(1));
    assert_eq!(frames[0].line, Some(40));
    assert_eq!(symbols.problem(), None);
    let frames = symbols.frames(MODULE, FuncIndex(IMPORTS + 2), at(2));
    assert_eq!(frames[0].line, None);
    assert!(
        symbols
            .problem()
            .is_some_and(|it| it.to_string().contains(".debug_line"))
    );
}
