//! Collects how long calls took, as a distribution for each function.
//!
//! Log-linear buckets: every duration from a nanosecond to centuries falls into one whose
//! width is at most a hundredth of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::clock::{Clock, Monotonic};
use super::lock;
use crate::boxed::BoxListener;
use crate::call::Call;
use crate::cause::Cause;
use crate::definition::Definition;
use crate::factory::Factory;
use crate::listener::Listener;
use crate::values::Values;

/// Measures calls from open to close, however they close.
#[derive(Clone)]
pub struct Latency {
    clock: Arc<dyn Clock>,
    functions: Arc<Mutex<HashMap<Definition, SharedHistogram>>>,
}

/// A function's histogram, which its listeners hold too.
type SharedHistogram = Arc<Mutex<Histogram<u64>>>;

impl Latency {
    /// Measures with the system's monotonic clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Monotonic::new())
    }

    /// Measures with a clock.
    #[must_use]
    pub fn with(clock: impl Clock) -> Self {
        Self {
            clock: Arc::new(clock),
            functions: Arc::default(),
        }
    }

    /// Returns the distribution of each function that was called, by module and index.
    #[must_use]
    pub fn distributions(&self) -> Vec<(Definition, Distribution)> {
        let functions = lock(&self.functions);
        let all = functions.iter().map(|(definition, histogram)| {
            let histogram = lock(histogram).clone();
            (definition.clone(), Distribution(histogram))
        });
        let mut called: Vec<_> = all.filter(|(_, calls)| calls.calls() > 0).collect();
        called.sort_by(|(a, _), (b, _)| (&a.module, a.index).cmp(&(&b.module, b.index)));
        called
    }
}

impl Factory for Latency {
    fn listener(&self, definition: &Definition) -> Option<BoxListener> {
        let mut functions = lock(&self.functions);
        let histogram = match functions.get(definition) {
            Some(histogram) => histogram.clone(),
            None => {
                // Two significant digits are within what it can hold.
                let histogram = Arc::new(Mutex::new(Histogram::new(2).ok()?));
                functions.insert(definition.clone(), histogram.clone());
                histogram
            }
        };
        Some(BoxListener::new(Measured {
            clock: self.clock.clone(),
            histogram,
        }))
    }
}

/// Measures one function's calls; the state is the start.
struct Measured {
    clock: Arc<dyn Clock>,
    histogram: SharedHistogram,
}

impl Measured {
    fn close(&self, start: u64) {
        let took = self.clock.now().saturating_sub(start);
        // It makes itself longer where it must, and holds every number of 64 bits.
        let _ = lock(&self.histogram).record(took);
    }
}

impl Listener for Measured {
    type State = u64;

    fn before(&self, _: &Call<'_>) -> u64 {
        self.clock.now()
    }

    fn after(&self, _: &Call<'_>, _: Values<'_>, start: u64) {
        self.close(start);
    }

    fn tail_call(&self, _: &Call<'_>, start: u64) {
        self.close(start);
    }

    fn abort(&self, _: &Call<'_>, _: &Cause<'_>, start: u64) {
        self.close(start);
    }
}

/// How long the calls of one function took.
#[derive(Clone, PartialEq)]
pub struct Distribution(Histogram<u64>);

/// Durations between two bounds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The shortest duration that falls in here.
    pub from: Duration,
    /// The longest duration that falls in here.
    pub to: Duration,
    /// How many calls did.
    pub calls: u64,
}

impl Distribution {
    /// Returns how many calls closed.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.len()
    }

    /// Returns the shortest call, to the bucket's lower bound.
    #[must_use]
    pub fn min(&self) -> Duration {
        Duration::from_nanos(self.0.min())
    }

    /// Returns the longest call, to the bucket's upper bound.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    /// Returns the mean, to a hundredth.
    #[must_use]
    pub fn mean(&self) -> Duration {
        // A duration is positive, and a float of nanoseconds becomes whole ones.
        Duration::from_nanos(self.0.mean() as u64)
    }

    /// Returns a duration that this share of calls did not exceed, to the bucket's upper
    /// bound: 0.5 for the median, 0.99 for the slowest hundredth.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(share))
    }

    /// Visits the buckets that are not empty, shortest first.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        self.0.iter_recorded().map(|step| {
            let value = step.value_iterated_to();
            Bucket {
                from: Duration::from_nanos(self.0.lowest_equivalent(value)),
                to: Duration::from_nanos(self.0.highest_equivalent(value)),
                calls: step.count_at_value(),
            }
        })
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latency").finish_non_exhaustive()
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.buckets()).finish()
    }
}
