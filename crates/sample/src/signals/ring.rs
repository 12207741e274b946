//! A single-producer, single-consumer ring of words.
//!
//! The producer is a signal handler, the consumer the drain thread. A record is
//! written word by word behind the published end and becomes visible all at once
//! with [`Writer::commit`]; a record that does not fit is abandoned and leaves no
//! trace. Every word is an atomic, so there is no unsafe code here and a race
//! could at worst give a wrong word, which the two counters rule out.
//!
//! ```text
//!        tail                 head          head + written
//!   ------+--------------------+-----------------+-------------------
//!   free  | records to drain   | record in       | free
//!         |                    | the making      |
//! ```
//!
//! What the words mean is the business of `record`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The ring. Its capacity is fixed when it is made.
#[derive(Debug)]
pub(crate) struct Ring {
    words: Box<[AtomicU64]>,
    mask: usize,
    /// Count of words ever committed; only the producer stores it.
    head: AtomicUsize,
    /// Count of words ever consumed; only the consumer stores it.
    tail: AtomicUsize,
}

impl Ring {
    /// Makes a ring of at least `bytes` bytes, rounded up to a power of two, and
    /// touches every page of it, so that the handler takes no page fault there.
    pub(crate) fn new(bytes: usize) -> Self {
        let words = (bytes / 8).max(64).next_power_of_two();
        Self {
            // Stores each word: a zeroed allocation alone would stay untouched.
            words: (0..words).map(|_| AtomicU64::new(u64::MAX)).collect(),
            mask: words - 1,
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
        }
    }

    /// Begins a record. There must be one producer at a time.
    ///
    /// # Signal safety
    ///
    /// Neither allocates nor locks nor panics; so do all methods of [`Writer`].
    pub(crate) fn begin(&self) -> Writer<'_> {
        let head = self.head.load(Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Acquire);
        Writer {
            ring: self,
            head,
            written: 0,
            room: self.words.len().wrapping_sub(head.wrapping_sub(tail)),
        }
    }

    /// Returns the words that are committed and not yet released. There must be
    /// one consumer at a time.
    pub(crate) fn drain(&self) -> Reader<'_> {
        Reader {
            ring: self,
            at: self.tail.load(Ordering::Relaxed),
            end: self.head.load(Ordering::Acquire),
        }
    }

    fn word(&self, at: usize) -> Option<&AtomicU64> {
        self.words.get(at & self.mask)
    }
}

/// A record in the making. Dropping it without [`commit`](Self::commit) leaves the
/// ring as it was.
pub(crate) struct Writer<'a> {
    ring: &'a Ring,
    head: usize,
    written: usize,
    room: usize,
}

impl Writer<'_> {
    /// Appends one word; returns false, and appends nothing, when the ring is full.
    #[inline]
    pub(crate) fn push(&mut self, word: u64) -> bool {
        if self.written >= self.room {
            return false;
        }
        match self.ring.word(self.head.wrapping_add(self.written)) {
            Some(slot) => slot.store(word, Ordering::Relaxed),
            None => return false,
        }
        self.written = self.written.wrapping_add(1);
        true
    }

    /// Overwrites a word that [`push`](Self::push) appended, counted from the
    /// record's first.
    #[inline]
    pub(crate) fn set(&mut self, index: usize, word: u64) {
        if index < self.written
            && let Some(slot) = self.ring.word(self.head.wrapping_add(index))
        {
            slot.store(word, Ordering::Relaxed);
        }
    }

    /// Returns how many words were appended.
    #[inline]
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    /// Publishes the record. Returns true when it carried the ring past half full,
    /// so that the caller can wake the consumer, once.
    #[inline]
    pub(crate) fn commit(self) -> bool {
        let used = self.ring.words.len().wrapping_sub(self.room);
        let half = self.ring.words.len() / 2;
        self.ring
            .head
            .store(self.head.wrapping_add(self.written), Ordering::Release);
        used < half && used.wrapping_add(self.written) >= half
    }
}

/// The committed words, oldest first. Dropping it releases the words that were
/// taken.
pub(crate) struct Reader<'a> {
    ring: &'a Ring,
    at: usize,
    end: usize,
}

impl Iterator for Reader<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.at == self.end {
            return None;
        }
        let word = self.ring.word(self.at)?.load(Ordering::Relaxed);
        self.at = self.at.wrapping_add(1);
        Some(word)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.ring.tail.store(self.at, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push_all(ring: &Ring, words: &[u64]) -> bool {
        let mut writer = ring.begin();
        for &word in words {
            if !writer.push(word) {
                return false;
            }
        }
        writer.commit();
        true
    }

    #[test]
    fn records_come_out_whole_and_in_order() {
        let ring = Ring::new(0);
        for round in 0..1000u64 {
            assert!(push_all(&ring, &[round, round + 1, round + 2]));
            assert!(ring.drain().eq([round, round + 1, round + 2]));
        }
        assert_eq!(ring.drain().next(), None);
    }

    #[test]
    fn a_record_that_does_not_fit_leaves_no_trace() {
        let ring = Ring::new(64 * 8);
        assert!(push_all(&ring, &[7; 60]));
        assert!(!push_all(&ring, &[8; 5]));
        assert_eq!(ring.drain().count(), 60);
        assert!(push_all(&ring, &[9; 64]));
        assert!(ring.drain().all(|word| word == 9));
    }

    #[test]
    fn an_uncommitted_record_is_not_seen() {
        let ring = Ring::new(0);
        let mut writer = ring.begin();
        assert!(writer.push(1));
        let _ = writer;
        assert_eq!(ring.drain().next(), None);
    }

    #[test]
    fn crossing_half_is_told_once() {
        let ring = Ring::new(64 * 8);
        let told: Vec<bool> = (0..8)
            .map(|_| {
                let mut writer = ring.begin();
                for _ in 0..8 {
                    assert!(writer.push(0));
                }
                writer.commit()
            })
            .collect();
        assert_eq!(told.iter().filter(|&&told| told).count(), 1);
        assert!(told[3]);
    }

    #[test]
    fn two_threads_lose_nothing() {
        let ring = Ring::new(256 * 8);
        let total = 200_000u64;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut next = 0;
                while next < total {
                    if push_all(&ring, &[next, !next]) {
                        next += 1;
                    } else {
                        std::thread::yield_now();
                    }
                }
            });
            let mut expected = 0;
            while expected < total {
                let mut reader = ring.drain();
                while let Some(word) = reader.next() {
                    assert_eq!(word, expected);
                    assert_eq!(reader.next(), Some(!expected));
                    expected += 1;
                }
            }
        });
    }
}
