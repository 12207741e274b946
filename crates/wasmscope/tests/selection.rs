//! What a selection shows where tenants share a module and threads.

use wasmscope::{Clock, Guest, Labels, Profile, Profiler, Selection};
use wasmtime::{Engine, Instance, Module, Store};

const SPIN: &str = "(module (func $spin (export \"spin\") (local i32)
    (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1)))
                             (i32.const 30000000))))))";

fn spin(engine: &Engine, module: &Module) {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[]).expect("runs");
    let spin = instance
        .get_typed_func::<(), ()>(&mut store, "spin")
        .expect("runs");
    spin.call(&mut store, ()).expect("runs");
}

fn mappings(profile: &Profile) -> Vec<&str> {
    profile
        .mappings()
        .map(|(_, mapping)| mapping.name.as_str())
        .collect()
}

fn functions(profile: &Profile) -> Vec<&str> {
    profile
        .functions()
        .map(|(_, function)| function.name.as_str())
        .collect()
}

#[test]
fn a_module_that_two_tenants_share_has_each_one_s_name_for_each() {
    let engine = Engine::default();
    let module = Module::new(&engine, SPIN).unwrap();
    let profiler = Profiler::builder().clock(Clock::Cpu).start().unwrap();
    let acme = profiler.register(Guest::module("acme", &module)).unwrap();
    let globex = profiler.register(Guest::module("globex", &module)).unwrap();
    assert_eq!((acme.name(), globex.name()), ("acme", "globex"));
    let hidden = Guest::module("third", &module).hidden();
    let refused = profiler.register(hidden).unwrap_err().to_string();
    assert!(
        refused.contains("third") && refused.contains("acme"),
        "{refused}"
    );

    let thread = profiler.attach_thread().unwrap();
    for tenant in ["acme", "globex"] {
        let labels = Labels::new()
            .with("tenant", tenant)
            .with("secret", "s3cr3t");
        labels.scope(|| spin(&engine, &module));
    }
    drop(thread);
    let recording = profiler.take();
    for tenant in ["acme", "globex"] {
        let selection = Selection::everything()
            .labelled("tenant", tenant)
            .only_guests([tenant])
            .guest_safe();
        let profile = recording.select(&selection);
        assert_eq!(mappings(&profile), [tenant]);
        assert!(functions(&profile).contains(&"spin"));
        assert!(profile.samples().len() > 0);
        for sample in profile.samples() {
            let labels = profile.labels(sample.labels);
            assert_eq!(labels.len(), 1, "only the label that was selected");
            assert_eq!(labels[0].key, "tenant");
        }
        let kept = recording.select(&selection.keep_label("secret"));
        let sample = kept.samples().next().unwrap();
        assert_eq!(kept.labels(sample.labels).len(), 2);
    }
    let unlabelled = recording.select(&Selection::everything().guest_safe());
    assert_eq!(mappings(&unlabelled), ["(shared module)"]);
}

#[test]
fn without_labels_a_guest_sees_only_samples_that_it_is_in() {
    let engine = Engine::default();
    let acme = Module::new(&engine, SPIN).unwrap();
    let globex = Module::new(&engine, SPIN.replace("$spin", "$other")).unwrap();
    let profiler = Profiler::builder()
        .product("/secret/host")
        .clock(Clock::Cpu)
        .start()
        .unwrap();
    let _acme = profiler.register(Guest::module("acme", &acme)).unwrap();
    let _globex = profiler.register(Guest::module("globex", &globex)).unwrap();
    let thread = profiler.attach_thread().unwrap();
    spin(&engine, &acme);
    spin(&engine, &globex);
    spin(&engine, &globex);
    drop(thread);
    let recording = profiler.take();
    let whole = recording.profile();
    let own = recording.select(&Selection::everything().only_guests(["acme"]).guest_safe());
    assert_eq!(functions(&own), ["spin"]);
    // As many as the whole has of this guest, and of the other it has some as well.
    let having = |wanted: &str| {
        let has = |sample: &wasmscope::profile::Sample| {
            let stack = sample.stack.into_iter();
            let mut frames = stack.flat_map(|stack| whole.stack_frames(stack));
            frames.any(|frame| whole.function(frame.function).name == wanted)
        };
        whole.samples().filter(has).count()
    };
    assert!(own.samples().len() > 0);
    assert_eq!(own.samples().len(), having("spin"));
    assert!(having("other") > 0);
    assert!(!own.meta().product.contains("secret"));
    let counted = own.accounting().unwrap();
    assert_eq!(
        counted.kept,
        own.samples().map(|sample| sample.count).sum::<u64>()
    );
}

/// A label set for each request, made anew each time, is one set for each tenant.
#[test]
fn labels_made_anew_for_each_request_do_not_pile_up() {
    let engine = Engine::default();
    let module = Module::new(&engine, SPIN.replace("30000000", "300000")).unwrap();
    let limits = wasmscope::Limits {
        labels: 4,
        ..wasmscope::Limits::default()
    };
    let profiler = Profiler::builder().limits(limits).start().unwrap();
    let _guest = profiler.register(Guest::module("guest", &module)).unwrap();
    let thread = profiler.attach_thread().unwrap();
    for request in 0..2000 {
        let tenant = if request % 2 == 0 { "even" } else { "odd" };
        let labels = Labels::new().with("tenant", tenant);
        labels.scope(|| spin(&engine, &module));
    }
    drop(thread);
    let recording = profiler.take();
    let count = |tenant| {
        let selection = Selection::everything().labelled("tenant", tenant);
        recording.select(&selection).samples().len()
    };
    let whole = recording.profile().samples().len();
    assert!(count("even") > 0 && count("odd") > 0);
    assert!(whole - count("even") - count("odd") <= whole / 10);
}
