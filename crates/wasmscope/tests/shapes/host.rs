//! The host that plays: its functions, its stores, its fibers.

use crate::guest::{Function, Guest};
use crate::record::{Begin, Limits, Play, StoreNumber};
use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use wasmscope::{Listened, Listening, StoreId};
use wasmtime::{
    AsContextMut, Caller, Config, Engine, Func, InstancePre, Linker, Module, Store, StoreContextMut,
};

/// Looks at the stack while a guest waits.
pub(crate) type Look = Rc<dyn Fn(StoreContextMut<'_, StoreNumber>, &Play)>;

/// A guest, compiled and linked.
pub(crate) struct Compiled {
    pub(crate) guest: Guest,
    pub(crate) module: Module,
    pre: InstancePre<StoreNumber>,
    pub(crate) listened: Option<Listened>,
}

/// Whoever plays on this thread.
struct Playing {
    play: Play,
    look: Look,
    /// Entered on the host's own stack, and on fibers.
    here: Rc<Compiled>,
    on_fibers: Rc<Compiled>,
    idle: Vec<Store<StoreNumber>>,
    idle_on_fibers: Vec<Store<StoreNumber>>,
    stores: StoreNumber,
}

thread_local! {
    static PLAYING: RefCell<Option<Playing>> = const { RefCell::new(None) };
}

fn playing<R>(f: impl FnOnce(&mut Playing) -> R) -> R {
    PLAYING.with_borrow_mut(|playing| f(playing.as_mut().expect("one plays")))
}

/// Hands over the record as it stands.
pub(crate) fn with_play(f: impl FnOnce(&Play)) {
    PLAYING.with_borrow(|playing| f(&playing.as_ref().expect("one plays").play));
}

/// Stores that run on fibers have odd numbers.
pub(crate) fn is_on_fiber(store: StoreNumber) -> bool {
    store % 2 == 1
}

impl Compiled {
    pub(crate) fn here(config: &Config, listening: Option<&Listening>) -> Rc<Self> {
        Self::of("here", config, listening, true, |linker| {
            linker.func_wrap("host", "enter", |mut caller: Caller<'_, StoreNumber>| {
                let export = export(&mut caller);
                enter(caller.as_context_mut(), &export)
            })?;
            Ok(())
        })
    }

    pub(crate) fn on_fibers(config: &Config, listening: Option<&Listening>) -> Rc<Self> {
        Self::of("fibers", config, listening, false, |linker| {
            linker.func_wrap_async(
                "host",
                "enter",
                |mut caller: Caller<'_, StoreNumber>, (): ()| {
                    Box::new(async move {
                        let export = export(&mut caller);
                        enter_async(caller.as_context_mut(), &export).await
                    })
                },
            )?;
            Ok(())
        })
    }

    fn of(
        name: &str,
        config: &Config,
        listening: Option<&Listening>,
        continuations: bool,
        define: impl FnOnce(&mut Linker<StoreNumber>) -> wasmtime::Result<()>,
    ) -> Rc<Self> {
        let engine = Engine::new(config).expect("it can be had");
        let guest = Guest::new(name, continuations);
        let mut linker = Linker::new(&engine);
        let listened = listening.map(|listening| {
            listening
                .add_to_linker(&mut linker)
                .expect("names are free");
            let listened = listening.compile(&engine, guest.bytes.clone());
            listened.expect("it is valid")
        });
        let module = match &listened {
            Some(listened) => listened.module().clone(),
            None => Module::new(&engine, &guest.bytes).expect("it is valid"),
        };
        let linked = (|| {
            linker.func_wrap("host", "next", |caller: Caller<'_, StoreNumber>| {
                let fiber = is_on_fiber(*caller.data());
                playing(|playing| playing.play.next(fiber)) as i32
            })?;
            linker.func_wrap("host", "other", |_: Caller<'_, StoreNumber>| other())?;
            linker.func_wrap("host", "fiber", |_: Caller<'_, StoreNumber>| fiber())?;
            linker.func_wrap("host", "capture", |mut caller: Caller<'_, StoreNumber>| {
                let look = playing(|playing| Rc::clone(&playing.look));
                with_play(|play| look(caller.as_context_mut(), play));
            })?;
            define(&mut linker)?;
            linker.instantiate_pre(&module)
        })();
        Rc::new(Self {
            guest,
            module,
            listened,
            pre: linked.expect("nothing is missing"),
        })
    }
}

/// The settings that both kinds of store share.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_backtrace_max_frames(NonZeroUsize::new(1 << 20))
        .async_stack_size(8 << 20)
        .max_wasm_stack(8 << 20);
    config
}

/// Plays from beginning to end, and returns the record.
pub(crate) fn play(
    seed: u64,
    limits: Limits,
    here: &Rc<Compiled>,
    on_fibers: &Rc<Compiled>,
    look: Look,
) -> Play {
    let playing = Playing {
        play: Play::new(seed, limits),
        look,
        here: Rc::clone(here),
        on_fibers: Rc::clone(on_fibers),
        idle: Vec::new(),
        idle_on_fibers: Vec::new(),
        stores: 0,
    };
    PLAYING.set(Some(playing));
    if let Err(error) = other() {
        panic!("seed {seed}: {error:?}");
    }
    let play = PLAYING.take().expect("one plays").play;
    assert!(play.entries.is_empty(), "seed {seed}: all returned");
    play
}

/// Notes which store is entered.
fn begins(store: &StoreContextMut<'_, StoreNumber>) -> StoreNumber {
    let number = *store.data();
    playing(|playing| playing.play.stores.insert(number, StoreId::of(store)));
    number
}

/// Enters `a` or `b` of a store's own instance.
fn enter(mut store: StoreContextMut<'_, StoreNumber>, export: &Export) -> wasmtime::Result<()> {
    let number = begins(&store);
    playing(|playing| playing.play.push(number, export.0, Begin::Entered));
    match export.0 {
        Function::A => {
            let a = export.1.typed::<i32, i32>(&store)?;
            a.call(&mut store, 1).map(drop)
        }
        Function::B => {
            let b = export.1.typed::<(i64, f64, i32), f64>(&store)?;
            b.call(&mut store, (1, 2.0, 3)).map(drop)
        }
        Function::C => export.1.typed::<(), ()>(&store)?.call(&mut store, ()),
    }
}

async fn enter_async(
    mut store: StoreContextMut<'_, StoreNumber>,
    export: &Export,
) -> wasmtime::Result<()> {
    let number = begins(&store);
    playing(|playing| playing.play.push(number, export.0, Begin::OnFiber));
    match export.0 {
        Function::A => {
            let a = export.1.typed::<i32, i32>(&store)?;
            a.call_async(&mut store, 1).await.map(drop)
        }
        Function::B => {
            let b = export.1.typed::<(i64, f64, i32), f64>(&store)?;
            b.call_async(&mut store, (1, 2.0, 3)).await.map(drop)
        }
        Function::C => {
            let c = export.1.typed::<(), ()>(&store)?;
            c.call_async(&mut store, ()).await
        }
    }
}

/// One of an instance's functions, chosen by lot.
struct Export(Function, Func);

fn export(caller: &mut Caller<'_, StoreNumber>) -> Export {
    let function = any_function();
    let export = caller.get_export(function.name());
    let export = export.and_then(wasmtime::Extern::into_func);
    Export(function, export.expect("the guest has it"))
}

fn any_function() -> Function {
    let lot = playing(|playing| playing.play.below(3));
    [Function::A, Function::B, Function::C][lot as usize]
}

/// Enters a store that nobody is in.
fn other() -> wasmtime::Result<()> {
    let (idle, guest, number) = playing(|playing| {
        playing.stores += 2;
        let guest = Rc::clone(&playing.here);
        (playing.idle.pop(), guest, playing.stores)
    });
    let engine = guest.module.engine();
    let mut store = idle.unwrap_or_else(|| Store::new(engine, number));
    let instance = guest.pre.instantiate(&mut store)?;
    let function = any_function();
    let export = instance.get_func(&mut store, function.name());
    let export = Export(function, export.expect("the guest has it"));
    enter(store.as_context_mut(), &export)?;
    playing(|playing| playing.idle.push(store));
    Ok(())
}

/// Enters a store that nobody is in, on a fiber.
fn fiber() -> wasmtime::Result<()> {
    let (idle, guest, number) = playing(|playing| {
        playing.stores += 2;
        let guest = Rc::clone(&playing.on_fibers);
        (playing.idle_on_fibers.pop(), guest, playing.stores + 1)
    });
    let engine = guest.module.engine();
    let mut store = idle.unwrap_or_else(|| Store::new(engine, number));
    block_on(async {
        let instance = guest.pre.instantiate_async(&mut store).await?;
        let function = any_function();
        let export = instance.get_func(&mut store, function.name());
        let export = Export(function, export.expect("the guest has it"));
        enter_async(store.as_context_mut(), &export).await
    })?;
    playing(|playing| playing.idle_on_fibers.push(store));
    Ok(())
}

/// Polls to the end what never waits.
fn block_on<R>(future: impl Future<Output = R>) -> R {
    let mut future = std::pin::pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits for nothing"),
    }
}
