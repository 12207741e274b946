//! Rewritten components in the engine: they behave as before, and their host's functions
//! hear what the test's own record says.

mod heard;

use heard::{Heard, Host, define};
use wasmscope_address::{FuncIndex, WasmOffset};
use wasmscope_instrument::Options;
use wasmscope_instrument::component::{
    Candidate, Component, Instantiation, RewrittenComponent, RewrittenModule,
};
use wasmtime::component::{Instance, Linker, Val};
use wasmtime::{Config, Engine, Store, Strategy};

fn case(name: &str) -> Vec<u8> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../instrument/tests/components/"
    );
    wat::parse_file(format!("{path}{name}.wat")).expect("it is in the text format")
}

fn rewrite(wasm: &[u8], expose: bool, probed: &dyn Fn(Candidate) -> bool) -> RewrittenComponent {
    let options = Options {
        suffix: ":ab".to_owned(),
        key: 7,
        expose,
        ..Options::default()
    };
    let component = Component::parse(wasm).expect("it is valid");
    component
        .rewrite(&options, probed)
        .expect("it can be rewritten")
}

/// Instantiates a component whose host also says what `strings.wat` asks for.
fn instantiate(wasm: &[u8], look: bool) -> wasmtime::Result<(Store<Heard>, Instance)> {
    let engine = Engine::new(Config::new().wasm_component_model_async(true))?;
    let component = wasmtime::component::Component::new(&engine, wasm)?;
    let mut linker = Linker::<Heard>::new(&engine);
    define(&mut linker, ":ab")?;
    let mut log = linker.instance("demo:host/log@1.0.0")?;
    log.func_wrap("say", |mut store: Host<'_>, (words,): (String,)| {
        store.data_mut().event(format!("said {words}"));
        Ok((words.len() as u32,))
    })?;
    let heard = Heard {
        look,
        ..Heard::default()
    };
    let mut store = Store::new(&engine, heard);
    let instance = linker.instantiate(&mut store, &component)?;
    Ok((store, instance))
}

fn greet(store: &mut Store<Heard>, instance: Instance) -> wasmtime::Result<Val> {
    let missing = || wasmtime::Error::msg("it exports no such function");
    let interface = instance
        .get_export_index(&mut *store, None, "demo:host/greeter@1.0.0")
        .ok_or_else(missing)?;
    let greet = instance
        .get_export_index(&mut *store, Some(&interface), "greet")
        .ok_or_else(missing)?;
    let greet = instance.get_func(&mut *store, greet).ok_or_else(missing)?;
    let mut results = [Val::Bool(false)];
    greet.call(store, &[Val::String("you".into())], &mut results)?;
    Ok(results[0].clone())
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
                Instantiation::Core { module, .. } => match &rewritten.modules[*module] {
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
        let (mut store, instance) = instantiate(&rewritten.wasm, look).unwrap();
        for _ in 0..2 {
            let greeting = greet(&mut store, instance).unwrap();
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
async fn run(
    compiler: Strategy,
    wasm: &[u8],
    look: bool,
) -> wasmtime::Result<(Store<Heard>, Vec<String>)> {
    let mut config = Config::new();
    config.wasm_component_model_async(true).strategy(compiler);
    let engine = Engine::new(&config)?;
    let component = wasmtime::component::Component::new(&engine, wasm)?;
    let mut linker = Linker::<Heard>::new(&engine);
    define(&mut linker, ":ab")?;
    let mut log = linker.instance("demo:host/log@1.0.0")?;
    log.func_wrap("say", |_: Host<'_>, (words,): (String,)| {
        Ok((words.len() as u32,))
    })?;
    let heard = Heard {
        look,
        ..Heard::default()
    };
    let mut store = Store::new(&engine, heard);
    let instance = linker.instantiate_async(&mut store, &component).await?;
    let ty = component.component_type();
    let mut told = Vec::new();
    for (name, item) in ty.exports(&engine) {
        let wasmtime::component::types::ComponentItem::ComponentFunc(ty) = item.ty else {
            continue;
        };
        if ty.params().len() > 0 {
            continue;
        }
        let function = instance.get_func(&mut store, name).expect("it is exported");
        let mut results = vec![Val::Bool(false); ty.results().len()];
        function.call_async(&mut store, &[], &mut results).await?;
        told.push(format!("{name}: {results:?}"));
    }
    Ok((store, told))
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
        let (_, expected) = run(Strategy::Cranelift, &wasm, false).await.unwrap();
        assert!(!expected.is_empty(), "{name}");
        for (compiler, expose) in [
            (Strategy::Cranelift, false),
            (Strategy::Cranelift, true),
            (Strategy::Winch, true),
        ] {
            let rewritten = rewrite(&wasm, expose, &|_| true);
            let (store, told) = run(compiler, &rewritten.wasm, true).await.unwrap();
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
            let others = &store.data().others;
            assert!(others.iter().all(|(index, _)| *index > 0), "{name}");
            assert!(others.is_empty() || expose, "{name}");
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
        let (site, _) = begins.split_once(' ').expect("it was written so");
        let (number, probe) = site.split_once('.').expect("it was written so");
        let Instantiation::Core { module, .. } =
            rewritten.instantiations[&number.parse().expect("it was written so")]
        else {
            continue;
        };
        let RewrittenModule::Original(module) = &rewritten.modules[module] else {
            panic!("an instantiation of a module that is not the original's");
        };
        let function = module.probes[probe.parse::<usize>().expect("it was written so")];
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

#[tokio::test]
async fn events_without_room_are_counted_and_are_the_last() {
    let wasm = case("lost");
    let rewritten = rewrite(&wasm, false, &|_| true);
    let (store, told) = run(Strategy::Cranelift, &rewritten.wasm, false)
        .await
        .unwrap();
    assert_eq!(told, ["run: [U32(3)]"]);
    // Room for 64 KiB, but for what is ahead of the records: the call of `realloc`, with four values, and then calls of `tick`
    // and their returns, without any.
    const HEAD: usize = 16;
    let room = (1 << 16) - 16 - (HEAD + 4 * 8);
    let kept = 1 + room / HEAD;
    let lost = 2 + 2 * 5000 - kept;
    let events = &store.data().events;
    let first = events
        .iter()
        .position(|event| event.starts_with("deferred"))
        .unwrap();
    assert_eq!(events[first], format!("deferred, {lost} lost"));
    assert_eq!(events[first + 1 + kept], "now");
    assert!(events[first + 1].ends_with(".1 [0, 0, 1, 3]"), "{events:?}");
    for (at, event) in events[first + 2..first + 1 + kept].iter().enumerate() {
        assert_eq!(event.ends_with(".0 []"), at % 2 == 0, "{event}");
        assert_eq!(event == "- []", at % 2 == 1, "{event}");
    }
    // What comes behind is told again.
    let behind = &events[first + 2 + kept..];
    assert!(behind[0].starts_with('+'), "{behind:?}");
    assert!(behind.len() >= 6, "{behind:?}");
}
