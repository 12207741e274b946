//! The guests that somebody registered.

use crate::code::Code;
use crate::error::Error;
use std::sync::Arc;

/// The code of registered guests, sorted by the address of its text, and how often each is
/// registered.
///
/// It is a list and no more. Its owner has the lock, because what else has to be done while
/// nobody registers a guest is not the same for any two owners: a profiler drains samples, a
/// walker publishes a new map, an explainer does nothing.
#[derive(Default)]
pub(crate) struct Guests {
    known: Vec<Known>,
}

struct Known {
    code: Arc<Code>,
    /// Never 0.
    times: usize,
}

impl Guests {
    /// Registers code once more, if it is known: then it has the new name too, and what is
    /// returned is the code as it was given first. Does nothing with code that is not known.
    ///
    /// # Errors
    ///
    /// [`Error::Hidden`] when it is hidden in one of the two; then it is not registered again.
    pub(crate) fn again(&mut self, code: &Code) -> Result<Option<Arc<Code>>, Error> {
        let start = code.range.start();
        let at = self
            .known
            .binary_search_by_key(&start, |known| known.code.range.start());
        let Some(known) = at.ok().and_then(|at| self.known.get_mut(at)) else {
            return Ok(None);
        };
        if known.code.hidden != code.hidden {
            return Err(Error::Hidden {
                guest: code.name(),
                known: known.code.name(),
            });
        }
        known.code.add_name(&code.name());
        known.times += 1;
        Ok(Some(Arc::clone(&known.code)))
    }

    /// Registers code by itself, after what is known at the same address.
    pub(crate) fn add(&mut self, code: Arc<Code>) {
        let start = code.range.start();
        let at = self
            .known
            .partition_point(|known| known.code.range.start() <= start);
        self.known.insert(at, Known { code, times: 1 });
    }

    /// Takes one registration back. Tells whether it was the last one, with which the code is
    /// forgotten.
    pub(crate) fn remove(&mut self, code: &Arc<Code>) -> bool {
        let mut known = self.known.iter();
        let Some(at) = known.position(|known| Arc::ptr_eq(&known.code, code)) else {
            return false;
        };
        if let Some(known) = self.known.get_mut(at)
            && known.times > 1
        {
            known.times -= 1;
            return false;
        }
        self.known.remove(at);
        true
    }

    /// Returns the code of each, sorted by the address of its text.
    pub(crate) fn codes(&self) -> Vec<Arc<Code>> {
        let known = self.known.iter();
        known.map(|known| Arc::clone(&known.code)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Guest;
    use wasmtime::{Engine, Module};

    fn module(engine: &Engine) -> Module {
        Module::new(engine, "(module (func (export \"run\")))").unwrap()
    }

    fn code(name: &str, module: &Module) -> Code {
        Code::check(Guest::module(name, module)).unwrap()
    }

    fn names(guests: &Guests) -> Vec<Vec<String>> {
        guests.codes().iter().map(|code| code.names()).collect()
    }

    /// Code is known until it was taken back as often as it was registered, with all its names.
    #[test]
    fn code_is_known_as_long_as_one_registration_of_it() {
        let module = module(&Engine::default());
        let mut guests = Guests::default();
        assert!(guests.again(&code("one", &module)).unwrap().is_none());
        assert!(names(&guests).is_empty());
        let first = Arc::new(code("one", &module));
        guests.add(Arc::clone(&first));
        for name in ["two", "one", "three"] {
            let known = guests.again(&code(name, &module)).unwrap().unwrap();
            assert!(Arc::ptr_eq(&known, &first));
        }
        for _ in 0..3 {
            assert!(!guests.remove(&first));
            assert_eq!(names(&guests), [["one", "two", "three"]]);
        }
        assert!(guests.remove(&first));
        assert!(names(&guests).is_empty());
        assert!(guests.again(&code("two", &module)).unwrap().is_none());
        assert!(!guests.remove(&first), "it is forgotten");
    }

    /// What is refused is not counted, and leaves no name.
    #[test]
    fn code_is_hidden_in_all_registrations_or_in_none() {
        let module = module(&Engine::default());
        let hidden = Guest::module("hidden", &module).hidden();
        let hidden = Arc::new(Code::check(hidden).unwrap());
        let shown = Arc::new(code("shown", &module));
        for (first, second) in [(&hidden, &shown), (&shown, &hidden)] {
            let mut guests = Guests::default();
            guests.add(Arc::clone(first));
            match guests.again(second).unwrap_err() {
                Error::Hidden { guest, known } => {
                    assert_eq!((guest, known), (second.name(), first.name()));
                }
                other => panic!("{other}"),
            }
            assert_eq!(names(&guests), [[first.name()]]);
            assert!(guests.remove(first));
        }
    }

    /// Code is added and removed in any order; a plain list of what should be there says what is.
    #[test]
    fn codes_are_sorted_by_address_and_the_newest_of_the_same_is_last() {
        let engine = Engine::default();
        let modules: Vec<Module> = (0..9).map(|_| module(&engine)).collect();
        let mut guests = Guests::default();
        let mut expected: Vec<Arc<Code>> = Vec::new();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % end as u64) as usize
        };
        let mut most = 0;
        for round in 0..1000 {
            if below(9) < 5 {
                let code = Arc::new(code(&round.to_string(), &modules[below(9)]));
                guests.add(Arc::clone(&code));
                expected.push(code);
            } else if !expected.is_empty() {
                let code = expected.remove(below(expected.len()));
                assert!(guests.remove(&code));
            }
            // A stable sort: what was added later stays behind.
            let mut sorted: Vec<&Arc<Code>> = expected.iter().collect();
            sorted.sort_by_key(|code| code.range.start());
            let sorted: Vec<_> = sorted.iter().map(|code| code.names()).collect();
            assert_eq!(names(&guests), sorted);
            most = most.max(sorted.len());
        }
        assert!(most > modules.len(), "some are there more than once");
    }
}
