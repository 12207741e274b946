//! Finding a store's context from nothing but the store.
//!
//! A store's data and its context lie in one allocation, as far apart in all stores whose
//! data is of one type. The distance is found out when such a store is first met inside a
//! guest: near the data there is one word that points to the data and around which a context
//! is, the exit of which says what the frame on the stack says.

use super::StoreContext;
use std::any::TypeId;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use wasmscope_sample::read_memory;
use wasmtime::StoreContextMut;
use wasmtime_environ::{
    HostPtr, PtrSize, STACK_CHAIN_CONTINUATION_DISCRIMINANT, STACK_CHAIN_INITIAL_STACK_DISCRIMINANT,
};

/// What is known of a store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found {
    /// Its context.
    Context(StoreContext),
    /// Only that none of its guests runs.
    Idle,
    /// Nothing: the engine is laid out in another way.
    Unknown,
}

/// By the type of the data, how far from it the context is.
static DISTANCES: Mutex<Option<HashMap<TypeId, isize>>> = Mutex::new(None);

thread_local! {
    static LAST: Cell<Option<(TypeId, isize)>> = const { Cell::new(None) };
}

/// How much of the engine's part of a store is looked at, before the data and after.
const NEAR: usize = 16 << 10;

const WORD: usize = size_of::<usize>();

impl StoreContext {
    /// Finds the context of a store.
    #[inline]
    pub(crate) fn find<T: 'static>(store: &StoreContextMut<'_, T>) -> Found {
        let data = std::ptr::from_ref(store.data());
        let id = TypeId::of::<T>();
        if let Some((last, distance)) = LAST.get()
            && last == id
        {
            return Self::at(data.addr(), data.cast(), distance);
        }
        Self::look_up(id, data.cast(), size_of::<T>())
    }

    /// Returns the context at a distance from a store's data.
    #[inline]
    fn at(data: usize, pointer: *const u8, distance: isize) -> Found {
        let context = Self(pointer.wrapping_offset(distance));
        // Of all stores with data of this type, the context is at this distance from the
        // data, in the same allocation.
        match context.field(HostPtr.vm_store_context().store_data()) == data {
            true => Found::Context(context),
            false => Found::Unknown,
        }
    }

    #[cold]
    fn look_up(id: TypeId, data: *const u8, size: usize) -> Found {
        let mut distances = DISTANCES.lock().unwrap_or_else(PoisonError::into_inner);
        let distances = distances.get_or_insert_default();
        if let Some(&distance) = distances.get(&id) {
            LAST.set(Some((id, distance)));
            return Self::at(data.addr(), data, distance);
        }
        let data = std::hint::black_box(data);
        data.expose_provenance();
        let near = Near::read(data.addr(), size);
        let mut candidates = near.contexts();
        let Some(first) = candidates.next() else {
            return Found::Unknown;
        };
        // One of them is the context. If none has been left, no guest runs.
        let mut left = std::iter::once(first)
            .chain(candidates)
            .filter(|context| Near::is_left(*context));
        let Some(context) = left.next() else {
            return Found::Idle;
        };
        if left.next().is_some() {
            return Found::Unknown;
        }
        let distance = context.wrapping_sub(data.addr()).cast_signed();
        distances.insert(id, distance);
        LAST.set(Some((id, distance)));
        Self::at(data.addr(), data, distance)
    }
}

/// The memory around a store's data. It is looked at piece by piece and kept nowhere: a copy
/// on the heap might itself be near the data.
struct Near {
    data: usize,
    /// Addresses of words that point to the data.
    pointers: [usize; MOST],
    count: usize,
}

/// More words than this that point to one place are not expected.
const MOST: usize = 16;

const PIECE: usize = 64;

impl Near {
    fn read(data: usize, size: usize) -> Self {
        let mut near = Self {
            data,
            pointers: [0; MOST],
            count: 0,
        };
        // The allocation begins before the data and may end with it, and reading what is
        // not there stops short: so from the data downwards, then upwards.
        let middle = data & !(WORD * PIECE - 1);
        let mut piece = middle;
        while piece > data.saturating_sub(NEAR) && near.look_at(piece) {
            piece = piece.wrapping_sub(WORD * PIECE);
        }
        piece = middle + WORD * PIECE;
        while piece < data + size + NEAR && near.look_at(piece) {
            piece = piece.wrapping_add(WORD * PIECE);
        }
        near
    }

    /// Looks at one piece of memory. Returns `false` if it is not there.
    fn look_at(&mut self, piece: usize) -> bool {
        let mut words = [0; PIECE];
        let read = read_memory(piece as u64, &mut words);
        for (n, word) in words.iter().take(read).enumerate() {
            if *word == self.data as u64
                && let Some(pointer) = self.pointers.get_mut(self.count)
            {
                *pointer = piece + n * WORD;
                self.count += 1;
            }
        }
        read == PIECE
    }

    fn word(address: usize) -> Option<usize> {
        let mut word = [0];
        (read_memory(address as u64, &mut word) == 1).then_some(word[0] as usize)
    }

    /// Returns the addresses of contexts that may be: those that would say where the data is.
    fn contexts(&self) -> impl Iterator<Item = usize> + '_ {
        let field = usize::from(HostPtr.vm_store_context().store_data());
        let pointers = self.pointers.iter().take(self.count);
        pointers.filter_map(move |pointer| pointer.checked_sub(field))
    }

    /// Tells whether what would be a context says that a guest called the host, which the
    /// frame of the trampoline confirms.
    fn is_left(context: usize) -> bool {
        let at = HostPtr.vm_store_context();
        let field = |offset: u8| Self::word(context.wrapping_add(usize::from(offset)));
        let (Some(pc), Some(trampoline), Some(entry), Some(chain)) = (
            field(at.last_wasm_exit_pc()),
            field(at.last_wasm_exit_trampoline_fp()),
            field(at.last_wasm_entry_fp()),
            field(at.stack_chain()),
        ) else {
            return false;
        };
        let stacks = [
            STACK_CHAIN_INITIAL_STACK_DISCRIMINANT,
            STACK_CHAIN_CONTINUATION_DISCRIMINANT,
        ];
        let mut frame = [0; 2];
        pc != 0
            && stacks.contains(&chain)
            && trampoline < entry
            && read_memory(trampoline as u64, &mut frame) == 2
            && frame[1] == pc as u64
            && (trampoline as u64) < frame[0]
            && frame[0] <= entry as u64
    }
}
