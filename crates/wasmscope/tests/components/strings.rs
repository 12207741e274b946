//! Strings in and out: what is told where, `realloc` and `post-return` included.

use crate::compiled::compiled;
use crate::engines::configs;
use crate::ledger::Ledger;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, PoolingAllocationConfig, Store, StoreContextMut};

/// Takes a string, has the host say one, and returns both joined; everything by way of
/// functions of its own.
pub(crate) const TEXT: &str = r#"(component
  (import "local:test/host@1.2.3" (instance $host
    (export "say" (func (param "what" string) (param "loud" bool) (result string)))))
  (core module $libc
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 1024))
    (func $bump (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $free))
      (global.set $free (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
      (local.get $at))
    (func $realloc (export "realloc") (param i32 i32 i32 i32) (result i32)
      (call $bump (local.get 3)))
    (func $clean (export "clean") (param i32)
      (call $release (local.get 0)))
    (func $release (param i32)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (alias export $host "say" (func $say))
  (core func $say (canon lower (func $say) (memory $memory) (realloc (core func $realloc))))
  (core module $app
    (import "local:test/host@1.2.3" "say" (func $say (param i32 i32 i32 i32)))
    (import "libc" "memory" (memory 1))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (func $append (param $to i32) (param $from i32) (param $len i32) (result i32)
      (memory.copy (local.get $to) (local.get $from) (local.get $len))
      (i32.add (local.get $to) (local.get $len)))
    (func $greet (export "greet") (param $at i32) (param $len i32) (result i32)
      (local $said i32) (local $to i32)
      (local.set $said (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 16)))
      (call $say (local.get $at) (local.get $len) (i32.const 1) (local.get $said))
      (local.set $to (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 256)))
      (i32.store offset=8 (local.get $said) (local.get $to))
      (i32.store offset=12 (local.get $said)
        (i32.sub
          (call $append
            (call $append (local.get $to) (local.get $at) (local.get $len))
            (i32.load (local.get $said)) (i32.load offset=4 (local.get $said)))
          (local.get $to)))
      (i32.add (local.get $said) (i32.const 8))))
  (core instance $app (instantiate $app
    (with "libc" (instance $libc))
    (with "local:test/host@1.2.3" (instance (export "say" (func $say))))))
  (func $greet (param "name" string) (result string)
    (canon lift (core func $app "greet") (memory $memory)
      (realloc (core func $realloc)) (post-return (core func $libc "clean"))))
  (instance $api (export "greet" (func $greet)))
  (export "local:test/api@1.2.3" (instance $api)))"#;

/// Defines what the component imports.
pub(crate) fn host<T: 'static>(linker: &mut Linker<T>) {
    let mut host = linker.instance("local:test/host@1.2.3").expect("free");
    host.func_wrap(
        "say",
        |_: StoreContextMut<'_, T>, (what, loud): (String, bool)| {
            let end = if loud { "!" } else { "." };
            Ok((format!(", {}{end}", what.to_uppercase()),))
        },
    )
    .expect("free");
}

/// The events of a call of `greet`, as the engine makes it: the parameter is copied into
/// memory that `realloc` gives, and what the host said too. `first` is where memory is free.
pub(crate) fn greeting(name: &str, first: u32) -> Vec<String> {
    let mut lines = Vec::new();
    let mut free = first;
    let mut allocate = |lines: &mut Vec<String>, align: u32, size: u32, by_guest: bool| {
        let at = free;
        free = (free + size + 7) & !7;
        let deferred = if by_guest { "" } else { " (deferred)" };
        // The guest's calls go through its own import.
        let realloc = if by_guest { 2 } else { 1 };
        for _ in 0..realloc {
            lines.push(format!("> libc.realloc[0, 0, {align}, {size}]{deferred}"));
        }
        lines.push(format!("> libc.bump[{size}]{deferred}"));
        lines.push(format!("< libc.bump[{at}]"));
        for _ in 0..realloc {
            lines.push(format!("< libc.realloc[{at}]"));
        }
        at
    };
    let (len, loud) = (name.len() as u32, name.to_uppercase());
    let name_at = allocate(&mut lines, 1, len, false);
    lines.push(format!("> local:test/api@1.2.3#greet(\"{name}\")"));
    lines.push(format!("> app.greet[{name_at}, {len}]"));
    let result = allocate(&mut lines, 4, 16, true);
    lines.push(format!("> local:test/host@1.2.3#say(\"{name}\", true)"));
    let said = allocate(&mut lines, 1, len + 3, false);
    lines.push(format!("< local:test/host@1.2.3#say(\", {loud}!\")"));
    let to = allocate(&mut lines, 1, 256, true);
    for (to, from, len) in [(to, name_at, len), (to + len, said, len + 3)] {
        lines.push(format!("> app.append[{to}, {from}, {len}]"));
        lines.push(format!("< app.append[{}]", to + len));
    }
    lines.push(format!("< app.greet[{}]", result + 8));
    lines.push(format!("< local:test/api@1.2.3#greet(\"{name}, {loud}!\")"));
    lines
}

/// The events of giving back the result of that call, told with what comes next.
pub(crate) fn cleaning(first: u32) -> Vec<String> {
    let result = first + 8 + 8;
    [
        format!("> libc.clean[{result}] (deferred)"),
        format!("> libc.release[{result}] (deferred)"),
        "< libc.release[]".to_owned(),
        "< libc.clean[]".to_owned(),
    ]
    .to_vec()
}

async fn run(name: &str, config: &Config, asynchronous: bool) {
    let engine = Engine::new(config).expect(name);
    let bytes = wat::parse_str(TEXT).expect("it is text");
    let ledger = Ledger::writing();
    let listening = ledger.listening();
    let guest = listening.compile_component(&engine, bytes).expect(name);
    let mut linker = Linker::new(&engine);
    listening
        .add_to_component_linker(&mut linker)
        .expect("free");
    host(&mut linker);
    let mut store = Store::new(&engine, ());
    let component = guest.component();
    let instance = if asynchronous {
        linker.instantiate_async(&mut store, component).await
    } else {
        linker.instantiate(&mut store, component)
    };
    let instance = instance.expect(name);
    let api = instance.get_export_index(&mut store, None, "local:test/api@1.2.3");
    let greet = instance.get_export_index(&mut store, api.as_ref(), "greet");
    let greet = instance
        .get_typed_func::<(&str,), (String,)>(&mut store, greet.expect("it is there"))
        .expect(name);
    // Where memory is free at each call: a name, a result, what was said, both.
    let free = [1024, 1024 + 8 + 16 + 8 + 256];
    let mut expected = Vec::new();
    for (guest, first) in ["Ada", "Bob"].into_iter().zip(free) {
        let said = if asynchronous {
            greet.call_async(&mut store, (guest,)).await
        } else {
            greet.call(&mut store, (guest,))
        };
        let (said,) = said.expect(name);
        assert_eq!(
            said,
            format!("{guest}, {}!", guest.to_uppercase()),
            "{name}"
        );
        expected.extend(greeting(guest, first));
        assert_eq!(ledger.take(), expected, "{name}");
        expected = cleaning(first);
    }
    drop(store);
    assert!(ledger.settled() > 0);
    assert_eq!(guest.lost(), 0);
}

#[tokio::test]
async fn every_function_of_a_component_that_passes_strings() {
    for (name, config) in configs() {
        run(name, &config, false).await;
        run(name, &config, true).await;
    }
}

#[test]
fn one_component_in_stores_on_many_threads() {
    const STORES: u64 = 25;
    const THREADS: u64 = 4;
    let mut config = Config::new();
    config.allocation_strategy(PoolingAllocationConfig::new());
    let engine = Engine::new(&config).expect("it is a configuration");
    let ledger = Ledger::default();
    let listening = ledger.listening();
    let (guest, mut linker) = compiled(&listening, &engine, TEXT);
    host(&mut linker);
    let greet_twice = || -> wasmtime::Result<()> {
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, guest.component())?;
        let api = instance.get_export_index(&mut store, None, "local:test/api@1.2.3");
        let greet = instance.get_export_index(&mut store, api.as_ref(), "greet");
        let greet = greet.expect("it is there");
        let greet = instance.get_typed_func::<(&str,), (String,)>(&mut store, greet)?;
        for _ in 0..2 {
            assert_eq!(greet.call(&mut store, ("Ada",))?.0, "Ada, ADA!");
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..STORES).for_each(|_| greet_twice().expect("it runs")));
        }
    });
    let lines = greeting("Ada", 0).len() * 2 + cleaning(0).len();
    assert_eq!(ledger.settled(), THREADS * STORES * lines as u64 / 2);
    assert_eq!(guest.lost(), 0);
}
