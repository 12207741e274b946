//! The values of a component function.

use crate::wasi;
use wasmscope_listen::Values;
use wasmscope_listen::component::{LiftError, Limits, Value};
use wasmscope_listen::{Call, Definition};

/// What is known of the parameters or results of a component function.
#[derive(Clone, Debug)]
pub(crate) enum Typed {
    /// Its values.
    Values(Vec<Value>),
    /// The call is over, and its results come later: it is an `async` one.
    Later,
    /// The guest's memory holds no values of the type.
    Damaged(LiftError),
}

impl Typed {
    /// Lifts the parameters of a call; none when it is of no component function.
    pub(crate) fn params(call: &Call<'_>, limits: &wasi::Limits) -> Option<Self> {
        call.component_params(&within(limits)).map(Self::from)
    }

    /// Lifts the results of a call; none when it is of no component function.
    pub(crate) fn results(
        call: &Call<'_>,
        results: Values<'_>,
        limits: &wasi::Limits,
    ) -> Option<Self> {
        call.definition().component.as_ref()?;
        let lifted = call.component_results(results, &within(limits));
        Some(lifted.map_or(Self::Later, Self::from))
    }
}

impl From<Result<Vec<Value>, LiftError>> for Typed {
    fn from(lifted: Result<Vec<Value>, LiftError>) -> Self {
        match lifted {
            Ok(values) => Self::Values(values),
            Err(error) => Self::Damaged(error),
        }
    }
}

/// Returns the limits for what is lifted, so that as much is shown as of WASI's data.
fn within(limits: &wasi::Limits) -> Limits {
    Limits {
        text: limits.bytes,
        elements: limits.items,
        ..LINE
    }
}

/// What a line holds at most, however its values are nested.
const LINE: Limits = Limits {
    values: 1000,
    bytes: 1 << 16,
    ..Limits::SHORT
};

/// Returns the names and types of a component function's parameters or results, as WIT
/// writes them.
pub(crate) fn signature(definition: &Definition) -> Option<Signature> {
    let ty = &definition.component.as_ref()?.ty;
    let params = ty.params().iter();
    Some(Signature {
        params: params
            .map(|(name, ty)| (name.to_string(), ty.to_string()))
            .collect(),
        result: ty.result().map(ToString::to_string),
    })
}

/// The type of a component function, as text.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    /// The parameters' names and types.
    pub(crate) params: Vec<(String, String)>,
    /// The result's type.
    pub(crate) result: Option<String>,
}
