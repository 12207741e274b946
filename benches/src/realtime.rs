//! Keeping the processor while something short is timed by the wall clock.

#![expect(unsafe_code, reason = "sched_setscheduler is a C function")]

/// Gives the calling thread a real-time priority until it is dropped, where that is
/// permitted. Threads that it starts meanwhile get the usual one.
#[derive(Debug)]
pub struct Realtime {
    is_granted: bool,
    not_send: std::marker::PhantomData<*const ()>,
}

impl Realtime {
    /// Asks for the priority.
    #[must_use]
    pub fn ask() -> Self {
        Self {
            is_granted: set(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, 1),
            not_send: std::marker::PhantomData,
        }
    }

    /// Tells whether the thread got it.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        self.is_granted
    }
}

impl Drop for Realtime {
    fn drop(&mut self) {
        if self.is_granted {
            set(libc::SCHED_OTHER, 0);
        }
    }
}

fn set(policy: libc::c_int, priority: libc::c_int) -> bool {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: 0 is the calling thread; the pointer is to a live value.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) == 0 }
}
