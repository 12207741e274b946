//! For whom tasks work: the sampler's labels, with components whose tasks take turns.

use std::collections::BTreeMap;
use wasmscope::profile::{Category, Profile, Value};
use wasmscope::{Clock, Guest, Labels, Profiler, Rate};
use wasmtime::component::{Accessor, Component, Instance, Linker};
use wasmtime::{Engine, Result, Store};

/// Spins, and gives way to others, again and again.
fn text(function: &str) -> String {
    format!(
        r#"(component
  (import "pause" (func $pause async))
  (core func $pause (canon lower (func $pause)))
  (core module $m
    (import "$root" "pause" (func $pause))
    (func ${function} (param $turns i32) (local $spin i32)
      (loop
        (local.set $spin (i32.const 100000))
        (loop (br_if 0 (local.tee $spin (i32.sub (local.get $spin) (i32.const 1)))))
        (call $pause)
        (br_if 0 (local.tee $turns (i32.sub (local.get $turns) (i32.const 1))))))
    (export "run" (func ${function})))
  (core instance $i (instantiate $m (with "$root" (instance (export "pause" (func $pause))))))
  (func (export "run") async (param "turns" u32) (canon lift (core func $i "run"))))"#
    )
}

const TURNS: u32 = 1_000;

async fn instance(store: &mut Store<()>, component: &Component) -> Result<Instance> {
    let mut linker = Linker::new(component.engine());
    linker
        .root()
        .func_wrap_concurrent("pause", |_: &Accessor<()>, (): ()| {
            Box::pin(async {
                tokio::task::yield_now().await;
                Ok(())
            })
        })?;
    linker.instantiate_async(store, component).await
}

/// Runs a guest in a store of its own.
async fn alone(component: Component) -> Result<()> {
    let mut store = Store::new(component.engine(), ());
    let instance = instance(&mut store, &component).await?;
    let run = instance.get_typed_func::<(u32,), ()>(&mut store, "run")?;
    store
        .run_concurrent(async |accessor| run.call_concurrent(accessor, (TURNS,)).await)
        .await?
}

/// Returns how many ticks each guest function has, by the tenant that the samples name.
pub(crate) fn ticks(profile: &Profile) -> BTreeMap<(String, Option<String>), u64> {
    let mut ticks = BTreeMap::new();
    for sample in profile.samples() {
        let mut labels = profile.labels(sample.labels).iter();
        let tenant = labels.find_map(|label| match &label.value {
            Value::Text(text) if label.key == "tenant" => Some(text.clone()),
            _ => None,
        });
        let stack = sample.stack.into_iter();
        let frames = stack.flat_map(|stack| profile.stack_frames(stack));
        let functions = frames.map(|frame| profile.function(frame.function));
        let mut guest = functions.filter(|function| function.category == Category::Guest);
        if let Some(function) = guest.next() {
            let of = (function.name.to_string(), tenant);
            *ticks.entry(of).or_insert(0) += sample.count;
        }
    }
    ticks
}

pub(crate) fn profiler(guests: &[(&str, &Component)]) -> (Profiler, impl Sized + use<>) {
    let profiler = Profiler::builder()
        .clock(Clock::Cpu)
        .rate(Rate::hertz(2_000).expect("it is a rate"))
        .start()
        .expect("it starts");
    let guests: Vec<_> = guests
        .iter()
        .map(|(name, component)| profiler.register(Guest::component(*name, component)))
        .map(|guest| guest.expect("it is registered"))
        .collect();
    let thread = profiler.attach_thread().expect("it is sampled");
    (profiler, (guests, thread))
}

#[tokio::test(flavor = "current_thread")]
async fn stores_that_take_turns_on_a_thread_keep_their_labels() {
    let engine = Engine::default();
    let [red, blue] =
        ["red", "blue"].map(|name| Component::new(&engine, text(name)).expect("it is a component"));
    let (profiler, kept) = profiler(&[("red", &red), ("blue", &blue)]);
    let of = |name: &str| Labels::new().with("tenant", name);
    let (one, other) = tokio::join!(
        of("red").follow(alone(red.clone())),
        of("blue").follow(alone(blue.clone())),
    );
    one.and(other).expect("both return");
    drop(kept);
    let ticks = ticks(&profiler.take_profile());
    for ((function, tenant), ticks) in &ticks {
        assert_eq!(Some(function), tenant.as_ref(), "{ticks}");
    }
    for name in ["red", "blue"] {
        let ticks = ticks.get(&(name.to_owned(), Some(name.to_owned())));
        assert!(ticks.is_some_and(|ticks| *ticks > 20), "{ticks:?}");
    }
}
