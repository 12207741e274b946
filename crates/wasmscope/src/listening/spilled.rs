//! The words of calls that have more of them than an entry has room for.

/// Words of open calls on one execution stack, oldest first.
///
/// Nobody says when such a call is over, for that would be a question at each close. What is
/// over is found when the next call spills: it has the number of that call, or a higher one.
#[derive(Default)]
pub(super) struct Spilled {
    words: Vec<u64>,
    /// The calls that they are of, with where each one's begin.
    calls: Vec<(usize, usize)>,
}

impl Spilled {
    /// Tells whether so many words more can be kept.
    pub(super) fn has_room(&self, words: usize) -> bool {
        u32::try_from(self.words.len().saturating_add(words)).is_ok()
    }

    /// Keeps the words of the call that is to have this number, for which there
    /// [is room](Self::has_room). Returns where they begin.
    pub(super) fn push(&mut self, number: usize, words: &[u64]) -> u32 {
        while let Some((_, start)) = self.calls.pop_if(|(of, _)| *of >= number) {
            self.words.truncate(start);
        }
        let start = self.words.len();
        self.calls.push((number, start));
        self.words.extend_from_slice(words);
        start as u32
    }

    /// Returns so many words from where a call's begin; none, if they are not all there.
    pub(super) fn get(&self, start: u32, len: usize) -> &[u64] {
        let start = start as usize;
        self.words.get(start..start + len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_until_a_call_takes_the_place_of_theirs() {
        let mut spilled = Spilled::default();
        let first = spilled.push(1, &[1; 5]);
        let third = spilled.push(3, &[3; 6]);
        assert_eq!(spilled.get(first, 5), [1; 5]);
        assert_eq!(spilled.get(third, 6), [3; 6]);

        // The third is over, and a call without spilled words is in its place.
        let fourth = spilled.push(4, &[4; 7]);
        assert_eq!(spilled.get(first, 5), [1; 5]);
        assert_eq!(spilled.get(fourth, 7), [4; 7]);

        // All but the first are over.
        let second = spilled.push(2, &[2; 8]);
        assert_eq!(second, third);
        assert_eq!(spilled.get(first, 5), [1; 5]);
        assert_eq!(spilled.get(second, 8), [2; 8]);
        assert!(spilled.get(second, 9).is_empty());
    }

    #[test]
    fn what_is_over_takes_no_more_room_than_the_deepest_stack() {
        let mut spilled = Spilled::default();
        for round in 0..1_000 {
            for number in 1..=10 {
                spilled.push(number, &[round; 100]);
            }
        }
        assert_eq!(spilled.words.len(), 1_000);
        assert_eq!(spilled.calls.len(), 10);
    }
}
