//! What is written: the same when read back, and the same to another reader.

use crate::made::{Random, bytes};
use wasmparser::{CoreDumpValue, KnownCustom, Parser, Payload};
use wasmscope_coredump::{CoreDump, Memory, MemoryType, Value};

#[test]
fn made_up_dumps_are_read_as_they_were_written() {
    let mut random = Random(0x5eed);
    for _ in 0..2000 {
        let dump = random.dump();
        let file = bytes(&dump);
        assert!(CoreDump::is_core_dump(&file));
        let read = CoreDump::read(&file).unwrap();
        assert_eq!(read, dump);
        assert_eq!(bytes(&read), file);
    }
}

/// Checks a file with the readers of `wasmparser`, which are not ours.
fn check_with_another_reader(dump: &CoreDump<'_>, file: &[u8]) {
    let (mut names, mut stacks, mut memories, mut globals) = (0, 0, 0, 0);
    for payload in Parser::new(0).parse_all(file) {
        match payload.unwrap() {
            Payload::CustomSection(section) => match section.as_known() {
                KnownCustom::CoreDump(core) => {
                    assert_eq!(core.name, dump.name);
                    names += 1;
                }
                KnownCustom::CoreDumpModules(modules) => assert_eq!(modules.modules, dump.modules),
                KnownCustom::CoreDumpInstances(instances) => {
                    assert_eq!(instances.instances.len(), dump.instances.len());
                    for (theirs, ours) in instances.instances.iter().zip(&dump.instances) {
                        let or_unknown = |indices: &[Option<u32>]| -> Vec<u32> {
                            indices.iter().map(|it| it.unwrap_or(u32::MAX)).collect()
                        };
                        assert_eq!(theirs.module_index, ours.module);
                        assert_eq!(theirs.memories, or_unknown(&ours.memories));
                        assert_eq!(theirs.globals, or_unknown(&ours.globals));
                    }
                }
                KnownCustom::CoreDumpStack(stack) => {
                    let ours = &dump.threads[stacks];
                    assert_eq!(stack.name, ours.name);
                    assert_eq!(stack.frames.len(), ours.frames.len());
                    for (theirs, ours) in stack.frames.iter().zip(&ours.frames) {
                        assert_eq!(theirs.instanceidx, ours.instance.unwrap_or(u32::MAX));
                        assert_eq!(theirs.funcidx, ours.function.0);
                        assert_eq!(theirs.codeoffset, ours.code_offset.0);
                        let values = |values: &[CoreDumpValue]| -> Vec<Value> {
                            values.iter().map(value).collect()
                        };
                        assert_eq!(values(&theirs.locals), ours.locals);
                        assert_eq!(values(&theirs.stack), ours.stack);
                    }
                    stacks += 1;
                }
                _ => assert_eq!(section.name(), "wasmscope.cut"),
            },
            Payload::MemorySection(section) => {
                for memory in section {
                    let (theirs, ours) = (memory.unwrap(), dump.memories[memories].ty());
                    assert_eq!(theirs.initial, ours.pages);
                    assert_eq!(theirs.memory64, ours.memory64);
                    memories += 1;
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let (theirs, ours) = (global.unwrap(), &dump.globals[globals]);
                    assert_eq!(theirs.ty.mutable, ours.mutable);
                    globals += 1;
                }
            }
            Payload::DataSection(section) => {
                let ours = dump.memories.iter().flat_map(Memory::segments);
                let theirs: Vec<_> = section.into_iter().map(|data| data.unwrap().data).collect();
                assert!(
                    theirs
                        .iter()
                        .eq(&ours.map(|it| &*it.bytes).collect::<Vec<_>>())
                );
            }
            _ => {}
        }
    }
    assert_eq!(
        (names, stacks, memories, globals),
        (
            1,
            dump.threads.len(),
            dump.memories.len(),
            dump.globals.len()
        )
    );
}

fn value(value: &CoreDumpValue) -> Value {
    match value {
        CoreDumpValue::Missing => Value::Missing,
        CoreDumpValue::I32(value) => Value::I32(*value),
        CoreDumpValue::I64(value) => Value::I64(*value),
        CoreDumpValue::F32(value) => Value::F32(value.bits()),
        CoreDumpValue::F64(value) => Value::F64(value.bits()),
    }
}

#[test]
fn another_reader_finds_the_same() {
    let mut random = Random(0xd0_0b1e);
    for _ in 0..500 {
        let dump = random.dump();
        check_with_another_reader(&dump, &bytes(&dump));
    }
}

#[test]
fn a_memory_too_large_for_a_section_is_an_error_before_anything_is_written() {
    // The same pages many times over: more than 4 GiB to write, of which 64 MiB exist.
    let contents = vec![1; 64 << 20];
    let ty = MemoryType {
        pages: contents.len() as u64 >> 16,
        ..MemoryType::default()
    };
    let memories: Vec<_> = (0..65).map(|_| Memory::of(ty, &contents)).collect();
    let dump = CoreDump {
        memories,
        ..CoreDump::default()
    };
    let mut out = Vec::new();
    let error = dump.write(&mut out).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("4 GiB"), "{error}");
    assert!(out.is_empty());
}

#[test]
fn an_error_of_the_file_is_passed_on() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0 < bytes.len() {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.0 -= bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let dump = Random(99).dump();
    let len = bytes(&dump).len();
    for room in 0..len {
        let error = dump.write(&mut Full(room)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
    dump.write(&mut Full(len)).unwrap();
}
