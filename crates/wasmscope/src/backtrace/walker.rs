//! The walker: what an embedder holds.

use super::codes::Codes;
use super::frame::Frame;
use super::naming::{Names, Shown};
use super::raw_frame::RawFrame;
use super::stack::{Backtrace, BacktraceEnd};
use super::store;
use super::thread::{self, is_supported};
use crate::code::Code;
use crate::guests::Guests;
use crate::{Error, Guest, HostFrames};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use wasmscope_sample::{OwnCapture, Visit};
use wasmtime::AsContextMut;

/// Walks the stacks of guests: says where they are, and how they got there.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use wasmscope::{Guest, Walker};
/// # use wasmtime::{Engine, Linker, Module, Store};
/// # let engine = Engine::default();
/// # let bytes = wat::parse_str("(module (import \"host\" \"stop\" (func $stop))
/// #     (func $inner (call $stop)) (func $run (export \"run\") (call $inner)))")?;
/// # let module = Module::new(&engine, &bytes)?;
/// let walker = Walker::new()?;
/// let _guest = walker.register(Guest::module("plugin", &module).bytes(bytes))?;
///
/// // In a function of the host that the guest calls, or anywhere below one:
/// # let mut linker = Linker::new(&engine);
/// # let inside = walker.clone();
/// # linker.func_wrap("host", "stop", move || {
/// # let walker = &inside;
/// let backtrace = walker.capture();
/// for frame in walker.name(&backtrace) {
///     println!("{frame}");
/// }
/// # let names: Vec<_> = walker.name(&backtrace).iter().map(|f| f.name.to_string()).collect();
/// # assert_eq!(names, ["host::stop", "inner", "run"]);
/// # })?;
/// # let mut store = Store::new(&engine, ());
/// # let instance = linker.instantiate(&mut store, &module)?;
/// # instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
/// # Ok(()) }
/// ```
///
/// Capturing reads addresses and allocates nothing once a backtrace has room, but for the first
/// times; naming is a second step, which remembers each address. A clone is the same walker.
///
/// [`capture`](Self::capture) sees the whole thread, also where no store is at hand: guests
/// of every store, on the host's stack, on fibers and on continuations, each going on into the
/// stack that resumed it, and the host between them. Which store an activation belongs to is
/// looked for by [`capture_with_stores`](Self::capture_with_stores) alone, which takes longer.
/// [`capture_store`](Self::capture_store) sees what the engine's own
/// `WasmBacktrace::force_capture` sees: the guests of one store.
#[derive(Clone)]
pub struct Walker {
    shared: Arc<Shared>,
}

/// Chooses what a [`Walker`] shows.
#[derive(Clone, Debug)]
pub struct WalkerBuilder {
    shown: Shown,
}

struct Shared {
    shown: Shown,
    codes: Mutex<Registered>,
    /// Of its codes, for who asks without the lock.
    generation: AtomicU64,
    names: Mutex<Names>,
    /// Told whenever a guest comes, and before one goes.
    followers: Mutex<Vec<Weak<dyn Follower>>>,
}

/// Keeps something that is made of a walker's guests.
pub(crate) trait Follower: Send + Sync {
    /// Gets the guests that are known from now on.
    fn guests_changed(&self, codes: &Arc<Codes>);
}

/// The guests that are registered.
struct Registered {
    guests: Guests,
    /// The same, as walks have them.
    codes: Arc<Codes>,
}

/// A guest that a [`Walker`] knows, until this is dropped.
#[must_use = "the walker forgets the guest when this is dropped"]
pub struct WalkedGuest {
    shared: Arc<Shared>,
    code: Arc<Code>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WalkerBuilder {
    /// Chooses whether each frame of the host is kept and named. By default they are not:
    /// then a frame says which of its imports a guest has called, which the guest knows
    /// itself.
    #[must_use]
    pub fn host_frames(mut self, host_frames: HostFrames) -> Self {
        self.shown.host_frames = host_frames;
        self
    }

    /// Chooses whether [`Walker::name`] shows the engine's trampolines. By default it does
    /// not.
    #[must_use]
    pub fn trampolines(mut self, shown: bool) -> Self {
        self.shown.trampolines = shown;
        self
    }

    /// Makes the walker.
    ///
    /// # Errors
    ///
    /// [`Error::WalkPlatform`] where stacks cannot be walked.
    pub fn build(self) -> Result<Walker, Error> {
        if !is_supported() {
            return Err(Error::WalkPlatform);
        }
        let codes = Codes::none();
        Ok(Walker {
            shared: Arc::new(Shared {
                shown: self.shown,
                generation: AtomicU64::new(codes.generation),
                codes: Mutex::new(Registered {
                    guests: Guests::default(),
                    codes: Arc::new(codes),
                }),
                names: Mutex::new(Names::new()),
                followers: Mutex::default(),
            }),
        })
    }
}

impl Walker {
    /// Makes a walker that knows no guests, and shows those alone.
    ///
    /// # Errors
    ///
    /// [`Error::WalkPlatform`] where stacks cannot be walked.
    pub fn new() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// Returns a builder with the defaults.
    #[must_use]
    pub fn builder() -> WalkerBuilder {
        WalkerBuilder {
            shown: Shown {
                host_frames: HostFrames::Omit,
                trampolines: false,
            },
        }
    }

    /// Makes a guest's frames known until what is returned is dropped. May be called at any
    /// time, also while the guest runs. Guests that are not registered are host code to a
    /// walk, which ends where it meets them.
    ///
    /// # Errors
    ///
    /// [`Error::GuestDebug`], [`Error::Pulley`], [`Error::Text`], [`Error::Bytes`];
    /// [`Error::Hidden`] when the same code is registered, and hidden in one of the two.
    pub fn register(&self, guest: Guest) -> Result<WalkedGuest, Error> {
        if guest.code.engine().is_pulley() {
            return Err(Error::Pulley { guest: guest.name });
        }
        let (code, windows) = Code::prepare(guest)?;
        let mut registered = lock(&self.shared.codes);
        let code = match registered.guests.again(&code)? {
            Some(known) => known,
            None => {
                let guest = code.name();
                let code = Arc::new(code);
                let more = registered.codes.with(Arc::clone(&code), windows);
                let more = more.ok_or(Error::Text { guest })?;
                registered.guests.add(Arc::clone(&code));
                self.shared.publish(&mut registered, more);
                code
            }
        };
        Ok(WalkedGuest {
            shared: Arc::clone(&self.shared),
            code,
        })
    }

    /// Looks again which libraries are loaded. A stack with a host function of a library that
    /// was loaded after the process's first walker was made is cut there until this is called.
    pub fn reload_host_objects(&self) {
        OwnCapture::reload_host_objects();
        // Threads take it in when they see that something has changed.
        let mut registered = lock(&self.shared.codes);
        let same = registered.codes.again();
        self.shared.publish(&mut registered, same);
    }

    /// Returns the stack of this thread.
    #[must_use]
    #[inline(never)]
    pub fn capture(&self) -> Backtrace {
        let mut backtrace = Backtrace::empty();
        self.capture_into(&mut backtrace);
        backtrace
    }

    /// Replaces a backtrace by the stack of this thread. Allocates nothing once it has room,
    /// but for the first time on a thread.
    #[inline(never)]
    pub fn capture_into(&self, backtrace: &mut Backtrace) {
        self.prepare(backtrace);
        let host_frames = self.shared.shown.host_frames;
        let mut filling = backtrace.filling(host_frames);
        let end = self.walk(host_frames, &mut filling);
        drop(filling);
        backtrace.set_end(end);
    }

    /// Returns the stack of this thread, its activations with their stores, as far as those can
    /// be found without one at hand: `None` where not, as on continuations, and never a guess.
    /// It takes some microseconds more for each activation.
    #[must_use]
    #[inline(never)]
    pub fn capture_with_stores(&self) -> Backtrace {
        let mut backtrace = Backtrace::empty();
        self.capture_with_stores_into(&mut backtrace);
        backtrace
    }

    /// Replaces a backtrace by the stack of this thread, its activations with their stores.
    /// Allocates as [`capture_into`](Self::capture_into) does.
    #[inline(never)]
    pub fn capture_with_stores_into(&self, backtrace: &mut Backtrace) {
        self.capture_into(backtrace);
        backtrace.find_stores();
    }

    /// Returns the stack of this thread: as [`capture_with_stores`](Self::capture_with_stores),
    /// and all activations of the store that is at hand have it, those on continuations too.
    #[must_use]
    #[inline(never)]
    pub fn capture_from(&self, store: impl AsContextMut) -> Backtrace {
        let view = self.capture_store(store);
        let mut backtrace = Backtrace::empty();
        self.capture_into(&mut backtrace);
        backtrace.note_store(&view);
        backtrace.find_stores();
        backtrace
    }

    /// Visits the frames of this thread's stack, newest first, until the visitor says to
    /// stop. Each of the host's frames is visited.
    #[inline(never)]
    pub fn visit(&self, mut visit: impl FnMut(RawFrame) -> ControlFlow<()>) -> BacktraceEnd {
        let mut visit = |frame: wasmscope_sample::Frame| visit(frame.into());
        self.walk(HostFrames::Keep, &mut visit)
    }

    /// Returns the frames of one store's guests on this thread: what the engine's own
    /// `WasmBacktrace::force_capture` sees. Whoever holds a store can ask, also where its
    /// guests are not registered; those of other stores, the host and the engine's
    /// trampolines are left out.
    #[must_use]
    pub fn capture_store(&self, store: impl AsContextMut) -> Backtrace {
        let mut backtrace = Backtrace::empty();
        self.capture_store_into(store, &mut backtrace);
        backtrace
    }

    /// Replaces a backtrace by the frames of one store's guests on this thread. Allocates
    /// nothing once it has room, but for the first time for a type of store, and the first
    /// times for each of the engine's ways to enter a guest: what is found then is held
    /// against the engine's own record, which takes some microseconds.
    pub fn capture_store_into(&self, mut store: impl AsContextMut, backtrace: &mut Backtrace) {
        self.prepare(backtrace);
        store::capture(&store.as_context_mut(), backtrace);
    }

    /// Returns the frames of a backtrace with their names, newest first.
    #[must_use]
    pub fn name(&self, backtrace: &Backtrace) -> Vec<Arc<Frame>> {
        let mut frames = Vec::new();
        self.name_into(backtrace, &mut frames);
        frames
    }

    /// Replaces `frames` by those of a backtrace.
    pub fn name_into(&self, backtrace: &Backtrace, frames: &mut Vec<Arc<Frame>>) {
        frames.clear();
        lock(&self.shared.names).name(backtrace, self.shared.shown, frames);
    }

    /// Makes a backtrace of frames that were walked elsewhere, newest first, with this code.
    pub(crate) fn assemble(
        &self,
        codes: Arc<Codes>,
        frames: impl IntoIterator<Item = RawFrame>,
        end: BacktraceEnd,
    ) -> Backtrace {
        let mut backtrace = Backtrace::empty();
        backtrace.codes = Some(codes);
        let mut filling = backtrace.filling(self.shared.shown.host_frames);
        for frame in frames {
            filling.push(frame);
        }
        drop(filling);
        backtrace.set_end(end);
        backtrace
    }

    /// Tells `follower` of the guests that are known now, and of each change from now on.
    pub(crate) fn follow(&self, follower: &Arc<dyn Follower>) {
        let registered = lock(&self.shared.codes);
        lock(&self.shared.followers).push(Arc::downgrade(follower));
        follower.guests_changed(&registered.codes);
    }

    /// Returns the guests' code that is known now, for walks elsewhere. It stays mapped for as
    /// long as somebody has it.
    pub(crate) fn codes(&self) -> Arc<Codes> {
        Arc::clone(&lock(&self.shared.codes).codes)
    }

    /// Empties a backtrace, and gives it the guests that are known now.
    fn prepare(&self, backtrace: &mut Backtrace) {
        backtrace.clear();
        let generation = self.shared.generation.load(Ordering::Acquire);
        if backtrace
            .codes
            .as_ref()
            .is_none_or(|codes| codes.generation != generation)
        {
            backtrace.codes = Some(Arc::clone(&lock(&self.shared.codes).codes));
        }
    }

    #[inline(always)]
    fn walk(&self, host_frames: HostFrames, visit: &mut impl Visit) -> BacktraceEnd {
        let generation = self.shared.generation.load(Ordering::Acquire);
        let codes = || Arc::clone(&lock(&self.shared.codes).codes);
        thread::walk(generation, codes, host_frames, visit)
    }
}

impl Shared {
    fn publish(&self, registered: &mut Registered, new: Codes) {
        let generation = new.generation;
        registered.codes = Arc::new(new);
        let mut followers = lock(&self.followers);
        followers.retain(|follower| match follower.upgrade() {
            Some(follower) => {
                follower.guests_changed(&registered.codes);
                true
            }
            None => false,
        });
        self.generation.store(generation, Ordering::Release);
    }
}

impl WalkedGuest {
    /// Returns the name that the guest was registered under first.
    #[must_use]
    pub fn name(&self) -> String {
        self.code.name()
    }
}

impl Drop for WalkedGuest {
    fn drop(&mut self) {
        let mut registered = lock(&self.shared.codes);
        if !registered.guests.remove(&self.code) {
            return;
        }
        let id = registered.codes.id_of(&self.code);
        let fewer = registered.codes.without(&self.code);
        self.shared.publish(&mut registered, fewer);
        drop(registered);
        if let Some(id) = id {
            lock(&self.shared.names).forget(id);
        }
    }
}

impl fmt::Debug for Walker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walker")
            .field("guests", &lock(&self.shared.codes).codes)
            .field("shown", &self.shared.shown)
            .finish()
    }
}

impl fmt::Debug for WalkedGuest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WalkedGuest")
            .field(&self.code.name())
            .finish()
    }
}
