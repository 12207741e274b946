//! Small files that ask for enormous work: each of these would take hours or
//! more memory than there is, were it read as it asks.

use gimli::constants::*;
use wasmscope_address::{FuncIndex, ModuleIndex};
use wasmscope_symbolize::{Error, Symbols};

use crate::raw::{
    Abbrevs, COVERS, abbrevs, ask, covering, function, leb, line_program, module, name_only,
    section, unit,
};

#[test]
fn calls_inlined_without_end() {
    let abbrev = abbrevs()
        .add(3, DW_TAG_inlined_subroutine, true, &COVERS)
        .end();
    let info = function(&covering(3).repeat(200_000));
    let (frames, problem) = ask(&[(".debug_abbrev", &abbrev), (".debug_info", &info)], 5);
    assert_eq!(problem, Some(Error::TooMuchWork));
    // As many as anyone could read are shown.
    assert_eq!(frames.len(), 257);
}

#[test]
fn a_function_that_is_its_own_origin() {
    let origin = [(DW_AT_abstract_origin, DW_FORM_ref4)];
    let abbrev = Abbrevs::default()
        .add(1, DW_TAG_compile_unit, true, &COVERS)
        .add(
            2,
            DW_TAG_subprogram,
            true,
            &[COVERS[0], COVERS[1], origin[0]],
        )
        .add(
            3,
            DW_TAG_inlined_subroutine,
            false,
            &[COVERS[0], COVERS[1], origin[0]],
        )
        .end();
    let at = 11 + 9_u32;
    let to_itself = [covering(2), at.to_le_bytes().to_vec()].concat();
    let inlined = [covering(3), (at + 13).to_le_bytes().to_vec(), vec![0, 0]].concat();
    let info = unit(&[covering(1), to_itself, inlined].concat());
    let (frames, problem) = ask(&[(".debug_abbrev", &abbrev), (".debug_info", &info)], 5);
    assert_eq!(problem, None);
    assert_eq!(frames.len(), 2);
    assert_eq!(&*frames[0].function, "<inlined function>");
    assert_eq!(&*frames[1].function, "<wasm function 7>");
}

#[test]
fn entries_of_one_byte_with_a_thousand_attributes() {
    let flags = vec![(DW_AT_external, DW_FORM_flag_present); 1000];
    let abbrev = abbrevs().add(3, DW_TAG_variable, false, &flags).end();
    let info = function(&vec![3; 1_000_000]);
    let (frames, problem) = ask(&[(".debug_abbrev", &abbrev), (".debug_info", &info)], 5);
    assert_eq!(problem, Some(Error::TooMuchWork));
    // The function precedes them.
    name_only(&frames);
}

#[test]
fn an_entry_with_a_million_attributes() {
    let flags = vec![(DW_AT_external, DW_FORM_flag_present); 1_000_000];
    let abbrev = abbrevs().add(3, DW_TAG_variable, false, &flags).end();
    let info = function(&[3; 1000]);
    let (frames, problem) = ask(&[(".debug_abbrev", &abbrev), (".debug_info", &info)], 5);
    assert_eq!(problem, Some(Error::TooMuchWork));
    name_only(&frames);
}

#[test]
fn units_that_share_one_long_table() {
    let mut abbrev = abbrevs();
    for code in 3..20_000 {
        abbrev = abbrev.add(code, DW_TAG_variable, false, &[]);
    }
    let abbrev = abbrev.add(20_000, DW_TAG_compile_unit, false, &[]).end();
    let mut root = Vec::new();
    leb(&mut root, 20_000);
    let info = unit(&root).repeat(20_000);
    let (frames, problem) = ask(&[(".debug_abbrev", &abbrev), (".debug_info", &info)], 5);
    assert_eq!(problem, Some(Error::TooMuchWork));
    name_only(&frames);
}

#[test]
fn calls_that_share_one_long_range_list() {
    let ranges = [(DW_AT_ranges, DW_FORM_sec_offset)];
    let abbrev = abbrevs()
        .add(3, DW_TAG_inlined_subroutine, false, &ranges)
        .end();
    // One list of empty ranges, and one of full ones.
    for range in [[1_u32, 1], [1, 2]] {
        let list = [range[0].to_le_bytes(), range[1].to_le_bytes()]
            .concat()
            .repeat(40_000);
        let info = function(&[3, 0, 0, 0, 0].repeat(40_000));
        let customs = [
            (".debug_abbrev", &abbrev[..]),
            (".debug_info", &info),
            (".debug_ranges", &list),
        ];
        let (frames, problem) = ask(&customs, 800);
        assert!(problem.is_some());
        name_only(&frames);
    }
}

#[test]
fn units_that_share_one_long_line_program() {
    let lines = [(DW_AT_stmt_list, DW_FORM_sec_offset)];
    let abbrev = Abbrevs::default()
        .add(1, DW_TAG_compile_unit, false, &lines)
        .end();
    let info = unit(&[1, 0, 0, 0, 0]).repeat(20_000);
    // Advance by one and make a row, 200,000 times, at address 1.
    let mut instructions = vec![0, 5, 2, 1, 0, 0, 0];
    instructions.extend([33].repeat(200_000));
    let program = line_program(&instructions);
    let customs = [
        (".debug_abbrev", &abbrev[..]),
        (".debug_info", &info),
        (".debug_line", &program),
    ];
    let (frames, problem) = ask(&customs, 800);
    assert_eq!(problem, Some(Error::TooMuchWork));
    name_only(&frames);
}

#[test]
fn counts_and_sizes_beyond_all_bounds() {
    let mut names = vec![1, 10];
    leb(&mut names, u64::from(u32::MAX));
    names.extend([0, 1, b'a', 0, 0]);
    let (mut bytes, _) = module(&[("name", &names)]);
    // An import section that claims four billion imports.
    section(&mut bytes, 2, &[0xff, 0xff, 0xff, 0xff, 0x0f, 1]);
    // A section that claims four gigabytes.
    bytes.extend([0, 0xff, 0xff, 0xff, 0xff, 0x0f, 4]);
    bytes.extend(b"name");
    let symbols = Symbols::new(bytes);
    let _ = symbols.function_name(ModuleIndex(0), FuncIndex(0));
    assert_eq!(
        symbols.imported_function(ModuleIndex(0), FuncIndex(0)),
        None
    );
    assert!(matches!(symbols.problem(), Some(Error::Truncated { .. })));
}

#[test]
fn components_a_hundred_thousand_deep() {
    let mut deep = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..100_000 {
        // Sizes are cut where the file ends, so the largest will do.
        deep.extend([4, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        deep.extend(b"\0asm\x0d\0\x01\0");
    }
    deep.extend([1, 8]);
    deep.extend(b"\0asm\x01\0\0\0");
    let symbols = Symbols::new(deep);
    assert_eq!(symbols.module_name(ModuleIndex(0)), None);
    assert!(matches!(symbols.problem(), Some(Error::Truncated { .. })));
}

#[test]
fn more_modules_than_any_engine_takes() {
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..100_001 {
        section(&mut bytes, 1, b"\0asm\x01\0\0\0");
    }
    let symbols = Symbols::new(bytes);
    assert_eq!(symbols.module_name(ModuleIndex(99_999)), None);
    assert_eq!(
        symbols.problem(),
        Some(Error::TooManyModules { limit: 100_000 })
    );
}
