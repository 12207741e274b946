//! The interface between a rewritten component and its host: one imported instance, and
//! the functions in it.
//!
//! | function | type | called |
//! |---|---|---|
//! | `attach` | `(key: u64, instantiation: u32, events: list<u8>) -> u32` | once for each instance that has probes, while the component is instantiated |
//! | `before0` to `before4` | `(instance: u32, probe: u32, values: u64...)` | as in [`hooks`](crate::hooks) |
//! | `after0` to `after4`, `stage4`, `tail`, `unwind` | as in [`hooks`](crate::hooks), an `i64` as `u64` | as there |
//! | `deferred` | `(records: list<u8>, lost: u64)` | ahead of the next event, with the [events](super::deferred) that happened where calls out are forbidden |
//! | `globals` | `(values: list<u8>)` | ahead of `look`, when `attach` asked for [`GLOBALS`], with the values of the instance's [globals](super::shown) |
//! | `memory` | `(key: u64, index: u32, first: list<u8>, len: u64)` | ahead of `look`, when `attach` asked for [`LOOK`], with each other memory than the first |
//! | `look` | `(key: u64, first: list<u8>, len: u64)` | behind each event but `stage4`, when `attach` asked for any of it |
//!
//! With [`Options::switches`](crate::Options::switches) there is one more, and where events
//! are kept ([`Options::events`](crate::Options::events)) there are only `attach` and these:
//!
//! | function | type | called |
//! |---|---|---|
//! | `share` | `(key: u64, instance: u32, memory: list<u8>)` | once for each instance that has probes, behind its start function |
//! | `flush` | `(instance: u32)` | when the instance's buffer is full |
//!
//! `share` is given the same key again, and the first eight bytes of a memory that is laid out
//! as [`SharedLayout`] says, that does not grow, and that lives as long as the component's
//! instance: so from where they are, the host knows where all of it is. Where calls out are
//! forbidden there is no `flush`. What is in the buffer then is lost, which the instance counts
//! at [`losses_at`] of the memory that `attach` is given.
//!
//! [`SharedLayout`]: super::SharedLayout
//!
//! `attach` gets [`Options::key`](crate::Options::key) and a key of
//! [`RewrittenComponent::instantiations`](super::RewrittenComponent::instantiations), and
//! returns the instance's number, which all its events carry. `events` is all of the memory
//! that keeps its component's [deferred](super::deferred) events, which stays where it is.
//! With [`LOOK`] in what it returns, or [`GLOBALS`], `look` follows each event, with where
//! the instance's memory 0 is (of a wrapper: the memory that its functions' values go
//! through): its first byte, and how many there are. So no list is as long as a memory, which
//! engines hold against what a store allows for copies. Both are given the same key again. There are none where that was not
//! asked for, where there is no such memory, or not yet, where it is shared or of 64 bits, and
//! where the component was rewritten without [`Options::expose`](crate::Options::expose).
//! Globals are shown where it was rewritten with
//! [`Options::show_globals`](crate::Options::show_globals).

use wasm_encoder::{ComponentTypeRef, ComponentValType, InstanceType, PrimitiveValType, ValType};

use super::deferred::RECORDS;
use crate::Options;
use crate::hooks::{Hook, HookType};

/// What the name of the import starts with. Reserved on input.
pub const PREFIX: &str = "wasmscope-x";

/// The bit of what `attach` returns that asks for `look`.
pub const LOOK: u32 = 1 << 31;

/// The bit of what `attach` returns that asks for `globals`.
pub const GLOBALS: u32 = 1 << 30;

/// How many instances with probes a component has at most, as a power of two: more than
/// engines accept. Nested components count for themselves.
pub(super) const INSTANTIATIONS: u32 = 12;

/// Returns where, in the memory that `attach` is given, an instance of this instantiation counts
/// how many times its buffer was full and the host could not be told: a `u64`, aligned.
#[must_use]
pub fn losses_at(instantiation: u32) -> u32 {
    let own = instantiation & ((1 << INSTANTIATIONS) - 1);
    RECORDS + own * size_of::<u64>() as u32
}

/// Returns the name of the instance that a component imports when it is rewritten with
/// this suffix: of the suffix, only hexadecimal digits can be in such a name.
///
/// ```
/// use wasmscope_instrument::component::interface::import_name;
///
/// assert_eq!(import_name(":01ab"), "wasmscope-x01ab");
/// ```
#[must_use]
pub fn import_name(suffix: &str) -> String {
    let mut name = PREFIX.to_owned();
    let digits = suffix.chars().filter(char::is_ascii_hexdigit);
    name.extend(digits.map(|digit| digit.to_ascii_lowercase()));
    name
}

/// The hooks that a component calls, in their order.
#[must_use]
pub fn hooks() -> &'static [Hook] {
    const HOOKS: usize = 13;
    &Hook::ALL[..HOOKS]
}

/// Returns what a hook takes of a component: an instance's number and a probe's are apart.
fn hook_params(hook: Hook) -> Vec<HookType> {
    let mut params = hook.params();
    if let Hook::Before(_) = hook {
        params.insert(0, HookType::I32);
    }
    params
}

/// Returns the type of a hook's parameter in a core module.
pub(super) fn core_type(ty: HookType) -> ValType {
    match ty {
        HookType::I32 => ValType::I32,
        HookType::I64 => ValType::I64,
    }
}

/// A function of the imported instance, and at the same time its place there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Import {
    Attach,
    /// By its place in [`hooks`].
    Hook(u32),
    Deferred,
    Look,
    Memory,
    Globals,
    Share,
    Flush,
}

impl Import {
    /// All that a module of hooks calls, in their order.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let hooks = (0..hooks().len() as u32).map(Self::Hook);
        let first = std::iter::once(Self::Attach);
        let last = [Self::Deferred, Self::Look, Self::Memory, Self::Globals];
        first.chain(hooks).chain(last)
    }

    /// All that a component imports, in their order.
    pub(super) fn used(options: &Options) -> Vec<Self> {
        if options.events.is_some() {
            return Self::FLUSHING.into_iter().chain([Self::Share]).collect();
        }
        let share = options.switches.then_some(Self::Share);
        Self::all().chain(share).collect()
    }

    /// All that a module of hooks calls where events are kept.
    pub(super) const FLUSHING: [Self; 2] = [Self::Attach, Self::Flush];

    /// Returns its place among those that a module of hooks calls.
    pub(super) fn index(self) -> u32 {
        let hooks = hooks().len() as u32;
        match self {
            Self::Attach => 0,
            Self::Hook(hook) => 1 + hook,
            Self::Deferred => 1 + hooks,
            Self::Look => 2 + hooks,
            Self::Memory => 3 + hooks,
            Self::Globals => 4 + hooks,
            Self::Share => 5 + hooks,
            Self::Flush => 1,
        }
    }

    /// Returns its name, in the component and in the core modules around it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Attach => "attach".to_owned(),
            Self::Hook(hook) => hooks()[hook as usize].to_string(),
            Self::Deferred => "deferred".to_owned(),
            Self::Look => "look".to_owned(),
            Self::Memory => "memory".to_owned(),
            Self::Globals => "globals".to_owned(),
            Self::Share => "share".to_owned(),
            Self::Flush => Hook::Flush.to_string(),
        }
    }

    /// Tells whether it takes a list, so that to lower it takes a memory.
    pub(super) fn takes_list(self) -> bool {
        !matches!(self, Self::Hook(_) | Self::Flush)
    }

    /// Returns the types of its parameters and results once it is lowered.
    pub(super) fn lowered(self) -> (Vec<ValType>, Vec<ValType>) {
        match self {
            Self::Attach => (
                vec![ValType::I64, ValType::I32, ValType::I32, ValType::I32],
                vec![ValType::I32],
            ),
            Self::Hook(hook) => {
                let params = hook_params(hooks()[hook as usize]).into_iter();
                (params.map(core_type).collect(), Vec::new())
            }
            Self::Deferred => (vec![ValType::I32, ValType::I32, ValType::I64], Vec::new()),
            Self::Look => (
                vec![ValType::I64, ValType::I32, ValType::I32, ValType::I64],
                Vec::new(),
            ),
            Self::Memory => (
                vec![
                    ValType::I64,
                    ValType::I32,
                    ValType::I32,
                    ValType::I32,
                    ValType::I64,
                ],
                Vec::new(),
            ),
            Self::Globals => (vec![ValType::I32, ValType::I32], Vec::new()),
            Self::Flush => (vec![ValType::I32], Vec::new()),
            Self::Share => (
                vec![ValType::I64, ValType::I32, ValType::I32, ValType::I32],
                Vec::new(),
            ),
        }
    }

    /// Returns its parameters, by name, and its result; `bytes` is a list of bytes.
    fn component_type(
        self,
        bytes: ComponentValType,
    ) -> (Vec<(String, ComponentValType)>, Option<ComponentValType>) {
        let u32 = ComponentValType::Primitive(PrimitiveValType::U32);
        let u64 = ComponentValType::Primitive(PrimitiveValType::U64);
        match self {
            Self::Attach => (
                vec![
                    ("key".to_owned(), u64),
                    ("instantiation".to_owned(), u32),
                    ("events".to_owned(), bytes),
                ],
                Some(u32),
            ),
            Self::Hook(hook) => {
                let params = hook_params(hooks()[hook as usize]);
                let head = params.iter().filter(|ty| **ty == HookType::I32).count();
                let named = params.iter().enumerate().map(|(at, ty)| match (ty, at) {
                    (HookType::I32, 0) => ("instance".to_owned(), u32),
                    (HookType::I32, _) => ("probe".to_owned(), u32),
                    (HookType::I64, _) => (format!("v{}", at - head), u64),
                });
                (named.collect(), None)
            }
            Self::Deferred => (
                vec![("records".to_owned(), bytes), ("lost".to_owned(), u64)],
                None,
            ),
            Self::Look => (
                vec![
                    ("key".to_owned(), u64),
                    ("first".to_owned(), bytes),
                    ("len".to_owned(), u64),
                ],
                None,
            ),
            Self::Memory => (
                vec![
                    ("key".to_owned(), u64),
                    ("index".to_owned(), u32),
                    ("first".to_owned(), bytes),
                    ("len".to_owned(), u64),
                ],
                None,
            ),
            Self::Globals => (vec![("values".to_owned(), bytes)], None),
            Self::Flush => (vec![("instance".to_owned(), u32)], None),
            Self::Share => (
                vec![
                    ("key".to_owned(), u64),
                    ("instance".to_owned(), u32),
                    ("memory".to_owned(), bytes),
                ],
                None,
            ),
        }
    }
}

/// Returns the type of the imported instance.
pub(super) fn instance_type(options: &Options) -> InstanceType {
    const BYTES: u32 = 0;
    let mut ty = InstanceType::new();
    ty.ty().defined_type().list(PrimitiveValType::U8);
    for import in Import::used(options) {
        let (params, result) = import.component_type(ComponentValType::Type(BYTES));
        let index = ty.type_count();
        let mut function = ty.ty().function();
        function
            .params(params.iter().map(|(name, ty)| (name.as_str(), *ty)))
            .result(result);
        ty.export(import.name().as_str(), ComponentTypeRef::Func(index));
    }
    ty
}
