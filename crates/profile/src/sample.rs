//! Samples, and the packed form in which a profile keeps them.

use std::time::Duration;

use crate::labels::LabelsHandle;
use crate::stack::StackHandle;
use crate::thread::ThreadHandle;

/// A sample, or several of the same stack taken together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// The thread that was sampled.
    pub thread: ThreadHandle,
    /// When, since the start of the profile.
    pub time: Duration,
    /// What it was doing; none when no frame is known.
    pub stack: Option<StackHandle>,
    /// How many samples this one stands for.
    pub count: u64,
    /// The time of the sampled clock that this one stands for.
    pub weight: Duration,
    /// The CPU time of the thread since its previous sample, when it is known.
    pub cpu: Option<Duration>,
    /// For whom it was taken.
    pub labels: LabelsHandle,
}

/// A sample in 48 bytes: a server's profile holds millions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedSample {
    time: u64,
    weight: u64,
    /// `u64::MAX`: unknown.
    cpu: u64,
    count: u64,
    thread: ThreadHandle,
    stack: Option<StackHandle>,
    labels: LabelsHandle,
}

impl PackedSample {
    pub(crate) fn pack(sample: &Sample) -> Self {
        Self {
            time: nanos(sample.time),
            weight: nanos(sample.weight),
            cpu: sample
                .cpu
                .map_or(u64::MAX, |cpu| nanos(cpu).min(u64::MAX - 1)),
            count: sample.count,
            thread: sample.thread,
            stack: sample.stack,
            labels: sample.labels,
        }
    }

    pub(crate) fn unpack(&self) -> Sample {
        Sample {
            thread: self.thread,
            time: Duration::from_nanos(self.time),
            stack: self.stack,
            count: self.count,
            weight: Duration::from_nanos(self.weight),
            cpu: (self.cpu != u64::MAX).then(|| Duration::from_nanos(self.cpu)),
            labels: self.labels,
        }
    }
}

/// Returns whole nanoseconds; more than 584 years are 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_sample_is_48_bytes_and_gives_back_what_it_took() {
        assert_eq!(size_of::<PackedSample>(), 48);
        for cpu in [None, Some(Duration::ZERO), Some(Duration::from_nanos(7))] {
            let sample = Sample {
                thread: ThreadHandle::from_index(3),
                time: Duration::new(5, 6),
                stack: Some(StackHandle::from_index(0)),
                count: u64::MAX,
                weight: Duration::from_nanos(1),
                cpu,
                labels: LabelsHandle(9),
            };
            assert_eq!(PackedSample::pack(&sample).unpack(), sample);
        }
    }
}
