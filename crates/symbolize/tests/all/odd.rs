//! DWARF that is not broken but not what compilers usually write either.

use gimli::constants::*;

use crate::raw::{Abbrevs, COVERS, abbrevs, ask, covering, line_program, name_only, unit};

/// An entry that covers `size` bytes from `low`, with a name.
fn named(code: u8, low: u32, size: u32, name: &str) -> Vec<u8> {
    let mut entry = vec![code];
    entry.extend(low.to_le_bytes());
    entry.extend(size.to_le_bytes());
    entry.extend(name.as_bytes());
    entry.push(0);
    entry
}

/// Unit, function and inlined call, each with a range; the latter with names.
fn named_abbrevs() -> Vec<u8> {
    let name = (DW_AT_name, DW_FORM_string);
    let named = [COVERS[0], COVERS[1], name];
    Abbrevs::default()
        .add(1, DW_TAG_compile_unit, true, &named)
        .add(2, DW_TAG_subprogram, true, &named)
        .add(3, DW_TAG_inlined_subroutine, false, &COVERS)
        .end()
}

#[test]
fn what_old_linkers_removed_is_at_address_zero() {
    let lines = (DW_AT_stmt_list, DW_FORM_sec_offset);
    let abbrev = Abbrevs::default()
        .add(1, DW_TAG_compile_unit, true, &[COVERS[0], COVERS[1], lines])
        .add(2, DW_TAG_subprogram, false, &COVERS)
        .end();
    // Set the address, make rows, advance, end. Special opcode 0xf2: advance by 16.
    let program = |address: u8| {
        let mut instructions = vec![0, 5, 2, address, 0, 0, 0, 1];
        instructions.extend([0xf2; 50]);
        instructions.extend([0, 1, 1]);
        line_program(&instructions)
    };
    for (low, has_lines) in [(0_u32, false), (1, true)] {
        let at = [low.to_le_bytes(), 900_u32.to_le_bytes()].concat();
        let info = unit(&[&[1][..], &at, &[0; 4], &[2], &at, &[0]].concat());
        let program = program(low as u8);
        let customs = [
            (".debug_abbrev", &abbrev[..]),
            (".debug_info", &info),
            (".debug_line", &program),
        ];
        let (frames, problem) = ask(&customs, 100);
        assert_eq!(problem, None);
        if has_lines {
            assert!(
                frames[0].line.is_some(),
                "the same, not removed: {frames:?}"
            );
        } else {
            name_only(&frames);
        }
    }
}

#[test]
fn units_within_units() {
    let wide = unit(&[named(1, 1, 900, "a"), named(2, 1, 900, "wide"), vec![0, 0]].concat());
    let narrow = unit(
        &[
            named(1, 100, 100, "b"),
            named(2, 100, 100, "narrow"),
            vec![0, 0],
        ]
        .concat(),
    );
    for info in [[&wide[..], &narrow].concat(), [&narrow[..], &wide].concat()] {
        for (address, expected) in [(50, "wide"), (150, "narrow"), (300, "wide")] {
            let abbrev = named_abbrevs();
            let (frames, problem) = ask(
                &[(".debug_abbrev", &abbrev), (".debug_info", &info)],
                address,
            );
            assert_eq!(
                (&*frames[0].function, problem),
                (expected, None),
                "{address}"
            );
        }
    }
}

#[test]
fn a_function_within_a_function_keeps_its_calls() {
    // The inner function is elsewhere, but what is inlined into it claims the
    // addresses of the outer one as well.
    let info = unit(
        &[
            named(1, 1, 900, "a"),
            named(2, 1, 400, "outer"),
            named(2, 500, 100, "inner"),
            covering(3),
            vec![0, 0, 0],
        ]
        .concat(),
    );
    let abbrev = named_abbrevs();
    for (address, functions) in [
        (50, &["outer"][..]),
        (550, &["<inlined function>", "inner"]),
    ] {
        let (frames, problem) = ask(
            &[(".debug_abbrev", &abbrev), (".debug_info", &info)],
            address,
        );
        let names: Vec<_> = frames.iter().map(|it| &*it.function).collect();
        assert_eq!((&names[..], problem), (functions, None), "{address}");
    }
}

#[test]
fn the_linkage_name_wins_wherever_it_is() {
    let specification = (DW_AT_specification, DW_FORM_ref4);
    let abbrev = Abbrevs::default()
        .add(1, DW_TAG_compile_unit, true, &COVERS)
        .add(
            2,
            DW_TAG_subprogram,
            false,
            &[(DW_AT_linkage_name, DW_FORM_string)],
        )
        .add(
            3,
            DW_TAG_subprogram,
            false,
            &[
                COVERS[0],
                COVERS[1],
                (DW_AT_name, DW_FORM_string),
                specification,
            ],
        )
        .end();
    let declared = 11 + 9_u32;
    let concrete = [named(3, 1, 900, "run"), declared.to_le_bytes().to_vec()].concat();
    let info = unit(
        &[
            covering(1),
            b"\x02_ZN1a3runEv\0".to_vec(),
            concrete,
            vec![0],
        ]
        .concat(),
    );
    let (frames, problem) = ask(&[(".debug_abbrev", &abbrev), (".debug_info", &info)], 5);
    assert_eq!(problem, None);
    assert_eq!(&*frames[0].function, "a::run()");
    assert_eq!(frames[0].raw.as_deref(), Some("_ZN1a3runEv"));
}

#[test]
fn a_broken_unit_does_not_hide_the_others() {
    let good = unit(&[covering(1), covering(2), vec![0, 0]].concat());
    // A unit whose first entry has a shape that there is none of.
    let bad = unit(&[99]);
    let abbrev = abbrevs().end();
    let info = [bad, good].concat();
    let (frames, problem) = ask(&[(".debug_abbrev", &abbrev), (".debug_info", &info)], 5);
    assert_eq!(frames.len(), 1);
    let problem = problem.map(|it| it.to_string()).unwrap_or_default();
    assert!(
        problem.starts_with("decode .debug_abbrev at offset 0x0"),
        "{problem}"
    );
}
