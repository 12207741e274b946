//! Outputs: written in pieces of bounded size; when one fails the trace ends and the
//! guest does not.

use crate::fixture::Bytes;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmscope_listen::fake::Guest;
use wasmscope_listen::{Definition, FuncIndex, Value, ValueType};
use wasmscope_trace::{Counts, Error, Format, Tracer};

const F: FuncIndex = FuncIndex(0);

fn calls(tracer: &Tracer, count: i32) {
    let f = Definition::guest(F)
        .named("f")
        .typed([ValueType::I32], [ValueType::I32]);
    let mut guest = Guest::new([f], tracer);
    for n in 0..count {
        let ended = guest.call(F, &[Value::I32(n)], |_| Ok(vec![Value::I32(n)]));
        assert!(ended.is_ok(), "the guest goes on");
    }
}

/// Counts bytes, and remembers the largest piece.
#[derive(Clone, Debug, Default)]
struct Pieces {
    total: Arc<AtomicUsize>,
    largest: Arc<AtomicUsize>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.total.fetch_add(bytes.len(), Ordering::Relaxed);
        self.largest.fetch_max(bytes.len(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_long_trace_is_written_in_pieces_of_bounded_size() {
    for format in Format::ALL {
        let pieces = Pieces::default();
        let tracer = Tracer::builder().format(format).write_to(pieces.clone());
        calls(&tracer, 100_000);
        let (opens, closes) = (100_000, 100_000);
        assert_eq!(tracer.finish().unwrap(), Counts { opens, closes });
        assert!(pieces.total.load(Ordering::Relaxed) > 1_000_000);
        // What it is handed on at, and one event more.
        assert!(pieces.largest.load(Ordering::Relaxed) < (64 << 10) + 1024);
    }
}

/// Has room for so many bytes.
#[derive(Debug)]
struct Disk(usize);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        match taken {
            0 => Err(io::ErrorKind::StorageFull.into()),
            taken => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_the_trace_and_is_reported_once() {
    for format in Format::ALL {
        for room in [0, 1, 100, 70_000] {
            let tracer = Tracer::builder().format(format).write_to(Disk(room));
            calls(&tracer, 20_000);
            let error = tracer.finish().unwrap_err();
            let Error::Write { source, events } = &error else {
                panic!("{error}");
            };
            assert_eq!(source.kind(), io::ErrorKind::StorageFull);
            assert!(*events < 20_000, "{events}");
            assert_eq!(*events > 0, room == 70_000);
            assert!(tracer.is_over());
            assert!(tracer.finish().is_ok(), "reported once");
        }
    }
}

#[test]
fn a_direct_output_has_each_event_at_once() {
    let bytes = Bytes::default();
    let tracer = Tracer::builder().direct(true).write_to(bytes.clone());
    let f = Definition::guest(F).named("f");
    let mut guest = Guest::new([f], &tracer);
    let ended = guest.call(F, &[], |_| {
        assert_eq!(bytes.text(), "f()");
        Ok(vec![])
    });
    assert!(ended.is_ok());
    assert_eq!(bytes.text(), "f() = ()\n");
}

#[test]
fn nothing_is_written_after_the_end() {
    let bytes = Bytes::default();
    let tracer = Tracer::builder().write_to(bytes.clone());
    calls(&tracer, 1);
    tracer.finish().unwrap();
    calls(&tracer, 1);
    assert_eq!(bytes.text(), "f(0) = 0\n");
    assert_eq!(tracer.finish().unwrap().opens, 1);
}

#[test]
fn formats_go_by_name_and_by_ending() {
    for format in Format::ALL {
        assert_eq!(Format::from_name(format.name()), Some(format));
    }
    assert_eq!(Format::from_name("xml"), None);
    for (path, format) in [
        ("a.jsonl", Format::Json),
        ("a.NDJSON", Format::Json),
        ("a.json", Format::Chrome),
        ("a.txt", Format::Text),
        ("a", Format::Text),
    ] {
        assert_eq!(Format::from_path(path.as_ref()), format, "{path}");
    }
}
