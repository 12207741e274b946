//! Events that happened where the engine forbids calls out of a component: while it
//! allocates for values that come in, and while it cleans up behind a call.
//!
//! They are kept in a memory of the component's, in little endian:
//!
//! ```text
//!    0        4        8          16
//!    | state  | 0      | lost     | records, one after the other
//! ```
//!
//! `state` is how many bytes of records there are; its lowest bit is set while calls out are
//! forbidden. `lost` counts events that had no room. The component tells them ahead of its
//! next event and empties the memory; a host that knows where the memory is may do so before,
//! with [`State`]. A record is
//!
//! ```text
//!    0       1         2        4             8           12       16
//!    | hook  | values  | 0  0   | instance    | probe     | 0 ...  | values, 8 bytes each
//! ```
//!
//! `hook` is the hook's place in [`hooks`], and `probe` is 0 unless
//! the hook has one. All calls that such events open are closed by others of the same list,
//! unless some are lost: those that had no room, which are the last.

use crate::hooks::{GROUP, Hook};

use super::interface::hooks;

/// The bytes of the memory.
pub const MEMORY: u32 = 1 << 16;
/// Where the records are in it.
pub const RECORDS: u32 = 16;
/// The bytes of a record ahead of its values.
pub(super) const HEAD: u32 = 16;
/// Where the state is, and how many were lost.
pub(super) const STATE: u32 = 0;
pub(super) const LOST: u32 = 8;
/// The bit of the state that is set while calls out are forbidden.
pub(super) const QUIET: i32 = 1;

/// What is ahead of the records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// Whether calls out are forbidden just now, so that there may be more records soon.
    pub is_quiet: bool,
    /// How many bytes of records there are.
    pub len: u32,
    /// How many events are lost.
    pub lost: u64,
}

impl State {
    /// Reads it. Of any bytes, the records that it speaks of are within the memory.
    #[must_use]
    pub fn read(front: &[u8; RECORDS as usize]) -> Self {
        let (words, _) = front.as_chunks();
        let word = |at: u32| u32::from_le_bytes(words[at as usize / size_of::<u32>()]);
        let state = word(STATE);
        Self {
            is_quiet: state & QUIET.cast_unsigned() != 0,
            len: (state & !QUIET.cast_unsigned()).min(MEMORY - RECORDS),
            lost: u64::from(word(LOST)) | u64::from(word(LOST + 4)) << u32::BITS,
        }
    }

    /// Returns what to write instead once the records are read.
    #[must_use]
    pub fn emptied(self) -> [u8; RECORDS as usize] {
        let mut front = [0; RECORDS as usize];
        front[STATE as usize] = u8::from(self.is_quiet);
        front
    }
}

/// An event that is told later than it happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deferred {
    /// The instance's number.
    pub instance: u32,
    /// The hook that would have been called.
    pub hook: Hook,
    /// The number of the probe for [`Hook::Before`], else 0.
    pub probe: u32,
    values: [u64; GROUP],
    len: u8,
}

impl Deferred {
    /// Returns the hook's values.
    #[must_use]
    pub fn values(&self) -> &[u64] {
        &self.values[..usize::from(self.len)]
    }
}

/// What is wrong with records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("read deferred events: what is at {offset:#x} is not one")]
pub struct Damaged {
    /// Where the record starts that cannot be read.
    pub offset: usize,
}

/// Reads records. Any bytes give records, or an error that is the last item.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    /// Reads the records in `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn record(&self) -> Option<(Deferred, usize)> {
        let bytes = self.bytes.get(self.at..)?;
        let head = bytes.first_chunk::<{ HEAD as usize }>()?;
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let hook = *hooks().get(usize::from(head[0]))?;
        let (len, probed) = match hook {
            Hook::Before(values) => (values, true),
            Hook::After(values) => (values, false),
            Hook::Stage => (GROUP as u8, false),
            _ => (0, false),
        };
        if head[1] != len || head[2..4] != [0; 2] || head[12..] != [0; 4] {
            return None;
        }
        if word(8) != 0 && !probed {
            return None;
        }
        let end = head.len() + usize::from(len) * size_of::<u64>();
        let (words, _) = bytes.get(head.len()..end)?.as_chunks();
        let mut values = [0; GROUP];
        for (value, word) in values.iter_mut().zip(words) {
            *value = u64::from_le_bytes(*word);
        }
        let deferred = Deferred {
            instance: word(4),
            hook,
            probe: word(8),
            values,
            len,
        };
        Some((deferred, end))
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Deferred, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        if let Some((deferred, len)) = self.record() {
            self.at += len;
            return Some(Ok(deferred));
        }
        let offset = self.at;
        self.at = self.bytes.len();
        Some(Err(Damaged { offset }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ahead_of_records_is_read_and_emptied() {
        let mut front = [0; 16];
        front[0] = 48 | 1;
        front[8..].copy_from_slice(&u64::to_le_bytes(7 | 9 << 32));
        let state = State::read(&front);
        let expected = State {
            is_quiet: true,
            len: 48,
            lost: 7 | 9 << 32,
        };
        assert_eq!(state, expected);
        let emptied = State {
            len: 0,
            lost: 0,
            ..state
        };
        assert_eq!(State::read(&state.emptied()), emptied);
        let any = State::read(&[0xff; 16]);
        assert_eq!((any.len, any.lost), (MEMORY - RECORDS, u64::MAX));
    }

    fn before() -> Vec<u8> {
        let mut bytes = vec![2, 2, 0, 0];
        for word in [7_u32, 9, 0] {
            bytes.extend(word.to_le_bytes());
        }
        for word in [u64::MAX, 5] {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn a_record_is_read_as_it_is_described() {
        let mut bytes = before();
        let tail = hooks().iter().position(|hook| *hook == Hook::Tail);
        bytes.extend([
            tail.unwrap() as u8,
            0,
            0,
            0,
            7,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ]);
        let records = Records::new(&bytes).collect::<Result<Vec<_>, _>>().unwrap();
        let [first, second] = records[..] else {
            panic!("two records");
        };
        assert_eq!(
            (first.instance, first.hook, first.probe),
            (7, Hook::Before(2), 9)
        );
        assert_eq!(first.values(), [u64::MAX, 5]);
        assert_eq!((second.hook, second.values()), (Hook::Tail, &[][..]));
    }

    #[test]
    fn any_change_gives_records_or_an_error() {
        let bytes = before();
        for len in 1..bytes.len() {
            let records = Records::new(&bytes[..len]).collect::<Vec<_>>();
            assert_eq!(records, [Err(Damaged { offset: 0 })], "{len}");
        }
        for at in 0..bytes.len() {
            for byte in 0..=u8::MAX {
                let mut damaged = bytes.clone();
                damaged[at] = byte;
                let records = Records::new(&damaged).collect::<Vec<_>>();
                assert!(records.len() <= 2, "at most one record per head");
                let told = at >= 4 && !(12..16).contains(&at);
                assert!(records[0].is_ok() || byte != bytes[at] && !told);
            }
        }
    }
}
