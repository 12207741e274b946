//! What a user would take today: `wasmtime::GuestProfiler`, driven by epochs.

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wasmtime::{Engine, GuestProfiler, Module, Store, UpdateDeadline};

/// Increments an engine's epoch at each interval, until it is dropped.
#[derive(Debug)]
pub struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread that increments.
    #[must_use]
    pub fn start(engine: &Engine, interval: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (engine, stop) = (engine.clone(), stop.clone());
            move || {
                let mut next = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    next += interval;
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                    engine.increment_epoch();
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot panic; and if it did there is nothing to add here.
            let _ = thread.join();
        }
    }
}

/// A `GuestProfiler` that samples one store at each epoch.
#[expect(
    missing_debug_implementations,
    reason = "GuestProfiler does not implement it"
)]
pub struct Profiled {
    profiler: Arc<Mutex<Option<GuestProfiler>>>,
}

impl Profiled {
    /// Makes `store` sample itself at each epoch from here on.
    ///
    /// # Errors
    ///
    /// Those of [`GuestProfiler::new`].
    pub fn attach<T: 'static>(
        store: &mut Store<T>,
        name: &str,
        module: &Module,
        interval: Duration,
    ) -> wasmtime::Result<Self> {
        let modules = [(name.to_owned(), module.clone())];
        let profiler = GuestProfiler::new(store.engine(), name, interval, modules)?;
        let profiler = Arc::new(Mutex::new(Some(profiler)));
        let sampled = profiler.clone();
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |context| {
            let mut profiler = sampled.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(profiler) = profiler.as_mut() {
                profiler.sample(&context, Duration::ZERO);
            }
            Ok(UpdateDeadline::Continue(1))
        });
        Ok(Self { profiler })
    }

    /// Ends the profile and counts its samples by the newest function.
    ///
    /// # Errors
    ///
    /// When the profile cannot be written or read.
    pub fn finish(self) -> wasmtime::Result<SelfCounts> {
        let mut profiler = self.profiler.lock().unwrap_or_else(PoisonError::into_inner);
        let mut json = Vec::new();
        if let Some(profiler) = profiler.take() {
            profiler.finish(&mut json)?;
        }
        SelfCounts::read(&json)
    }
}

/// Samples by their newest function.
#[derive(Clone, Debug, Default)]
pub struct SelfCounts {
    /// By function name; samples without a stack are under the empty name.
    pub by_name: BTreeMap<String, u64>,
}

impl SelfCounts {
    /// Returns how many samples there are.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.by_name.values().sum()
    }

    /// Reads a profile in the Firefox Profiler's processed format, as
    /// `GuestProfiler` writes it: each sample counts one.
    fn read(json: &[u8]) -> wasmtime::Result<Self> {
        let profile: Value = serde_json::from_slice(json)?;
        let mut counts = Self::default();
        for thread in profile["threads"].as_array().into_iter().flatten() {
            let index = |table: &Value, at: &Value| {
                let at = at.as_u64().and_then(|at| usize::try_from(at).ok())?;
                table.get(at).cloned()
            };
            for stack in thread["samples"]["stack"].as_array().into_iter().flatten() {
                let name = index(&thread["stackTable"]["frame"], stack)
                    .and_then(|frame| index(&thread["frameTable"]["func"], &frame))
                    .and_then(|func| index(&thread["funcTable"]["name"], &func))
                    .and_then(|name| index(&thread["stringArray"], &name));
                let name = name.and_then(|name| name.as_str().map(str::to_owned));
                *counts.by_name.entry(name.unwrap_or_default()).or_default() += 1;
            }
        }
        Ok(counts)
    }
}
