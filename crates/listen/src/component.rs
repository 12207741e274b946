//! Component functions: their WIT names and types, and their typed values.
//!
//! A listener on a component hears core calls. Where one of them is the core side of a
//! component function, its [`Definition`](crate::Definition) carries a
//! [`ComponentFunction`], and the words that the core call passes lead to typed values,
//! as the [Canonical ABI] lays them out:
//!
//! ```text
//!   greet: func(name: string, tags: list<u8>) -> option<string>
//!
//!   flat words    ptr len      ptr len            ->  ptr (to a result in memory)
//!                  |            |                      |
//!   memory        "ann"        01 02                  01 .. ptr len -> "hi, ann"
//!
//!   values        "ann"        [1, 2]             ->  some("hi, ann")
//! ```
//!
//! Lifting is total: whatever the words and the memory hold gives values or a
//! [`LiftError`] that says where, with an amount of work that [`Limits`] bounds.
//!
//! ```
//! use wasmscope_listen::component::{ComponentFunction, Direction, FunctionType, Limits, Type};
//!
//! let ty = FunctionType::new([("name", Type::STRING), ("loud", Type::BOOL)], None);
//! let greet = ComponentFunction::new(Direction::Export, "greet", ty).of_interface("a:b/c@1.0.0");
//! assert_eq!(greet.to_string(), "a:b/c@1.0.0#greet");
//!
//! let memory = b"....ann".as_slice();
//! let values = greet.lift_params(&[4, 3, 1], memory, &Limits::default())?;
//! assert_eq!(format!("{} {}", values[0], values[1]), "\"ann\" true");
//!
//! let error = greet.lift_params(&[4, 9, 1], memory, &Limits::default()).unwrap_err();
//! assert_eq!(error.to_string(), "failed to lift `name`: 9 bytes at 0x4 are out of bounds");
//! # Ok::<(), wasmscope_listen::component::LiftError>(())
//! ```
//!
//! Where the types come from (a component's bytes, a test) is no business of this crate.
//!
//! [Canonical ABI]: https://github.com/WebAssembly/component-model/blob/main/design/mvp/CanonicalABI.md

mod abi;
mod error;
mod function;
mod layout;
mod lift;
mod limits;
mod memory;
mod text;
mod ty;
mod value;
mod wave;

pub use abi::{Abi, Pointer, StringEncoding};
pub use error::{LiftError, LiftErrorKind};
pub use function::{ComponentFunction, Direction, FunctionType};
pub use limits::Limits;
pub use memory::{InstanceMemory, Memory};
pub use ty::{Type, TypeKind};
pub use value::{HandleKind, Value};
