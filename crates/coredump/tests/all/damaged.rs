//! Dumps with bytes changed, moved and cut off: nothing panics, what is broken is said, and
//! what is whole is still read.

use crate::made::{Random, bytes};
use wasmscope_coredump::fuzz::fuzz_core_dump;
use wasmscope_coredump::{CoreDump, Error};

fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        let span = random.below(16).min(bytes.len() - at);
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 => bytes[at..at + span].fill(0xff),
            3 => bytes[at..at + span].fill(0),
            4 => {
                let from = random.below(bytes.len() - span);
                bytes.copy_within(from..from + span, at);
            }
            5 => drop(bytes.drain(at..at + span)),
            _ => bytes.insert(at, random.below(256) as u8),
        }
    }
}

#[test]
fn damaged_dumps_do_not_panic() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut broken, mut recovered) = (0, 0);
    for _ in 0..10_000 {
        let mut file = bytes(&random.dump());
        damage(&mut random, &mut file);
        fuzz_core_dump(&file);
        if let Ok(dump) = CoreDump::recover(&file)
            && dump.problem.is_some()
        {
            broken += 1;
            recovered += usize::from(!dump.dump.threads.is_empty());
        }
    }
    assert!(broken > 2000, "only {broken} files were found broken");
    assert!(
        recovered > 1000,
        "only {recovered} gave a thread all the same"
    );
}

#[test]
fn every_beginning_of_a_dump() {
    let mut random = Random(7);
    for _ in 0..20 {
        let dump = random.dump();
        let file = bytes(&dump);
        for len in 0..file.len() {
            let cut = &file[..len];
            fuzz_core_dump(cut);
            let Ok(recovered) = CoreDump::recover(cut) else {
                continue;
            };
            // What was read is a beginning of what was written.
            let frames = recovered.dump.threads.iter().zip(&dump.threads);
            for (read, written) in frames {
                assert!(written.frames.starts_with(&read.frames));
                assert!(read.frames.len() == written.frames.len() || read.cut);
            }
            assert!(dump.modules.starts_with(&recovered.dump.modules));
        }
    }
}

#[test]
fn claims_cost_nothing() {
    // Each says that there are four thousand million of something, in a handful of bytes.
    let most = b"\xff\xff\xff\xff\x0f";
    let section = |id: u8, contents: &[u8]| {
        let mut section = vec![id, contents.len() as u8];
        section.extend(contents);
        section
    };
    let custom = |name: &str, contents: &[u8]| {
        section(
            0,
            &[&[name.len() as u8], name.as_bytes(), contents].concat(),
        )
    };
    let core = custom("core", b"\0\0");
    let memory = section(5, b"\x01\x04\xff\xff\xff\xff\xff\xff\x7f");
    for claim in [
        custom("coremodules", most),
        custom("coreinstances", most),
        custom("coreinstances", &[&b"\x01\0\0"[..], most].concat()),
        custom("corestack", &[&b"\0\0"[..], most].concat()),
        custom("corestack", &[&b"\0\0\x01\0\0\0\0"[..], most].concat()),
        custom("wasmscope.cut", most),
        section(5, most),
        section(6, most),
        section(11, most),
        section(0, most),
        memory,
    ] {
        let file = [b"\0asm\x01\0\0\0", &*core, &*claim].concat();
        fuzz_core_dump(&file);
        let error = CoreDump::read(&file).unwrap_err();
        assert!(
            matches!(error, Error::Malformed { .. } | Error::Dangling { .. }),
            "{error}"
        );
    }
}
