//! What a listener on everything heard, checked as it comes in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use wasmscope::listen::component::Limits;
use wasmscope::listen::{BoxListener, Call, Cause, Definition, Listener, Values};
use wasmscope::{Listening, ListeningBuilder};

/// Hears everything. Each call is closed once, after all that were opened within it.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Entries>>);

#[derive(Default)]
pub(crate) struct Entries {
    /// Whether each event is written down, and not only counted.
    pub(crate) writes: bool,
    pub(crate) lines: Vec<String>,
    pub(crate) opens: u64,
    pub(crate) closes: u64,
    pub(crate) aborts: u64,
    pub(crate) deferred: u64,
    /// By number: the number of the call around it, and how many open ones are within it.
    open: HashMap<u64, (Option<u64>, u32)>,
}

/// The number of a call.
#[derive(Clone, Copy)]
pub(crate) struct Number(u64);

impl Ledger {
    /// Writes down each event.
    pub(crate) fn writing() -> Self {
        let ledger = Self::default();
        ledger.entries().writes = true;
        ledger
    }

    pub(crate) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().expect("nothing panicked here")
    }

    /// Listens to every function.
    pub(crate) fn builder(&self) -> ListeningBuilder {
        let listener = BoxListener::new(self.clone());
        Listening::builder(move |_: &Definition| Some(listener.clone()))
    }

    pub(crate) fn listening(&self) -> Listening {
        self.builder().build()
    }

    /// Returns what was written down since.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.entries().lines)
    }

    /// Checks that as many calls were closed as opened; returns how many.
    pub(crate) fn settled(&self) -> u64 {
        let entries = self.entries();
        assert_eq!(entries.open.len(), 0, "all are closed");
        assert_eq!(entries.opens, entries.closes);
        entries.opens
    }

    pub(crate) fn open(&self) -> usize {
        self.entries().open.len()
    }

    fn close(&self, call: &Call<'_>, Number(number): Number, line: impl FnOnce() -> String) {
        let mut entries = self.entries();
        let (around, within) = entries.open.remove(&number).expect("closed once");
        assert_eq!(within, 0, "{call:?} is closed before what is within it");
        if let Some(around) = around {
            let around = entries.open.get_mut(&around);
            around.expect("open as long as what is within it").1 -= 1;
        }
        entries.closes += 1;
        if entries.writes {
            let line = line();
            entries.lines.push(line);
        }
    }
}

impl Listener for Ledger {
    type State = Number;

    fn before(&self, call: &Call<'_>) -> Number {
        let around = call.parent().map(|parent| {
            let Number(number) = parent.state::<Number>().expect("everything is heard here");
            *number
        });
        let mut entries = self.entries();
        let number = entries.opens;
        entries.opens += 1;
        entries.deferred += u64::from(call.is_deferred());
        if let Some(around) = around {
            let around = entries.open.get_mut(&around);
            around.expect("the call around one is open").1 += 1;
        }
        entries.open.insert(number, (around, 0));
        if entries.writes {
            let deferred = if call.is_deferred() {
                " (deferred)"
            } else {
                ""
            };
            let values = match call.component_params(&Limits::default()) {
                Some(Ok(values)) => {
                    let values: Vec<_> = values.iter().map(ToString::to_string).collect();
                    format!("({})", values.join(", "))
                }
                Some(Err(error)) => format!("({error})"),
                None => format!("{:?}", call.params()),
            };
            entries
                .lines
                .push(format!("> {}{values}{deferred}", call.definition()));
        }
        Number(number)
    }

    fn after(&self, call: &Call<'_>, results: Values<'_>, number: Number) {
        self.close(call, number, || {
            let values = match call.component_results(results, &Limits::default()) {
                Some(Ok(values)) => {
                    let values: Vec<_> = values.iter().map(ToString::to_string).collect();
                    format!("({})", values.join(", "))
                }
                Some(Err(error)) => format!("({error})"),
                None => format!("{results:?}"),
            };
            format!("< {}{values}", call.definition())
        });
    }

    fn tail_call(&self, call: &Call<'_>, number: Number) {
        self.close(call, number, || format!("~ {}", call.definition()));
    }

    fn abort(&self, call: &Call<'_>, cause: &Cause<'_>, number: Number) {
        self.entries().aborts += 1;
        self.close(call, number, || format!("! {}: {cause}", call.definition()));
    }
}
