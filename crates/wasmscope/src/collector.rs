//! Where samples gather: a calling-context trie of addresses, and what was seen
//! where.
//!
//! Runs on the drain thread, so it is quick and names nothing. Its memory is
//! bounded: past [`Limits::timeline`] samples are added up by stack instead of
//! being listed one by one, and past [`Limits::stacks`] new stacks are cut where
//! they leave the known ones. Nothing is dropped: counts and times stay exact.

use crate::code::{Code, Place};
use crate::labels;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmscope_address::HostPc;
use wasmscope_sample::{Accounting, RawFrame, Sample, Sink, StackEnd, ThreadId, ThreadReport};

/// How much a profiler keeps between two profiles, apart from about 1 MB for each
/// attached thread. See [`crate::Builder::limits`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Samples that are listed with their times; 72 bytes each. Later ones are added
    /// up by stack, thread and labels: exact, but without a time of their own.
    pub timeline: usize,
    /// Distinct combinations of stack, thread and labels among those that are added
    /// up; about 136 bytes each. Further ones are added up by stack alone.
    pub sums: usize,
    /// Distinct calling contexts; about 64 bytes each. Past it a new stack counts for
    /// the longest known part of it, from the outside in.
    pub stacks: usize,
    /// Distinct label sets. Samples of further ones carry the label
    /// `labels: "(more)"`.
    pub labels: usize,
    /// Markers, of which further ones are counted only; and as many points of memory
    /// tracks, of which further ones are counted only, as are those past 1,024 tracks.
    pub markers: usize,
}

impl Default for Limits {
    /// About 100 MB at most: 36 for the timeline, 17 for sums, 32 for stacks, the rest
    /// for markers, labels and threads.
    fn default() -> Self {
        Self {
            timeline: 1 << 19,
            sums: 1 << 17,
            stacks: 1 << 19,
            labels: 10_000,
            markers: 1 << 17,
        }
    }
}

/// The number of a calling context; a parent's is smaller than its child's.
pub(crate) type NodeId = u32;

/// The number of a guest in [`Collected::codes`].
pub(crate) type CodeId = u32;

/// A calling context: one frame, and who called it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) parent: Option<NodeId>,
    pub(crate) frame: NodeFrame,
}

/// What a frame was, resolved as far as must be while its code is mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NodeFrame {
    Guest {
        code: CodeId,
        place: Place,
    },
    Host {
        pc: HostPc,
        is_return_address: bool,
    },
    /// Host frames that were not kept one by one.
    HostRun,
    /// Frames further out are missing.
    Cut,
}

/// A sample, or several of the same stack, thread and labels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Collection {
    pub(crate) thread: ThreadId,
    pub(crate) node: Option<NodeId>,
    pub(crate) labels: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`; of the last one, if several.
    pub(crate) time: u64,
    pub(crate) count: u64,
    pub(crate) ticks: u64,
    /// Nanoseconds of these ticks that were the sampler's, not the thread's.
    pub(crate) in_handler: u64,
    pub(crate) cpu: Option<Duration>,
}

/// A host call that took long enough to be noted.
#[derive(Clone, Debug)]
pub(crate) struct HostCallMarker {
    pub(crate) thread: ThreadId,
    pub(crate) labels: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) node: Option<NodeId>,
}

/// The number of a track, which no other track of this process has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TrackId(pub(crate) u64);

/// A value over time, as its owner reports it.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    pub(crate) id: TrackId,
    /// Not its own alone: others may have it too.
    pub(crate) name: String,
    pub(crate) points: Vec<(u64, i64)>,
}

/// Everything gathered since the last profile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collected {
    pub(crate) nodes: Vec<Node>,
    pub(crate) codes: Vec<Arc<Code>>,
    pub(crate) samples: Vec<Collection>,
    pub(crate) totals: HashMap<(ThreadId, Option<NodeId>, u64), Collection>,
    pub(crate) labels: HashMap<u64, labels::Labels>,
    pub(crate) ended: Vec<ThreadReport>,
    /// Threads that ended when there were too many to list one by one.
    pub(crate) ended_more: Accounting,
    pub(crate) markers: Vec<HostCallMarker>,
    pub(crate) markers_left_out: u64,
    pub(crate) tracks: Vec<Track>,
    pub(crate) points_left_out: u64,
    pub(crate) stacks_left_out: u64,
    pub(crate) labels_left_out: u64,
}

/// Gathers samples for one profiler.
#[derive(Debug)]
pub(crate) struct Collector {
    limits: Limits,
    /// Guests that are registered, by where their text starts.
    live: BTreeMap<u64, Arc<Code>>,
    /// Their numbers in `collected.codes`, given out when first met.
    numbers: HashMap<u64, CodeId>,
    children: HashMap<(Option<NodeId>, RawFrame), NodeId>,
    cut: Option<NodeId>,
    /// Each thread's last stack, outermost first: the next one mostly begins alike.
    last: HashMap<ThreadId, Vec<(RawFrame, NodeId)>>,
    collected: Collected,
    tidied: Instant,
}

/// The label set of samples past [`Limits::labels`].
pub(crate) const MORE_LABELS: u64 = u64::MAX;

/// Stands for the threads of which there were too many to list one by one.
pub(crate) const MORE_THREADS: ThreadId = ThreadId(u64::MAX);

/// How many ended threads are listed one by one.
const MOST_ENDED: usize = 4096;

/// How many tracks there are at most.
const MOST_TRACKS: usize = 1024;

impl Collector {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            live: BTreeMap::new(),
            numbers: HashMap::new(),
            children: HashMap::new(),
            cut: None,
            last: HashMap::new(),
            collected: Collected::default(),
            tidied: Instant::now(),
        }
    }

    /// Makes a guest's code known, before the first sample that has it.
    pub(crate) fn add_code(&mut self, code: Arc<Code>) {
        self.live.insert(code.range.start().0, code);
    }

    /// Forgets where a guest was. Returns its number, and the places of it that the
    /// samples so far have, if there are any.
    pub(crate) fn forget_code(&mut self, code: &Code) -> Option<(CodeId, BTreeSet<Place>)> {
        let start = code.range.start().0;
        self.live.remove(&start);
        let id = self.numbers.remove(&start)?;
        let places = self
            .collected
            .nodes
            .iter()
            .filter_map(|node| match node.frame {
                NodeFrame::Guest { code, place } if code == id => Some(place),
                _ => None,
            })
            .collect();
        // Other code may come to lie at these addresses.
        self.children
            .retain(|(_, frame), _| !code.range.contains(frame.lookup_pc()));
        self.last.clear();
        Some((id, places))
    }

    /// Puts what was computed of a forgotten guest in its place, unless a recording
    /// has taken it away meanwhile.
    pub(crate) fn replace_code(&mut self, id: CodeId, code: &Arc<Code>, frozen: Code) {
        if let Some(slot) = self.collected.codes.get_mut(id as usize)
            && Arc::ptr_eq(slot, code)
        {
            *slot = Arc::new(frozen);
        }
    }

    /// Returns everything gathered, and begins anew.
    pub(crate) fn take(&mut self) -> Collected {
        self.numbers.clear();
        self.children.clear();
        self.cut = None;
        self.last.clear();
        let taken = std::mem::take(&mut self.collected);
        // A memory that does not grow any more still has its size.
        let still_there = taken.tracks.iter().filter_map(|track| {
            let &(time, value) = track.points.last().filter(|(_, value)| *value != 0)?;
            Some(Track {
                id: track.id,
                name: track.name.clone(),
                points: vec![(time, value)],
            })
        });
        self.collected.tracks = still_there.collect();
        taken
    }

    /// Returns a copy of everything gathered.
    pub(crate) fn collected(&self) -> Collected {
        self.collected.clone()
    }

    /// Returns the threads that ended, and what those that are not listed counted.
    pub(crate) fn ended(&self) -> (&[ThreadReport], Accounting) {
        (&self.collected.ended, self.collected.ended_more)
    }

    /// Adds a point to a track, which is made when it is new.
    pub(crate) fn count(&mut self, id: TrackId, name: &str, time: u64, value: i64) {
        let tracks = &mut self.collected.tracks;
        let points: usize = tracks.iter().map(|track| track.points.len()).sum();
        let known = tracks.iter().position(|known| known.id == id);
        if points >= self.limits.markers || (known.is_none() && tracks.len() >= MOST_TRACKS) {
            self.collected.points_left_out += 1;
            return;
        }
        match known.and_then(|index| tracks.get_mut(index)) {
            Some(track) => track.points.push((time, value)),
            None => tracks.push(Track {
                id,
                name: name.to_owned(),
                points: vec![(time, value)],
            }),
        }
    }

    /// Adds a host call; `frames` are those of its caller, newest first.
    pub(crate) fn host_call(
        &mut self,
        thread: ThreadId,
        labels: u64,
        (start, end): (u64, u64),
        frames: &[RawFrame],
    ) {
        if self.collected.markers.len() >= self.limits.markers {
            self.collected.markers_left_out += 1;
            return;
        }
        let labels = self.note_labels(labels);
        let node = self.insert(None, frames, StackEnd::Root);
        self.collected.markers.push(HostCallMarker {
            thread,
            labels,
            start,
            end,
            node,
        });
    }

    fn add_up(&mut self, collection: Collection) {
        let Collection {
            thread,
            node,
            labels,
            ..
        } = collection;
        let totals = &mut self.collected.totals;
        let (thread, labels) =
            if totals.len() < self.limits.sums || totals.contains_key(&(thread, node, labels)) {
                (thread, labels)
            } else {
                (MORE_THREADS, if labels == 0 { 0 } else { MORE_LABELS })
            };
        totals
            .entry((thread, node, labels))
            .and_modify(|total| total.add(&collection))
            .or_insert(Collection {
                thread,
                labels,
                ..collection
            });
    }

    fn note_labels(&mut self, id: u64) -> u64 {
        let known = &mut self.collected.labels;
        if id == 0 || known.contains_key(&id) {
            return id;
        }
        if known.len() >= self.limits.labels {
            self.collected.labels_left_out += 1;
            return MORE_LABELS;
        }
        match labels::Labels::by_id(id) {
            Some(labels) => {
                known.insert(id, labels);
                id
            }
            None => 0,
        }
    }

    /// Finds or makes the context of a stack. `thread`'s last stack, if given, saves
    /// looking up what both have in common.
    fn insert(
        &mut self,
        thread: Option<ThreadId>,
        frames: &[RawFrame],
        end: StackEnd,
    ) -> Option<NodeId> {
        let mut last = thread
            .and_then(|thread| self.last.remove(&thread))
            .unwrap_or_default();
        let mut parent = None;
        let mut common = 0;
        match end {
            StackEnd::Root => {
                common = last
                    .iter()
                    .zip(frames.iter().rev())
                    .take_while(|((known, _), frame)| known == *frame)
                    .count();
                if let Some((_, node)) = common.checked_sub(1).and_then(|at| last.get(at)) {
                    parent = Some(*node);
                }
            }
            StackEnd::Cut => parent = Some(self.cut_node()),
        }
        last.truncate(common);
        for &frame in frames.iter().rev().skip(common) {
            let Some(node) = self.child(parent, frame) else {
                self.collected.stacks_left_out += 1;
                break;
            };
            parent = Some(node);
            last.push((frame, node));
        }
        if let (Some(thread), StackEnd::Root) = (thread, end) {
            self.last.insert(thread, last);
        }
        parent
    }

    fn cut_node(&mut self) -> NodeId {
        if let Some(node) = self.cut {
            return node;
        }
        let node = self.push(Node {
            parent: None,
            frame: NodeFrame::Cut,
        });
        self.cut = Some(node);
        node
    }

    fn push(&mut self, node: Node) -> NodeId {
        let id = u32::try_from(self.collected.nodes.len()).unwrap_or(u32::MAX);
        self.collected.nodes.push(node);
        id
    }

    fn child(&mut self, parent: Option<NodeId>, raw: RawFrame) -> Option<NodeId> {
        if let Some(&node) = self.children.get(&(parent, raw)) {
            return Some(node);
        }
        if self.collected.nodes.len() >= self.limits.stacks {
            return None;
        }
        let frame = self.frame(raw);
        let node = self.push(Node { parent, frame });
        self.children.insert((parent, raw), node);
        Some(node)
    }

    fn frame(&mut self, raw: RawFrame) -> NodeFrame {
        let pc = raw.pc();
        if raw.is_host() && raw != RawFrame::HOST_RUN {
            return NodeFrame::Host {
                pc,
                is_return_address: raw.is_return_address(),
            };
        }
        if !raw.is_host()
            && let Some((&start, code)) = self.live.range(..=raw.lookup_pc().0).next_back()
            && let Some(offset) = code.range.offset_of(raw.lookup_pc())
        {
            let codes = &mut self.collected.codes;
            let number = *self.numbers.entry(start).or_insert_with(|| {
                codes.push(code.clone());
                u32::try_from(codes.len() - 1).unwrap_or(u32::MAX)
            });
            let place = Place {
                offset: wasmscope_address::TextOffset(
                    offset.0 + u32::from(raw.is_return_address()),
                ),
                is_return_address: raw.is_return_address(),
            };
            return NodeFrame::Guest {
                code: number,
                place,
            };
        }
        NodeFrame::HostRun
    }
}

impl Sink for Collector {
    fn sample(&mut self, thread: ThreadId, sample: &Sample<'_>) {
        let node = self.insert(Some(thread), sample.frames, sample.end);
        let labels = self.note_labels(sample.label);
        let collection = Collection {
            thread,
            node,
            labels,
            time: sample.monotonic_nanos,
            count: 1,
            ticks: sample.ticks,
            in_handler: u64::try_from(sample.in_handler.as_nanos()).unwrap_or(u64::MAX),
            cpu: sample.cpu,
        };
        if self.collected.samples.len() < self.limits.timeline {
            self.collected.samples.push(collection);
        } else {
            self.add_up(collection);
        }
        if self.tidied.elapsed() > Duration::from_secs(1) {
            self.tidied = Instant::now();
            labels::forget_unused();
        }
    }

    fn detached(&mut self, thread: ThreadReport) {
        self.last.remove(&thread.id);
        if self.collected.ended.len() < MOST_ENDED {
            self.collected.ended.push(thread);
        } else {
            let more = &mut self.collected.ended_more;
            more.due += thread.accounting.due;
            more.kept += thread.accounting.kept;
            more.lost += thread.accounting.lost;
            more.sampled += thread.accounting.sampled;
        }
    }
}

impl Collection {
    fn add(&mut self, other: &Collection) {
        self.time = self.time.max(other.time);
        self.count += other.count;
        self.ticks += other.ticks;
        self.in_handler = self.in_handler.saturating_add(other.in_handler);
        self.cpu = match (self.cpu, other.cpu) {
            (Some(one), Some(two)) => Some(one + two),
            (one, two) => one.or(two),
        };
    }
}
