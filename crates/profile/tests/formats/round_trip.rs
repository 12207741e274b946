//! What is written reads back.

use wasmscope_profile::folded::Unit;
use wasmscope_profile::*;

use crate::dump::{assert_same, pprof_part};
use crate::fixture;

fn written(profile: &Profile, format: Format, compress: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    profile.write(format, compress, &mut bytes).unwrap();
    bytes
}

#[test]
fn pprof_reads_back_as_the_same_model() {
    for profile in [fixture::profile(), fixture::empty()] {
        for compress in [false, true] {
            let bytes = written(&profile, Format::Pprof, compress);
            let read = pprof::read(&bytes).unwrap();
            assert_same(&pprof_part(&read), &pprof_part(&profile));
        }
    }
}

#[test]
fn pprof_of_what_was_read_reads_the_same_again() {
    let first = written(&fixture::profile(), Format::Pprof, false);
    let read = pprof::read(&first).unwrap();
    let second = pprof::read(&written(&read, Format::Pprof, false)).unwrap();
    assert_same(&pprof_part(&second), &pprof_part(&read));
    assert_eq!(second.meta().comments, read.meta().comments);
}

#[test]
fn folded_reads_back_with_names_and_weights() {
    let profile = fixture::profile();
    for unit in [Unit::Nanoseconds, Unit::Samples] {
        let mut first = Vec::new();
        folded::write(&profile, unit, &mut first).unwrap();
        let read = folded::read(&first, unit, fixture::meta()).unwrap();
        match unit {
            Unit::Nanoseconds => assert_eq!(read.total().weight, profile.total().weight),
            Unit::Samples => assert_eq!(read.total().count, profile.total().count),
        }
        for name in fixture::HOSTILE {
            assert!(read.functions().any(|(_, it)| it.name == *name), "{name:?}");
        }
        let mut second = Vec::new();
        folded::write(&read, unit, &mut second).unwrap();
        assert_same(
            &String::from_utf8(second).unwrap(),
            &String::from_utf8(first).unwrap(),
        );
    }
}

#[test]
fn the_same_profile_is_the_same_bytes() {
    for format in Format::ALL {
        for compress in [false, true] {
            let one = written(&fixture::profile(), format, compress);
            let two = written(&fixture::profile(), format, compress);
            assert_eq!(one, two, "{format}");
        }
    }
}
