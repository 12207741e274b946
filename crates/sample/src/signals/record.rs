//! A sample as words in a ring: written by the handler, read by the drain thread.
//!
//! ```text
//!   word 0   end of the walk << 32 | number of words, this one included
//!   word 1   time, nanoseconds of CLOCK_MONOTONIC
//!   word 2   ticks that this sample stands for: 1 + those lost before it
//!   word 3   CPU nanoseconds since the thread's previous sample, or all ones
//!   word 4   the label that was set
//!   word 5   nanoseconds of these ticks that handlers took
//!   word 6.. frames, newest first
//! ```

use super::ring::{Reader, Writer};
use crate::{RawFrame, Sample, StackEnd};
use std::time::Duration;

const HEADER: usize = 6;
const UNKNOWN: u64 = u64::MAX;

/// Writes a record's frames, then its header.
pub(crate) struct RecordWriter<'a> {
    writer: Writer<'a>,
}

impl<'a> RecordWriter<'a> {
    /// Begins a record; `None` when the ring has no room for its header.
    pub(crate) fn begin(mut writer: Writer<'a>) -> Option<Self> {
        for _ in 0..HEADER {
            if !writer.push(0) {
                return None;
            }
        }
        Some(Self { writer })
    }

    /// Appends a frame; false when the ring is full.
    #[inline]
    pub(crate) fn frame(&mut self, frame: RawFrame) -> bool {
        self.writer.push(frame.to_word())
    }

    /// Completes and publishes the record; returns what [`Writer::commit`] returns.
    pub(crate) fn commit(mut self, sample: &Sample<'_>) -> bool {
        let end = match sample.end {
            StackEnd::Root => 0u64,
            StackEnd::Cut => 1,
        };
        self.writer
            .set(0, (end << 32) | self.writer.written() as u64);
        self.writer.set(1, sample.monotonic_nanos);
        self.writer.set(2, sample.ticks);
        let cpu = sample.cpu.map_or(UNKNOWN, |cpu| cpu.as_nanos() as u64);
        self.writer.set(3, cpu);
        self.writer.set(4, sample.label);
        self.writer.set(5, sample.in_handler.as_nanos() as u64);
        self.writer.commit()
    }
}

/// Reads the next record into `frames` and hands it to `take`; false when there is
/// none.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    frames: &mut Vec<RawFrame>,
    take: impl FnOnce(&Sample<'_>),
) -> bool {
    let Some(first) = reader.next() else {
        return false;
    };
    let words = (first & u64::from(u32::MAX)) as usize;
    let mut header = [0; HEADER - 1];
    for word in &mut header {
        *word = reader.next().unwrap_or(0);
    }
    let [monotonic_nanos, ticks, cpu, label, in_handler] = header;
    frames.clear();
    frames.extend(
        reader
            .take(words.saturating_sub(HEADER))
            .map(RawFrame::from_word),
    );
    take(&Sample {
        monotonic_nanos,
        ticks,
        cpu: (cpu != UNKNOWN).then(|| Duration::from_nanos(cpu)),
        label,
        in_handler: Duration::from_nanos(in_handler),
        end: if first >> 32 == 0 {
            StackEnd::Root
        } else {
            StackEnd::Cut
        },
        frames,
    });
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::ring::Ring;
    use wasmscope_address::HostPc;

    #[test]
    fn a_record_comes_out_as_it_went_in() {
        let ring = Ring::new(0);
        let stack = [
            RawFrame::host(HostPc(0x5000), false),
            RawFrame::guest(HostPc(0x7fff_1234_5678), true),
            RawFrame::HOST_RUN,
        ];
        let sample = Sample {
            monotonic_nanos: 17,
            ticks: 3,
            cpu: None,
            label: 9,
            in_handler: Duration::from_nanos(31),
            end: StackEnd::Cut,
            frames: &stack,
        };
        for cpu in [None, Some(Duration::from_nanos(5))] {
            let sample = Sample { cpu, ..sample };
            let mut record = RecordWriter::begin(ring.begin()).expect("empty");
            assert!(stack.iter().all(|&frame| record.frame(frame)));
            record.commit(&sample);
            let mut frames = Vec::new();
            let mut reader = ring.drain();
            assert!(read(&mut reader, &mut frames, |read| {
                assert_eq!(format!("{read:?}"), format!("{sample:?}"));
            }));
            assert!(!read(&mut reader, &mut frames, |_| panic!(
                "only one record"
            )));
        }
    }
}
