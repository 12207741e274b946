//! Walking host code, by the unwind tables of the objects that are mapped.
//!
//! Two parts, because they run at two times:
//!
//! - [`HostObjects::load`] reads which objects are mapped and copies their unwind
//!   tables. It allocates, and runs outside handlers. Many threads share the result.
//! - [`HostUnwinder`] steps through host frames inside a handler, with a
//!   [`HostCache`] that each thread made before.
//!
//! A walk of the calling thread's own stack begins [`here`].
//!
//! The evaluation of the tables is framehop's. Where framehop would guess, because
//! there is no table for an address or it cannot evaluate it, the step ends with a
//! [`Cut`](crate::Cut) instead.

mod coverage;
mod here;
mod objects;
mod program_headers;
mod rules;
mod runs;
mod unwinder;

pub use here::here;
pub use objects::{HostObject, HostObjects};
pub use runs::{HostMemo, MemoUnwinder};
pub use unwinder::{HostCache, HostUnwinder, Switch};
