//! The fake instance reads as a real one does.

use wasmscope_listen::fake::FakeInstance;
use wasmscope_listen::{Instance, ReadError, Value, read_bytes};

#[test]
fn memory_is_read_within_its_bounds_only() {
    let mut instance = FakeInstance::new();
    instance.memories = vec![b"abcdef".to_vec()];
    instance.globals = vec![Value::I64(5)];
    assert_eq!(instance.memory_size(0), Some(6));
    assert_eq!(instance.memory_size(1), None);
    assert_eq!(instance.global(0), Some(Value::I64(5)));
    assert_eq!(instance.global(1), None);

    assert_eq!(read_bytes(&instance, 0, 2, 3, 10), Ok(b"cde".to_vec()));
    assert_eq!(read_bytes(&instance, 0, 2, 3, 1), Ok(b"c".to_vec()));
    assert_eq!(read_bytes(&instance, 0, 6, 0, 10), Ok(Vec::new()));
    for (memory, offset, len) in [(0, 4, 3), (0, u64::MAX, 2), (0, 0, u64::MAX), (1, 0, 0)] {
        let error = ReadError {
            memory,
            offset,
            len,
        };
        assert_eq!(
            read_bytes(&instance, memory, offset, len, usize::MAX),
            Err(error)
        );
    }
    let mut into = [0; 3];
    assert!(instance.read(0, 4, &mut into).is_err());
    assert_eq!(into, [0; 3]);
}

#[test]
fn instances_differ() {
    assert_ne!(FakeInstance::new().id(), FakeInstance::new().id());
}
