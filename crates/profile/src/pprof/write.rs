//! Writing a profile as pprof.

use std::io::Write;
use std::time::UNIX_EPOCH;

use indexmap::{IndexMap, IndexSet};
use prost::Message;

use super::{FORMAT, label, mapping, message};
use crate::category::Category;
use crate::error::{Error, Result};
use crate::labels::{LabelsHandle, Value};
use crate::location::{Location, LocationHandle};
use crate::mapping::MappingHandle;
use crate::profile::Profile;
use crate::sample::nanos;
use crate::stack::StackHandle;
use crate::thread::ThreadHandle;
use crate::totals::Total;

/// The granularity of the address ranges, and where the first one starts.
const PAGE: u64 = 0x1_0000;

/// Writes a profile as pprof, not compressed; tools expect it compressed.
///
/// # Errors
///
/// [`Error::Write`] when the stream refuses the bytes.
pub fn write(profile: &Profile, out: &mut dyn Write) -> Result<()> {
    let bytes = Builder::new(profile).build().encode_to_vec();
    out.write_all(&bytes).map_err(|source| Error::Write {
        format: FORMAT,
        source,
    })
}

/// Where a mapping's code is put in the file's address space.
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    limit: u64,
}

struct Builder<'a> {
    profile: &'a Profile,
    strings: IndexSet<String>,
    ranges: Vec<Range>,
    /// The entries of the file: a mapping, or none, with code of one category.
    mappings: IndexMap<(Option<MappingHandle>, Category), message::Mapping>,
}

impl<'a> Builder<'a> {
    fn new(profile: &'a Profile) -> Self {
        Self {
            profile,
            strings: IndexSet::from([String::new()]),
            ranges: lay_out(profile),
            mappings: IndexMap::new(),
        }
    }

    fn build(mut self) -> message::Profile {
        let profile = self.profile;
        let meta = profile.meta();
        let count = self.value_type("samples", "count");
        let time = self.value_type(meta.clock.name(), "nanoseconds");
        for (handle, mapping) in profile.mappings() {
            self.mapping(Some(handle), mapping.kind.category());
        }
        let function = self.functions();
        let location = profile
            .locations()
            .map(|(handle, location)| self.location(handle, location))
            .collect();
        let sample = self.samples();
        let comment = self.comments();
        message::Profile {
            sample_type: vec![count, time],
            sample,
            location,
            function,
            time_nanos: match meta.start.duration_since(UNIX_EPOCH) {
                Ok(after) => signed(nanos(after)),
                Err(before) => -signed(nanos(before.duration())),
            },
            duration_nanos: signed(nanos(meta.duration)),
            period_type: Some(time),
            period: signed(nanos(meta.interval)),
            comment,
            default_sample_type: time.r#type,
            mapping: self.mappings.into_values().collect(),
            string_table: self.strings.into_iter().collect(),
        }
    }

    fn string(&mut self, string: &str) -> i64 {
        let index = match self.strings.get_index_of(string) {
            Some(index) => index,
            None => self.strings.insert_full(string.to_owned()).0,
        };
        signed(index as u64)
    }

    fn value_type(&mut self, name: &str, unit: &str) -> message::ValueType {
        message::ValueType {
            r#type: self.string(name),
            unit: self.string(unit),
        }
    }

    /// Finds or makes the entry for code of a category in a mapping.
    fn mapping(&mut self, handle: Option<MappingHandle>, category: Category) -> usize {
        if let Some(index) = self.mappings.get_index_of(&(handle, category)) {
            return index;
        }
        let id = self.mappings.len() as u64 + 1;
        let mapping = handle.map(|handle| self.profile.mapping(handle));
        let file = mapping.map(|mapping| mapping.file.as_ref().unwrap_or(&mapping.name).as_str());
        let range = handle.map_or(Range { start: 0, limit: 0 }, |handle| {
            self.ranges[handle.index()]
        });
        let build_id = mapping.and_then(|mapping| mapping.build_id.as_deref());
        let entry = message::Mapping {
            id,
            memory_start: range.start,
            memory_limit: range.limit,
            file_offset: 0,
            filename: self.string(&mapping::tagged(file, category)),
            build_id: self.string(&build_id.map_or_else(String::new, hex)),
            // Names are as good as they will get. The others are set where they hold.
            has_functions: true,
            has_filenames: false,
            has_line_numbers: false,
            has_inline_frames: false,
        };
        self.mappings.insert_full((handle, category), entry).0
    }

    fn functions(&mut self) -> Vec<message::Function> {
        self.profile
            .functions()
            .map(|(handle, function)| {
                // A system name equal to the name would tell pprof to demangle it, which
                // takes the `<...>` out of names that are demangled already.
                let system_name = function.system_name.as_deref().unwrap_or_default();
                message::Function {
                    id: handle.index() as u64 + 1,
                    name: self.string(&function.name),
                    system_name: self.string(system_name),
                    filename: self.string(function.file.as_deref().unwrap_or_default()),
                    start_line: function.start_line.map_or(0, i64::from),
                }
            })
            .collect()
    }

    fn location(&mut self, handle: LocationHandle, location: &Location) -> message::Location {
        let profile = self.profile;
        let mut frames = profile.location_frames(handle);
        let category = frames.next_back().map_or(Category::default(), |physical| {
            profile.function(physical.function).category
        });
        let index = self.mapping(location.mapping, category);
        let entry = &mut self.mappings[index];
        for line in &location.lines {
            entry.has_filenames |= profile.function(line.function).file.is_some();
            entry.has_line_numbers |= line.line.is_some();
        }
        entry.has_inline_frames |= location.lines.len() > 1;
        let start = entry.memory_start;
        message::Location {
            id: handle.index() as u64 + 1,
            mapping_id: entry.id,
            address: location
                .address
                .map_or(0, |address| start.saturating_add(address)),
            line: location
                .lines
                .iter()
                .map(|line| message::Line {
                    function_id: line.function.index() as u64 + 1,
                    line: line.line.map_or(0, i64::from),
                    column: line.column.map_or(0, i64::from),
                })
                .collect(),
        }
    }

    fn samples(&mut self) -> Vec<message::Sample> {
        type Key = (ThreadHandle, Option<StackHandle>, LabelsHandle);
        let mut sums: IndexMap<Key, Total> = IndexMap::new();
        for sample in self.profile.samples() {
            let key = (sample.thread, sample.stack, sample.labels);
            *sums.entry(key).or_default() += Total {
                weight: sample.weight,
                count: sample.count,
            };
        }
        sums.into_iter()
            .map(|((thread, stack, labels), total)| message::Sample {
                location_id: stack.map_or_else(Vec::new, |stack| {
                    let locations = self.profile.stack_locations(stack);
                    locations
                        .map(|location| location.index() as u64 + 1)
                        .collect()
                }),
                value: vec![signed(total.count), signed(nanos(total.weight))],
                label: self.labels(thread, labels),
            })
            .collect()
    }

    fn labels(&mut self, thread: ThreadHandle, labels: LabelsHandle) -> Vec<message::Label> {
        let profile = self.profile;
        let thread = profile.thread(thread);
        let mut all = Vec::new();
        for (key, text) in [
            (label::THREAD, &thread.name),
            (label::PROCESS, &thread.process),
        ] {
            if !text.is_empty() {
                all.push(message::Label {
                    key: self.string(key),
                    str: self.string(text),
                    ..message::Label::default()
                });
            }
        }
        if thread.id != 0 {
            all.push(message::Label {
                key: self.string(label::THREAD_ID),
                num: signed(thread.id),
                ..message::Label::default()
            });
        }
        for label in profile.labels(labels) {
            let key = self.string(&label.key);
            all.push(match &label.value {
                Value::Text(text) => message::Label {
                    key,
                    str: self.string(text),
                    ..message::Label::default()
                },
                Value::Number(number, unit) => message::Label {
                    key,
                    num: *number,
                    num_unit: self.string(unit.as_deref().unwrap_or_default()),
                    ..message::Label::default()
                },
            });
        }
        all
    }

    fn comments(&mut self) -> Vec<i64> {
        let meta = self.profile.meta();
        let mut comments = Vec::new();
        for (key, text) in [
            (label::PRODUCT, &meta.product),
            (label::MECHANISM, &meta.mechanism),
        ] {
            if !text.is_empty() {
                comments.push(self.string(&format!("{key}{text}")));
            }
        }
        for (_, thread) in self.profile.threads() {
            if let Some(samples) = thread.accounting {
                comments.push(self.string(&format!(
                    "samples of thread {} {:?}: {} due, {} kept, {} lost, in {} ns sampled",
                    thread.id,
                    thread.name,
                    samples.due,
                    samples.kept,
                    samples.lost,
                    nanos(samples.sampled),
                )));
            }
        }
        for comment in &meta.comments {
            comments.push(self.string(comment));
        }
        comments
    }
}

/// Gives each mapping a range of its own, large enough for its code.
fn lay_out(profile: &Profile) -> Vec<Range> {
    let mut sizes: Vec<u64> = profile
        .mappings()
        .map(|(_, mapping)| mapping.size.max(1))
        .collect();
    for (_, location) in profile.locations() {
        if let (Some(mapping), Some(address)) = (location.mapping, location.address) {
            let size = &mut sizes[mapping.index()];
            *size = (*size).max(address.saturating_add(1));
        }
    }
    let mut next = PAGE;
    sizes
        .into_iter()
        .map(|size| {
            // Sizes that do not fit into 64 bits together are not real ones; overlap
            // them rather than refuse to write the profile.
            let start = if next.checked_add(size).is_some() {
                next
            } else {
                PAGE
            };
            let limit = start.saturating_add(size);
            next = limit.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
            Range { start, limit }
        })
        .collect()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
