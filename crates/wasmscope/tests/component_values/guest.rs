//! A component that shows the host what its core functions get: the words, and the
//! memory behind them.
//!
//! ```text
//!   host ---f(params)---> lift | core f(words) | --spy 0: words, memory--> host
//!                              |   host(words) | --lower--> host.take(params) = result
//!                              |               | --spy 1: words, results, memory--> host
//!        <-----result--------- |   return      | --spy 2: words, results, memory--> host
//! ```

use std::fmt::Write as _;

use wasmtime::component::{Component, Linker, Val, WasmList};
use wasmtime::{Engine, Store};

use super::shape::Shape;

/// What the core function saw at one of the three places.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    pub(crate) params: Vec<u64>,
    pub(crate) results: Vec<u64>,
    pub(crate) memory: Vec<u8>,
}

/// What happened during one call.
pub(crate) struct Heard {
    /// Spied at the export's entry, at the import's return, at the export's return.
    pub(crate) seen: Vec<Seen>,
    /// What the import got.
    pub(crate) taken: Vec<Val>,
    /// What the export returned.
    pub(crate) returned: Option<Val>,
}

/// Where the spied words lie: parameters, and behind them results.
const WORDS: u32 = 64;

/// The spied words of parameters: more than there ever are.
const MOST_WORDS: u32 = 32;

/// Where `realloc` begins.
const HEAP: u32 = 1024;

/// Writes the component. With `is_async`, the import is lowered with `async`.
pub(crate) fn text(
    params: &[Shape],
    result: Option<&Shape>,
    encoding: &str,
    is_async: bool,
) -> String {
    let mut types = Vec::new();
    let mut signature = String::new();
    for (at, shape) in params.iter().enumerate() {
        let ty = shape.text(&mut types);
        let _ = write!(signature, "(param \"p{at}\" {ty}) ");
    }
    if let Some(shape) = result {
        let ty = shape.text(&mut types);
        let _ = write!(signature, "(result {ty})");
    }
    let mut flat: Vec<_> = params.iter().flat_map(Shape::flat).collect();
    if flat.len() > 16 {
        flat = vec!["i32"];
    }
    let flat_result = result.map(Shape::flat).unwrap_or_default();
    let is_returned_flat = flat_result.len() <= 1;
    // Where the import wants to be told where its result goes.
    let has_pointer = result.is_some() && (is_async || !is_returned_flat);
    let export_results = match (result, is_returned_flat) {
        (None, _) => String::new(),
        (Some(_), true) => format!("(result {})", flat_result[0]),
        (Some(_), false) => "(result i32)".to_owned(),
    };
    let import_results = match is_async {
        true => "(result i32)".to_owned(),
        false if has_pointer => String::new(),
        false => export_results.clone(),
    };
    let core_params = format!("(param {})", flat.join(" "));
    let pointer_param = if has_pointer { "(param i32)" } else { "" };

    let mut body = String::new();
    for (at, ty) in flat.iter().enumerate() {
        keep(&mut body, at as u32, ty, &format!("(local.get {at})"));
    }
    let count = flat.len() as u32;
    let spy = |tag: u32, params: u32, results: u32| {
        format!(
            "(call $spy (i32.const {tag}) (i32.const {WORDS}) (i32.const {params}) \
             (i32.const {}) (i32.const {results}) \
             (i32.const 0) (i32.shl (memory.size) (i32.const 16)))\n",
            WORDS + 8 * MOST_WORDS
        )
    };
    body.push_str(&spy(0, count, 0));
    if has_pointer {
        // Room for any result that these tests have.
        body.push_str(
            "(local.set $pointer (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) \
             (i32.const 8192)))\n",
        );
        keep(&mut body, count, "i32", "(local.get $pointer)");
    }
    let arguments: String = (0..flat.len())
        .map(|at| format!("(local.get {at})"))
        .collect();
    let pointer = if has_pointer {
        "(local.get $pointer)"
    } else {
        ""
    };
    let call = format!("(call $host {arguments} {pointer})");
    let import_result = match (is_async, result) {
        (true, _) => Some("i32"),
        (false, Some(_)) if is_returned_flat => Some(flat_result[0]),
        _ => None,
    };
    match import_result {
        Some(ty) => {
            let _ = writeln!(body, "(local.set $result_{ty} {call})");
            keep(
                &mut body,
                MOST_WORDS,
                ty,
                &format!("(local.get $result_{ty})"),
            );
        }
        None => body.push_str(&call),
    }
    let results = u32::from(import_result.is_some());
    body.push_str(&spy(1, count + u32::from(has_pointer), results));
    let export_result = match result {
        None => None,
        Some(_) if !is_returned_flat => Some(("i32", "(local.get $pointer)".to_owned())),
        Some(shape) if is_async => {
            // The flat value is in memory: it is one scalar.
            let ty = flat_result[0];
            Some((ty, format!("({} (local.get $pointer))", load(shape, ty))))
        }
        Some(_) => {
            let ty = flat_result[0];
            Some((ty, format!("(local.get $result_{ty})")))
        }
    };
    let kept = match &export_result {
        Some((ty, value)) => {
            keep(&mut body, MOST_WORDS, ty, value);
            value.as_str()
        }
        None => "",
    };
    body.push_str(&spy(2, count, u32::from(export_result.is_some())));
    body.push_str(kept);

    let types = types.join("\n");
    let canon_async = if is_async { "async" } else { "" };
    let options = format!("(memory $memory) (realloc $realloc) string-encoding={encoding}");
    format!(
        r#"(component
{types}
(import "take" (func $take {canon_async} {signature}))
(import "spy" (func $spy (param "tag" u32) (param "params" (list u64)) (param "results" (list u64)) (param "memory" (list u8))))
(core module $libc
  (memory (export "memory") 8)
  (global $heap (mut i32) (i32.const {HEAP}))
  (func (export "realloc") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
                            (i32.sub (i32.const 0) (local.get $align))))
    (memory.copy (local.get $at) (local.get $old) (local.get $old_len))
    (global.set $heap (i32.add (local.get $at) (local.get $len)))
    (if (i32.gt_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))) (then unreachable))
    (local.get $at)))
(core instance $libc (instantiate $libc))
(alias core export $libc "memory" (core memory $memory))
(alias core export $libc "realloc" (core func $realloc))
(core func $spy_core (canon lower (func $spy) (memory $memory)))
(core func $take_core (canon lower (func $take) {canon_async} {options}))
(core module $main
  (import "" "memory" (memory 8))
  (import "" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
  (import "" "spy" (func $spy (param i32 i32 i32 i32 i32 i32 i32)))
  (import "" "take" (func $host {core_params} {pointer_param} {import_results}))
  (func (export "f") {core_params} {export_results}
    (local $pointer i32)
    (local $result_i32 i32) (local $result_i64 i64) (local $result_f32 f32) (local $result_f64 f64)
{body}))
(core instance $main (instantiate $main (with "" (instance
  (export "memory" (memory $memory)) (export "realloc" (func $realloc))
  (export "spy" (func $spy_core)) (export "take" (func $take_core))))))
(func (export "f") {canon_async} {signature} (canon lift (core func $main "f") {options})))"#
    )
}

/// Stores a core value's bits as one word.
fn keep(body: &mut String, at: u32, ty: &str, value: &str) {
    let bits = match ty {
        "i32" => format!("(i64.extend_i32_u {value})"),
        "i64" => value.to_owned(),
        "f32" => format!("(i64.extend_i32_u (i32.reinterpret_f32 {value}))"),
        _ => format!("(i64.reinterpret_f64 {value})"),
    };
    let _ = writeln!(body, "(i64.store (i32.const {}) {bits})", WORDS + 8 * at);
}

/// Returns the instruction that loads a scalar's flat value.
fn load(shape: &Shape, ty: &str) -> &'static str {
    let width = match shape {
        Shape::Scalar("bool" | "u8") => 1,
        Shape::Scalar("s8") => return "i32.load8_s",
        Shape::Scalar("u16") => 2,
        Shape::Scalar("s16") => return "i32.load16_s",
        Shape::Enum(cases) if *cases <= 256 => 1,
        Shape::Enum(_) => 2,
        Shape::Flags(..=8) => 1,
        Shape::Flags(..=16) => 2,
        Shape::Variant(cases) if cases.len() <= 256 => 1,
        Shape::Variant(_) => 2,
        Shape::Result(..) | Shape::Option(_) => 1,
        Shape::Record(shapes) | Shape::Tuple(shapes) => return load(&shapes[0], ty),
        Shape::FixedList(shape, _) => return load(shape, ty),
        _ => 4,
    };
    match (width, ty) {
        (1, _) => "i32.load8_u",
        (2, _) => "i32.load16_u",
        (_, "i64") => "i64.load",
        (_, "f32") => "f32.load",
        (_, "f64") => "f64.load",
        _ => "i32.load",
    }
}

/// What the host has during a call.
struct Host {
    seen: Vec<Seen>,
    taken: Vec<Val>,
    result: Option<Val>,
}

/// What the import does.
fn take(host: &mut Host, params: &[Val], results: &mut [Val]) {
    host.taken = params.to_vec();
    if let (Some(place), Some(result)) = (results.first_mut(), &host.result) {
        *place = result.clone();
    }
}

/// Calls `f` of a component of [`text`]; its import returns `result`.
pub(crate) fn call(
    engine: &Engine,
    text: &str,
    is_async: bool,
    params: &[Val],
    result: Option<Val>,
) -> Heard {
    let component = Component::new(engine, text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let mut linker = Linker::<Host>::new(engine);
    let mut root = linker.root();
    root.func_wrap(
        "spy",
        |store: wasmtime::StoreContextMut<'_, Host>,
         (_, params, results, memory): (u32, WasmList<u64>, WasmList<u64>, WasmList<u8>)| {
            let mut store = store;
            let words = |words: &WasmList<u64>, store: &wasmtime::StoreContextMut<'_, Host>| {
                words
                    .as_le_slice(store)
                    .iter()
                    .map(|word| u64::from_le(*word))
                    .collect()
            };
            let seen = Seen {
                params: words(&params, &store),
                results: words(&results, &store),
                memory: memory.as_le_slice(&store).to_vec(),
            };
            store.data_mut().seen.push(seen);
            Ok(())
        },
    )
    .expect("spy is new");
    if is_async {
        root.func_new_concurrent("take", |accessor, _, params, results| {
            accessor.with(|mut store| take(store.get(), params, results));
            Box::pin(std::future::ready(Ok(())))
        })
    } else {
        root.func_new("take", |mut store, _, params, results| {
            take(store.data_mut(), params, results);
            Ok(())
        })
    }
    .expect("take is new");
    let has_result = result.is_some();
    let host = Host {
        seen: Vec::new(),
        taken: Vec::new(),
        result,
    };
    let mut store = Store::new(engine, host);
    let mut results = vec![Val::Bool(false); usize::from(has_result)];
    let called = if is_async {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime starts").block_on(async {
            let instance = linker.instantiate_async(&mut store, &component).await?;
            let f = instance.get_func(&mut store, "f").expect("f is exported");
            f.call_async(&mut store, params, &mut results).await
        })
    } else {
        linker
            .instantiate(&mut store, &component)
            .and_then(|instance| {
                let f = instance.get_func(&mut store, "f").expect("f is exported");
                f.call(&mut store, params, &mut results)
            })
    };
    called.unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let host = store.into_data();
    Heard {
        seen: host.seen,
        taken: host.taken,
        returned: results.pop(),
    }
}
