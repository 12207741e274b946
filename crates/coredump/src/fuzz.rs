//! What a fuzzer does with bytes: reads them as a dump, and when they are one, asks it
//! everything, writes it, and reads it again.
//!
//! A bounded test runs this on mutations of real dumps; a fuzzer on whatever it finds.

use crate::{CoreDump, Error, Recovered};

/// Reads bytes as a core dump.
///
/// # Panics
///
/// When there is an error in this crate.
pub fn fuzz_core_dump(data: &[u8]) {
    let Recovered { dump, problem } = match CoreDump::recover(data) {
        Ok(recovered) => recovered,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(CoreDump::read(data), Err(error));
            return;
        }
    };
    assert!(CoreDump::is_core_dump(data));
    ask(&dump);
    match CoreDump::read(data) {
        Ok(read) => {
            assert_eq!((problem, &read), (None, &dump));
        }
        Err(error) => {
            assert_eq!(problem.as_ref(), Some(&error));
            assert_offset(&error, data.len());
        }
    }
    // What is written is canonical; what was readable of a broken dump may still refer to
    // what is not there.
    let mut first = Vec::new();
    dump.write(&mut first).expect("a vector takes all bytes");
    let again = CoreDump::recover(&first).expect("a dump was written");
    let (whole, dangling) = (again.problem.is_none(), is_dangling(&again));
    assert!(whole || dangling, "{:?}", again.problem);
    if whole {
        assert_eq!(again.dump, dump);
        let mut second = Vec::new();
        again
            .dump
            .write(&mut second)
            .expect("a vector takes all bytes");
        assert!(first == second, "a second round trip changes the bytes");
    }
}

fn is_dangling(recovered: &Recovered<'_>) -> bool {
    match &recovered.problem {
        Some(Error::Dangling { .. }) => true,
        // A memory whose type is broken is kept as it is.
        Some(Error::Malformed { what, .. }) => *what == "memory section",
        _ => false,
    }
}

fn assert_offset(error: &Error, len: usize) {
    let (Error::Truncated { offset, .. }
    | Error::Malformed { offset, .. }
    | Error::Repeated { offset, .. }
    | Error::Dangling { offset, .. }) = error
    else {
        return;
    };
    assert!(*offset <= len, "{error} is past the end");
}

fn ask(dump: &CoreDump<'_>) {
    for frame in dump.threads.iter().flat_map(|thread| &thread.frames) {
        let _ = dump.module_name(frame);
        let instance = dump.instance(frame);
        let Some(instance) = instance else { continue };
        let _ = (dump.memory(instance, 0), dump.global(instance, 0));
    }
    for memory in &dump.memories {
        let mut bytes = [0xaa; 64];
        for segment in memory.segments().iter().take(64) {
            let len = segment.bytes.len().min(bytes.len());
            let into = bytes.get_mut(..len).unwrap_or_default();
            assert!(
                memory.read(segment.offset, into),
                "a segment lies in its memory"
            );
        }
        let _ = memory.read(u64::MAX - 8, &mut bytes);
    }
}
