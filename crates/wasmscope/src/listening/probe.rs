//! A function that is listened to.

#![expect(unsafe_code, reason = "keeps a borrowed listener beside its owner")]

use super::attach::UNKNOWN;
use std::ptr::NonNull;
use std::sync::{Arc, LazyLock};
use wasmscope_address::{HostPc, TextRange};
use wasmscope_listen::{BoxListener, Call, Definition, Listener, ListenerRef, ValueType};

/// One probed function of a module, with the listener that an instance's factory gave it.
///
/// What each event looks at comes first.
#[repr(C)]
pub(super) struct Probe {
    /// Borrowed from `listener`, for events.
    quick: ListenerRef<'static>,
    /// The function's compiled code: where it begins, and how many bytes it has.
    code: u64,
    code_len: u64,
    pub(super) listener: BoxListener,
    pub(super) definition: Arc<Definition>,
    /// How many words its parameters and its results are.
    param_words: u16,
    result_words: u16,
    /// Whether somebody listens; else `listener` hears nothing.
    pub(super) is_heard: bool,
}

impl Probe {
    pub(super) fn new(
        definition: Arc<Definition>,
        listener: Option<BoxListener>,
        code: TextRange,
    ) -> Self {
        let is_heard = listener.is_some();
        let listener = listener.unwrap_or_else(|| BoxListener::new(Deaf));
        // SAFETY: the listener is shared, so it stays where it is as long as there is a
        // `BoxListener`; the probe holds one that it never changes, and lends `quick` for
        // no longer than itself.
        let quick = unsafe {
            std::mem::transmute::<ListenerRef<'_>, ListenerRef<'static>>(listener.borrow())
        };
        Self {
            quick,
            code: code.start().0,
            code_len: u64::from(code.len()),
            listener,
            param_words: words(&definition.params),
            result_words: words(&definition.results),
            definition,
            is_heard,
        }
    }

    /// Returns the listener.
    #[inline(always)]
    pub(super) fn quick(&self) -> ListenerRef<'_> {
        self.quick
    }

    /// Tells whether an address is in the function's compiled code.
    #[inline(always)]
    pub(super) fn holds(&self, pc: HostPc) -> bool {
        pc.0.wrapping_sub(self.code) < self.code_len
    }

    pub(super) fn param_words(&self) -> usize {
        usize::from(self.param_words)
    }

    pub(super) fn result_words(&self) -> usize {
        usize::from(self.result_words)
    }

    /// Returns a probe that no address is in.
    pub(super) fn none() -> *const Self {
        static NONE: LazyLock<Probe> = LazyLock::new(|| {
            let none = Definition::guest(wasmscope_address::FuncIndex(u32::MAX));
            let code = TextRange::new(HostPc(0), 0);
            let code = code.unwrap_or_else(|| unreachable!("does not wrap"));
            Probe::new(Arc::new(none), None, code)
        });
        &raw const *NONE
    }
}

/// The probes of all instances of a store, those of each instance one after the other.
///
/// An instance's number in its guest is that of its first probe, to which the guest adds, so an
/// event finds its probe by one look.
#[derive(Default)]
pub(super) struct InstanceProbes {
    all: Vec<NonNull<Probe>>,
    /// Where those of each instance begin. No two begin at the same place.
    first: Vec<u32>,
}

// SAFETY: the instances own what this points to, and it is `Send` and `Sync`.
unsafe impl Send for InstanceProbes {}

impl InstanceProbes {
    /// Adds those of the next instance, which keeps them. Returns `None` when there are too
    /// many.
    pub(super) fn push(&mut self, probes: &Arc<[Probe]>) -> Option<()> {
        let first = u32::try_from(self.all.len()).ok()?;
        let end = self.all.len().checked_add(probes.len().max(1))?;
        if end > UNKNOWN as usize {
            return None;
        }
        self.all.extend(probes.iter().map(NonNull::from_ref));
        if probes.is_empty() {
            self.all.extend(NonNull::new(Probe::none().cast_mut()));
        }
        self.first.push(first);
        Some(())
    }

    /// Returns a probe, or `None` when there are not so many.
    #[inline(always)]
    pub(super) fn get(&self, number: u32) -> Option<&Probe> {
        let probe = self.all.get(number as usize)?;
        // SAFETY: its instance has it.
        Some(unsafe { probe.as_ref() })
    }

    /// Returns the number of an instance's first probe.
    pub(super) fn first(&self, instance: u32) -> Option<u32> {
        self.first.get(instance as usize).copied()
    }

    /// Returns the instance that a probe is of, or `None` when there is none.
    pub(super) fn instance_of(&self, probe: u32) -> Option<u32> {
        if probe as usize >= self.all.len() {
            return None;
        }
        let instances = self.first.partition_point(|first| *first <= probe);
        u32::try_from(instances.checked_sub(1)?).ok()
    }
}

/// Returns how many words values of these types are: a function has a thousand of them at
/// most.
fn words(types: &[ValueType]) -> u16 {
    let words = types.iter().map(|ty| ty.words()).sum::<usize>();
    u16::try_from(words).unwrap_or(u16::MAX)
}

/// Hears nothing: stands where a factory gave no listener.
pub(super) struct Deaf;

impl Listener for Deaf {
    type State = ();

    fn before(&self, _: &Call<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmscope_address::FuncIndex;

    fn probes(functions: std::ops::Range<u32>) -> Arc<[Probe]> {
        let probe = |function| {
            let code = TextRange::new(HostPc(0), 0).expect("does not wrap");
            Probe::new(Arc::new(Definition::guest(FuncIndex(function))), None, code)
        };
        functions.map(probe).collect()
    }

    #[test]
    fn each_number_leads_to_its_probe_and_its_instance() {
        let instances = [probes(0..3), probes(3..3), probes(3..5), probes(5..5)];
        let mut all = InstanceProbes::default();
        for probes in &instances {
            all.push(probes).expect("there are few");
        }
        let firsts: Vec<_> = (0..5).map(|instance| all.first(instance)).collect();
        assert_eq!(firsts, [Some(0), Some(3), Some(4), Some(6), None]);
        for (instance, probes) in (0..).zip(&instances) {
            let first = all.first(instance).expect("it was added");
            assert_eq!(all.instance_of(first), Some(instance));
            for (number, probe) in (0..).zip(&**probes) {
                let found = all.get(first + number).expect("it was added");
                assert!(std::ptr::eq(found, probe));
                assert_eq!(all.instance_of(first + number), Some(instance));
            }
        }
        for number in [7, UNKNOWN, u32::MAX] {
            assert!(all.get(number).is_none(), "{number}");
        }
        assert_eq!(all.instance_of(7), None);
    }
}
