//! Says which guests were on the stack when the host itself crashes.

mod table;

use crate::Error;
use crate::backtrace::{Codes, Follower, Walker};
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use table::Table;
use wasmscope_address::{HostPc, TextRange};
use wasmscope_sample::{
    CodeMap, End, FatalReport, FrameKind, report_this_thread, set_fatal_report, write_to_stderr,
};

/// Writes the guests' frames on the stack to standard error when the host panics, or dies by
/// SIGSEGV, SIGBUS, SIGILL, SIGFPE or SIGABRT.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use wasmscope::{CrashHook, Walker};
///
/// let walker = Walker::new()?;
/// let _hook = CrashHook::install(&walker)?;
/// // Register guests with the walker, at any time, and run them:
/// // wasmscope: SIGSEGV on thread 4711; its guests, newest call first:
/// //     plugin!parse (function 17, offset 0x2f1)
/// //     plugin!handle (function 9, offset 0x1c4)
/// # Ok(()) }
/// ```
///
/// Nothing is written where no guest is on the thread's stack, and nothing for a guest's own
/// trap: handlers that were there before run first, the engine's among them, and what they
/// have dealt with is no crash. It may be installed before or after the first
/// [`Engine`](wasmtime::Engine) is made. Afterwards the process ends as it would have: by the
/// same signal, with the same exit status, and with what the handlers before do.
///
/// # Signal safety
///
/// Names and offsets are tables that are made when a guest is registered, in time and memory
/// proportional to its code. The handler allocates nothing, takes no lock, works on a stack of
/// its own, and writes with `write`. Source lines are left out, because finding them takes all
/// of that. A panic is reported after the panic hook that was there, whether or not somebody
/// catches it later; if it ends in an abort, the stack is written once more.
///
/// Which libraries are loaded is read when the hook is first installed: a stack on which one is
/// that came later is cut there, and says so.
///
/// One hook at a time gets reports; the one that was installed last. Dropping it ends them.
#[must_use = "reports end when the hook is dropped"]
pub struct CrashHook {
    follower: Arc<dyn Follower>,
}

/// Which hook gets reports.
static CURRENT: Mutex<Option<usize>> = Mutex::new(None);

/// Remakes the report when guests come and go.
#[derive(Default)]
struct Guests {
    tables: Mutex<HashMap<u64, Arc<Table>>>,
}

/// What the handler uses.
struct Report {
    map: Arc<CodeMap>,
    /// Sorted by address.
    guests: Vec<(TextRange, Arc<Table>)>,
    signal: std::sync::atomic::AtomicI32,
    tid: std::sync::atomic::AtomicU32,
    has_begun: AtomicBool,
    /// Whether host frames came since the last guest's.
    in_host: AtomicBool,
}

impl CrashHook {
    /// Installs the process's handlers and panic hook, which stay, and has them report the
    /// guests of this walker.
    ///
    /// # Errors
    ///
    /// [`Error::Sample`] when the handlers could not be installed; [`Error::Platform`] where
    /// there are no such signals.
    ///
    /// # Panics
    ///
    /// On a thread that is panicking, as setting a panic hook does.
    pub fn install(walker: &Walker) -> Result<Self, Error> {
        static PANICS: Once = Once::new();
        // Says whether it works before anything is changed.
        set_fatal_report(Some(Arc::new(Report::of(Vec::new(), Arc::default()))))?;
        let guests = Arc::new(Guests::default());
        let identity = Arc::as_ptr(&guests).addr();
        let follower: Arc<dyn Follower> = guests;
        *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity);
        walker.follow(&follower);
        PANICS.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                before(info);
                report_this_thread();
            }));
        });
        Ok(Self { follower })
    }

    fn identity(&self) -> usize {
        Arc::as_ptr(&self.follower).cast::<()>().addr()
    }
}

impl Drop for CrashHook {
    fn drop(&mut self) {
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if *current == Some(self.identity()) {
            *current = None;
            // Taking a report back cannot fail.
            let _ = set_fatal_report(None);
        }
    }
}

impl Follower for Guests {
    fn guests_changed(&self, codes: &Arc<Codes>) {
        let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != Some(std::ptr::from_ref(self).addr()) {
            return;
        }
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = HashMap::new();
        let mut guests = Vec::new();
        for (id, code) in codes.guests() {
            let table = match tables.remove(&id) {
                Some(table) => table,
                None => Arc::new(Table::of(code)),
            };
            known.insert(id, Arc::clone(&table));
            guests.push((code.range, table));
        }
        *tables = known;
        // The handlers are there, so that this cannot fail.
        let _ = set_fatal_report(Some(Arc::new(Report::of(guests, Arc::clone(&codes.map)))));
    }
}

impl Report {
    fn of(guests: Vec<(TextRange, Arc<Table>)>, map: Arc<CodeMap>) -> Self {
        Self {
            map,
            guests,
            signal: Default::default(),
            tid: Default::default(),
            has_begun: AtomicBool::new(false),
            in_host: AtomicBool::new(false),
        }
    }

    fn guest_frame(&self, pc: HostPc) {
        let after = self
            .guests
            .partition_point(|(range, _)| range.start() <= pc);
        let guest = after.checked_sub(1).and_then(|at| self.guests.get(at));
        let Some((range, table)) = guest else { return };
        let Some(found) = range.offset_of(pc).and_then(|place| table.at(place)) else {
            return;
        };
        let mut line = Line::new();
        if !self.has_begun.swap(true, Ordering::Relaxed) {
            let what = match self.signal.load(Ordering::Relaxed) {
                0 => "a panic",
                signals::SIGSEGV => "SIGSEGV",
                signals::SIGBUS => "SIGBUS",
                signals::SIGILL => "SIGILL",
                signals::SIGFPE => "SIGFPE",
                signals::SIGABRT => "SIGABRT",
                _ => "a signal",
            };
            let tid = self.tid.load(Ordering::Relaxed);
            let _ = writeln!(
                line,
                "wasmscope: {what} on thread {tid}; its guests, newest call first:"
            );
            line.flush();
        } else if self.in_host.load(Ordering::Relaxed) {
            let _ = line.write_str("    (host)\n");
            line.flush();
        }
        self.in_host.store(false, Ordering::Relaxed);
        let _ = write!(
            line,
            "    {}!{} (function {}",
            table.guest, found.name, found.index.0
        );
        if let Some(offset) = found.offset {
            let _ = write!(line, ", offset {:#x}", offset.0);
        }
        let _ = line.write_str(")\n");
        line.flush();
    }
}

impl FatalReport for Report {
    fn code(&self) -> &CodeMap {
        &self.map
    }

    fn begin(&self, signal: i32, tid: u32) {
        self.signal.store(signal, Ordering::Relaxed);
        self.tid.store(tid, Ordering::Relaxed);
        self.has_begun.store(false, Ordering::Relaxed);
        self.in_host.store(false, Ordering::Relaxed);
    }

    fn frame(&self, frame: wasmscope_sample::Frame) {
        match frame.kind {
            FrameKind::Guest => self.guest_frame(frame.lookup_pc()),
            FrameKind::Host => self.in_host.store(true, Ordering::Relaxed),
        }
    }

    fn end(&self, end: End) {
        if matches!(end, End::Cut(_)) && self.has_begun.load(Ordering::Relaxed) {
            write_to_stderr(b"    (older frames are missing)\n");
        }
    }
}

/// The numbers of the signals on the platforms that have reports.
mod signals {
    pub(super) const SIGILL: i32 = 4;
    pub(super) const SIGABRT: i32 = 6;
    pub(super) const SIGBUS: i32 = 7;
    pub(super) const SIGFPE: i32 = 8;
    pub(super) const SIGSEGV: i32 = 11;
}

/// Text of bounded length; what is too much is left out.
struct Line {
    bytes: [u8; 1024],
    len: usize,
}

impl Line {
    fn new() -> Self {
        Self {
            bytes: [0; 1024],
            len: 0,
        }
    }

    fn flush(&mut self) {
        write_to_stderr(self.bytes.get(..self.len).unwrap_or_default());
        self.len = 0;
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(text.bytes()) {
            *to = from;
            self.len = self.len.wrapping_add(1);
        }
        Ok(())
    }
}

impl fmt::Debug for CrashHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashHook").finish_non_exhaustive()
    }
}
