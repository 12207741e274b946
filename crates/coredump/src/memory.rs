//! Linear memories: a size, and the runs of bytes that are not zero.

use std::borrow::Cow;

/// How large a memory was, and of what type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryType {
    /// Its size in pages when it was dumped.
    pub pages: u64,
    /// How many pages it could have grown to.
    pub maximum: Option<u64>,
    /// Whether addresses in it are 64 bits wide.
    pub memory64: bool,
    /// Whether threads share it.
    pub shared: bool,
    /// The base-two logarithm of its page size: 16, but for modules with pages of their own.
    pub page_size_log2: u32,
}

impl Default for MemoryType {
    fn default() -> Self {
        Self {
            pages: 0,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: 16,
        }
    }
}

impl MemoryType {
    /// Returns the size in bytes, `None` when that has more than 64 bits.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        let page = 1_u64.checked_shl(self.page_size_log2)?;
        self.pages.checked_mul(page)
    }
}

/// A run of bytes of a memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// The address of the first.
    pub offset: u64,
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
}

impl Segment<'_> {
    /// Returns the address after the last byte.
    fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes.len() as u64)
    }
}

/// A memory and what it held.
#[derive(Clone, Debug)]
pub struct Memory<'a> {
    ty: MemoryType,
    segments: Vec<Segment<'a>>,
    /// Whether the segments are in order and do not overlap, as all known writers have them.
    ordered: bool,
}

impl PartialEq for Memory<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.ty == other.ty && self.segments == other.segments
    }
}

/// Segments are made of whole runs of this many bytes, but that zeroes at both ends of a
/// run are left out.
const CHUNK: usize = 4096;

/// Validators accept this many segments in a file.
const MOST_SEGMENTS: usize = 100_000;

impl<'a> Memory<'a> {
    /// Makes a memory that is all zeroes.
    #[must_use]
    pub fn new(ty: MemoryType) -> Self {
        Self {
            ty,
            segments: Vec::new(),
            ordered: true,
        }
    }

    /// Makes a memory from what it holds, without copying it: its segments are the parts of
    /// `contents` that are not zero.
    ///
    /// There are at most 100,000 of them, the most that validators accept.
    #[must_use]
    pub fn of(ty: MemoryType, contents: &'a [u8]) -> Self {
        let mut memory = Self::new(ty);
        let chunk = chunk(contents.len());
        let mut run: Option<(usize, usize)> = None;
        for (index, bytes) in contents.chunks(chunk).enumerate() {
            let (start, end) = (index * chunk, index * chunk + bytes.len());
            if is_zero(bytes) {
                memory.push_run(contents, run.take());
            } else {
                run = Some((run.map_or(start, |(first, _)| first), end));
            }
        }
        memory.push_run(contents, run);
        memory
    }

    /// Makes a memory of `len` bytes that cannot be borrowed, because others may write there:
    /// `read` is asked for the bytes from an offset on, each once and in order, and fills what
    /// it is given. What is not zero is kept as [`of`](Self::of) keeps it.
    #[must_use]
    pub fn copied(
        ty: MemoryType,
        len: usize,
        mut read: impl FnMut(usize, &mut [u8]),
    ) -> Memory<'static> {
        let mut memory = Memory::new(ty);
        let chunk = chunk(len);
        let mut buffer = vec![0; chunk];
        let (mut run, mut start) = (Vec::new(), 0);
        for at in (0..len).step_by(chunk) {
            let bytes = buffer.get_mut(..chunk.min(len - at)).unwrap_or_default();
            read(at, bytes);
            if is_zero(bytes) {
                memory.push_copied(start, std::mem::take(&mut run));
                continue;
            }
            if run.is_empty() {
                start = at;
            }
            run.extend_from_slice(bytes);
        }
        memory.push_copied(start, run);
        memory
    }

    /// Adds a run that was copied, without the zeroes at its ends.
    fn push_copied(&mut self, start: usize, mut run: Vec<u8>) {
        let leading = run.iter().take_while(|byte| **byte == 0).count();
        let trailing = run.iter().rev().take_while(|byte| **byte == 0).count();
        if leading == run.len() {
            return;
        }
        run.truncate(run.len() - trailing);
        run.drain(..leading);
        self.push(Segment {
            offset: (start + leading) as u64,
            bytes: Cow::Owned(run),
        });
    }

    fn push_run(&mut self, contents: &'a [u8], run: Option<(usize, usize)>) {
        let Some((start, end)) = run else { return };
        let bytes = contents.get(start..end).unwrap_or_default();
        let leading = bytes.iter().take_while(|byte| **byte == 0).count();
        let trailing = bytes.iter().rev().take_while(|byte| **byte == 0).count();
        let bytes = bytes.get(leading..bytes.len() - trailing);
        self.push(Segment {
            offset: (start + leading) as u64,
            bytes: Cow::Borrowed(bytes.unwrap_or_default()),
        });
    }

    /// Adds a segment. Where segments overlap, the last one counts.
    pub fn push(&mut self, segment: Segment<'a>) {
        self.ordered &= self
            .segments
            .last()
            .is_none_or(|last| last.end() <= segment.offset);
        self.segments.push(segment);
    }

    /// Returns its type, with its size.
    #[must_use]
    pub fn ty(&self) -> &MemoryType {
        &self.ty
    }

    /// Returns what was kept of its contents, in the order of the file. All else is zero, or
    /// was not kept: the format does not tell the two apart.
    #[must_use]
    pub fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// Reads bytes from an address on. Returns `false`, and leaves `into` as it is, when not
    /// all of them lie in the memory.
    #[must_use]
    pub fn read(&self, at: u64, into: &mut [u8]) -> bool {
        let Some(end) = at.checked_add(into.len() as u64) else {
            return false;
        };
        if self.ty.size().is_some_and(|size| end > size) {
            return false;
        }
        into.fill(0);
        let first = if self.ordered {
            self.segments.partition_point(|segment| segment.end() <= at)
        } else {
            0
        };
        for segment in self.segments.iter().skip(first) {
            let (start, stop) = (segment.offset.max(at), segment.end().min(end));
            if start < stop {
                // All four fit: they are distances within slices.
                let from = (start - segment.offset) as usize..(stop - segment.offset) as usize;
                let to = (start - at) as usize..(stop - at) as usize;
                if let (Some(to), Some(from)) = (into.get_mut(to), segment.bytes.get(from)) {
                    to.copy_from_slice(from);
                }
            } else if self.ordered {
                break;
            }
        }
        true
    }
}

/// Returns how long the runs are that are looked at, for so many bytes. Between two segments
/// lies at least one of zeroes.
fn chunk(len: usize) -> usize {
    let mut chunk = CHUNK;
    while len / (2 * chunk) >= MOST_SEGMENTS {
        chunk *= 2;
    }
    chunk
}

/// Tells whether all bytes are zero; compiled to a comparison of vectors.
fn is_zero(bytes: &[u8]) -> bool {
    let mut blocks = bytes.chunks_exact(64);
    blocks.all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
        && bytes
            .chunks_exact(64)
            .remainder()
            .iter()
            .all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(pages: u64) -> MemoryType {
        MemoryType {
            pages,
            page_size_log2: 0,
            ..MemoryType::default()
        }
    }

    #[test]
    fn only_what_is_not_zero_is_kept_and_all_is_read() {
        let mut contents = vec![0_u8; 5 * CHUNK + 100];
        contents[3] = 1;
        contents[2 * CHUNK - 1] = 2;
        contents[3 * CHUNK + 7] = 3;
        contents[5 * CHUNK + 99] = 4;
        let memory = Memory::of(bytes(contents.len() as u64), &contents);
        let kept = memory.segments().iter();
        let kept: Vec<_> = kept
            .map(|it| (it.offset as usize, it.bytes.len()))
            .collect();
        assert_eq!(
            kept,
            [(3, 2 * CHUNK - 3), (3 * CHUNK + 7, 1), (5 * CHUNK + 99, 1)]
        );
        for (at, len) in [
            (0, contents.len()),
            (1, 2),
            (2 * CHUNK - 1, 2 * CHUNK),
            (3 * CHUNK, 9),
        ] {
            let mut into = vec![0xff; len];
            assert!(memory.read(at as u64, &mut into));
            assert_eq!(into, contents[at..at + len]);
        }
        let mut into = [7; 2];
        assert!(!memory.read(contents.len() as u64 - 1, &mut into));
        assert!(!memory.read(u64::MAX, &mut into));
        assert_eq!(into, [7; 2]);
        // Copied it is the same.
        let ty = bytes(contents.len() as u64);
        let copied = Memory::copied(ty, contents.len(), |at, into| {
            into.copy_from_slice(&contents[at..at + into.len()]);
        });
        assert_eq!(copied, memory);
        assert_eq!(
            Memory::copied(bytes(9), 9, |_, _| {}),
            Memory::new(bytes(9))
        );
    }

    #[test]
    fn of_overlapping_segments_the_last_counts() {
        let mut memory = Memory::new(bytes(10));
        for (offset, bytes) in [(4, &b"abc"[..]), (0, b"xyxyx"), (8, b"!!!!")] {
            let bytes = Cow::Borrowed(bytes);
            memory.push(Segment { offset, bytes });
        }
        let mut into = [0; 10];
        assert!(memory.read(0, &mut into));
        assert_eq!(&into, b"xyxyxbc\0!!");
    }

    #[test]
    fn a_size_past_sixty_four_bits_is_none() {
        let mut ty = bytes(u64::MAX);
        assert_eq!(ty.size(), Some(u64::MAX));
        ty.page_size_log2 = 1;
        assert_eq!(ty.size(), None);
        ty.page_size_log2 = 64;
        assert_eq!(ty.size(), None);
    }
}
