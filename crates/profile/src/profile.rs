//! The profile: the tables of the model, and how they are filled and read.
//!
//! Functions, locations, stacks and labels are interned: adding an equal entry
//! again gives the handle of the first. Tables keep the order of insertion, so
//! the same calls make the same profile, and the same bytes when written.

use std::time::Duration;

use indexmap::IndexSet;

use crate::counter::{Counter, CounterHandle};
use crate::function::{Function, FunctionHandle};
use crate::labels::{Label, LabelsHandle, Value};
use crate::location::{Line, Location, LocationHandle};
use crate::mapping::{Mapping, MappingHandle};
use crate::marker::{Marker, MarkerRef, PackedMarker};
use crate::meta::Meta;
use crate::sample::{PackedSample, Sample, nanos};
use crate::stack::{Frame, Stack, StackHandle};
use crate::strings::Strings;
use crate::thread::{Accounting, Thread, ThreadHandle};

/// A profile: what ran, and where its time went.
#[derive(Clone, Debug)]
pub struct Profile {
    meta: Meta,
    mappings: Vec<Mapping>,
    functions: IndexSet<Function>,
    locations: IndexSet<Location>,
    stacks: IndexSet<Stack>,
    threads: Vec<Thread>,
    labels: IndexSet<Vec<Label>>,
    samples: Vec<PackedSample>,
    strings: Strings,
    markers: Vec<PackedMarker>,
    counters: Vec<Counter>,
}

impl Profile {
    /// Makes a profile with nothing in it.
    #[must_use]
    pub fn new(meta: Meta) -> Self {
        Self {
            meta,
            mappings: Vec::new(),
            functions: IndexSet::new(),
            locations: IndexSet::new(),
            stacks: IndexSet::new(),
            threads: Vec::new(),
            labels: IndexSet::from([Vec::new()]),
            samples: Vec::new(),
            strings: Strings::default(),
            markers: Vec::new(),
            counters: Vec::new(),
        }
    }

    /// Returns what the profile says about itself.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Returns what the profile says about itself, to be changed.
    pub fn meta_mut(&mut self) -> &mut Meta {
        &mut self.meta
    }

    /// Adds a binary. Each call adds one, also when an equal one is there: two
    /// instances of one module are two mappings if the caller says so.
    pub fn add_mapping(&mut self, mapping: Mapping) -> MappingHandle {
        self.mappings.push(mapping);
        MappingHandle::from_index(self.mappings.len() - 1)
    }

    /// Adds a function, or finds the equal one.
    pub fn add_function(&mut self, function: Function) -> FunctionHandle {
        FunctionHandle::from_index(self.functions.insert_full(function).0)
    }

    /// Adds a location, or finds the equal one.
    ///
    /// A location without lines is given one, in an opaque function `[unknown]`,
    /// so that each frame has a name.
    pub fn add_location(&mut self, mut location: Location) -> LocationHandle {
        if location.lines.is_empty() {
            let function = self.add_function(Function {
                name: "[unknown]".to_owned(),
                category: crate::Category::Opaque,
                mapping: location.mapping,
                ..Function::default()
            });
            location.lines.push(Line {
                function,
                line: None,
                column: None,
            });
        }
        LocationHandle::from_index(self.locations.insert_full(location).0)
    }

    /// Adds the stack of `location` called from `parent` (none for the outermost
    /// frame), or finds the equal one.
    pub fn add_stack(
        &mut self,
        parent: Option<StackHandle>,
        location: LocationHandle,
    ) -> StackHandle {
        StackHandle::from_index(self.stacks.insert_full(Stack { parent, location }).0)
    }

    /// Adds a thread. Each call adds one.
    pub fn add_thread(&mut self, thread: Thread) -> ThreadHandle {
        self.threads.push(thread);
        ThreadHandle::from_index(self.threads.len() - 1)
    }

    /// Returns a thread, to be changed.
    ///
    /// # Panics
    ///
    /// When the handle is not of this profile.
    pub fn thread_mut(&mut self, thread: ThreadHandle) -> &mut Thread {
        &mut self.threads[thread.index()]
    }

    /// Adds a set of labels, or finds the equal one; their order does not matter.
    pub fn add_labels<K: AsRef<str>>(&mut self, labels: &[(K, Value)]) -> LabelsHandle {
        let mut labels: Vec<Label> = labels
            .iter()
            .map(|(key, value)| Label {
                key: key.as_ref().to_owned(),
                value: value.clone(),
            })
            .collect();
        labels.sort();
        LabelsHandle::from_index(self.labels.insert_full(labels).0)
    }

    /// Adds a sample. They need not come in the order of their times.
    pub fn add_sample(&mut self, sample: Sample) {
        self.samples.push(PackedSample::pack(&sample));
    }

    /// Adds a marker. They need not come in the order of their times.
    pub fn add_marker(&mut self, marker: Marker) {
        let start = nanos(marker.start);
        let packed = PackedMarker {
            start,
            end: nanos(marker.end).max(start),
            thread: marker.thread,
            name: self.strings.add(marker.name),
            stack: marker.stack,
            text: marker.text.map(|text| self.strings.add(text)),
            category: marker.category,
        };
        self.markers.push(packed);
    }

    /// Adds a counter. Each call adds one.
    pub fn add_counter(&mut self, counter: Counter) -> CounterHandle {
        self.counters.push(counter);
        CounterHandle::from_index(self.counters.len() - 1)
    }

    /// Returns a counter, to add points to.
    ///
    /// # Panics
    ///
    /// When the handle is not of this profile.
    pub fn counter_mut(&mut self, counter: CounterHandle) -> &mut Counter {
        &mut self.counters[counter.index()]
    }
}

/// Reading. Each method that takes a handle panics when it is not of this profile.
impl Profile {
    /// Returns a binary.
    #[must_use]
    pub fn mapping(&self, mapping: MappingHandle) -> &Mapping {
        &self.mappings[mapping.index()]
    }

    /// Returns a function.
    #[must_use]
    pub fn function(&self, function: FunctionHandle) -> &Function {
        &self.functions[function.index()]
    }

    /// Returns a location.
    #[must_use]
    pub fn location(&self, location: LocationHandle) -> &Location {
        &self.locations[location.index()]
    }

    /// Returns a node of the trie.
    #[must_use]
    pub fn stack(&self, stack: StackHandle) -> Stack {
        self.stacks[stack.index()]
    }

    /// Returns a thread.
    #[must_use]
    pub fn thread(&self, thread: ThreadHandle) -> &Thread {
        &self.threads[thread.index()]
    }

    /// Returns a set of labels, sorted by key.
    #[must_use]
    pub fn labels(&self, labels: LabelsHandle) -> &[Label] {
        &self.labels[labels.index()]
    }

    /// Iterates over the binaries.
    pub fn mappings(&self) -> impl ExactSizeIterator<Item = (MappingHandle, &Mapping)> {
        let entries = self.mappings.iter().enumerate();
        entries.map(|(index, entry)| (MappingHandle::from_index(index), entry))
    }

    /// Iterates over the functions.
    pub fn functions(&self) -> impl ExactSizeIterator<Item = (FunctionHandle, &Function)> {
        let entries = self.functions.iter().enumerate();
        entries.map(|(index, entry)| (FunctionHandle::from_index(index), entry))
    }

    /// Iterates over the locations.
    pub fn locations(&self) -> impl ExactSizeIterator<Item = (LocationHandle, &Location)> {
        let entries = self.locations.iter().enumerate();
        entries.map(|(index, entry)| (LocationHandle::from_index(index), entry))
    }

    /// Iterates over the trie, each parent before its children; backwards, each
    /// child before its parent.
    pub fn stacks(
        &self,
    ) -> impl ExactSizeIterator<Item = (StackHandle, Stack)> + DoubleEndedIterator {
        let entries = self.stacks.iter().enumerate();
        entries.map(|(index, entry)| (StackHandle::from_index(index), *entry))
    }

    /// Iterates over the threads.
    pub fn threads(&self) -> impl ExactSizeIterator<Item = (ThreadHandle, &Thread)> {
        let entries = self.threads.iter().enumerate();
        entries.map(|(index, entry)| (ThreadHandle::from_index(index), entry))
    }

    /// Iterates over the samples, in the order in which they were added.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample> {
        self.samples.iter().map(PackedSample::unpack)
    }

    /// Iterates over the markers, in the order in which they were added.
    pub fn markers(&self) -> impl ExactSizeIterator<Item = MarkerRef<'_>> {
        let text = |handle| self.strings.get(handle);
        self.markers.iter().map(move |marker| MarkerRef {
            thread: marker.thread,
            name: text(marker.name),
            category: marker.category,
            start: Duration::from_nanos(marker.start),
            end: Duration::from_nanos(marker.end),
            stack: marker.stack,
            text: marker.text.map(text),
        })
    }

    /// Iterates over the counters.
    pub fn counters(&self) -> impl ExactSizeIterator<Item = (CounterHandle, &Counter)> {
        let entries = self.counters.iter().enumerate();
        entries.map(|(index, entry)| (CounterHandle::from_index(index), entry))
    }

    /// Iterates over a stack's locations, newest first.
    pub fn stack_locations(&self, stack: StackHandle) -> impl Iterator<Item = LocationHandle> {
        let mut next = Some(stack);
        std::iter::from_fn(move || {
            let node = self.stack(next?);
            next = node.parent;
            Some(node.location)
        })
    }

    /// Iterates over a stack's frames, newest first, inlined functions as frames
    /// of their own before the function that they were inlined into.
    pub fn stack_frames(&self, stack: StackHandle) -> impl Iterator<Item = Frame> {
        self.stack_locations(stack)
            .flat_map(|location| self.location_frames(location))
    }

    /// Iterates over the frames of one location, newest first.
    pub fn location_frames(
        &self,
        location: LocationHandle,
    ) -> impl DoubleEndedIterator<Item = Frame> {
        let lines = &self.location(location).lines;
        let deepest = lines.len() - 1;
        lines.iter().enumerate().map(move |(index, line)| Frame {
            location,
            function: line.function,
            line: line.line,
            column: line.column,
            inline_depth: u32::try_from(deepest - index).unwrap_or(u32::MAX),
        })
    }

    /// Adds up what became of the samples of all threads that know it, or
    /// returns none when none does.
    #[must_use]
    pub fn accounting(&self) -> Option<Accounting> {
        self.threads
            .iter()
            .filter_map(|thread| thread.accounting)
            .reduce(Accounting::plus)
    }
}
