//! One thread's attachment to a sampler, from arming its timer to disarming it, and
//! what a thread can ask about its own.

use super::alt_stack::{self, AltStack};
use super::cpu_clock::thread_cpu_nanos;
use super::handler::{self, Attachment, Scratch, Shared};
use super::published::ReaderSlot;
use super::registry::{Registry, lock};
use super::ring::Ring;
use super::stack_memory::StackBounds;
use super::thread::{Counts, ThreadState, Timing, current_tid};
use super::timer::Timer;
use crate::{Clock, Error, Options, ThreadId, monotonic_nanos};
use std::cell::{RefCell, UnsafeCell};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};

/// Keeps the calling thread attached; dropping it detaches the thread. Must be
/// dropped on that thread, hence not `Send`.
#[derive(Debug)]
#[must_use = "dropping the guard detaches the thread at once"]
pub struct ThreadGuard {
    attachment: Option<Box<Attachment>>,
    timer: Option<Timer>,
    /// What the handler runs on: goes after the timer.
    _alt_stack: Option<Rc<AltStack>>,
    not_send: PhantomData<*const ()>,
}

impl ThreadGuard {
    pub(crate) fn attach(
        options: &Options,
        shared: &Arc<Shared>,
        registry: &Mutex<Registry>,
    ) -> Result<Self, Error> {
        if handler::is_attached() {
            return Err(Error::AlreadyAttached);
        }
        handler::install()?;
        let failed = |what| move |source| Error::Attach { what, source };
        let alt_stack = alt_stack::ensure().map_err(failed("give it an alternate signal stack"))?;
        let stack = StackBounds::of_this_thread().map_err(failed("find its stack"))?;
        let state = {
            let mut registry = lock(registry);
            let id = ThreadId(registry.next);
            registry.next += 1;
            let state = Arc::new(ThreadState {
                id,
                tid: current_tid(),
                name: std::thread::current().name().unwrap_or("").to_owned(),
                interval: options.rate.interval().as_nanos() as u64,
                stack,
                ring: Ring::new(options.ring_bytes),
                slot: ReaderSlot::default(),
                timing: OnceLock::new(),
                counts: Counts::default(),
                detached: OnceLock::new(),
            });
            registry.threads.push(state.clone());
            state
        };
        let attachment = Box::new(Attachment {
            state: state.clone(),
            shared: shared.clone(),
            scratch: UnsafeCell::new(Scratch::new()),
        });
        let address: *const Attachment = &raw const *attachment;
        handler::enter(address);
        let mut guard = Self {
            attachment: Some(attachment),
            timer: None,
            _alt_stack: alt_stack,
            not_send: PhantomData,
        };
        // From here on an error detaches through the guard's drop.
        let timer = Timer::arm(
            options.clock,
            options.mechanism,
            options.rate.interval(),
            handler::SIGNAL,
            address as usize,
        )
        .map_err(failed("arm its timer"))?;
        let cpu = thread_cpu_nanos();
        let attached = monotonic_nanos();
        state.counts.last_cpu.store(cpu, Ordering::Relaxed);
        let timing = Timing {
            origin: timer.origin(),
            mechanism: timer.mechanism(),
            attached,
            started: match timer.mechanism().clock() {
                Clock::Wall => attached,
                Clock::Cpu => cpu,
            },
        };
        guard.timer = Some(timer);
        // Set once, here.
        let _ = state.timing.set(timing);
        Ok(guard)
    }

    /// Returns the sampler's number of this thread.
    #[must_use]
    pub fn id(&self) -> ThreadId {
        self.attachment
            .as_ref()
            .map_or(ThreadId(u64::MAX), |attachment| attachment.state.id)
    }

    /// Keeps the thread attached until it exits, for threads that others start and
    /// end, such as a runtime's workers.
    pub fn keep_until_thread_exits(self) {
        thread_local! {
            static KEPT: RefCell<Option<ThreadGuard>> = const { RefCell::new(None) };
        }
        // On a thread that is exiting already, the guard is dropped here.
        let _ = KEPT.try_with(|kept| *kept.borrow_mut() = Some(self));
    }
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        drop(self.timer.take());
        handler::leave();
        if let Some(attachment) = self.attachment.take() {
            attachment.state.finish();
        }
    }
}

/// Sets the label of the calling thread's samples from here on, and returns the one
/// before; `None`, and no effect, on a thread that is not attached. What labels
/// mean is the [`Sink`](crate::Sink)'s business; 0 is the label of a thread that never set one.
pub fn set_label(label: u64) -> Option<u64> {
    handler::set_label(label)
}

/// Returns the calling thread's number and label, if it is attached to a sampler.
#[must_use]
pub fn current_thread() -> Option<(ThreadId, u64)> {
    handler::current_thread()
}

/// Tells whether the calling thread is attached to a sampler.
#[must_use]
pub fn is_attached() -> bool {
    handler::is_attached()
}
