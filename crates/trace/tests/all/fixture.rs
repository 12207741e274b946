//! A guest that does everything a trace can show, played without an engine.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wasmscope_listen::fake::Guest;
use wasmscope_listen::{Cause, Definition, FuncIndex, Reference, ReferenceKind, Value, ValueType};
use wasmscope_trace::{Builder, Tracer};

/// Bytes that can be looked at while and after they are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Bytes {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A trace whose clock goes on by 1.5 microseconds with each event.
pub(crate) fn builder() -> Builder {
    let ticks = AtomicU64::new(0);
    Tracer::builder()
        .title("fixture.wasm")
        .clock(move || Duration::from_nanos(1500 * ticks.fetch_add(1, Ordering::Relaxed)))
}

const MAIN: FuncIndex = FuncIndex(0);
const FIB: FuncIndex = FuncIndex(1);
const FD_WRITE: FuncIndex = FuncIndex(2);
const NOW: FuncIndex = FuncIndex(3);
const VALUES: FuncIndex = FuncIndex(4);
const HOSTILE: FuncIndex = FuncIndex(5);
const NAMELESS: FuncIndex = FuncIndex(6);
const EXIT: FuncIndex = FuncIndex(7);
const PAIR: FuncIndex = FuncIndex(8);

fn functions() -> Vec<Definition> {
    use ValueType::{F32, F64, I32, I64, Ref, V128};
    let guest =
        |index: FuncIndex, name: &str| Definition::guest(index).in_module("fixture").named(name);
    vec![
        guest(MAIN, "main"),
        guest(FIB, "fib").typed([I32], [I32]).param_names(["n"]),
        Definition::import(FD_WRITE, "wasi_snapshot_preview1", "fd_write").typed([I32; 4], [I32]),
        Definition::import(NOW, "env", "now").typed([], [F64]),
        guest(VALUES, "values")
            .typed(
                [
                    I32,
                    I64,
                    F32,
                    F64,
                    F64,
                    V128,
                    Ref(ReferenceKind::Func),
                    Ref(ReferenceKind::Extern),
                ],
                [],
            )
            .param_names(["count", "wide"]),
        guest(HOSTILE, "evil\n\u{1b}]0;owned\u{7}\"name\""),
        Definition::guest(NAMELESS),
        Definition::import(EXIT, "wasi_snapshot_preview1", "proc_exit").typed([I32], []),
        guest(PAIR, "pair")
            .typed([], [I32, I64])
            .result_names(["low", "high"]),
    ]
}

fn fib(guest: &mut Guest, n: i32) -> Result<Vec<Value>, Cause<'static>> {
    guest.call(FIB, &[Value::I32(n)], |guest| {
        if n < 2 {
            return Ok(vec![Value::I32(n)]);
        }
        let mut sum = 0;
        for n in [n - 1, n - 2] {
            if let Some(Value::I32(part)) = fib(guest, n)?.first() {
                sum += part;
            }
        }
        Ok(vec![Value::I32(sum)])
    })
}

fn write(guest: &mut Guest, text: &[u8], errno: i32) {
    let memory = &mut guest.instance.memories[0];
    memory[64..64 + text.len()].copy_from_slice(text);
    memory[16..20].copy_from_slice(&64_u32.to_le_bytes());
    memory[20..24].copy_from_slice(&(text.len() as u32).to_le_bytes());
    let params = [1, 16, 1, 24].map(Value::I32);
    guest
        .call(FD_WRITE, &params, |guest| {
            let memory = &mut guest.instance.memories[0];
            memory[24..28].copy_from_slice(&(text.len() as u32).to_le_bytes());
            Ok(vec![Value::I32(errno)])
        })
        .unwrap();
}

fn nested(guest: &mut Guest, depth: u32) {
    guest
        .call(NAMELESS, &[], |guest| {
            if depth > 0 {
                nested(guest, depth - 1);
            }
            Ok(vec![])
        })
        .unwrap();
}

/// Plays it all.
pub(crate) fn play(tracer: &Tracer) {
    let mut guest = Guest::new(functions(), tracer);
    guest.instance.memories.push(vec![0; 1024]);
    let ended = guest.call(MAIN, &[], |guest| {
        fib(guest, 3)?;
        write(guest, b"hello\n", 0);
        write(
            guest,
            &b"a line that is longer than what is shown of it\n"[..],
            0,
        );
        write(guest, b"", 8);
        guest.call(NOW, &[], |_| Ok(vec![Value::F64(1.5)]))?;
        guest.call(PAIR, &[], |_| {
            Ok(vec![Value::I32(-1), Value::I64(i64::MIN)])
        })?;
        let reference = |kind, is_null| Value::Ref(Reference { kind, is_null });
        let values = [
            Value::I32(-7),
            Value::I64(i64::MAX),
            Value::F32(f32::from_bits(0x7fc0_0001)),
            Value::F64(f64::NEG_INFINITY),
            Value::F64(-0.0),
            Value::V128(u128::MAX - 1),
            reference(ReferenceKind::Func, false),
            reference(ReferenceKind::Extern, true),
        ];
        guest.call(VALUES, &values, |_| Ok(vec![]))?;
        guest.call(HOSTILE, &[], |guest| {
            guest.tail_call(NAMELESS, &[], |_| Ok(vec![]))
        })?;
        // Caught by the caller.
        let caught = guest.call(NAMELESS, &[], |guest| {
            guest.call(HOSTILE, &[], |_| Err(Cause::Exception))
        });
        assert!(caught.is_err());
        nested(guest, 42);
        // Another execution stack in between.
        let mut other = Guest::new(functions(), tracer);
        other.call(FIB, &[Value::I32(0)], |_| {
            guest.call(NOW, &[], |_| Ok(vec![Value::F64(2.5)]))?;
            Ok(vec![Value::I32(0)])
        })?;
        guest.call(EXIT, &[Value::I32(3)], |_| Err(Cause::Exit(3)))
    });
    assert!(ended.is_err());
    trap(&mut guest);
    // Still open when the trace ends.
    let finished = guest.call(MAIN, &[], |guest| {
        guest.call(NOW, &[], |_| {
            let counts = tracer.finish().unwrap();
            assert!(counts.opens > counts.closes);
            Ok(vec![Value::F64(0.0)])
        })
    });
    assert!(finished.is_ok());
}

/// Errors as an engine makes them: a backtrace, and behind it what happened.
fn trap(guest: &mut Guest) {
    #[derive(Debug, thiserror::Error)]
    #[error("error while executing at wasm backtrace:\n    0: fib")]
    struct Outer(#[source] Inner);
    #[derive(Debug, thiserror::Error)]
    #[error("wasm trap: wasm `unreachable` instruction executed")]
    struct Inner;

    let error: &'static Outer = Box::leak(Box::new(Outer(Inner)));
    let trapped = guest.call(MAIN, &[], |guest| {
        guest.call(FIB, &[Value::I32(9)], |_| Err(Cause::Trap(error)))
    });
    assert!(trapped.is_err());
    let failed = guest.call(NOW, &[], |_| Err(Cause::HostError(&Inner)));
    assert!(failed.is_err());
}
