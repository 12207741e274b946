//! Reading pprof into the model.
//!
//! Passes over the file, each for the entries that the next one refers to: texts
//! and numbers, mappings, functions, locations, samples. Each entry goes straight
//! into the model, so that memory stays within a small multiple of the file.

use std::collections::HashMap;
use std::io::Read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::bufread::MultiGzDecoder;
use prost::Message;

use super::wire::{Content, Field, Fields, damaged};
use super::{FORMAT, label, mapping, message};
use crate::category::Category;
use crate::error::{Error, Result};
use crate::function::{Function, FunctionHandle};
use crate::labels::{LabelsHandle, Value};
use crate::location::{Line, Location, LocationHandle};
use crate::mapping::{Mapping, MappingHandle, MappingKind};
use crate::meta::{Clock, Meta};
use crate::profile::Profile;
use crate::sample::Sample;
use crate::thread::{Thread, ThreadHandle};

/// The most bytes that [`read`] accepts after decompression: 64 MiB.
pub const LIMIT: u64 = 64 << 20;

/// How often the file's texts may be copied, on average.
const COPIES: u64 = 4;

/// Reads a pprof file, compressed or not, of at most [`LIMIT`] bytes when
/// decompressed.
///
/// # Errors
///
/// As [`read_with_limit`].
pub fn read(bytes: &[u8]) -> Result<Profile> {
    read_with_limit(bytes, LIMIT)
}

/// Reads a pprof file, compressed or not. The memory that it takes is within a small
/// multiple of `limit`.
///
/// Takes the values `*/count` and the last one in a unit of time (the default one if
/// the file names it); at least one of them must be there. All samples are at time
/// zero.
///
/// # Errors
///
/// [`Error::Damaged`] with the offset of what cannot be decoded,
/// [`Error::Inconsistent`] when entries refer to others that are not there,
/// [`Error::TooLarge`] when there are more than `limit` bytes.
pub fn read_with_limit(bytes: &[u8], limit: u64) -> Result<Profile> {
    let too_large = Error::TooLarge {
        format: FORMAT,
        limit,
    };
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        if bytes.len() as u64 > limit {
            return Err(too_large);
        }
        return Reader::new(bytes, limit)?.read();
    }
    let mut plain = Vec::new();
    let mut gzip = MultiGzDecoder::new(bytes).take(limit.saturating_add(1));
    if let Err(error) = gzip.read_to_end(&mut plain) {
        let at = bytes.len() - gzip.get_ref().get_ref().len();
        return Err(damaged(format!("gzip: {error}"), at));
    }
    if plain.len() as u64 > limit {
        return Err(too_large);
    }
    Reader::new(&plain, limit)?.read()
}

/// The mapping of the model that an entry of the file stands for.
#[derive(Clone, Copy)]
struct MappingEntry {
    handle: Option<MappingHandle>,
    start: u64,
    category: Category,
}

/// A sample's labels as they are in the file: key, text, number, unit.
type RawLabels = Vec<(i64, i64, i64, i64)>;

struct Reader<'a> {
    bytes: &'a [u8],
    strings: Vec<&'a str>,
    /// Everything of the outermost message but the tables.
    top: message::Profile,
    /// Which value is the number of samples.
    count: Option<usize>,
    /// Which value is a time, and how many nanoseconds its unit has.
    time: Option<(usize, u64)>,
    profile: Profile,
    mappings: HashMap<u64, MappingEntry>,
    /// By file, build id, start and limit.
    binaries: HashMap<(&'a str, &'a str, u64, u64), MappingHandle>,
    functions: HashMap<u64, message::Function>,
    /// By the function's id and the mapping's.
    placed: HashMap<(u64, u64), FunctionHandle>,
    locations: HashMap<u64, LocationHandle>,
    threads: HashMap<(u64, &'a str, &'a str), ThreadHandle>,
    /// By the file's form of the labels.
    labels: HashMap<RawLabels, (ThreadHandle, LabelsHandle)>,
    /// How many bytes of text may still be copied into the model. Many entries can
    /// share one long text; without this, a small file could fill the memory.
    budget: u64,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], limit: u64) -> Result<Self> {
        let mut reader = Self {
            bytes,
            strings: Vec::new(),
            top: message::Profile::default(),
            count: None,
            time: None,
            profile: Profile::new(Meta::new("", UNIX_EPOCH)),
            mappings: HashMap::new(),
            binaries: HashMap::new(),
            functions: HashMap::new(),
            placed: HashMap::new(),
            locations: HashMap::new(),
            threads: HashMap::new(),
            labels: HashMap::new(),
            budget: limit.saturating_mul(COPIES),
        };
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next()? {
            reader.top_field(field)?;
        }
        Ok(reader)
    }

    fn read(mut self) -> Result<Profile> {
        if self.strings.first().is_some_and(|first| !first.is_empty()) {
            return Err(inconsistent("the first text is not empty"));
        }
        self.choose_values()?;
        self.meta()?;
        self.each(3, Self::mapping)?;
        self.each(5, |reader, function: message::Function| {
            let id = function.id;
            if id == 0 || reader.functions.insert(id, function).is_some() {
                return Err(inconsistent(format!(
                    "two functions have the id {id}, or it is 0"
                )));
            }
            Ok(())
        })?;
        self.each(4, Self::location)?;
        self.each(2, Self::sample)?;
        Ok(self.profile)
    }

    /// Calls `take` with each entry of one table.
    fn each<M: Message + Default>(
        &mut self,
        number: u64,
        take: impl Fn(&mut Self, M) -> Result<()>,
    ) -> Result<()> {
        let mut fields = Fields::new(self.bytes);
        while let Some(field) = fields.next()? {
            if field.number == number {
                take(self, decode(field)?)?;
            }
        }
        Ok(())
    }

    /// Takes a text, or a field of the outermost message that is not in a table.
    fn top_field(&mut self, field: Field<'a>) -> Result<()> {
        let top = &mut self.top;
        match (field.number, field.content) {
            (1, _) => top.sample_type.push(decode(field)?),
            (6, Content::Bytes(bytes)) => {
                let text = std::str::from_utf8(bytes).map_err(|error| {
                    damaged("a text is not UTF-8", field.offset + error.valid_up_to())
                })?;
                self.strings.push(text);
            }
            (9, Content::Number(number)) => top.time_nanos = number.cast_signed(),
            (10, Content::Number(number)) => top.duration_nanos = number.cast_signed(),
            (11, _) => top.period_type = Some(decode(field)?),
            (12, Content::Number(number)) => top.period = number.cast_signed(),
            (13, Content::Number(number)) => top.comment.push(number.cast_signed()),
            (13, Content::Bytes(packed)) => {
                let mut numbers = Fields::new(packed);
                while !numbers.is_empty() {
                    let number = numbers
                        .varint()
                        .map_err(|_| damaged("a list of numbers ends within one", field.offset))?;
                    top.comment.push(number.cast_signed());
                }
            }
            (14, Content::Number(number)) => top.default_sample_type = number.cast_signed(),
            (2..=6 | 9..=14, _) if !matches!(field.content, Content::Bytes(_)) => {
                let reason = format!("field {} has content of the wrong kind", field.number);
                return Err(damaged(reason, field.offset));
            }
            _ => {}
        }
        Ok(())
    }

    fn string(&self, index: i64) -> Result<&'a str> {
        // Not even the empty text: a file without texts.
        if index == 0 {
            return Ok("");
        }
        let text = usize::try_from(index).ok();
        text.and_then(|index| self.strings.get(index).copied())
            .ok_or_else(|| inconsistent(format!("there is no text {index}")))
    }

    /// Copies a text into the model.
    fn copy(&mut self, text: &str) -> Result<String> {
        let left = self.budget.checked_sub(text.len() as u64);
        self.budget = left.ok_or_else(|| inconsistent("it repeats long texts too often"))?;
        Ok(text.to_owned())
    }

    /// Copies a text into the model, unless it is empty.
    fn copy_some(&mut self, text: &str) -> Result<Option<String>> {
        if text.is_empty() {
            return Ok(None);
        }
        self.copy(text).map(Some)
    }

    fn choose_values(&mut self) -> Result<()> {
        for (index, kind) in self.top.sample_type.iter().enumerate() {
            let unit = self.string(kind.unit)?;
            if unit == "count" && self.count.is_none() {
                self.count = Some(index);
            }
            if let Some(scale) = nanos_in(unit) {
                let is_default = |at: usize| {
                    self.top.default_sample_type != 0
                        && self.top.sample_type[at].r#type == self.top.default_sample_type
                };
                if !self.time.is_some_and(|(chosen, _)| is_default(chosen)) {
                    self.time = Some((index, scale));
                }
            }
        }
        if self.count.is_none() && self.time.is_none() {
            return Err(inconsistent("it counts neither samples nor time"));
        }
        Ok(())
    }

    fn meta(&mut self) -> Result<()> {
        let mut meta = Meta::new("", time(self.top.time_nanos));
        meta.duration = Duration::from_nanos(unsigned(self.top.duration_nanos));
        if let Some((index, _)) = self.time
            && self.string(self.top.sample_type[index].r#type)? == Clock::Cpu.name()
        {
            meta.clock = Clock::Cpu;
        }
        if let Some(kind) = &self.top.period_type
            && let Some(scale) = nanos_in(self.string(kind.unit)?)
        {
            let nanos = unsigned(self.top.period).saturating_mul(scale);
            meta.interval = Duration::from_nanos(nanos);
        }
        for comment in std::mem::take(&mut self.top.comment) {
            let text = self.string(comment)?;
            match (
                text.strip_prefix(label::PRODUCT),
                text.strip_prefix(label::MECHANISM),
            ) {
                (Some(name), _) if meta.product.is_empty() => meta.product = self.copy(name)?,
                (_, Some(name)) if meta.mechanism.is_empty() => meta.mechanism = self.copy(name)?,
                _ => meta.comments.push(self.copy(text)?),
            }
        }
        *self.profile.meta_mut() = meta;
        Ok(())
    }

    fn mapping(&mut self, entry: message::Mapping) -> Result<()> {
        let (file, category) = mapping::untagged(self.string(entry.filename)?);
        let build_id = self.string(entry.build_id)?;
        let category =
            category.unwrap_or_else(|| mapping::kind_of_file(file.unwrap_or_default()).category());
        let handle = match file {
            // Code of another category in the same binary is an entry of its own.
            Some(file) => {
                let key = (file, build_id, entry.memory_start, entry.memory_limit);
                Some(match self.binaries.get(&key) {
                    Some(handle) => *handle,
                    None => {
                        let handle = self.binary(file, build_id, &entry, category)?;
                        self.binaries.insert(key, handle);
                        handle
                    }
                })
            }
            None => None,
        };
        let known = MappingEntry {
            handle,
            start: entry.memory_start,
            category,
        };
        let id = entry.id;
        if id == 0 || self.mappings.insert(id, known).is_some() {
            return Err(inconsistent(format!(
                "two mappings have the id {id}, or it is 0"
            )));
        }
        Ok(())
    }

    fn binary(
        &mut self,
        file: &str,
        build_id: &str,
        entry: &message::Mapping,
        category: Category,
    ) -> Result<MappingHandle> {
        let kind = match category {
            Category::Guest => MappingKind::Guest,
            _ => mapping::kind_of_file(file),
        };
        let name = file.rsplit('/').next().unwrap_or(file);
        let mapping = Mapping {
            name: self.copy(name)?,
            file: if name == file {
                None
            } else {
                self.copy_some(file)?
            },
            build_id: unhex(&self.copy(build_id)?),
            size: entry.memory_limit.saturating_sub(entry.memory_start),
            kind,
        };
        Ok(self.profile.add_mapping(mapping))
    }

    fn location(&mut self, entry: message::Location) -> Result<()> {
        let id = entry.id;
        let mapping = match entry.mapping_id {
            0 => None,
            mapping => Some(*self.mappings.get(&mapping).ok_or_else(|| {
                inconsistent(format!(
                    "location {id} is in mapping {mapping}, which is not there"
                ))
            })?),
        };
        let start = mapping.map_or(0, |mapping| mapping.start);
        let address = entry.address.checked_sub(start);
        let mut location = Location {
            mapping: mapping.and_then(|mapping| mapping.handle),
            address: address.filter(|_| entry.address != 0),
            lines: Vec::with_capacity(entry.line.len().max(1)),
        };
        let category = mapping.map_or(Category::Host, |mapping| mapping.category);
        for line in &entry.line {
            location.lines.push(Line {
                function: self.function(line.function_id, &location, category, &entry)?,
                line: positive(line.line),
                column: positive(line.column),
            });
        }
        if location.lines.is_empty() {
            location.lines.push(Line {
                function: self.function(0, &location, category, &entry)?,
                line: None,
                column: None,
            });
        }
        let handle = self.profile.add_location(location);
        if id == 0 || self.locations.insert(id, handle).is_some() {
            return Err(inconsistent(format!(
                "two locations have the id {id}, or it is 0"
            )));
        }
        Ok(())
    }

    fn function(
        &mut self,
        id: u64,
        location: &Location,
        category: Category,
        entry: &message::Location,
    ) -> Result<FunctionHandle> {
        if id == 0 {
            return Ok(self.profile.add_function(Function {
                name: format!("{:#x}", entry.address),
                category,
                mapping: location.mapping,
                ..Function::default()
            }));
        }
        if let Some(known) = self.placed.get(&(id, entry.mapping_id)) {
            return Ok(*known);
        }
        let function = *self.functions.get(&id).ok_or_else(|| {
            let place = entry.id;
            inconsistent(format!(
                "location {place} is in function {id}, which is not there"
            ))
        })?;
        let name = self.string(function.name)?;
        let system_name = self.string(function.system_name)?;
        let file = self.string(function.filename)?;
        let name = if name.is_empty() { system_name } else { name };
        let system_name = if system_name == name { "" } else { system_name };
        let function = Function {
            name: self.copy(name)?,
            system_name: self.copy_some(system_name)?,
            file: self.copy_some(file)?,
            start_line: positive(function.start_line),
            category,
            mapping: location.mapping,
        };
        let handle = self.profile.add_function(function);
        self.placed.insert((id, entry.mapping_id), handle);
        Ok(handle)
    }

    fn sample(&mut self, entry: message::Sample) -> Result<()> {
        let kinds = self.top.sample_type.len();
        if entry.value.len() != kinds {
            let found = entry.value.len();
            return Err(inconsistent(format!(
                "a sample has {found} values for {kinds} types"
            )));
        }
        let value = |index: usize| {
            u64::try_from(entry.value[index])
                .map_err(|_| inconsistent("a sample has a negative value"))
        };
        let count = self.count.map_or(Ok(0), value)?;
        let weight = match self.time {
            Some((index, scale)) => value(index)?.saturating_mul(scale),
            None => 0,
        };
        let mut stack = None;
        for id in entry.location_id.iter().rev() {
            let location = *self.locations.get(id).ok_or_else(|| {
                inconsistent(format!("a sample is at location {id}, which is not there"))
            })?;
            stack = Some(self.profile.add_stack(stack, location));
        }
        let (thread, labels) = self.labels(&entry.label)?;
        self.profile.add_sample(Sample {
            thread,
            time: Duration::ZERO,
            stack,
            count,
            weight: Duration::from_nanos(weight),
            cpu: None,
            labels,
        });
        Ok(())
    }

    /// Takes the thread out of a sample's labels.
    fn labels(&mut self, entries: &[message::Label]) -> Result<(ThreadHandle, LabelsHandle)> {
        let entries = entries.iter();
        let key = entries.map(|entry| (entry.key, entry.str, entry.num, entry.num_unit));
        let key: RawLabels = key.collect();
        if let Some(known) = self.labels.get(&key) {
            return Ok(*known);
        }
        let (mut id, mut name, mut process) = (None, None, None);
        let mut labels = Vec::new();
        for &(key, text, number, unit) in &key {
            let key = self.string(key)?;
            let is_text = text != 0;
            let text = self.string(text)?;
            match key {
                label::THREAD if name.is_none() && is_text => name = Some(text),
                label::PROCESS if process.is_none() && is_text => process = Some(text),
                label::THREAD_ID if id.is_none() && !is_text => id = Some(unsigned(number)),
                _ => {
                    let value = if is_text {
                        Value::Text(self.copy(text)?)
                    } else {
                        let unit = self.string(unit)?;
                        Value::Number(number, self.copy_some(unit)?)
                    };
                    labels.push((self.copy(key)?, value));
                }
            }
        }
        let labels = self.profile.add_labels(&labels);
        let thread = (
            id.unwrap_or_default(),
            name.unwrap_or_default(),
            process.unwrap_or_default(),
        );
        let thread = match self.threads.get(&thread) {
            Some(known) => *known,
            None => {
                let (id, name, process) = thread;
                let new = Thread {
                    id,
                    name: self.copy(name)?,
                    process: self.copy(process)?,
                    ..Thread::default()
                };
                let new = self.profile.add_thread(new);
                self.threads.insert(thread, new);
                new
            }
        };
        self.labels.insert(key, (thread, labels));
        Ok((thread, labels))
    }
}

fn decode<M: Message + Default>(field: Field<'_>) -> Result<M> {
    let Content::Bytes(bytes) = field.content else {
        let reason = format!("field {} has content of the wrong kind", field.number);
        return Err(damaged(reason, field.offset));
    };
    M::decode(bytes).map_err(|error| damaged(error.to_string(), field.offset))
}

fn inconsistent(reason: impl Into<String>) -> Error {
    Error::Inconsistent {
        format: FORMAT,
        reason: reason.into(),
    }
}

fn nanos_in(unit: &str) -> Option<u64> {
    match unit {
        "nanoseconds" | "ns" => Some(1),
        "microseconds" | "us" => Some(1_000),
        "milliseconds" | "ms" => Some(1_000_000),
        "seconds" | "s" => Some(1_000_000_000),
        _ => None,
    }
}

fn time(nanos: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanos.unsigned_abs());
    let time = if nanos < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(UNIX_EPOCH)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn positive(value: i64) -> Option<u32> {
    u32::try_from(value).ok().filter(|value| *value > 0)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() {
        return None;
    }
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|char| char.to_digit(16).map(|digit| digit as u8))
        .collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => Some(
            digits
                .chunks(2)
                .map(|pair| pair[0] << 4 | pair[1])
                .collect(),
        ),
        // Not a number: keep the text, so that it still tells two apart.
        _ => Some(text.as_bytes().to_vec()),
    }
}
