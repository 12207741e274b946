//! Where the engine keeps what a hook needs to know at once.
//!
//! Compiled code writes down, whenever it calls the host, which frame it came from:
//!
//! ```text
//!   VMStoreContext of a store               the stack, addresses grow upward
//!   +------------------------------+        +-----------------------+
//!   | last_wasm_exit_trampoline_fp |----+   |  entry trampoline     |<-- last_wasm_entry_fp
//!   | last_wasm_exit_pc            |    |   |  ...                  |
//!   | last_wasm_entry_fp           |    |   |  return | caller's fp |<-+ frame that called
//!   | stack_chain                  |    |   |  ...                  |  | the hook
//!   | store_data                   |    +-->|  return | its fp -----|--+
//!   +------------------------------+        +-----------------------+  hook's trampoline
//! ```
//!
//! The engine has no call that tells this, and walking the host's own frames costs a
//! microsecond. So these fields are read where `wasmtime-environ`, the crate that lays
//! them out for the compiler, says they are. [`StoreContext::of`] checks one of them
//! against what the engine's public functions say before any is used.

#![expect(
    unsafe_code,
    reason = "reads fields of the engine's store at offsets that the engine's own crate gives"
)]

mod entries;
mod found;
mod owners;

pub(crate) use entries::{Entered, Trust, agreed, disagreed};
pub(crate) use found::Found;
pub(crate) use owners::{Owners, Walked};

use std::sync::atomic::AtomicPtr;
use wasmscope_address::HostPc;
use wasmtime::{AsContextMut, Func};
use wasmtime_environ::{
    HostPtr, PtrSize, STACK_CHAIN_CONTINUATION_DISCRIMINANT, STACK_STATE_PARENT_DISCRIMINANT,
    STACK_STATE_RUNNING_DISCRIMINANT, STACK_STATE_SUSPENDED_DISCRIMINANT,
    STACK_STATE_TRAPPED_DISCRIMINANT,
};

/// A store's `VMStoreContext`. Valid as long as the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreContext(*const u8);

/// The frame pointer of a frame of compiled code: the address of the pair of its
/// caller's frame pointer and its return address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Fp(pub(crate) usize);

impl Fp {
    /// No frame: lower than all.
    pub(crate) const NONE: Self = Self(0);

    /// A frame that was gone before anybody could see it: lower than all that there are.
    pub(crate) const NOWHERE: Self = Self(1);

    /// Returns the frame pointer of the caller.
    ///
    /// # Safety
    ///
    /// A live frame of compiled code.
    #[inline(always)]
    pub(crate) unsafe fn caller(self) -> Self {
        // SAFETY: compiled code keeps frame pointers: `push rbp; mov rbp, rsp`, or the same
        // on other architectures, and the caller promises that the frame is there.
        Self(unsafe { *(self.0 as *const usize) })
    }

    /// Returns the address that the frame returns to.
    ///
    /// # Safety
    ///
    /// A live frame of compiled code.
    #[inline(always)]
    pub(crate) unsafe fn return_address(self) -> HostPc {
        // SAFETY: as above; the return address lies above the caller's frame pointer.
        HostPc(unsafe { *((self.0 as *const usize).add(1)) } as u64)
    }
}

/// The callers of a frame of compiled code, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callers {
    /// The frame that was reached.
    pub(crate) frame: Fp,
    /// Where it will go on; not known of the frame that this began with.
    pub(crate) pc: Option<HostPc>,
    entry: Fp,
}

impl Callers {
    /// Begins with `frame`; ends with `entry`, or where compiled code ends.
    ///
    /// # Safety
    ///
    /// `frame` is a live frame of compiled code, as are all its callers up to `entry`, and
    /// stays so as long as this is used. Without an entry, who uses this stops where `pc`
    /// is no compiled code.
    #[inline(always)]
    pub(crate) unsafe fn of(frame: Fp, entry: Fp) -> Self {
        Self {
            frame,
            pc: None,
            entry,
        }
    }

    /// Returns where they end.
    pub(crate) fn entry(&self) -> Fp {
        self.entry
    }

    /// Tells whether the trampoline by which the host entered is reached.
    #[inline(always)]
    pub(crate) fn is_at_entry(&self) -> bool {
        self.frame == self.entry
    }

    /// Visits the callers of the frame that was reached, but for the entry, and where each
    /// will go on.
    #[inline(always)]
    pub(crate) fn for_each(self, mut visit: impl FnMut(Fp, HostPc)) {
        let mut frame = self.frame;
        while frame != self.entry {
            // SAFETY: as in `advance`.
            let (caller, pc) = unsafe { (frame.caller(), frame.return_address()) };
            if caller <= frame || caller == self.entry {
                return;
            }
            visit(caller, pc);
            frame = caller;
        }
    }

    /// Goes on to the caller. Returns `false` at the end, and stays there.
    #[inline(always)]
    pub(crate) fn advance(&mut self) -> bool {
        if self.frame == self.entry {
            return false;
        }
        // SAFETY: a live frame, as `of` asks; the entry's own caller is not touched.
        let (caller, pc) = unsafe { (self.frame.caller(), self.frame.return_address()) };
        // A stack grows down, so each caller lies above.
        if caller <= self.frame {
            return false;
        }
        self.frame = caller;
        self.pc = Some(pc);
        true
    }
}

/// Tells the stacks of one thread or store apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum StackId {
    /// The stack that the host entered the guest on.
    #[default]
    Entered,
    /// A fiber's, where the tasks of one store take turns, by where its guard pages begin.
    Fiber(usize),
    /// The stack of a continuation, by the address of what the engine knows of it.
    Continuation(usize),
}

impl StackId {
    /// Tells what has become of a continuation, and how many stacks resumed each other down
    /// to it.
    ///
    /// # Safety
    ///
    /// The continuation's store is there.
    pub(crate) unsafe fn progress(self) -> (Progress, usize) {
        let mut reference = match self {
            Self::Entered => return (Progress::Running, 0),
            // Whether it is the one that runs is for its store to say.
            Self::Fiber(_) => return (Progress::Paused, 0),
            Self::Continuation(reference) => reference,
        };
        let state = usize::from(
            HostPtr.vmcontref_common_stack_information()
                + HostPtr.vmcommon_stack_information_state(),
        );
        let parent = usize::from(HostPtr.vmcontref_parent_chain());
        // SAFETY: a store keeps what it knows of a continuation until it ends.
        unsafe {
            let progress = match *((reference + state) as *const u32) {
                STACK_STATE_RUNNING_DISCRIMINANT | STACK_STATE_PARENT_DISCRIMINANT => {
                    Progress::Running
                }
                STACK_STATE_TRAPPED_DISCRIMINANT => Progress::Trapped,
                _ => Progress::Paused,
            };
            let mut depth = 1;
            loop {
                let chain = (reference + parent) as *const usize;
                if *chain != STACK_CHAIN_CONTINUATION_DISCRIMINANT {
                    return (progress, depth);
                }
                reference = *chain.add(1);
                depth += 1;
            }
        }
    }
}

impl StackId {
    /// Returns the frames of a continuation that waits to be resumed, newest first: its own,
    /// then those of each continuation that had resumed it and was suspended with it. None of
    /// any other stack. Each ends where compiled code ends.
    ///
    /// # Safety
    ///
    /// The continuation's store is there, held by this thread as long as what is returned is
    /// used.
    pub(crate) unsafe fn suspended(self) -> Vec<Callers> {
        let Self::Continuation(mut reference) = self else {
            return Vec::new();
        };
        // SAFETY: fields of what a store knows of a continuation until it ends, and the
        // topmost words of its stack.
        let word = |at: usize| unsafe { *(at as *const usize) };
        let field = |reference: usize, offset: u8| word(reference + usize::from(offset));
        let state = HostPtr.vmcontref_common_stack_information()
            + HostPtr.vmcommon_stack_information_state();
        if field(reference, state) as u32 != STACK_STATE_SUSPENDED_DISCRIMINANT {
            return Vec::new();
        }
        // Where it goes on is kept on the stack of the last of those that are suspended with
        // it; where each of the others goes on, on the stack that it had resumed.
        let last = field(reference, HostPtr.vmcontref_last_ancestor());
        let mut kept_by = last;
        let mut stacks = Vec::new();
        loop {
            let top = field(kept_by, HostPtr.vmcontref_stack());
            // SAFETY: a frame of compiled code that waits, with its callers below it.
            let mut callers = unsafe { Callers::of(Fp(word(top - 16)), Fp::NONE) };
            callers.pc = Some(HostPc(word(top - 8) as u64));
            stacks.push(callers);
            if reference == last {
                return stacks;
            }
            let parent = HostPtr.vmcontref_parent_chain();
            if field(reference, parent) != STACK_CHAIN_CONTINUATION_DISCRIMINANT {
                return stacks;
            }
            kept_by = reference;
            reference = field(reference, parent + HostPtr.size());
        }
    }
}

/// What has become of a continuation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// It runs, or waits for one that it resumed.
    Running,
    /// It can be resumed, or has returned.
    Paused,
    /// It will not go on.
    Trapped,
}

/// Where a store's last exit to the host is written down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExitSlot(*const usize);

impl ExitSlot {
    /// Stands where no store is known yet: always says the same frame, which calls itself
    /// and is no guest's.
    pub(crate) const NOWHERE: Self = {
        static ITSELF: AtomicPtr<()> = AtomicPtr::new((&raw const ITSELF).cast_mut().cast());
        Self((&raw const ITSELF).cast())
    };

    /// Returns the frame that called the hook that runs now.
    ///
    /// # Safety
    ///
    /// This is [`Self::NOWHERE`], or some store's, one of whose hooks runs on this thread.
    #[inline(always)]
    pub(crate) unsafe fn frame(self) -> Fp {
        // SAFETY: while a hook runs, its trampoline's frame is there, and below it in the
        // chain the frame of the guest function that called the hook.
        unsafe { Fp(*self.0).caller() }
    }
}

impl StoreContext {
    /// Finds the context of a store through a function of one of its instances.
    ///
    /// `data` is the address of the store's data. Returns `None` when the engine is laid
    /// out in another way than `wasmtime-environ` says.
    pub(crate) fn of(mut store: impl AsContextMut, function: Func, data: usize) -> Option<Self> {
        let func_ref = function.to_raw(store.as_context_mut()).cast::<u8>();
        if func_ref.is_null() {
            return None;
        }
        let vmctx = usize::from(HostPtr.vm_func_ref().vmctx());
        let context = usize::from(HostPtr.vmctx_store_context());
        // SAFETY: `to_raw` gives the address of the function's `VMFuncRef`, whose `vmctx`
        // is, for a function of an instance, that instance's `VMContext`; each begins
        // with a magic number and has the address of the store's context.
        let context = unsafe {
            let vmctx = *func_ref.add(vmctx).cast::<*const u8>();
            if *vmctx.cast::<u32>() != wasmtime_environ::VMCONTEXT_MAGIC {
                return None;
            }
            Self(*vmctx.add(context).cast::<*const u8>())
        };
        // The check: the context says where the store's data is, and so does the engine.
        (context.field(HostPtr.vm_store_context().store_data()) == data).then_some(context)
    }

    /// Reads a word of the context.
    #[inline]
    fn field(self, offset: u8) -> usize {
        // SAFETY: the offset is one of the context's own fields, each a word that only
        // this thread writes while it runs the store.
        unsafe { *self.0.add(usize::from(offset)).cast::<usize>() }
    }

    /// Returns where the last exit to the host is written down.
    pub(crate) fn exit_slot(self) -> ExitSlot {
        let offset = HostPtr.vm_store_context().last_wasm_exit_trampoline_fp();
        // SAFETY: within the context.
        ExitSlot(unsafe { self.0.add(usize::from(offset)) }.cast())
    }

    /// Returns where the guest will go on when the hook returns.
    pub(crate) fn exit_pc(self) -> HostPc {
        HostPc(self.field(HostPtr.vm_store_context().last_wasm_exit_pc()) as u64)
    }

    /// Returns the frames of the guest that called the host.
    ///
    /// # Safety
    ///
    /// The host was called by this store's guest; it has not returned.
    pub(crate) unsafe fn callers_of_host(self) -> Callers {
        // SAFETY: as the caller promises, for the frame as for its callers.
        let mut callers =
            unsafe { Callers::of(self.exit_slot().frame(), self.entry_of(self.stack())) };
        callers.pc = Some(self.exit_pc());
        callers
    }

    /// Returns the frame of the trampoline by which the host entered the guest.
    pub(crate) fn entry(self) -> Fp {
        Fp(self.field(HostPtr.vm_store_context().last_wasm_entry_fp()))
    }

    /// Returns where the frames of a stack end: none on a continuation, whose frames end in
    /// the engine's own.
    #[inline]
    pub(crate) fn entry_of(self, stack: StackId) -> Fp {
        match stack {
            StackId::Entered | StackId::Fiber(_) => self.entry(),
            StackId::Continuation(_) => Fp::NONE,
        }
    }

    /// Returns which fiber's guard pages are in force: 0 on a thread's own stack.
    pub(crate) fn fiber(self) -> usize {
        self.field(HostPtr.vm_store_context().async_guard_range())
    }

    /// Returns the stack that runs.
    pub(crate) fn stack(self) -> StackId {
        let chain = HostPtr.vm_store_context().stack_chain();
        if self.field(chain) == STACK_CHAIN_CONTINUATION_DISCRIMINANT {
            StackId::Continuation(self.field(chain + HostPtr.size()))
        } else {
            StackId::Entered
        }
    }
}
