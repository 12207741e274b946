//! What the engine calls on its own account: destructors, collections, callbacks.

use crate::patience::{LONG, Patience};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use wasmscope::{Backtrace, FrameKind, Guest, OsThread, WalkedGuest, Walker};
use wasmtime::component::{Component, Linker as ComponentLinker, ResourceAny, ResourceType};
use wasmtime::{
    AsContext, Caller, Config, Engine, ExternRef, Global, GlobalType, HeapType, Linker, Module,
    Mutability, RefType, Rooted, Store, StoreContextMut, UpdateDeadline, Val, ValType,
    WasmBacktrace,
};

/// Collects stacks, as kinds and names of their frames.
#[derive(Clone)]
struct Looks {
    walker: Walker,
    seen: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Looks {
    fn new() -> Self {
        Self {
            walker: Walker::new().unwrap(),
            seen: Arc::default(),
        }
    }

    fn names(&self, backtrace: &Backtrace) -> Vec<String> {
        assert!(backtrace.end().is_whole(), "{backtrace:?}");
        let frames = self.walker.name(backtrace);
        let frames = frames.iter();
        frames
            .map(|frame| format!("{:?} {}", frame.kind, frame.name))
            .collect()
    }

    fn look(&self) {
        let names = self.names(&self.walker.capture());
        self.seen.lock().unwrap().push(names);
    }

    /// Looks, and compares with what the engine sees.
    fn look_beside(&self, store: impl AsContext) {
        let backtrace = self.walker.capture();
        let ours = self.walker.name(&backtrace);
        let ours = ours.iter().filter(|frame| frame.kind == FrameKind::Guest);
        let ours = ours.map(|frame| {
            let offset = frame.offset.map(|offset| offset.0 as usize);
            (frame.function.unwrap().0, offset)
        });
        let theirs = WasmBacktrace::force_capture(store);
        let theirs = theirs.frames().iter();
        let theirs = theirs.map(|frame| (frame.func_index(), frame.module_offset()));
        assert!(ours.eq(theirs), "{backtrace:?}");
        self.seen.lock().unwrap().push(self.names(&backtrace));
    }

    fn take(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    fn module(&self, config: &Config, text: &str) -> (Module, WalkedGuest) {
        let bytes = wat::parse_str(text).unwrap();
        let module = Module::new(&Engine::new(config).unwrap(), &bytes).unwrap();
        let guest = Guest::module("guest", &module).bytes(bytes);
        (module, self.walker.register(guest).unwrap())
    }
}

/// A guest drops a resource of its own, and one of the host's; the host drops one of the
/// guest's.
#[test]
fn destructors_of_resources() {
    let text = "(component
        (import \"look\" (func $look))
        (import \"held\" (type $held (sub resource)))
        (core func $lowered (canon lower (func $look)))
        (core module $inner
            (import \"host\" \"look\" (func $look))
            (func $note (call $look))
            (func $clean (export \"clean\") (param i32) (call $note)))
        (core instance $i (instantiate $inner
            (with \"host\" (instance (export \"look\" (func $lowered))))))
        (type $own (resource (rep i32) (dtor (core func $i \"clean\"))))
        (core func $new (canon resource.new $own))
        (core func $drop (canon resource.drop $own))
        (core func $drop_held (canon resource.drop $held))
        (core module $outer
            (import \"own\" \"new\" (func $new (param i32) (result i32)))
            (import \"own\" \"drop\" (func $drop (param i32)))
            (import \"held\" \"drop\" (func $drop_held (param i32)))
            (func $end (param i32) (call $drop (local.get 0)))
            (func $run (export \"run\") (call $end (call $new (i32.const 7))))
            (func $make (export \"make\") (result i32) (call $new (i32.const 7)))
            (func $end_held (export \"end\") (param i32) (call $drop_held (local.get 0))))
        (core instance $o (instantiate $outer
            (with \"own\" (instance (export \"new\" (func $new)) (export \"drop\" (func $drop))))
            (with \"held\" (instance (export \"drop\" (func $drop_held))))))
        (export $exported \"own\" (type $own))
        (func (export \"run\") (canon lift (core func $o \"run\")))
        (func (export \"make\") (result (own $exported)) (canon lift (core func $o \"make\")))
        (func (export \"end\") (param \"held\" (own $held)) (canon lift (core func $o \"end\"))))";
    let bytes = wat::parse_str(text).unwrap();
    let engine = Engine::default();
    let component = Component::new(&engine, &bytes).unwrap();
    let looks = Looks::new();
    let guest = Guest::component("guest", &component).bytes(bytes);
    let _guest = looks.walker.register(guest).unwrap();
    let mut linker = ComponentLinker::<()>::new(&engine);
    let at = looks.clone();
    let look = move |store: StoreContextMut<'_, ()>, (): ()| {
        at.look_beside(&store);
        Ok(())
    };
    linker.root().func_wrap("look", look).unwrap();
    struct Held;
    let at = looks.clone();
    let dropped = move |store: StoreContextMut<'_, ()>, _: u32| {
        at.look_beside(&store);
        Ok(())
    };
    let held = ResourceType::host::<Held>();
    linker.root().resource("held", held, dropped).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &component).unwrap();

    let run = instance.get_typed_func::<(), ()>(&mut store, "run");
    run.unwrap().call(&mut store, ()).unwrap();
    let seen = looks.take();
    assert_eq!(seen.len(), 1);
    let guests = ["Guest note", "Guest clean", "Guest end", "Guest run"];
    assert_eq!(seen[0][1..], guests, "{seen:?}");

    let end =
        instance.get_typed_func::<(wasmtime::component::Resource<Held>,), ()>(&mut store, "end");
    let held = wasmtime::component::Resource::new_own(3);
    end.unwrap().call(&mut store, (held,)).unwrap();
    let seen = looks.take();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0][1..], ["Guest end_held"], "{seen:?}");

    let make = instance.get_typed_func::<(), (ResourceAny,)>(&mut store, "make");
    let (own,) = make.unwrap().call(&mut store, ()).unwrap();
    own.resource_drop(&mut store).unwrap();
    let seen = looks.take();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0][1..], ["Guest note", "Guest clean"], "{seen:?}");
}

/// Looks when the engine drops it.
struct LooksWhenDropped(Looks);

impl Drop for LooksWhenDropped {
    fn drop(&mut self) {
        self.0.look();
    }
}

/// A reference to the host's data dies: in a collection that the host asks for, within a guest
/// and outside, and in one for which a guest's instruction has to wait.
#[test]
fn data_of_references() {
    let looks = Looks::new();
    let (module, _guest) = looks.module(
        Config::new().wasm_reference_types(true).wasm_gc(true),
        "(module
            (import \"host\" \"collect\" (func $collect))
            (import \"host\" \"kept\" (global $kept (mut externref)))
            (func $inner (call $collect))
            (func $ask (export \"collect\") (call $inner))
            (type $pair (struct (field i64 i64)))
            (func $make (param i32)
                (loop $again
                    (drop (struct.new_default $pair))
                    (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                    (br_if $again (local.get 0))))
            (func $forget (global.set $kept (ref.null extern)))
            (func $run (export \"forget\") (call $forget) (call $make (i32.const 3000000))))",
    );
    let engine = module.engine();
    let mut store = Store::new(engine, ());
    let mut linker = Linker::new(engine);
    linker
        .func_wrap("host", "collect", |mut caller: Caller<'_, ()>| {
            caller.gc(None).unwrap();
        })
        .unwrap();
    let ty = ValType::Ref(RefType::new(true, HeapType::Extern));
    let ty = GlobalType::new(ty, Mutability::Var);
    let kept = Global::new(&mut store, ty, Val::ExternRef(None)).unwrap();
    linker.define(&store, "host", "kept", kept).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let make = |store: &mut Store<()>, keep: bool| {
        let mut scope = wasmtime::RootScope::new(store);
        let data = LooksWhenDropped(looks.clone());
        let made: Rooted<ExternRef> = ExternRef::new(&mut scope, data).unwrap();
        if keep {
            kept.set(&mut scope, Val::ExternRef(Some(made))).unwrap();
        }
    };
    let call = |store: &mut Store<()>, name: &str| {
        let function = instance.get_typed_func::<(), ()>(&mut *store, name);
        function.unwrap().call(store, ()).unwrap();
    };

    make(&mut store, false);
    assert_eq!(
        looks.take(),
        Vec::<Vec<String>>::new(),
        "it is not dropped yet"
    );
    call(&mut store, "collect");
    let guests = ["Host host::collect", "Guest inner", "Guest ask"];
    assert_eq!(looks.take(), [guests]);

    make(&mut store, true);
    // What the host holds it by goes first.
    store.gc(None).unwrap();
    assert_eq!(
        looks.take(),
        Vec::<Vec<String>>::new(),
        "the global keeps it"
    );
    call(&mut store, "forget");
    let guests = ["Builtin struct.new_default", "Guest make", "Guest run"];
    assert_eq!(looks.take(), [guests]);

    make(&mut store, false);
    store.gc(None).unwrap();
    assert_eq!(looks.take(), [Vec::<String>::new()], "no guest runs");
}

#[test]
fn callbacks_of_epochs() {
    let looks = Looks::new();
    let (module, _guest) = looks.module(
        Config::new().epoch_interruption(true),
        "(module
            (func $spin (param i32)
                (loop $again
                    (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                    (br_if $again (local.get 0))))
            (func $run (export \"run\") (call $spin (i32.const 3))))",
    );
    let mut store = Store::new(module.engine(), ());
    let at = looks.clone();
    store.epoch_deadline_callback(move |store| {
        at.look_beside(&store);
        Ok(UpdateDeadline::Continue(0))
    });
    store.set_epoch_deadline(0);
    let instance = Linker::new(module.engine()).instantiate(&mut store, &module);
    let run = instance
        .unwrap()
        .get_typed_func::<(), ()>(&mut store, "run");
    run.unwrap().call(&mut store, ()).unwrap();
    let seen = looks.take();
    // At the beginning of each function, and at each turn of the loop.
    assert!(seen.len() >= 5);
    for (n, stack) in seen.iter().enumerate() {
        let guests: Vec<_> = stack
            .iter()
            .filter(|frame| frame.starts_with("Guest"))
            .collect();
        let spins = ["Guest spin", "Guest run"];
        assert_eq!(guests, spins[usize::from(n == 0)..], "{stack:?}");
    }
}

/// What the engine does itself for an instruction, seen from another thread.
#[test]
fn builtins_at_work() {
    let looks = Looks::new();
    let (module, _guest) = looks.module(
        &Config::new(),
        "(module
            (memory 1024)
            (table 1 funcref)
            (func $fill (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x4000000)))
            (func $copy (memory.copy (i32.const 1) (i32.const 0) (i32.const 0x3ffffff)))
            (func $refer (local $left i32)
                (local.set $left (i32.const 1000000))
                (loop $again
                    (table.set (i32.const 0) (ref.func $fill))
                    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                    (br_if $again (local.get $left))))
            (elem declare func $fill)
            (func $run_fill (export \"fill\") (call $fill))
            (func $run_copy (export \"copy\") (call $copy))
            (func $run_refer (export \"refer\") (call $refer)))",
    );
    let done = AtomicBool::new(false);
    for (export, builtin) in [
        ("fill", "memory.fill"),
        ("copy", "memory.copy"),
        ("refer", "ref.func"),
    ] {
        done.store(false, Ordering::Relaxed);
        let (told, thread) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let (done, module) = (&done, &module);
            scope.spawn(move || {
                told.send(OsThread::current().unwrap()).unwrap();
                let mut store = Store::new(module.engine(), ());
                let instance = Linker::new(module.engine()).instantiate(&mut store, module);
                let run = instance
                    .unwrap()
                    .get_typed_func::<(), ()>(&mut store, export);
                let run = run.unwrap();
                while !done.load(Ordering::Relaxed) {
                    run.call(&mut store, ()).unwrap();
                }
            });
            let thread = thread.recv().unwrap();
            let patience = Patience::for_what("an instruction of the engine's");
            let names = loop {
                patience.check();
                let backtrace = looks.walker.capture_thread(thread, LONG);
                let names = looks.names(&backtrace.unwrap());
                if names
                    .first()
                    .is_some_and(|name| *name == format!("Builtin {builtin}"))
                {
                    break names;
                }
            };
            done.store(true, Ordering::Relaxed);
            let guests = [
                format!("Builtin {builtin}"),
                format!("Guest {export}"),
                format!("Guest run_{export}"),
            ];
            assert_eq!(names.last_chunk(), Some(&guests), "{names:?}");
        });
    }
}
