//! Sampling by signals, on Linux and x86-64: timers, the handler, rings, the drain
//! thread. On other platforms [`elsewhere`](crate) stands in for it.

mod across;
mod alt_stack;
mod capture;
mod cpu_clock;
mod fatal;
mod guard;
mod guest_windows;
mod handler;
mod host_run;
mod interrupt;
mod label;
mod os_thread;
mod other_stacks;
mod own_capture;
mod own_stack;
mod published;
mod record;
mod registry;
mod ring;
mod sampler;
mod stack_memory;
mod thread;
mod timer;
mod wake;

pub use capture::StackCapture;
pub use fatal::{FatalReport, report_this_thread, set_fatal_report, write_to_stderr};
pub use guard::{ThreadGuard, current_thread, is_attached, set_label};
pub use guest_windows::{GuestWindows, find_windows};
pub use interrupt::ThreadCapture;
pub use label::{TaskLabel, restore_task_label, set_task_label, takes_task_labels, with_label};
pub use os_thread::OsThread;
pub use other_stacks::KnownStack;
pub use own_capture::OwnCapture;
pub use sampler::{Sampler, SinkAccess};
pub use stack_memory::read_memory;
