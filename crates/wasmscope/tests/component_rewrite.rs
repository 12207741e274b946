//! Rewritten components in the engine: they behave as before, and their host's functions
//! hear what the test's own record says.

use wasmscope_address::{FuncIndex, WasmOffset};
use wasmscope_instrument::Options;
use wasmscope_instrument::component::deferred::Records;
use wasmscope_instrument::component::interface::{LOOK, import_name};
use wasmscope_instrument::component::{
    Candidate, Component, Instantiation, RewrittenComponent, RewrittenModule,
};
use wasmscope_instrument::hooks::Hook;
use wasmtime::component::{Instance, Linker, Val, WasmList};
use wasmtime::{Config, Engine, Store, StoreContextMut};

/// What a host hears, as words.
#[derive(Default)]
struct Heard {
    /// The instantiation of each attached instance.
    attached: Vec<u32>,
    events: Vec<String>,
    staged: Vec<u64>,
    looks: Vec<usize>,
    look: bool,
}

impl Heard {
    fn event(&mut self, event: String) {
        self.events.push(event);
    }
}

type Host<'a> = StoreContextMut<'a, Heard>;

fn define(linker: &mut Linker<Heard>, suffix: &str) {
    let mut host = linker.instance(&import_name(suffix)).unwrap();
    host.func_wrap(
        "attach",
        |mut store: Host<'_>, (key, number): (u64, u32)| {
            assert_eq!(key, 7);
            let heard = store.data_mut();
            heard.attached.push(number);
            let look = if heard.look { LOOK } else { 0 };
            Ok((heard.attached.len() as u32 - 1 | look,))
        },
    )
    .unwrap();
    macro_rules! hook {
        ($($number:literal: ($($value:ident),*) ($($ty:ty),*);)*) => {$(
            host.func_wrap(
                concat!("before", $number),
                |mut store: Host<'_>, (instance, probe, $($value),*): (u32, u32, $($ty),*)| {
                    store.data_mut().before(instance, probe, &[$($value),*]);
                    Ok(())
                },
            )
            .unwrap();
            host.func_wrap(
                concat!("after", $number),
                |mut store: Host<'_>, ($($value,)*): ($($ty,)*)| {
                    store.data_mut().after(&[$($value),*]);
                    Ok(())
                },
            )
            .unwrap();
        )*};
    }
    hook! {
        0: () ();
        1: (a) (u64);
        2: (a, b) (u64, u64);
        3: (a, b, c) (u64, u64, u64);
        4: (a, b, c, d) (u64, u64, u64, u64);
    }
    host.func_wrap(
        "stage4",
        |mut store: Host<'_>, (a, b, c, d): (u64, u64, u64, u64)| {
            store.data_mut().staged.extend([a, b, c, d]);
            Ok(())
        },
    )
    .unwrap();
    host.func_wrap("tail", |mut store: Host<'_>, ()| {
        store.data_mut().event("tail".to_owned());
        Ok(())
    })
    .unwrap();
    host.func_wrap("unwind", |mut store: Host<'_>, ()| {
        store.data_mut().event("unwind".to_owned());
        Ok(())
    })
    .unwrap();
    host.func_wrap(
        "deferred",
        |mut store: Host<'_>, (records, lost): (WasmList<u8>, u64)| {
            let bytes = records.as_le_slice(&store).to_vec();
            let heard = store.data_mut();
            heard.event(format!("deferred, {lost} lost"));
            for record in Records::new(&bytes) {
                let record = record?;
                match record.hook {
                    Hook::Before(_) => heard.before(record.instance, record.probe, record.values()),
                    Hook::After(_) => heard.after(record.values()),
                    Hook::Stage => heard.staged.extend(record.values()),
                    hook => heard.event(hook.to_string()),
                }
            }
            heard.event("now".to_owned());
            Ok(())
        },
    )
    .unwrap();
    host.func_wrap("look", |mut store: Host<'_>, (memory,): (WasmList<u8>,)| {
        let len = memory.as_le_slice(&store).len();
        store.data_mut().looks.push(len);
        Ok(())
    })
    .unwrap();
}

impl Heard {
    fn before(&mut self, instance: u32, probe: u32, values: &[u64]) {
        self.staged.extend(values);
        let values = std::mem::take(&mut self.staged);
        self.event(format!(
            "+{}.{probe} {values:?}",
            self.attached[instance as usize]
        ));
    }

    fn after(&mut self, values: &[u64]) {
        self.staged.extend(values);
        let values = std::mem::take(&mut self.staged);
        self.event(format!("- {values:?}"));
    }
}

fn case(name: &str) -> Vec<u8> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../instrument/tests/components/"
    );
    wat::parse_file(format!("{path}{name}.wat")).unwrap()
}

fn rewrite(wasm: &[u8], expose: bool, probed: &dyn Fn(Candidate) -> bool) -> RewrittenComponent {
    let options = Options {
        suffix: ":ab".to_owned(),
        key: 7,
        expose,
        ..Options::default()
    };
    let component = Component::parse(wasm).unwrap();
    component.rewrite(&options, probed).unwrap()
}

/// Instantiates a component whose host also says what `strings.wat` asks for.
fn instantiate(wasm: &[u8], look: bool) -> (Store<Heard>, Instance) {
    let engine = Engine::new(Config::new().wasm_component_model_async(true)).unwrap();
    let component = wasmtime::component::Component::new(&engine, wasm).unwrap();
    let mut linker = Linker::<Heard>::new(&engine);
    define(&mut linker, ":ab");
    let mut log = linker.instance("demo:host/log@1.0.0").unwrap();
    log.func_wrap("say", |mut store: Host<'_>, (words,): (String,)| {
        store.data_mut().event(format!("said {words}"));
        Ok((words.len() as u32,))
    })
    .unwrap();
    let heard = Heard {
        look,
        ..Heard::default()
    };
    let mut store = Store::new(&engine, heard);
    let instance = linker.instantiate(&mut store, &component).unwrap();
    (store, instance)
}

fn greet(store: &mut Store<Heard>, instance: Instance) -> Val {
    let interface = instance
        .get_export_index(&mut *store, None, "demo:host/greeter@1.0.0")
        .unwrap();
    let greet = instance
        .get_export_index(&mut *store, Some(&interface), "greet")
        .unwrap();
    let greet = instance.get_func(&mut *store, greet).unwrap();
    let mut results = [Val::Bool(false)];
    greet
        .call(store, &[Val::String("you".into())], &mut results)
        .unwrap();
    results[0].clone()
}

/// The events of `greet("you")` where `at` is where the name goes, by the numbers of
/// instantiations; written by hand from the component's text.
fn greeting(numbers: [u32; 4], at: u64) -> Vec<String> {
    let [libc, main, lift, lower] = numbers;
    let event = |number: u32, probe: u32, values: &[u64]| format!("+{number}.{probe} {values:?}");
    let done = |values: &[u64]| format!("- {values:?}");
    vec![
        "deferred, 0 lost".to_owned(),
        event(libc, 1, &[0, 0, 1, 3]),
        event(libc, 0, &[3]),
        done(&[at]),
        done(&[at]),
        "now".to_owned(),
        event(lift, 0, &[at, 3]),
        event(main, 2, &[at, 3]),
        event(main, 0, &[at, 3]),
        event(lower, 0, &[at, 3]),
        "said you".to_owned(),
        done(&[3]),
        done(&[3]),
        event(main, 1, &[512, 16, 7]),
        done(&[]),
        event(main, 1, &[519, at, 3]),
        done(&[]),
        done(&[8]),
        done(&[8]),
    ]
}

/// The clean-up behind `greet`, which is told with what comes next.
fn freeing(main: u32) -> Vec<String> {
    [
        "deferred, 0 lost".to_owned(),
        format!("+{main}.4 [8]"),
        format!("+{main}.3 [8]"),
        "- []".to_owned(),
        "- []".to_owned(),
    ]
    .to_vec()
}

/// Returns the numbers of `$libc`, `$main`, the lifted `greet` and the lowered `say`.
fn numbers(rewritten: &RewrittenComponent) -> [u32; 4] {
    let number = |original: Option<usize>, function: Option<usize>| {
        let found = rewritten
            .instantiations
            .iter()
            .find(|(_, what)| match what {
                Instantiation::Core { module } => match &rewritten.modules[*module] {
                    RewrittenModule::Original(module) => Some(module.index) == original,
                    _ => panic!("an instantiation of a module that is not the original's"),
                },
                Instantiation::Functions { functions, .. } => {
                    function == functions.first().copied()
                }
            });
        *found.expect("it is instantiated").0
    };
    let functions = |function| number(None, Some(function));
    [
        number(Some(0), None),
        number(Some(1), None),
        functions(1),
        functions(0),
    ]
}

#[test]
fn strings_come_and_go_as_before_and_every_call_is_heard() {
    let wasm = case("strings");
    let rewritten = rewrite(&wasm, true, &|_| true);
    for look in [false, true] {
        let (mut store, instance) = instantiate(&rewritten.wasm, look);
        for _ in 0..2 {
            let greeting = greet(&mut store, instance);
            assert_eq!(greeting, Val::String("hello, you".into()));
        }
        let numbers = numbers(&rewritten);
        let mut expected = greeting(numbers, 1024);
        expected.extend(freeing(numbers[1]));
        expected.extend(greeting(numbers, 1027).into_iter().skip(1));
        let heard = store.data();
        assert_eq!(heard.events, expected);
        let attached = rewritten.instantiations.keys().copied().collect::<Vec<_>>();
        assert_eq!(heard.attached, attached);
        // Behind each event that was not deferred, all of one page.
        let events = if look { 24 } else { 0 };
        assert_eq!(heard.looks, vec![65536; events]);
    }
}

/// Calls every exported function that takes nothing, and returns what they return.
async fn run(wasm: &[u8], look: bool) -> (Store<Heard>, Vec<String>) {
    let engine = Engine::new(Config::new().wasm_component_model_async(true)).unwrap();
    let component = wasmtime::component::Component::new(&engine, wasm).unwrap();
    let mut linker = Linker::<Heard>::new(&engine);
    define(&mut linker, ":ab");
    let mut log = linker.instance("demo:host/log@1.0.0").unwrap();
    log.func_wrap("say", |_: Host<'_>, (words,): (String,)| {
        Ok((words.len() as u32,))
    })
    .unwrap();
    let heard = Heard {
        look,
        ..Heard::default()
    };
    let mut store = Store::new(&engine, heard);
    let instance = linker
        .instantiate_async(&mut store, &component)
        .await
        .unwrap();
    let ty = component.component_type();
    let mut told = Vec::new();
    for (name, item) in ty.exports(&engine) {
        let wasmtime::component::types::ComponentItem::ComponentFunc(ty) = item.ty else {
            continue;
        };
        if ty.params().len() > 0 {
            continue;
        }
        let function = instance.get_func(&mut store, name).unwrap();
        let mut results = vec![Val::Bool(false); ty.results().len()];
        function
            .call_async(&mut store, &[], &mut results)
            .await
            .unwrap();
        told.push(format!("{name}: {results:?}"));
    }
    (store, told)
}

/// The calls of each function that a core module defines, by name, as the cases' texts say.
const CALLS: [(&str, &[(&str, usize)]); 6] = [
    ("nested", &[("put", 3), ("realloc", 3), ("run", 1)]),
    ("twice", &[("bump", 5), ("run", 2)]),
    (
        "resources",
        &[
            ("churn", 1),
            ("dropped", 1),
            ("dtor", 2),
            ("make", 1),
            ("note", 2),
            ("run", 1),
            ("weigh", 1),
        ],
    ),
    (
        "start",
        &[
            ("hello", 1),
            ("run", 1),
            ("say", 1),
            ("start", 1),
            ("tick", 2),
        ],
    ),
    (
        "encodings",
        &[
            ("clean", 1),
            ("many", 1),
            ("mixed", 1),
            ("run", 1),
            ("size", 2),
        ],
    ),
    (
        "concurrent",
        &[
            ("callback", 2),
            ("double", 1),
            ("finish", 1),
            ("now", 1),
            ("run", 1),
            ("sum", 1),
        ],
    ),
];

#[tokio::test]
async fn components_do_as_before_and_every_call_is_heard() {
    for (name, calls) in CALLS {
        let wasm = case(name);
        let component = Component::parse(&wasm).unwrap();
        let (_, expected) = run(&wasm, false).await;
        assert!(!expected.is_empty(), "{name}");
        for expose in [false, true] {
            let rewritten = rewrite(&wasm, expose, &|_| true);
            let (store, told) = run(&rewritten.wasm, true).await;
            assert_eq!(told, expected, "{name}");
            let heard = counts(&component, &rewritten, &store.data().events);
            let heard = heard.iter().map(|(name, count)| (name.as_str(), *count));
            // How often strings that are transcoded are allocated is for the engine to say.
            let heard = heard.filter(|(function, _)| *function != "realloc" || name != "encodings");
            assert_eq!(heard.collect::<Vec<_>>(), calls, "{name}");
            // One look for each event, and something to see only where that was asked for.
            let looks = &store.data().looks;
            let seen = looks.iter().any(|len| *len > 0);
            assert_eq!(seen, expose && name != "resources", "{name}");
            assert_eq!(looks.len(), prompt(&store.data().events), "{name}");
        }
    }
}

/// Counts the events that were told as they happened.
fn prompt(events: &[String]) -> usize {
    let mut deferred = false;
    let mut count = 0;
    for event in events {
        match event.as_str() {
            "now" => deferred = false,
            _ if event.starts_with("deferred") => deferred = true,
            _ => count += usize::from(!deferred),
        }
    }
    count
}

/// Counts the calls of functions that core modules define, by name, and checks that all
/// calls are closed in order.
fn counts(
    component: &Component<'_>,
    rewritten: &RewrittenComponent,
    events: &[String],
) -> std::collections::BTreeMap<String, usize> {
    let mut counts = std::collections::BTreeMap::new();
    let mut open = 0;
    for event in events {
        let Some(begins) = event.strip_prefix('+') else {
            open -= i32::from(event.starts_with('-'));
            assert!(open >= 0, "{events:?}");
            continue;
        };
        open += 1;
        let (site, _) = begins.split_once(' ').unwrap();
        let (number, probe) = site.split_once('.').unwrap();
        let Instantiation::Core { module } = rewritten.instantiations[&number.parse().unwrap()]
        else {
            continue;
        };
        let RewrittenModule::Original(module) = &rewritten.modules[module] else {
            panic!("an instantiation of a module that is not the original's");
        };
        let function = module.probes[probe.parse::<usize>().unwrap()];
        let original = &component.modules()[module.index].module;
        let function = &original.functions()[function.0 as usize];
        if function.import.is_none() {
            let name = function.name.or(function.exports.first().copied());
            *counts.entry(name.unwrap_or("?").to_owned()).or_default() += 1;
        }
    }
    assert_eq!(open, 0, "{events:?}");
    counts
}

/// Each function of the engine's compiled code is of the module that the rewriter says has
/// this number, and each of its instructions that came from the original leads there.
#[test]
fn engines_number_modules_and_place_code_as_the_rewriter_says() {
    let guests = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/");
    let guest = wat::parse_file(format!("{guests}component.wasm")).unwrap();
    let mut files = CALLS.map(|(name, _)| (name, case(name))).to_vec();
    files.push(("component.wasm", guest));
    let engine = Engine::new(Config::new().wasm_component_model_async(true)).unwrap();
    for (name, wasm) in files {
        let original = Component::parse(&wasm).unwrap();
        let rewritten = rewrite(&wasm, true, &|_| true);
        let component = wasmtime::component::Component::new(&engine, &rewritten.wasm).unwrap();
        let places = component.address_map().unwrap().collect::<Vec<_>>();
        let mut defined = 0;
        for function in component.functions() {
            let module = function.module.as_u32() as usize;
            let Some(RewrittenModule::Original(module)) = rewritten.modules.get(module) else {
                continue;
            };
            let index = FuncIndex(function.index.as_u32());
            let index = module.map.original_function(index).unwrap();
            let nested = &original.modules()[module.index];
            let Some(body) = nested.module.functions()[index.0 as usize].body.clone() else {
                continue;
            };
            defined += 1;
            let body = body.start + nested.offset..body.end + nested.offset;
            let first = places.partition_point(|(at, _)| *at < function.offset);
            let past = places.partition_point(|(at, _)| *at < function.offset + function.len);
            let mut came = 0;
            for (_, offset) in &places[first..past] {
                let offset = offset.map(WasmOffset);
                if let Some(offset) = offset.and_then(|offset| rewritten.original(offset)) {
                    assert!(body.contains(&(offset.0 as usize)), "{name}: {offset}");
                    came += 1;
                }
            }
            // To return a parameter takes no instruction of its own.
            const RETURNS_A_PARAMETER: usize = 4;
            let nothing = body.len() <= RETURNS_A_PARAMETER;
            assert!(came > 0 || nothing, "{name}: nothing of function {index}");
        }
        let functions = original.modules().iter();
        let functions = functions.flat_map(|nested| nested.module.functions());
        let bodies = functions.filter(|function| function.body.is_some());
        assert_eq!(defined, bodies.count(), "{name}");
    }
}
