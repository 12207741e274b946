//! What embedders bring: engines, allocators, limits.

use crate::ledger::Ledger;
use wasmscope::Error;
use wasmtime::component::Linker;
use wasmtime::{
    Config, Engine, Inlining, PoolingAllocationConfig, Store, StoreLimits, StoreLimitsBuilder,
    Strategy,
};

/// Engines that compile and allocate in different ways.
pub(crate) fn configs() -> Vec<(&'static str, Config)> {
    let mut winch = Config::new();
    winch.strategy(Strategy::Winch);
    let mut pooling = Config::new();
    pooling.allocation_strategy(PoolingAllocationConfig::new());
    let mut traps = Config::new();
    traps.signals_based_traps(false);
    let mut intrinsics = Config::new();
    intrinsics.compiler_inlining(Inlining::Intrinsics);
    vec![
        ("cranelift", Config::new()),
        ("winch", winch),
        ("pooling", pooling),
        ("traps", traps),
        ("intrinsics", intrinsics),
    ]
}

const ADD: &str = r#"(component
  (core module $m (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1))))
  (core instance $i (instantiate $m))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32)
    (canon lift (core func $i "add"))))"#;

/// Instantiates with room for so many core instances; returns how many events there were.
fn limited(instances: usize) -> wasmtime::Result<u64> {
    let engine = Engine::default();
    let ledger = Ledger::default();
    let listening = ledger.listening();
    let bytes = wat::parse_str(ADD).expect("it is text");
    let guest = listening.compile_component(&engine, bytes)?;
    let mut linker = Linker::<StoreLimits>::new(&engine);
    listening.add_to_component_linker(&mut linker)?;
    let limits = StoreLimitsBuilder::new().instances(instances).build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    let instance = linker.instantiate(&mut store, guest.component())?;
    let add = instance.get_typed_func::<(u32, u32), (u32,)>(&mut store, "add")?;
    assert_eq!(add.call(&mut store, (2, 3))?, (5,));
    drop(store);
    Ok(ledger.settled())
}

#[test]
fn a_store_without_room_says_so_and_one_more_is_enough() {
    // The core function, and the component's that is lifted from it.
    let enough = (1..50).find(|instances| limited(*instances).is_ok());
    let enough = enough.expect("fewer are enough");
    assert_eq!(limited(enough).expect("there is room"), 2);
    let error = limited(enough - 1).expect_err("there is none");
    let text = format!("{error:?}");
    assert!(text.contains("instance"), "{text}");
    // Somewhere below, the component itself fits in and what is ours does not.
    let ours = (1..enough).filter_map(|instances| limited(instances).err());
    let ours = ours.filter(|error| matches!(error.downcast_ref(), Some(Error::Anchor(_))));
    assert!(ours.count() > 0, "the error names what is missing");
}

/// Settings with which a guest's calls are inlined.
const INLINED: [Inlining; 3] = [
    Inlining::Yes,
    Inlining::InterModule,
    Inlining::InterModuleAndIntraGc,
];

#[test]
fn what_is_not_for_components_is_an_error_that_says_so() {
    let bytes = wat::parse_str(ADD).expect("it is text");
    let ledger = Ledger::default();
    let compile = |listening: wasmscope::Listening, config: &Config| {
        let engine = Engine::new(config).expect("it is a configuration");
        listening
            .compile_component(&engine, bytes.clone())
            .map(|_| ())
    };
    let plain = Config::new();
    let guarded = compile(ledger.builder().guarded_exports(true).build(), &plain);
    let error = guarded.expect_err("never");
    assert!(matches!(error, Error::ComponentSetting { .. }), "{error}");
    assert!(error.to_string().contains("guarded_exports"), "{error}");
    let mut debug = Config::new();
    debug.guest_debug(true);
    let error = compile(ledger.listening(), &debug).expect_err("it has copies of the code");
    assert!(matches!(error, Error::GuestDebug { .. }), "{error}");
    for inlining in INLINED {
        let mut inlines = Config::new();
        inlines.compiler_inlining(inlining);
        let error = compile(ledger.listening(), &inlines).expect_err("calls have no frames");
        assert!(matches!(error, Error::Inlining { .. }), "{error}");
        assert!(error.to_string().contains("compiler_inlining"), "{error}");
    }
    let mut pulley = Config::new();
    pulley.target("pulley64").expect("a target");
    let error = compile(ledger.listening(), &pulley).expect_err("it has no frames");
    assert!(matches!(error, Error::Interpreted { .. }), "{error}");
}
