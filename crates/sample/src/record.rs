//! A sample as words in a ring: written by the handler, read by the drain thread.
//!
//! ```text
//!   word 0   end of the walk << 32 | number of words, this one included
//!   word 1   time, nanoseconds of CLOCK_MONOTONIC
//!   word 2   ticks that this sample stands for: 1 + those lost before it
//!   word 3   CPU nanoseconds since the thread's previous sample, or all ones
//!   word 4   the label that was set
//!   word 5.. frames, newest first
//! ```

use crate::ring::{Reader, Writer};
use std::time::Duration;
use wasmscope_address::HostPc;

const HEADER: usize = 5;
const UNKNOWN: u64 = u64::MAX;

/// One frame of a sample: an address, and whether it is the guest's or the host's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(transparent)]
pub struct RawFrame(u64);

impl RawFrame {
    // User addresses on x86-64 and aarch64 leave the top bits free.
    const HOST: u64 = 1 << 63;
    const RETURN: u64 = 1 << 62;

    /// Stands for one or more host frames that were not kept one by one.
    pub const HOST_RUN: RawFrame = RawFrame(Self::HOST);

    /// Makes a frame in guest code (or one of the engine's trampolines beside it).
    /// `is_return_address` is false where `pc` is the instruction that was about to
    /// run, and true where it is the one after a call.
    #[must_use]
    pub const fn guest(pc: HostPc, is_return_address: bool) -> Self {
        Self(
            (pc.0 & !(Self::HOST | Self::RETURN))
                | if is_return_address { Self::RETURN } else { 0 },
        )
    }

    /// Makes a frame in host code.
    #[must_use]
    pub const fn host(pc: HostPc, is_return_address: bool) -> Self {
        Self(Self::guest(pc, is_return_address).0 | Self::HOST)
    }

    /// Returns the program counter: the instruction that was about to run, or a
    /// return address. Zero for [`RawFrame::HOST_RUN`].
    #[must_use]
    pub const fn pc(self) -> HostPc {
        HostPc(self.0 & !(Self::HOST | Self::RETURN))
    }

    /// Returns an address within the instruction that the frame is at: the program
    /// counter, or one byte before a return address, which lies within the call.
    #[must_use]
    pub const fn lookup_pc(self) -> HostPc {
        let pc = self.pc();
        HostPc(if self.is_return_address() {
            pc.0.wrapping_sub(1)
        } else {
            pc.0
        })
    }

    /// Tells whether the frame is the host's.
    #[must_use]
    pub const fn is_host(self) -> bool {
        self.0 & Self::HOST != 0
    }

    /// Tells whether the program counter is a return address.
    #[must_use]
    pub const fn is_return_address(self) -> bool {
        self.0 & Self::RETURN != 0
    }
}

/// How a sample's walk ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StackEnd {
    /// At the thread's root, or where its fiber begins.
    Root,
    /// Earlier: frames further out are missing.
    Cut,
}

/// One sample, as a [`Sink`](crate::Sink) gets it.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// When it was taken, in nanoseconds of `CLOCK_MONOTONIC`.
    pub monotonic_nanos: u64,
    /// How many intervals of the sampled clock it stands for: itself, and those
    /// whose samples were lost just before it.
    pub ticks: u64,
    /// CPU time that the thread used since its previous sample, where measured.
    pub cpu: Option<Duration>,
    /// The label that the thread had set, see [`set_label`](crate::set_label).
    pub label: u64,
    /// How the walk ended.
    pub end: StackEnd,
    /// The frames, newest first.
    pub frames: &'a [RawFrame],
}

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
        self.writer.push(frame.0)
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
    let [monotonic_nanos, ticks, cpu, label] = header;
    frames.clear();
    frames.extend(reader.take(words.saturating_sub(HEADER)).map(RawFrame));
    take(&Sample {
        monotonic_nanos,
        ticks,
        cpu: (cpu != UNKNOWN).then(|| Duration::from_nanos(cpu)),
        label,
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
    use crate::ring::Ring;

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

    #[test]
    fn frames_keep_their_address_and_kind() {
        let frame = RawFrame::guest(HostPc(0x7f00_0000_1000), true);
        assert!(!frame.is_host() && frame.is_return_address());
        assert_eq!(frame.lookup_pc(), HostPc(0x7f00_0000_0fff));
        assert!(RawFrame::HOST_RUN.is_host());
        assert_eq!(RawFrame::HOST_RUN.pc(), HostPc(0));
    }
}
