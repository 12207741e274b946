//! Which part of a recording goes into a profile, and what it may reveal.

use crate::labels::{LabelValue, Labels};
use std::collections::HashSet;

/// What a profile shows. Begins with everything; each method takes something away.
///
/// ```
/// use wasmscope::Selection;
///
/// // For the tenant itself: its own samples and its own code, and of the host
/// // nothing but the time spent there.
/// let for_tenant = Selection::everything()
///     .labelled("tenant", "acme")
///     .only_guests(["acme.wasm"])
///     .guest_safe();
/// # drop(for_tenant);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Selection {
    labelled: Vec<(String, LabelValue)>,
    guests: Option<HashSet<String>>,
    guest_safe: bool,
}

impl Selection {
    /// Selects everything that was recorded.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Keeps only samples and markers that carry this label. Called more than once:
    /// that carry all of them.
    #[must_use]
    pub fn labelled(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labelled
            .push((key.into(), LabelValue::Text(value.into())));
        self
    }

    /// Keeps only the frames of guests with these names. Frames of others are left
    /// out of stacks, whose time still counts.
    #[must_use]
    pub fn only_guests<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.guests = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Leaves out everything about the host that a guest must not learn: its frames,
    /// names, paths and addresses, its threads' names and numbers, and how many
    /// samples other guests had. Time in the host stays, as one frame without a name
    /// or as the import that was called.
    #[must_use]
    pub fn guest_safe(mut self) -> Self {
        self.guest_safe = true;
        self
    }

    pub(crate) fn is_guest_safe(&self) -> bool {
        self.guest_safe
    }

    /// Tells whether only some samples are selected.
    pub(crate) fn is_partial(&self) -> bool {
        !self.labelled.is_empty()
    }

    pub(crate) fn selects_guest(&self, name: &str) -> bool {
        self.guests
            .as_ref()
            .is_none_or(|guests| guests.contains(name))
    }

    pub(crate) fn selects_labels(&self, labels: Option<&Labels>) -> bool {
        self.labelled
            .iter()
            .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    }
}
