//! How far an event reaches into its store: a hook reads everything, a store's end nothing.

#![expect(
    unsafe_code,
    reason = "a context is lent out mutably for one question at a time, without a flag for it"
)]

use std::arch::asm;
use std::cell::UnsafeCell;
use wasmscope_listen::{Reference, ReferenceKind, TaskId, Value};
use wasmtime::{AsContextMut, Global, Memory, StoreContextMut, Val};

/// Reads what belongs to a store.
pub(super) trait Reach {
    /// Returns a memory's size in bytes.
    fn size(&self, memory: Memory) -> Option<u64>;

    /// Copies bytes of a memory. Returns whether all were there.
    fn read(&self, memory: Memory, offset: u64, into: &mut [u8]) -> bool;

    /// Returns a global's value.
    fn get(&self, global: Global) -> Option<Value>;

    /// Sets a global of 32 bits.
    fn set(&self, global: Global, value: i32);

    /// Returns a memory of an instance, by its number in the store, if it was handed over with
    /// the event.
    fn handed_over(&self, instance: u32, memory: u32) -> Option<&[u8]> {
        let _ = (instance, memory);
        None
    }

    /// Returns the words of an instance's globals, if they were handed over with the event.
    fn handed_globals(&self, instance: u32) -> Option<&[u64]> {
        let _ = instance;
        None
    }

    /// Returns the task that runs. Asked only in stores that have tasks.
    fn task(&self) -> Option<TaskId> {
        None
    }
}

/// Reaches nothing: the store is gone, or in use by another.
pub(super) struct OutOfReach;

impl Reach for OutOfReach {
    fn size(&self, _: Memory) -> Option<u64> {
        None
    }

    fn read(&self, _: Memory, _: u64, _: &mut [u8]) -> bool {
        false
    }

    fn get(&self, _: Global) -> Option<Value> {
        None
    }

    fn set(&self, _: Global, _: i32) {}
}

/// Reaches a store through one of the engine's contexts.
///
/// Each question takes the context for itself and ends before the next: the engine asks
/// nothing of ours while it answers.
#[repr(transparent)]
pub(super) struct InStore<C>(UnsafeCell<C>);

impl<C> InStore<C> {
    #[inline(always)]
    pub(super) fn new(context: C) -> Self {
        Self(UnsafeCell::new(context))
    }

    /// Lets the engine answer one question.
    fn ask<R>(&self, question: impl FnOnce(&mut C) -> R) -> R {
        // SAFETY: not shared between threads; and nothing that is asked of the engine below
        // comes back here, so there is one borrow at a time.
        question(unsafe { &mut *self.0.get() })
    }
}

impl<C: AsContextMut> Reach for InStore<C> {
    fn size(&self, memory: Memory) -> Option<u64> {
        self.ask(|context| Some(memory.data_size(context.as_context()) as u64))
    }

    fn read(&self, memory: Memory, offset: u64, into: &mut [u8]) -> bool {
        let Ok(at) = usize::try_from(offset) else {
            return false;
        };
        self.ask(|context| memory.read(context.as_context(), at, into).is_ok())
    }

    fn get(&self, global: Global) -> Option<Value> {
        self.ask(|context| value_of(&global.get(context.as_context_mut())))
    }

    fn set(&self, global: Global, value: i32) {
        // Ours, mutable and of 32 bits: the only error is another type.
        let _ = self.ask(|context| global.set(context.as_context_mut(), Val::I32(value)));
    }

    #[cfg(feature = "component-model-async")]
    fn task(&self) -> Option<TaskId> {
        self.ask(|context| {
            let mut context = context.as_context_mut();
            let mut tasks = context.async_call_stack().ok()?;
            tasks.next().map(crate::task_id)
        })
    }
}

/// Reaches a store through the context of the quick event that goes on.
pub(super) struct QuickReach {
    /// A `StoreContextMut`, of a type that only `reach` knows.
    context: UnsafeCell<usize>,
    reach: for<'r> unsafe fn(&'r UnsafeCell<usize>) -> &'r dyn Reach,
}

impl QuickReach {
    /// Makes one for a store, by a context of it.
    pub(super) fn new<T: 'static>(context: StoreContextMut<'_, T>) -> Self {
        Self {
            context: UnsafeCell::new(address(&context)),
            // SAFETY: whoever calls it has lent a context of this type, which is at this
            // address; the cell of a context is laid out as the context.
            reach: |context| unsafe {
                &*std::ptr::from_ref(context).cast::<InStore<StoreContextMut<'_, T>>>()
            },
        }
    }

    /// Lends an event's context to the one of its store, until the event is over.
    ///
    /// All contexts of a store are at one address, so what is there already is what would
    /// have to be written. But the compiler must know that the context is in other hands:
    /// else it takes what the engine does to the store meanwhile for impossible.
    #[inline(always)]
    pub(super) fn lend<T: 'static>(context: StoreContextMut<'_, T>) {
        let address = address(&context);
        // SAFETY: it stands for writing the context to its store's place, and is no
        // instruction, as that would change nothing.
        unsafe { asm!("/* {0} */", in(reg) address, options(nostack, preserves_flags)) };
    }

    fn reach(&self) -> &dyn Reach {
        // SAFETY: a quick event goes on, or nobody would ask, and has lent its context.
        unsafe { (self.reach)(&self.context) }
    }
}

/// Returns the address that a store's contexts lead to.
#[inline(always)]
pub(super) fn address<T: 'static>(context: &StoreContextMut<'_, T>) -> usize {
    const {
        assert!(size_of::<StoreContextMut<'static, T>>() == size_of::<usize>());
        assert!(align_of::<StoreContextMut<'static, T>>() == align_of::<usize>());
    }
    // SAFETY: a context is one pointer, never null. It counts as exposed.
    unsafe { std::mem::transmute_copy::<_, *const ()>(context) }.expose_provenance()
}

impl Reach for QuickReach {
    fn size(&self, memory: Memory) -> Option<u64> {
        self.reach().size(memory)
    }

    fn read(&self, memory: Memory, offset: u64, into: &mut [u8]) -> bool {
        self.reach().read(memory, offset, into)
    }

    fn get(&self, global: Global) -> Option<Value> {
        self.reach().get(global)
    }

    fn set(&self, global: Global, value: i32) {
        self.reach().set(global, value);
    }

    fn task(&self) -> Option<TaskId> {
        self.reach().task()
    }
}

/// Reaches as far as another does.
impl Reach for &dyn Reach {
    fn size(&self, memory: Memory) -> Option<u64> {
        (**self).size(memory)
    }

    fn read(&self, memory: Memory, offset: u64, into: &mut [u8]) -> bool {
        (**self).read(memory, offset, into)
    }

    fn get(&self, global: Global) -> Option<Value> {
        (**self).get(global)
    }

    fn set(&self, global: Global, value: i32) {
        (**self).set(global, value);
    }

    fn handed_over(&self, instance: u32, memory: u32) -> Option<&[u8]> {
        (**self).handed_over(instance, memory)
    }

    fn handed_globals(&self, instance: u32) -> Option<&[u64]> {
        (**self).handed_globals(instance)
    }

    fn task(&self) -> Option<TaskId> {
        (**self).task()
    }
}

/// Returns what a listener may know of a value.
pub(super) fn value_of(value: &Val) -> Option<Value> {
    let reference = |kind, is_null| Some(Value::Ref(Reference { kind, is_null }));
    match value {
        Val::I32(v) => Some(Value::I32(*v)),
        Val::I64(v) => Some(Value::I64(*v)),
        Val::F32(bits) => Some(Value::F32(f32::from_bits(*bits))),
        Val::F64(bits) => Some(Value::F64(f64::from_bits(*bits))),
        Val::V128(v) => Some(Value::V128(v.as_u128())),
        Val::FuncRef(v) => reference(ReferenceKind::Func, v.is_none()),
        Val::ExternRef(v) => reference(ReferenceKind::Extern, v.is_none()),
        Val::AnyRef(v) => reference(ReferenceKind::Any, v.is_none()),
        Val::ExnRef(v) => reference(ReferenceKind::Exn, v.is_none()),
        Val::ContRef(v) => reference(ReferenceKind::Cont, v.is_none()),
    }
}
