//! What a fuzzer does with bytes: reads them as a profile, and when they are one,
//! writes and reads it again. Never panics, whatever the bytes.
//!
//! A bounded test runs these on mutations of real files; a fuzzer runs them on
//! whatever it finds.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use crate::folded::Unit;
use crate::format::Format;
use crate::meta::Meta;
use crate::profile::Profile;
use crate::{folded, pprof};

/// The most bytes that a fuzzed pprof file may have when decompressed.
const LIMIT: u64 = 1 << 20;

/// Reads bytes as pprof.
///
/// # Panics
///
/// When there is an error in this crate.
pub fn fuzz_pprof(data: &[u8]) {
    let Ok(profile) = pprof::read_with_limit(data, LIMIT) else {
        return;
    };
    write_all(&profile);
    // Writing normalises once: what is read from it is written as the same bytes.
    let second = pprof::read(&written(&profile)).expect("what was written reads back");
    let bytes = written(&second);
    let third = pprof::read(&bytes).expect("what was written reads back");
    assert!(
        written(&third) == bytes,
        "a second round trip changes the bytes"
    );
    assert_eq!(second.total(), third.total());
}

/// Reads bytes as folded stacks.
///
/// # Panics
///
/// When there is an error in this crate.
pub fn fuzz_folded(data: &[u8]) {
    let meta = Meta {
        interval: Duration::from_millis(1),
        ..Meta::new("fuzz", UNIX_EPOCH)
    };
    for unit in [Unit::Nanoseconds, Unit::Samples] {
        let Ok(profile) = folded::read(data, unit, meta.clone()) else {
            return;
        };
        write_all(&profile);
        let mut first = Vec::new();
        folded::write(&profile, unit, &mut first).expect("a vector takes all bytes");
        let read = folded::read(&first, unit, meta.clone()).expect("what was written reads back");
        let mut second = Vec::new();
        folded::write(&read, unit, &mut second).expect("a vector takes all bytes");
        assert!(first == second, "a second round trip changes the bytes");
    }
}

fn written(profile: &Profile) -> Vec<u8> {
    let mut bytes = Vec::new();
    pprof::write(profile, &mut bytes).expect("a vector takes all bytes");
    bytes
}

fn write_all(profile: &Profile) {
    for format in Format::ALL {
        profile
            .write(format, false, &mut io::sink())
            .expect("a sink takes all bytes");
    }
    let _ = profile.hottest(10);
}
