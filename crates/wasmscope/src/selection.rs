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
    kept_labels: HashSet<String>,
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
    /// names, paths and addresses, what it calls itself, its threads' names and
    /// numbers, labels that are not selected or [kept](Self::keep_label), and how many
    /// samples other guests had. Time in the host stays, as one frame without a name
    /// or as the import that was called; without [`labelled`](Self::labelled), only
    /// where a selected guest is on the stack. Memory tracks stay that have a name
    /// which [`only_guests`](Self::only_guests) selects.
    #[must_use]
    pub fn guest_safe(mut self) -> Self {
        self.guest_safe = true;
        self
    }

    /// Shows the values of this label in a guest-safe profile too.
    #[must_use]
    pub fn keep_label(mut self, key: impl Into<String>) -> Self {
        self.kept_labels.insert(key.into());
        self
    }

    pub(crate) fn is_guest_safe(&self) -> bool {
        self.guest_safe
    }

    /// Tells whether the profile may say nothing about samples that are not selected.
    pub(crate) fn is_partial(&self) -> bool {
        self.guest_safe || !self.labelled.is_empty()
    }

    /// Tells whether samples without a frame of a selected guest are left out.
    pub(crate) fn wants_guest_frames(&self) -> bool {
        self.guest_safe && self.labelled.is_empty() && self.guests.is_some()
    }

    /// Returns the name to show for a guest that has `names`, or `None` when none of
    /// them is selected. A name that another tenant may have given stays hidden.
    pub(crate) fn guest_name(&self, names: &[String]) -> Option<String> {
        match &self.guests {
            Some(guests) => names.iter().find(|name| guests.contains(*name)).cloned(),
            None if self.guest_safe && names.len() > 1 => Some("(shared module)".to_owned()),
            None => names.first().cloned(),
        }
    }

    pub(crate) fn selects_track(&self, name: &str) -> bool {
        match &self.guests {
            Some(guests) => guests.contains(name),
            None => !self.is_partial(),
        }
    }

    pub(crate) fn shows_label(&self, key: &str) -> bool {
        !self.guest_safe
            || self.kept_labels.contains(key)
            || self.labelled.iter().any(|(selected, _)| selected == key)
    }

    pub(crate) fn selects_labels(&self, labels: Option<&Labels>) -> bool {
        self.labelled
            .iter()
            .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    }
}
