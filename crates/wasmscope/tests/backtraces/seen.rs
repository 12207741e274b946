//! What is seen from a host function.

use crate::counting::allocations;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use wasmscope::{
    Backtrace, BacktraceEnd, Cursor, Frame, FrameKind, Guest, HostFrames, RawFrame, RawFrameKind,
    StoreId, WalkedGuest, Walker,
};
use wasmtime::{Caller, Engine, Func, Linker, Module, ResourceLimiter, Store, WasmBacktrace};

/// Five frames, then the host.
const NESTED: &str = "(module $nested
    (import \"host\" \"look\" (func $look))
    (memory 1)
    (func $down (param i32)
        (if (i32.eqz (local.get 0))
            (then (call $look))
            (else (call $down (i32.sub (local.get 0) (i32.const 1))))))
    (func $run (export \"run\") (call $down (i32.const 3)))
    (func $grow (export \"grow\") (drop (memory.grow (i32.const 1)))))";

/// A module with a walker that knows it.
fn known(builder: wasmscope::WalkerBuilder, text: &str) -> (Module, Walker, WalkedGuest) {
    let bytes = wat::parse_str(text).unwrap();
    let module = Module::new(&Engine::default(), &bytes).unwrap();
    let walker = builder.build().unwrap();
    let guest = walker
        .register(Guest::module("guest", &module).bytes(bytes))
        .unwrap();
    (module, walker, guest)
}

/// Runs `look` as the host function that the guest's `export` calls.
fn looked<T: Default + 'static>(
    module: &Module,
    export: &str,
    look: impl Fn(Caller<'_, T>) + Send + Sync + 'static,
) -> Store<T> {
    let mut linker = Linker::new(module.engine());
    linker.func_wrap("host", "look", look).unwrap();
    let mut store = Store::new(module.engine(), T::default());
    let instance = linker.instantiate(&mut store, module).unwrap();
    if !export.is_empty() {
        let run = instance
            .get_typed_func::<(), ()>(&mut store, export)
            .unwrap();
        run.call(&mut store, ()).unwrap();
    }
    store
}

fn names(frames: &[Arc<Frame>]) -> Vec<&str> {
    frames.iter().map(|frame| &*frame.name).collect()
}

#[test]
fn there_is_nothing_where_no_guest_runs() {
    let (module, walker, _guest) = known(Walker::builder(), NESTED);
    assert!(Backtrace::empty().is_empty() && Backtrace::empty().end().is_whole());
    let backtrace = walker.capture();
    assert!(
        backtrace.is_empty() && backtrace.end().is_whole(),
        "{backtrace:?}"
    );
    assert_eq!(backtrace.activations().len(), 0);
    let mut store = looked(&module, "run", |_: Caller<'_, u8>| {});
    assert!(walker.capture_store(&mut store).is_empty());
    assert!(Cursor::of_activations(&mut store).unwrap().is_empty());
}

#[test]
fn frames_have_names_offsets_and_order() {
    let (module, walker, _guest) = known(Walker::builder(), NESTED);
    looked(&module, "run", move |caller: Caller<'_, ()>| {
        let backtrace = walker.capture();
        let named = walker.name(&backtrace);
        let whole = ["host::look", "down", "down", "down", "down", "run"];
        assert_eq!(names(&named), whole);
        assert_eq!(named[0].kind, FrameKind::Host);
        assert!(named[1..].iter().all(|frame| frame.kind == FrameKind::Guest
            && frame.module.as_deref() == Some("guest")
            && frame.pc.is_some()
            && frame.instance.is_none()));
        let engines = WasmBacktrace::force_capture(&caller);
        for (ours, theirs) in named[1..].iter().zip(engines.frames()) {
            assert_eq!(ours.function.unwrap().0, theirs.func_index());
            assert_eq!(ours.offset.map(|at| at.0 as usize), theirs.module_offset());
        }

        // Oldest first, the same.
        let mut reversed: Vec<RawFrame> = backtrace.frames().rev().collect();
        reversed.reverse();
        assert!(reversed.into_iter().eq(backtrace.frames()));
        assert_eq!(backtrace.frames().len(), backtrace.len());
        let fps = backtrace.frames().filter_map(RawFrame::frame_pointer);
        assert!(fps.is_sorted(), "a stack grows down");
    });
}

/// What was remembered with the old tables is not believed with the new ones, nor lost.
#[test]
fn libraries_are_looked_at_again() {
    let (module, walker, _guest) = known(Walker::builder(), NESTED);
    looked(&module, "run", move |_: Caller<'_, ()>| {
        let before = walker.capture();
        walker.reload_host_objects();
        for _ in 0..2 {
            let after = walker.capture();
            assert!(after.end().is_whole());
            assert_eq!(names(&walker.name(&after)), names(&walker.name(&before)));
        }
    });
}

#[test]
fn a_visitor_stops_where_it_likes() {
    let (module, walker, _guest) = known(Walker::builder(), NESTED);
    looked(&module, "run", move |_: Caller<'_, ()>| {
        let is_guest = |frame: &RawFrame| frame.kind() == RawFrameKind::Guest;
        let whole: Vec<_> = walker.capture().frames().filter(is_guest).collect();
        for most in 1..=whole.len() {
            let mut seen = Vec::new();
            let end = walker.visit(|frame| {
                if is_guest(&frame) {
                    seen.push(frame);
                }
                if seen.len() == most {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            assert_eq!(end, BacktraceEnd::Stopped);
            assert_eq!(seen, whole[..most]);
        }
        // A visitor may walk as well.
        let mut inner = 0;
        let end = walker.visit(|_| {
            inner = walker.capture().len();
            ControlFlow::Continue(())
        });
        assert!(end.is_whole() && inner >= whole.len());
    });
}

#[test]
fn capturing_allocates_nothing() {
    for host_frames in [HostFrames::Omit, HostFrames::Keep] {
        let (module, walker, _guest) = known(Walker::builder().host_frames(host_frames), NESTED);
        looked(&module, "run", move |mut caller: Caller<'_, ()>| {
            let mut backtrace = Backtrace::with_capacity(1_000, 8);
            // The first time on a thread makes room, and the first times of a store are held
            // against the engine's own record.
            for _ in 0..17 {
                walker.capture_into(&mut backtrace);
                walker.capture_store_into(&mut caller, &mut backtrace);
            }
            let count = allocations(|| {
                for _ in 0..10 {
                    walker.capture_into(&mut backtrace);
                    assert!(backtrace.len() > 5);
                    walker.capture_store_into(&mut caller, &mut backtrace);
                    assert_eq!(backtrace.len(), 5);
                    let end = walker.visit(|_| ControlFlow::Continue(()));
                    assert!(end.is_whole());
                }
            });
            assert_eq!(count, 0);
        });
    }
}

#[test]
fn host_frames_are_named_where_they_are_kept() {
    let (module, walker, _guest) = known(Walker::builder().host_frames(HostFrames::Keep), NESTED);
    looked(&module, "run", move |_: Caller<'_, ()>| {
        let named = walker.name(&walker.capture());
        let is_of_this_test = |frame: &Arc<Frame>| {
            frame.kind == FrameKind::Host
                && frame
                    .name
                    .contains("host_frames_are_named_where_they_are_kept")
        };
        let first = named
            .iter()
            .position(is_of_this_test)
            .expect("this closure");
        let guests = named.iter().filter(|frame| frame.kind == FrameKind::Guest);
        assert_eq!(guests.count(), 5);
        let run = named
            .iter()
            .position(|frame| &*frame.name == "run")
            .unwrap();
        let last = named.iter().rposition(is_of_this_test).expect("this test");
        assert!(first < run && run < last);
    });
}

#[test]
fn builtins_and_start_functions_are_seen() {
    struct Limiter(Walker, Arc<Mutex<Vec<String>>>);
    impl ResourceLimiter for Limiter {
        fn memory_growing(
            &mut self,
            _: usize,
            _: usize,
            _: Option<usize>,
        ) -> wasmtime::Result<bool> {
            let frames = self.0.name(&self.0.capture());
            let frames = frames
                .iter()
                .map(|frame| format!("{:?} {}", frame.kind, frame.name));
            self.1.lock().unwrap().extend(frames);
            Ok(true)
        }
        fn table_growing(
            &mut self,
            _: usize,
            _: usize,
            _: Option<usize>,
        ) -> wasmtime::Result<bool> {
            Ok(true)
        }
    }
    let (module, walker, _guest) = known(Walker::builder(), NESTED);
    let mut linker = Linker::new(module.engine());
    linker.func_wrap("host", "look", || {}).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut store = Store::new(module.engine(), Limiter(walker, Arc::clone(&seen)));
    store.limiter(|limiter| limiter);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    seen.lock().unwrap().clear();
    let grow = instance
        .get_typed_func::<(), ()>(&mut store, "grow")
        .unwrap();
    grow.call(&mut store, ()).unwrap();
    assert_eq!(*seen.lock().unwrap(), ["Builtin memory.grow", "Guest grow"]);

    let start =
        "(module (import \"host\" \"look\" (func $look)) (func $begin call $look) (start $begin))";
    let (module, walker, _guest) = known(Walker::builder(), start);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let saw = Arc::clone(&seen);
    looked(&module, "", move |_: Caller<'_, ()>| {
        let frames = walker.name(&walker.capture());
        saw.lock()
            .unwrap()
            .extend(names(&frames).iter().map(ToString::to_string));
    });
    assert_eq!(*seen.lock().unwrap(), ["host::look", "begin"]);
}

/// A function of the host that the host calls through the engine enters no guest.
#[test]
fn entries_without_a_guest_add_nothing() {
    let (module, walker, _guest) = known(Walker::builder(), NESTED);
    let once = ["down", "down", "down", "down", "run"];
    let looks = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&looks);
    looked(&module, "run", move |mut caller: Caller<'_, u64>| {
        let times = usize::try_from(*caller.data()).unwrap() + 1;
        let export = caller.get_export("run").unwrap().into_func().unwrap();
        let (inside, counted) = (walker.clone(), Arc::clone(&counted));
        let look = Func::wrap(&mut caller, move |mut caller: Caller<'_, u64>| {
            let backtrace = inside.capture_store(&mut caller);
            assert_eq!(names(&inside.name(&backtrace)), once.repeat(times));
            assert!(backtrace.end().is_whole());
            assert_eq!(backtrace.activations().len(), times);
            *counted.lock().unwrap() += 1;
            if *caller.data() < 3 {
                *caller.data_mut() += 1;
                let run = export.typed::<(), ()>(&caller).unwrap();
                run.call(&mut caller, ()).unwrap();
            }
        });
        let look = look.typed::<(), ()>(&caller).unwrap();
        look.call(&mut caller, ()).unwrap();
    });
    assert_eq!(*looks.lock().unwrap(), 4);
}

/// One store's view needs no registered guest, and takes data of any size and shape.
#[test]
fn stores_of_every_type_are_found() {
    #[derive(Default)]
    struct ToItself {
        // Words that look like what the engine keeps.
        pointers: [usize; 4],
        _room: Vec<u64>,
    }
    #[derive(Clone)]
    struct Large([u64; 20_000]);
    impl Default for Large {
        fn default() -> Self {
            Self([7; 20_000])
        }
    }
    fn five_frames<T: Default + 'static>(change: fn(&mut T, usize)) {
        let module = Module::new(&Engine::default(), NESTED).unwrap();
        let walker = Walker::new().unwrap();
        looked(&module, "run", move |mut caller: Caller<'_, T>| {
            let address = std::ptr::from_ref(caller.data()).addr();
            change(caller.data_mut(), address);
            let backtrace = walker.capture_store(&mut caller);
            assert_eq!(backtrace.end(), BacktraceEnd::Whole);
            assert_eq!(backtrace.len(), 5);
            let named = walker.name(&backtrace);
            assert_eq!(names(&named), ["(unknown)"; 5]);
            assert!(named.iter().all(|frame| frame.pc.is_some()));
            let id = StoreId::of(&caller);
            assert!(backtrace.activations().all(|each| each.store() == Some(id)));
            let engines = WasmBacktrace::force_capture(&caller);
            assert_eq!(engines.frames().len(), 5);
        });
    }
    five_frames::<()>(|(), _| {});
    five_frames::<u8>(|_, _| {});
    five_frames::<u128>(|_, _| {});
    five_frames::<String>(|_, _| {});
    five_frames::<Option<Box<u64>>>(|_, _| {});
    five_frames::<ToItself>(|data, address| data.pointers = [address; 4]);
    five_frames::<Large>(|data, address| data.0[1_000] = address as u64);
}

/// A guest that is forgotten is host code from then on; what was captured keeps its names.
#[test]
fn a_backtrace_keeps_its_guests() {
    let (module, walker, guest) = known(Walker::builder(), NESTED);
    let guest = Mutex::new(Some(guest));
    looked(&module, "run", move |_: Caller<'_, ()>| {
        let before = walker.capture();
        let named = names(&walker.name(&before)).join(" ");
        drop(guest.lock().unwrap().take());
        let after = walker.capture();
        assert!(matches!(after.end(), BacktraceEnd::Cut(_)), "{after:?}");
        assert_eq!(after.activations().len(), 0);
        assert_eq!(names(&walker.name(&before)).join(" "), named);
    });
}
