//! Single-stepping a thread of this process through guest code.
//!
//! The trap flag raises SIGTRAP after each instruction. Host code would take
//! forever, so it runs freely after its first instructions: when execution leaves
//! the guest, the guest's text loses its permission to execute, and the fault when
//! it is entered again brings the stepping back. Only instruction fetches from the
//! text fault like this; everything else goes on to the engine's handlers.

#![expect(
    unsafe_code,
    reason = "installs signal handlers, reads and writes the interrupted context"
)]
#![allow(clippy::unwrap_used, reason = "a test's own module")]

use crate::shadow::Shadow;
use std::cell::UnsafeCell;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, Once, OnceLock};
use wasmscope_address::{HostPc, TextRange};
use wasmscope_walk::host::{HostCache, HostObjects, HostUnwinder};
use wasmscope_walk::{
    End, FrameKind, HostUnwind, Memory, NoHost, Text, Window, Windows, X86_64, walk, x86_64,
};
use wasmtime::Module;

/// How many instructions of host code are stepped after each exit from the guest.
const HOST_STEPS: u32 = 64;
/// Host code is walked through before every instruction of a guest that the host
/// entered in turn, and before each so many others.
const THROUGH_HOST_EVERY: u64 = 16;
const TRAP_FLAG: i64 = 0x100;
const MOST_COMPLAINTS: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walker {
    WithWindows,
    WithoutWindows,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Instructions of guest code before which the walk was compared.
    pub(crate) steps: u64,
    /// Walks that differed.
    pub(crate) wrong: u64,
    /// Walks through host code to the thread's first frame that were compared,
    /// from guest code and from host code that the guest called.
    pub(crate) through_host: u64,
    pub(crate) wrong_through_host: u64,
    pub(crate) shadow_errors: u64,
    pub(crate) host_calls: u64,
    pub(crate) tail_calls: u64,
    pub(crate) transfers: u64,
    pub(crate) deepest: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.wrong += other.wrong;
        self.through_host += other.through_host;
        self.wrong_through_host += other.wrong_through_host;
        self.shadow_errors += other.shadow_errors;
        self.host_calls += other.host_calls;
        self.tail_calls += other.tail_calls;
        self.transfers += other.transfers;
        self.deepest = self.deepest.max(other.deepest);
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} steps, {} wrong; {} through the host, {} wrong; {} host calls, {} tail calls, \
             {} handler transfers, {} deep",
            self.steps,
            self.wrong,
            self.through_host,
            self.wrong_through_host,
            self.host_calls,
            self.tail_calls,
            self.transfers,
            self.deepest
        )
    }
}

/// A walk that was wrong.
#[derive(Clone, Copy)]
struct Complaint {
    registers: x86_64::Registers,
    frame: usize,
    expected: Option<u64>,
    walked: Option<u64>,
    end: Option<End>,
    through_host: bool,
}

pub(crate) struct Stepper {
    range: TextRange,
    windows: Vec<Window<X86_64>>,
    stack_end: u64,
    objects: &'static HostObjects,
    cache: HostCache,
    shadow: Shadow,
    counts: Counts,
    complaints: Vec<Complaint>,
    walked: Vec<u64>,
    expected: Vec<u64>,
    host_steps_left: u32,
}

static SERIAL: Mutex<()> = Mutex::new(());
static CURRENT: AtomicPtr<UnsafeCell<Stepper>> = AtomicPtr::new(std::ptr::null_mut());
static INSTALL: Once = Once::new();
static OBJECTS: OnceLock<HostObjects> = OnceLock::new();
/// The engine's handlers of SIGSEGV, SIGILL and SIGFPE.
static mut ENGINES: [(i32, libc::sigaction); 3] = [
    // SAFETY: all zeros is a `sigaction` with the default handler.
    (libc::SIGSEGV, unsafe { std::mem::zeroed() }),
    // SAFETY: as above.
    (libc::SIGILL, unsafe { std::mem::zeroed() }),
    // SAFETY: as above.
    (libc::SIGFPE, unsafe { std::mem::zeroed() }),
];

/// The interrupted stack, from its stack pointer up.
struct Stack {
    low: u64,
    high: u64,
}

impl Memory for Stack {
    fn read(&self, address: u64) -> Option<u64> {
        let in_stack = self.low <= address && address <= self.high.checked_sub(8)?;
        if !in_stack || !address.is_multiple_of(8) {
            return None;
        }
        // SAFETY: between the interrupted stack pointer and the stack's end, aligned.
        Some(unsafe { std::ptr::read_volatile(address as *const u64) })
    }
}

impl Stepper {
    pub(crate) fn on(module: &Module, walker: Walker) -> Self {
        let text = module.text();
        let start = HostPc(text.as_ptr() as u64);
        let functions = module.functions().map(|function| {
            let start = u32::try_from(function.offset).unwrap();
            start..start + u32::try_from(function.len).unwrap()
        });
        let windows = match walker {
            Walker::WithWindows => Windows::classify(text, functions).into_vec(),
            Walker::WithoutWindows => Vec::new(),
        };
        Self {
            range: TextRange::new(start, u32::try_from(text.len()).unwrap()).unwrap(),
            windows,
            stack_end: 0,
            objects: OBJECTS.get_or_init(HostObjects::load),
            cache: HostCache::new(),
            shadow: Shadow::new(),
            counts: Counts::default(),
            complaints: Vec::with_capacity(MOST_COMPLAINTS),
            walked: Vec::with_capacity(1 << 16),
            expected: Vec::with_capacity(1 << 16),
            host_steps_left: 0,
        }
    }

    /// Steps through all guest code that `body` runs, on a thread of its own.
    pub(crate) fn run(mut self, body: impl FnOnce() + Send) -> Counts {
        let _serial = SERIAL.lock().unwrap_or_else(|poison| poison.into_inner());
        INSTALL.call_once(install);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let _stack = AlternateStack::new();
                self.stack_end = stack_end();
                let cell = UnsafeCell::new(self);
                CURRENT.store((&raw const cell).cast_mut(), Ordering::SeqCst);
                // SAFETY: no handler runs before the text is forbidden.
                unsafe { (*cell.get()).forbid_text() };
                body();
                CURRENT.store(std::ptr::null_mut(), Ordering::SeqCst);
                let stepper = cell.into_inner();
                stepper.allow_text();
                stepper.finish()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn finish(mut self) -> Counts {
        self.counts.shadow_errors = self.shadow.errors;
        self.counts.host_calls = self.shadow.host_calls;
        self.counts.tail_calls = self.shadow.tail_calls;
        self.counts.transfers = self.shadow.transfers;
        if !self.windows.is_empty() {
            for complaint in &self.complaints {
                let pc = complaint.registers.pc;
                let offset = self.range.offset_of(pc);
                println!(
                    "wrong at {pc} (text {offset:?}), sp {:#x}, fp {:#x}, rule {:?}, frame {}: \
                     walked {:x?}, expected {:x?}, end {:?}, through host: {}",
                    complaint.registers.sp,
                    complaint.registers.fp,
                    self.text().rule_at(pc),
                    complaint.frame,
                    complaint.walked,
                    complaint.expected,
                    complaint.end,
                    complaint.through_host,
                );
            }
        }
        self.counts
    }

    fn text(&self) -> Text<'_, X86_64> {
        Text {
            range: self.range,
            windows: &self.windows,
        }
    }

    fn protect(&self, protection: i32) {
        let start = self.range.start().0;
        let len = u64::from(self.range.len()).next_multiple_of(4096);
        // SAFETY: the pages of a compiled text, which nobody writes to. While they
        // cannot be executed, trying to is caught by `on_fault`.
        let failed = unsafe { libc::mprotect(start as *mut _, len as usize, protection) };
        assert_eq!(failed, 0);
    }

    fn forbid_text(&self) {
        self.protect(libc::PROT_READ);
    }

    fn allow_text(&self) {
        self.protect(libc::PROT_READ | libc::PROT_EXEC);
    }

    /// The thread is before the instruction at `registers.pc`; returns whether to
    /// go on stepping.
    fn step(&mut self, registers: x86_64::Registers) -> bool {
        let stack = Stack {
            low: registers.sp,
            high: self.stack_end,
        };
        let top = stack.read(registers.sp).unwrap_or(0);
        let pc = registers.pc.0;
        let Some(offset) = self.range.offset_of(registers.pc) else {
            if self.shadow_enters_host(pc, registers.sp, top) {
                self.host_steps_left = HOST_STEPS;
            }
            if self.host_steps_left == 0 {
                self.forbid_text();
                return false;
            }
            self.host_steps_left -= 1;
            self.check_through_host(registers, &stack, false);
            return true;
        };
        let len = (self.range.len() - offset.0).min(15) as usize;
        // SAFETY: within the text, which is mapped and readable.
        let code = unsafe { std::slice::from_raw_parts(pc as *const u8, len) };
        self.shadow.in_guest(pc, registers.sp, code, top);
        self.counts.steps += 1;
        self.check_guest(registers, &stack);
        if self.shadow.is_nested() || self.counts.steps.is_multiple_of(THROUGH_HOST_EVERY) {
            self.check_through_host(registers, &stack, true);
        }
        true
    }

    fn shadow_enters_host(&mut self, pc: u64, sp: u64, top: u64) -> bool {
        let before = self.shadow.host_calls;
        self.shadow.in_host(pc, sp, top);
        self.shadow.host_calls != before
    }

    /// Compares the guest frames down to the newest entry from the host.
    fn check_guest(&mut self, registers: x86_64::Registers, stack: &Stack) {
        self.expected.clear();
        self.expected.push(registers.pc.0);
        self.expected.extend(self.shadow.callers());
        self.counts.deepest = self.counts.deepest.max(self.expected.len());
        let mut walked = std::mem::take(&mut self.walked);
        let end = collect(self.text(), registers, stack, &mut NoHost, &mut walked);
        let is_wrong = walked != self.expected || end != End::LeftGuest;
        if is_wrong {
            self.counts.wrong += 1;
            self.complain(registers, &walked, end, false);
        }
        self.walked = walked;
    }

    /// Compares all guest frames of the thread, and that its first frame is reached.
    fn check_through_host(&mut self, registers: x86_64::Registers, stack: &Stack, in_guest: bool) {
        self.expected.clear();
        if in_guest {
            self.expected.push(registers.pc.0);
        }
        self.expected.extend(self.shadow.all_callers());
        let mut walked = std::mem::take(&mut self.walked);
        let text = Text {
            range: self.range,
            windows: &self.windows,
        };
        let mut host = HostUnwinder::new(self.objects, &mut self.cache);
        let end = collect(text, registers, stack, &mut host, &mut walked);
        self.counts.through_host += 1;
        let is_wrong = walked != self.expected || end != End::Root;
        if is_wrong {
            self.counts.wrong_through_host += 1;
            self.complain(registers, &walked, end, true);
        }
        self.walked = walked;
    }

    fn complain(
        &mut self,
        registers: x86_64::Registers,
        walked: &[u64],
        end: End,
        through_host: bool,
    ) {
        if self.complaints.len() == self.complaints.capacity() {
            return;
        }
        let longer = walked.len().max(self.expected.len());
        let frame = (0..longer)
            .find(|at| walked.get(*at) != self.expected.get(*at))
            .unwrap_or(longer);
        self.complaints.push(Complaint {
            registers,
            frame,
            expected: self.expected.get(frame).copied(),
            walked: walked.get(frame).copied(),
            end: Some(end),
            through_host,
        });
    }
}

/// Walks, and collects the guest frames.
fn collect(
    text: Text<'_, X86_64>,
    registers: x86_64::Registers,
    stack: &Stack,
    host: &mut impl HostUnwind<X86_64>,
    walked: &mut Vec<u64>,
) -> End {
    walked.clear();
    walk::<X86_64>(registers, stack, &text, host, |frame| {
        if frame.kind == FrameKind::Guest {
            if walked.len() == walked.capacity() {
                return ControlFlow::Break(());
            }
            walked.push(frame.pc.0);
        }
        ControlFlow::Continue(())
    })
}

fn registers_of(context: &libc::ucontext_t) -> x86_64::Registers {
    let registers = &context.uc_mcontext.gregs;
    x86_64::Registers {
        pc: HostPc(registers[libc::REG_RIP as usize] as u64),
        sp: registers[libc::REG_RSP as usize] as u64,
        fp: registers[libc::REG_RBP as usize] as u64,
    }
}

/// Returns the thread's stepper. It is used by one handler at a time: both block
/// each other, and the thread is stepped only outside them.
unsafe fn current() -> Option<&'static mut Stepper> {
    let cell = CURRENT.load(Ordering::SeqCst);
    // SAFETY: null, or the cell that `run` keeps until it has stored null again.
    unsafe { cell.as_ref().map(|cell| &mut *cell.get()) }
}

unsafe extern "C" fn on_step(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a live context; for `current` see there.
    let (context, stepper) = unsafe { (&mut *context.cast::<libc::ucontext_t>(), current()) };
    let goes_on = stepper.is_some_and(|stepper| stepper.step(registers_of(context)));
    if !goes_on {
        context.uc_mcontext.gregs[libc::REG_EFL as usize] &= !TRAP_FLAG;
    }
}

unsafe extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes live values; for `current` see there.
    unsafe {
        let registers = registers_of(&*context.cast());
        if let Some(stepper) = current() {
            let is_entry = signal == libc::SIGSEGV
                && (*info).si_addr() as u64 == registers.pc.0
                && stepper.range.contains(registers.pc);
            if is_entry {
                stepper.allow_text();
                stepper.host_steps_left = 0;
                stepper.step(registers);
                let context = &mut *context.cast::<libc::ucontext_t>();
                context.uc_mcontext.gregs[libc::REG_EFL as usize] |= TRAP_FLAG;
                return;
            }
        }
        let engines = (&raw const ENGINES).as_ref().unwrap();
        let (_, action) = engines
            .iter()
            .find(|(number, _)| *number == signal)
            .unwrap();
        let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) =
            std::mem::transmute(action.sa_sigaction);
        handler(signal, info, context);
        // The engine has made a trap of it, and execution goes on elsewhere.
        let after = registers_of(&*context.cast());
        if let Some(stepper) = current()
            && after != registers
            && stepper.range.contains(registers.pc)
        {
            stepper.shadow.faulted();
            stepper.step(after);
        }
    }
}

/// Puts this test's handlers before the engine's, which must be there already.
fn install() {
    let install = |signal: i32, handler: usize, old: *mut libc::sigaction| {
        // SAFETY: a handler of the right signature that is always there.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            assert_eq!(libc::sigaction(signal, &raw const action, old), 0);
        }
    };
    install(
        libc::SIGTRAP,
        on_step as *const () as usize,
        std::ptr::null_mut(),
    );
    // SAFETY: runs once, before any handler that reads it.
    let engines = unsafe { (&raw mut ENGINES).as_mut().unwrap() };
    for (signal, old) in engines {
        install(*signal, on_fault as *const () as usize, old);
    }
}

fn stack_end() -> u64 {
    let mut low = std::ptr::null_mut();
    let mut len = 0;
    // SAFETY: the attributes are filled in before they are read.
    unsafe {
        let mut attributes = std::mem::zeroed();
        assert_eq!(
            libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes),
            0
        );
        libc::pthread_attr_getstack(&raw const attributes, &raw mut low, &raw mut len);
        libc::pthread_attr_destroy(&raw mut attributes);
    }
    low as u64 + len as u64
}

/// A large stack for this thread's handlers; the engine keeps one that is there.
struct AlternateStack {
    start: *mut libc::c_void,
    before: libc::stack_t,
}

impl AlternateStack {
    const LEN: usize = 1 << 20;

    fn new() -> Self {
        // SAFETY: a fresh mapping, given to this thread until it is dropped.
        unsafe {
            let start = libc::mmap(
                std::ptr::null_mut(),
                Self::LEN,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(start, libc::MAP_FAILED);
            let stack = libc::stack_t {
                ss_sp: start,
                ss_flags: 0,
                ss_size: Self::LEN,
            };
            let mut before = std::mem::zeroed();
            assert_eq!(libc::sigaltstack(&raw const stack, &raw mut before), 0);
            Self { start, before }
        }
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        // SAFETY: the thread gets its former stack back before this one goes.
        unsafe {
            libc::sigaltstack(&raw const self.before, std::ptr::null_mut());
            libc::munmap(self.start, Self::LEN);
        }
    }
}
