//! A call-heavy guest whose call graph is known by construction: each function has
//! exactly one chain of callers, but for two that a tail call and a recursion give
//! two possible callers. A stack that skips or invents a frame is not a path of it.

use std::collections::HashMap;
use wasmscope::Profile;
use wasmscope::profile::{Category, Sample, Value};

/// Each function of the guest and who may be below it on the stack. The entry has
/// nobody.
const CALLERS: &[(&str, &[&str])] = &[
    ("run", &[]),
    ("a", &["run"]),
    ("a1", &["a"]),
    ("a2", &["a1"]),
    ("a_leaf", &["a2"]),
    ("b", &["run"]),
    ("b_leaf", &["b"]),
    ("rec", &["run", "rec"]),
    ("rec_leaf", &["rec"]),
    ("tails", &["run"]),
    ("before", &["tails"]),
    ("after", &["tails"]),
    ("many", &["run"]),
    ("many_leaf", &["many"]),
    ("switch", &["run"]),
    ("switch_leaf", &["switch"]),
    ("hosts", &["run"]),
    ("calls_host", &["hosts"]),
];

/// One such guest, its functions' names beginning with a prefix.
pub(crate) struct CallGraph {
    prefix: String,
    entry: String,
    callers: HashMap<String, Vec<String>>,
}

/// What was found in a profile's samples.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Samples with at least one frame of the guest.
    pub(crate) in_guest: u64,
    /// Samples without.
    pub(crate) elsewhere: u64,
    /// Samples whose walk did not reach the thread's root.
    pub(crate) cut: u64,
    /// Samples with more than one frame of the guest.
    pub(crate) nested: u64,
    /// The deepest stack of the guest.
    pub(crate) deepest: usize,
    /// How often each function was the newest of the guest, by name without prefix.
    pub(crate) newest: HashMap<String, u64>,
}

impl Tally {
    /// Panics when more than one in a hundred was cut: the few instructions that
    /// exchange a fiber's stack for its parent's have no unwind tables.
    #[allow(dead_code, reason = "for tests with fibers")]
    pub(crate) fn is_whole_but_for_switches(&self) {
        assert!(self.cut * 100 <= self.in_guest + self.elsewhere, "{self:?}");
    }

    /// Panics when any was cut.
    pub(crate) fn is_whole(&self) {
        assert_eq!(self.cut, 0, "{self:?}");
    }
}

impl CallGraph {
    /// The guest whose functions begin with `prefix`.
    pub(crate) fn new(prefix: &str) -> Self {
        let named = |name: &&str| format!("{prefix}{name}");
        Self {
            prefix: prefix.to_owned(),
            entry: format!("{prefix}run"),
            callers: CALLERS
                .iter()
                .map(|(name, callers)| (named(name), callers.iter().map(named).collect()))
                .collect(),
        }
    }

    /// The same, for a host whose `host.call` calls `run` again.
    #[allow(dead_code, reason = "not every test that includes this file re-enters")]
    pub(crate) fn reentrant(prefix: &str) -> Self {
        let mut graph = Self::new(prefix);
        if let Some(callers) = graph.callers.get_mut(&graph.entry) {
            callers.push(format!("{prefix}calls_host"));
        }
        graph
    }

    /// Its text. `run(n)` does `n` rounds of all calls and returns a checksum. Imports
    /// `host.call`, of type `(param i32) (result i32)`. Not every compiler knows tail
    /// calls: without, a call and a return are in their place.
    pub(crate) fn wat(&self, tail_calls: bool) -> String {
        let tail = |args: &str| {
            if tail_calls {
                format!("(return_call $after {args})")
            } else {
                "(local.get 0)".to_owned()
            }
        };
        let params20 = "(param i32)".repeat(20);
        let switch = (0..6).map(|n| format!("{n} ")).collect::<String>();
        let text = format!(
            r#"(module
  (import "host" "call" (func $host (param i32) (result i32)))
  (func $run (export "run") (param $n i32) (result i32) (local $x i32)
    (loop $again
      (local.set $x (i32.add (call $a (local.get $n)) (local.get $x)))
      (local.set $x (i32.add (call $b (local.get $x)) (local.get $x)))
      (local.set $x (i32.add (call $rec (i32.const 20)) (local.get $x)))
      (local.set $x (i32.add (call $tails (local.get $x)) (local.get $x)))
      (local.set $x (i32.add (call $many (local.get $x)) (local.get $x)))
      (local.set $x (i32.add (call $switch (local.get $x)) (local.get $x)))
      (local.set $x (i32.add (call $hosts (local.get $x)) (local.get $x)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $x))
  (func $a (param i32) (result i32) (i32.add (call $a1 (local.get 0)) (i32.const 1)))
  (func $a1 (param i32) (result i32) (i32.add (call $a2 (local.get 0)) (i32.const 2)))
  (func $a2 (param i32) (result i32) (i32.add (call $a_leaf (local.get 0)) (i32.const 3)))
  (func $a_leaf (param i32) (result i32) (i32.mul (local.get 0) (i32.const 7)))
  (func $b (param i32) (result i32) (local $i i32)
    (local.set $i (i32.const 10))
    (loop $again
      (local.set 0 (call $b_leaf (local.get 0)))
      (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (local.get 0))
  (func $b_leaf (param i32) (result i32) (i32.xor (local.get 0) (i32.const 12345)))
  (func $rec (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (call $rec (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
      (else (i32.add (call $rec_leaf (i32.const 5)) (i32.const 1)))))
  (func $rec_leaf (param i32) (result i32) (i32.rotl (local.get 0) (i32.const 3)))
  (func $tails (param i32) (result i32)
    (i32.add (call $before (local.get 0)) (call $after {gets0x20})))
  (func $before (param i32) (result i32) {tail})
  (func $after {params20} (result i32) (i32.add (local.get 0) (local.get 19)))
  (func $many (param i32) (result i32)
    (i32.add (call $many_leaf {gets0x20}) (i32.const 1)))
  (func $many_leaf {params20} (result i32) (i32.xor (local.get 3) (local.get 18)))
  (func $switch (param i32) (result i32)
    (i32.add (call $switch_leaf (i32.rem_u (local.get 0) (i32.const 6))) (i32.const 1)))
  (func $switch_leaf (param i32) (result i32)
    (block (block (block (block (block (block
      (br_table {switch}(local.get 0)))
      (return (i32.const 3))) (return (i32.const 5))) (return (i32.const 7)))
      (return (i32.const 11))) (return (i32.const 13)))
    (i32.const 17))
  (func $hosts (param i32) (result i32)
    (i32.add (call $calls_host (local.get 0)) (i32.const 1)))
  (func $calls_host (param i32) (result i32)
    (i32.add (call $host (local.get 0)) (i32.const 1)))
)"#,
            gets0x20 = "(local.get 0)".repeat(20),
            tail = tail(&"(local.get 0)".repeat(20)),
        );
        // Names are those of the name section, which is made of the identifiers.
        let mut named = text;
        for (name, _) in CALLERS {
            named = named.replace(&format!("${name} "), &format!("${}{name} ", self.prefix));
        }
        named
    }

    /// Checks each sample of a profile; panics at the first whose stack of guest
    /// frames is not a path of the call graph, or when any was cut.
    pub(crate) fn check(&self, profile: &Profile) -> Tally {
        let mut tally = Tally::default();
        for sample in profile.samples() {
            self.check_sample(profile, &sample, &mut tally);
        }
        tally.is_whole();
        tally
    }

    /// Checks one sample.
    pub(crate) fn check_sample(&self, profile: &Profile, sample: &Sample, tally: &mut Tally) {
        let frames: Vec<(&str, Category)> = sample
            .stack
            .into_iter()
            .flat_map(|stack| profile.stack_frames(stack))
            .map(|frame| {
                let function = profile.function(frame.function);
                (function.name.as_str(), function.category)
            })
            .collect();
        // Host code that has no unwind table (the stubs through which a program calls
        // its shared libraries) ends a walk; the sample says so, and a few are allowed.
        let is_cut = frames
            .iter()
            .any(|&(_, category)| category == Category::Lost);
        tally.cut += if is_cut { sample.count } else { 0 };
        let guest: Vec<&str> = frames
            .iter()
            .filter(|&&(_, category)| category == Category::Guest)
            .map(|&(name, _)| name)
            .collect();
        self.check_guest(&guest, is_cut, sample.count, tally);
    }

    /// Checks one stack of guest frames, newest first.
    pub(crate) fn check_guest(&self, guest: &[&str], is_cut: bool, count: u64, tally: &mut Tally) {
        let Some(newest) = guest.first() else {
            tally.elsewhere += count;
            return;
        };
        tally.in_guest += count;
        tally.nested += if guest.len() > 1 { count } else { 0 };
        tally.deepest = tally.deepest.max(guest.len());
        let bare = newest.strip_prefix(&self.prefix).unwrap_or(newest);
        *tally.newest.entry(bare.to_owned()).or_default() += count;
        for (at, name) in guest.iter().enumerate() {
            let callers = self
                .callers
                .get(*name)
                .unwrap_or_else(|| panic!("{name} is no function of this guest: {guest:?}"));
            match guest.get(at + 1) {
                Some(caller) => assert!(
                    callers.iter().any(|known| known == caller),
                    "{caller} does not call {name}: {guest:?}"
                ),
                None => assert!(
                    is_cut || **name == self.entry,
                    "the callers of {name} are missing: {guest:?}"
                ),
            }
        }
    }

    /// Tells how many functions the guest has.
    #[allow(
        dead_code,
        reason = "not every test that includes this file counts them"
    )]
    pub(crate) fn functions() -> usize {
        CALLERS.len()
    }
}

/// Returns the value of a sample's label.
#[allow(
    dead_code,
    reason = "not every test that includes this file looks at labels"
)]
pub(crate) fn label(profile: &Profile, sample: &Sample, key: &str) -> Option<String> {
    profile
        .labels(sample.labels)
        .iter()
        .find(|label| label.key == key)
        .map(|label| match &label.value {
            Value::Text(text) => text.clone(),
            Value::Number(number, _) => number.to_string(),
        })
}
