//! Labels: for whom a thread works, while it does.
//!
//! A label set is attached to the samples taken while it is current on a thread:
//! for the length of a scope, or, with [`Labels::follow`], whenever a future is
//! polled, whichever thread polls it.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A set of labels, for example a tenant and a request. Cheap to clone.
///
/// ```
/// use wasmscope::Labels;
///
/// let labels = Labels::new().with("tenant", "acme").with_number("request", 17);
/// let answer = labels.scope(|| 42); // samples of this thread carry both labels in there
/// let future = labels.follow(async { /* ... and here, on any thread. */ });
/// # drop(future);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Labels {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    labels: Vec<(String, LabelValue)>,
    /// What is known by its number; nothing until it is first made current.
    entry: OnceLock<Arc<Entry>>,
}

/// The content of a set, sorted by key, and its number. Two sets with the same
/// content are one entry, however they were made.
#[derive(Debug)]
struct Entry {
    id: u64,
    labels: Vec<(String, LabelValue)>,
}

/// A label's value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LabelValue {
    /// A text.
    Text(String),
    /// A number, without a unit.
    Number(i64),
}

impl fmt::Display for LabelValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LabelValue::Text(text) => f.write_str(text),
            LabelValue::Number(number) => write!(f, "{number}"),
        }
    }
}

/// Every set that was made current, by its number. A set stays for a while after
/// its last holder let go of it, because samples that carry it may still be on
/// their way; [`forget_unused`] then removes it. Numbers are not used again.
static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

#[derive(Default)]
struct Known {
    next: u64,
    numbers: HashMap<Vec<(String, LabelValue)>, u64>,
    sets: HashMap<u64, KnownSet>,
}

struct KnownSet {
    entry: Arc<Entry>,
    unused_since: Option<Instant>,
}

/// How long a set outlives its last holder: far longer than a sample lies in a ring.
const GRACE: Duration = Duration::from_secs(5);

/// Removes the sets that nobody has held for a while. Called by whoever drains
/// samples, every now and then, so that labels of past requests do not pile up.
pub(crate) fn forget_unused() {
    let now = Instant::now();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(known) = known.as_mut() else { return };
    let Known { numbers, sets, .. } = known;
    sets.retain(|_, set| {
        if Arc::strong_count(&set.entry) > 1 {
            set.unused_since = None;
            return true;
        }
        let keep = now.duration_since(*set.unused_since.get_or_insert(now)) < GRACE;
        if !keep {
            numbers.remove(&set.entry.labels);
        }
        keep
    });
}

impl Labels {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns this set with a text label added, in place of one with that key.
    #[must_use]
    pub fn with(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.with_value(key.into(), LabelValue::Text(value.into()))
    }

    /// Returns this set with a number label added, in place of one with that key.
    #[must_use]
    pub fn with_number(self, key: impl Into<String>, value: i64) -> Self {
        self.with_value(key.into(), LabelValue::Number(value))
    }

    fn with_value(self, key: String, value: LabelValue) -> Self {
        let mut labels = self.inner.labels.clone();
        labels.retain(|(known, _)| *known != key);
        labels.push((key, value));
        Self {
            inner: Arc::new(Inner {
                labels,
                entry: OnceLock::new(),
            }),
        }
    }

    /// Returns the labels, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &LabelValue)> {
        self.inner
            .labels
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// Returns the value of the label `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&LabelValue> {
        self.iter()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| value)
    }

    /// Makes this set current on the calling thread while `work` runs; however that
    /// ends, the set that was current before is then current again. For a future, use
    /// [`follow`](Self::follow).
    pub fn scope<R>(&self, work: impl FnOnce() -> R) -> R {
        // On a thread that is not sampled there is nothing to note.
        let label = wasmscope_sample::is_attached().then(|| self.id());
        wasmscope_sample::with_label(label, work)
    }

    /// Returns the set that a sample of the calling thread would carry now: that of the
    /// innermost scope, or of the component's task that called the host; see
    /// [`follow`](Self::follow) to give it to a future. Empty on a thread that is not sampled.
    #[must_use]
    pub fn current() -> Self {
        let current = wasmscope_sample::current_thread();
        current
            .and_then(|(_, label)| Self::by_id(label))
            .unwrap_or_default()
    }

    /// Makes this set current whenever `future` is polled, on whichever thread.
    /// Guests that wasmtime runs in it, on fibers of their own, carry it as well.
    ///
    /// Concurrent tasks of components run where their store's `run_concurrent` is polled, not
    /// where the futures of their calls are: follow the former. Where tasks of one store run
    /// for several tenants, `TaskLabels` (with the cargo feature `component-model-async`) gives
    /// each its own set.
    pub fn follow<F: Future>(&self, future: F) -> Labelled<F> {
        Labelled {
            labels: self.clone(),
            future: Box::pin(future),
        }
    }

    /// Returns the set's number, registering it the first time; 0 for the empty set.
    pub(crate) fn id(&self) -> u64 {
        if self.inner.labels.is_empty() {
            return 0;
        }
        let entry = self.inner.entry.get_or_init(|| {
            let mut labels = self.inner.labels.clone();
            labels.sort();
            let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
            let known = known.get_or_insert_default();
            let same = known.numbers.get(&labels);
            if let Some(set) = same.and_then(|id| known.sets.get(id)) {
                return set.entry.clone();
            }
            known.next += 1;
            let entry = Arc::new(Entry {
                id: known.next,
                labels: labels.clone(),
            });
            let set = KnownSet {
                entry: entry.clone(),
                unused_since: None,
            };
            known.numbers.insert(labels, entry.id);
            known.sets.insert(entry.id, set);
            entry
        });
        entry.id
    }

    /// Returns the set with a number, while it is known.
    pub(crate) fn by_id(id: u64) -> Option<Self> {
        let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = known.as_ref()?.sets.get(&id)?.entry.clone();
        Some(Self {
            inner: Arc::new(Inner {
                labels: entry.labels.clone(),
                entry: OnceLock::from(entry),
            }),
        })
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        self.inner.labels == other.inner.labels
    }
}

impl Eq for Labels {}

/// A future under labels; see [`Labels::follow`].
pub struct Labelled<F> {
    labels: Labels,
    future: Pin<Box<F>>,
}

impl<F> fmt::Debug for Labelled<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Labelled")
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

impl<F: Future> Future for Labelled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.labels.scope(|| this.future.as_mut().poll(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_outlives_its_holder_until_it_is_forgotten() {
        let labels = Labels::new().with("tenant", "a");
        let id = labels.id();
        assert_ne!(id, 0);
        forget_unused();
        drop(labels);
        forget_unused();
        assert!(Labels::by_id(id).is_some(), "still in its grace period");
        let long_ago = Instant::now().checked_sub(2 * GRACE);
        if let Some(set) = KNOWN
            .lock()
            .unwrap()
            .as_mut()
            .and_then(|known| known.sets.get_mut(&id))
        {
            set.unused_since = long_ago;
        }
        forget_unused();
        assert_eq!(Labels::by_id(id), None);
    }

    #[test]
    fn sets_with_the_same_content_are_one() {
        let first = Labels::new().with("tenant", "same").with_number("n", 1);
        let second = Labels::new().with_number("n", 1).with("tenant", "same");
        assert_eq!(first.id(), second.id());
        assert_ne!(first.id(), first.clone().with_number("n", 2).id());
        let kept = first.id();
        drop((first, second));
        let third = Labels::new().with("tenant", "same").with_number("n", 1);
        assert_eq!(third.id(), kept, "within the grace period");
    }

    #[test]
    fn a_scope_ends_with_its_work_however_that_ends() {
        let profiler = crate::Profiler::builder().start().unwrap();
        let thread = profiler.attach_thread().unwrap();
        let current = || wasmscope_sample::current_thread().map(|(_, label)| label);
        let [outer, inner] = ["outer", "inner"].map(|name| Labels::new().with("scope", name));
        let answer = outer.scope(|| {
            assert_eq!(current(), Some(outer.id()));
            let panicked = std::panic::catch_unwind(|| {
                inner.scope(|| {
                    assert_eq!(current(), Some(inner.id()));
                    std::panic::resume_unwind(Box::new("the work failed"))
                })
            });
            assert!(panicked.is_err());
            assert_eq!(current(), Some(outer.id()));
            42
        });
        assert_eq!((answer, current()), (42, Some(0)));
        drop(thread);
        assert_eq!(outer.scope(current), None, "not sampled any more");
    }

    #[test]
    fn the_last_value_of_a_key_wins() {
        let labels = Labels::new().with("k", "1").with_number("k", 2);
        assert_eq!(labels.iter().count(), 1);
        assert_eq!(labels.get("k"), Some(&LabelValue::Number(2)));
    }
}
