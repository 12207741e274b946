//! A component function: its WIT name, its type, and how its values pass.

use std::fmt;
use std::sync::Arc;

use super::abi::Abi;
use super::error::LiftError;
use super::layout::{Layout, MAX_FLAT_ASYNC_PARAMS, MAX_FLAT_PARAMS, MAX_FLAT_RESULTS};
use super::lift::{Lifter, Place};
use super::limits::Limits;
use super::memory::Memory;
use super::ty::Type;
use super::value::Value;

/// What a result is called where an error says which part is damaged.
const RESULT: &str = "result";

/// The type of a component function.
///
/// Displays as WIT writes it: `func(a: u32) -> string`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FunctionType {
    params: Vec<(Arc<str>, Type)>,
    result: Option<Type>,
    layout: Layout,
}

impl FunctionType {
    /// Makes the type of functions with these parameters and this result.
    #[must_use]
    pub fn new<N: Into<Arc<str>>>(
        params: impl IntoIterator<Item = (N, Type)>,
        result: Option<Type>,
    ) -> Self {
        let params: Vec<_> = params
            .into_iter()
            .map(|(name, ty)| (name.into(), ty))
            .collect();
        Self {
            layout: Layout::of_fields(params.iter().map(|(_, ty)| &ty.layout)),
            params,
            result,
        }
    }

    /// Returns the parameters' names and types.
    #[must_use]
    pub fn params(&self) -> &[(Arc<str>, Type)] {
        &self.params
    }

    /// Returns the result's type, or `None` for functions without a result.
    #[must_use]
    pub fn result(&self) -> Option<&Type> {
        self.result.as_ref()
    }
}

impl fmt::Display for FunctionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("func(")?;
        for (i, (name, ty)) in self.params.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{name}: {ty}")?;
        }
        f.write_str(")")?;
        match &self.result {
            Some(result) => write!(f, " -> {result}"),
            None => Ok(()),
        }
    }
}

/// On which side of a component a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The component calls it: `canon lower`.
    Import,
    /// The component implements it: `canon lift`.
    Export,
}

/// A function that a component imports or exports.
///
/// Displays as its interface and name: `wasi:cli/stdout@0.2.0#get-stdout`, or the name
/// alone when it belongs to no interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ComponentFunction {
    /// The interface's name with its version: `wasi:cli/stdout@0.2.0`.
    pub interface: Option<String>,
    /// The function's name in WIT: `get-stdout`, `[method]output-stream.write`.
    pub name: String,
    /// Whether the component imports or exports it.
    pub direction: Direction,
    /// Its type.
    pub ty: Arc<FunctionType>,
    /// How its values pass.
    pub abi: Abi,
}

impl ComponentFunction {
    /// Makes a function of no interface, with the options that are the default.
    #[must_use]
    pub fn new(
        direction: Direction,
        name: impl Into<String>,
        ty: impl Into<Arc<FunctionType>>,
    ) -> Self {
        Self {
            interface: None,
            name: name.into(),
            direction,
            ty: ty.into(),
            abi: Abi::DEFAULT,
        }
    }

    /// Sets the interface's name.
    #[must_use]
    pub fn of_interface(mut self, interface: impl Into<String>) -> Self {
        self.interface = Some(interface.into());
        self
    }

    /// Sets how values pass.
    #[must_use]
    pub fn with_abi(mut self, abi: Abi) -> Self {
        self.abi = abi;
        self
    }

    /// Tells whether the parameters are flat words, and not a pointer to memory.
    fn has_flat_params(&self) -> bool {
        let limit = match (self.abi.is_async, self.direction) {
            (true, Direction::Import) => MAX_FLAT_ASYNC_PARAMS,
            _ => MAX_FLAT_PARAMS,
        };
        self.ty.layout.flat <= limit
    }

    /// Lifts the parameters, in order.
    ///
    /// `words` are the core call's parameters, one word each, as [`crate::Values`] has
    /// them; `memory` is the one that the function is lifted or lowered with, as it is at
    /// the call.
    ///
    /// # Errors
    ///
    /// Fails where words or memory hold no values of the type, or the limits are too low.
    pub fn lift_params<M: Memory + ?Sized>(
        &self,
        words: &[u64],
        memory: &M,
        limits: &Limits,
    ) -> Result<Vec<Value>, LiftError> {
        let mut lifter = Lifter::new(memory, self.abi, limits);
        let params = self.ty.params.iter().map(|(name, ty)| (&**name, ty));
        if self.has_flat_params() {
            return lifter.fields(Place::Words(words), params);
        }
        let bytes = lifter.pointed_by(words.first(), &self.ty.layout)?;
        lifter.fields(Place::Bytes(&bytes), params)
    }

    /// Lifts the results of a call that returned: one, or none when the type has none.
    ///
    /// `params` and `words` are the core call's parameters and results; `memory` is the
    /// one that the function is lifted or lowered with, as it is at the return.
    ///
    /// Returns `None` where the results do not come with the return: an export lifted
    /// with `async` hands them to `task.return`, and an import lowered with `async` that
    /// did not finish at once leaves them later.
    ///
    /// # Errors
    ///
    /// As [`Self::lift_params`].
    pub fn lift_results<M: Memory + ?Sized>(
        &self,
        params: &[u64],
        words: &[u64],
        memory: &M,
        limits: &Limits,
    ) -> Result<Option<Vec<Value>>, LiftError> {
        match (self.abi.is_async, self.direction) {
            (true, Direction::Export) => return Ok(None),
            (true, Direction::Import) if !has_returned(words) => return Ok(None),
            _ => {}
        }
        let Some(ty) = &self.ty.result else {
            return Ok(Some(Vec::new()));
        };
        let result = [(RESULT, ty)];
        let mut lifter = Lifter::new(memory, self.abi, limits);
        if !self.abi.is_async && ty.layout.flat <= MAX_FLAT_RESULTS {
            return lifter.fields(Place::Words(words), result).map(Some);
        }
        // An import's caller says in a last parameter where it wants the result.
        let pointer = match self.direction {
            Direction::Export => words.first(),
            Direction::Import => params.get(match self.has_flat_params() {
                true => usize::from(self.ty.layout.flat),
                false => 1,
            }),
        };
        let bytes = lifter
            .pointed_by(pointer, &ty.layout)
            .map_err(|error| error.within(RESULT))?;
        lifter.fields(Place::Bytes(&bytes), result).map(Some)
    }
}

/// Tells whether the status that a function lowered with `async` returned says that its
/// results are there: `RETURNED` in the lowest four bits.
fn has_returned(words: &[u64]) -> bool {
    const RETURNED: u64 = 2;
    words.first().is_some_and(|status| status & 0xf == RETURNED)
}

impl fmt::Display for ComponentFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(interface) = &self.interface {
            write!(f, "{interface}#")?;
        }
        f.write_str(&self.name)
    }
}
