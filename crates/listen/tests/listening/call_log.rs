//! The call logger: what each kind of call and close looks like.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use wasmscope_listen::component::{ComponentFunction, Direction, FunctionType, Type};
use wasmscope_listen::fake::Guest;
use wasmscope_listen::listeners::{CallLog, Scopes};
use wasmscope_listen::{Cause, Definition, Factory, FuncIndex, Value, ValueType};

/// A writer whose text can be read while the log still has it.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        let bytes = self.0.lock().expect("unpoisoned").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("unpoisoned").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const MAIN: FuncIndex = FuncIndex(2);
const RANDOM: FuncIndex = FuncIndex(0);
const WRITE: FuncIndex = FuncIndex(1);
const INNER: FuncIndex = FuncIndex(3);

fn functions() -> [Definition; 4] {
    use ValueType::{F64, I32, I64};
    [
        Definition::import(RANDOM, "wasi_snapshot_preview1", "random_get")
            .typed([I32, I32], [I32])
            .param_names(["buf", "buf_len"])
            .result_names(["errno"]),
        Definition::import(WRITE, "wasi_snapshot_preview1", "fd_write").typed([I32], [I32]),
        Definition::guest(MAIN)
            .in_module("app")
            .named("main")
            .exported("main")
            .typed([I32, I64], [I32, F64])
            .param_names(["argc"]),
        Definition::guest(INNER).in_module("app").typed([], []),
    ]
}

/// Plays main { inner { random_get } fd_write(1) fd_write(5) }.
fn play(guest: &mut Guest) {
    let ended = guest.call(MAIN, &[Value::I32(-1), Value::I64(2)], |guest| {
        guest.call(INNER, &[], |guest| {
            guest.call(RANDOM, &[Value::I32(64), Value::I32(8)], |_| {
                Ok(vec![Value::I32(0)])
            })?;
            Ok(Vec::new())
        })?;
        guest.call(WRITE, &[Value::I32(1)], |_| Ok(vec![Value::I32(0)]))?;
        guest.call(WRITE, &[Value::I32(5)], |_| Ok(vec![Value::I32(8)]))?;
        Ok(vec![Value::I32(7), Value::F64(0.5)])
    });
    assert!(ended.is_ok());
}

#[test]
fn calls_are_nested_with_names_and_values_and_host_functions_are_marked() {
    let page = Page::default();
    play(&mut Guest::new(functions(), &CallLog::new(page.clone())));
    assert_eq!(
        page.text(),
        "--> app.main(argc=-1,2)\n\
         \t--> app.$3()\n\
         \t\t==> wasi_snapshot_preview1.random_get(buf=64,buf_len=8)\n\
         \t\t<== errno=0\n\
         \t<--\n\
         \t==> wasi_snapshot_preview1.fd_write(1)\n\
         \t<== 0\n\
         \t==> wasi_snapshot_preview1.fd_write(5)\n\
         \t<== 8\n\
         <-- (7,0.5)\n"
    );
}

#[test]
fn host_only_keeps_exports_for_context() {
    let page = Page::default();
    let log = CallLog::new(page.clone()).host_only();
    play(&mut Guest::new(functions(), &log));
    assert_eq!(
        page.text(),
        "--> app.main(argc=-1,2)\n\
         \t==> wasi_snapshot_preview1.random_get(buf=64,buf_len=8)\n\
         \t<== errno=0\n\
         \t==> wasi_snapshot_preview1.fd_write(1)\n\
         \t<== 0\n\
         \t==> wasi_snapshot_preview1.fd_write(5)\n\
         \t<== 8\n\
         <-- (7,0.5)\n"
    );
}

#[test]
fn scopes_leave_out_the_rest_and_the_console() {
    let page = Page::default();
    let log = CallLog::new(page.clone()).scopes(Scopes::FILESYSTEM);
    play(&mut Guest::new(functions(), &log));
    assert_eq!(
        page.text(),
        "==> wasi_snapshot_preview1.fd_write(5)\n<== 8\n"
    );
    let none = CallLog::new(page).scopes(Scopes::NONE);
    assert!(functions().iter().all(|f| none.listener(f).is_none()));
}

#[test]
fn aborts_and_tail_calls_close_their_lines() {
    let page = Page::default();
    let mut guest = Guest::new(functions(), &CallLog::new(page.clone()));
    let ended = guest.call(INNER, &[], |guest| {
        let caught = guest.call(INNER, &[], |guest| {
            guest.tail_call(RANDOM, &[Value::I32(1), Value::I32(2)], |_| {
                Err(Cause::Exception)
            })
        });
        assert!(caught.is_err());
        Err(Cause::HostError(&std::fmt::Error))
    });
    assert!(ended.is_err());
    assert_eq!(
        page.text(),
        "--> app.$3()\n\
         \t--> app.$3()\n\
         \t<-- tail call\n\
         \t==> wasi_snapshot_preview1.random_get(buf=1,buf_len=2)\n\
         \t<== exception\n\
         <-- error: an error occurred when formatting an argument\n"
    );
}

#[test]
fn two_logs_of_different_functions_count_their_own_depth() {
    let (all, hosts) = (Page::default(), Page::default());
    let factory = (
        CallLog::new(all.clone()),
        CallLog::new(hosts.clone()).scopes(Scopes::RANDOM),
    );
    play(&mut Guest::new(functions(), &factory));
    assert!(
        all.text()
            .contains("\n\t\t==> wasi_snapshot_preview1.random_get(")
    );
    assert!(
        hosts
            .text()
            .starts_with("==> wasi_snapshot_preview1.random_get(")
    );
}

#[test]
fn the_first_failure_to_write_is_told_once() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = CallLog::new(Full);
    play(&mut Guest::new(functions(), &log));
    let error = log.flush().expect_err("nothing could be written");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(log.flush().is_ok());
}

#[test]
fn deep_recursion_is_indented_no_further() {
    fn recurse(guest: &mut Guest, left: u32) -> wasmscope_listen::fake::Ended {
        guest.call(INNER, &[], |guest| match left {
            0 => Ok(Vec::new()),
            _ => recurse(guest, left - 1),
        })
    }
    let page = Page::default();
    let mut guest = Guest::new(functions(), &CallLog::new(page.clone()));
    assert!(recurse(&mut guest, 149).is_ok());
    let text = page.text();
    let indents = text
        .lines()
        .map(|line| line.bytes().take_while(|b| *b == b'\t').count());
    let expected = (0..150)
        .chain((0..150).rev())
        .map(|depth: usize| depth.min(100));
    assert!(indents.eq(expected));
}

#[test]
fn component_functions_have_their_own_values() {
    let ty = FunctionType::new(
        [("name", Type::STRING), ("bytes", Type::list(Type::U8))],
        Some(Type::option(Type::STRING)),
    );
    let greet = ComponentFunction::new(Direction::Import, "greet", ty).of_interface("a:b/c@1.0.0");
    let mut stop = greet.clone();
    stop.name = "stop".to_owned();
    stop.ty = FunctionType::new::<&str>([], None).into();
    let functions = [
        Definition::guest(MAIN).of_component(greet),
        Definition::guest(INNER).of_component(stop),
    ];
    let page = Page::default();
    let log = CallLog::new(page.clone());
    let mut guest = Guest::new(functions, &log);
    guest.instance.memories.push(b"ann\n".to_vec());
    for length in [4, 9] {
        let params = [0, 3, 0, length, 100].map(Value::I32);
        let ended = guest.call(MAIN, &params, |guest| {
            guest.call(INNER, &[], |_| Ok(vec![]))
        });
        assert!(ended.is_ok());
    }
    assert_eq!(
        page.text(),
        "==> a:b/c@1.0.0#greet(name=\"ann\",bytes=b\"ann\\n\")\n\
         \t==> a:b/c@1.0.0#stop()\n\
         \t<==\n\
         <== failed to lift `result`: 12 bytes at 0x64 are out of bounds\n\
         ==> a:b/c@1.0.0#greet(failed to lift `bytes`: 9 bytes at 0x0 are out of bounds)\n\
         \t==> a:b/c@1.0.0#stop()\n\
         \t<==\n\
         <== failed to lift `result`: 12 bytes at 0x64 are out of bounds\n"
    );
}
