//! Completes what fxprof-processed-profile wrote: the tables that it cannot fill,
//! weights and CPU times in full precision, and what the profile says of itself.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::time::Duration;

use fxprof_processed_profile::{LibraryInfo, debugid::DebugId};
use indexmap::IndexSet;
use serde::Serialize;
use serde_json::value::RawValue;

use super::build::{Built, BuiltThread, Weight, millis};
use super::json::Object;
use super::tables::{Tables, symbol_starts};
use crate::function::FunctionHandle;
use crate::mapping::{Mapping, MappingHandle};
use crate::profile::Profile;
use crate::sample::nanos;
use crate::thread::{Accounting, Thread};

type SymbolStarts = HashMap<(MappingHandle, FunctionHandle), u64>;

pub(super) fn write(
    profile: &Profile,
    built: Built,
    out: &mut dyn Write,
) -> serde_json::Result<()> {
    let json = serde_json::to_string(&built.profile)?;
    drop(built.profile);
    let mut root = Object::parse(&json)?;
    drop(json);

    let mut meta = Object::parse(root.get("meta").get())?;
    complete_meta(profile, built.end, &mut meta)?;
    root.set("meta", &meta)?;

    let libraries: Vec<LibraryInfo> = profile.mappings().map(|(_, it)| library(it)).collect();
    root.set("libs", &libraries)?;

    let starts = symbol_starts(profile);
    let threads: Vec<Box<RawValue>> = serde_json::from_str(root.get("threads").get())?;
    root.set("threads", &())?;
    let mut ids = HashSet::new();
    let mut processes = HashSet::new();
    let threads = threads
        .into_iter()
        .map(|thread| {
            let mut thread = Object::parse(thread.get())?;
            // The name is the thread's position in the model.
            let name: String = serde_json::from_str(thread.get("name").get())?;
            let index: usize = name.parse().unwrap_or_default();
            let (_, model) = profile
                .threads()
                .nth(index)
                .expect("the thread was made from this one");
            let is_main = processes.insert(thread.get("pid").get().to_owned());
            thread.set("isMainThread", &is_main)?;
            thread.set("tid", &unique(model.id, &mut ids))?;
            let built_thread = &built.threads[index];
            complete_thread(profile, model, built_thread, &starts, &mut thread)?;
            complete_samples(built_thread, built.weight, &mut thread)?;
            Ok(thread)
        })
        .collect::<serde_json::Result<Vec<Object>>>()?;
    root.set("threads", &threads)?;
    drop(threads);
    serde_json::to_writer(&mut *out, &root)?;
    out.flush().map_err(serde_json::Error::io)
}

/// Returns a thread's number as a text that no other thread has.
fn unique(id: u64, taken: &mut HashSet<String>) -> String {
    let mut text = id.to_string();
    let mut suffix = 0;
    while !taken.insert(text.clone()) {
        suffix += 1;
        text = format!("{id}.{suffix}");
    }
    text
}

fn complete_thread(
    profile: &Profile,
    model: &Thread,
    built: &BuiltThread,
    starts: &SymbolStarts,
    thread: &mut Object,
) -> serde_json::Result<()> {
    let strings: Vec<String> = serde_json::from_str(thread.get("stringArray").get())?;
    let strings: IndexSet<String> = strings.into_iter().collect();
    let tables = Tables::new(profile, &built.frames, starts, strings);
    let strings: Vec<&String> = tables.strings.iter().collect();
    thread.set("frameTable", &tables.frames)?;
    thread.set("funcTable", &tables.funcs)?;
    thread.set("nativeSymbols", &tables.symbols)?;
    thread.set("resourceTable", &tables.resources)?;
    thread.set("stringArray", &strings)?;
    thread.set("name", &model.name)?;
    thread.set("registerTime", &millis(model.start))?;
    thread.set("unregisterTime", &model.end.map(millis))
}

fn complete_samples(
    built: &BuiltThread,
    weight: Weight,
    thread: &mut Object,
) -> serde_json::Result<()> {
    let mut samples = Object::parse(thread.get("samples").get())?;
    match weight {
        Weight::Time => {
            let weights = built.samples.iter().map(|sample| millis(sample.weight));
            samples.set("weight", &weights.collect::<Vec<_>>())?;
        }
        Weight::Count => {
            let counts = built.samples.iter().map(|sample| sample.count);
            samples.set("weight", &counts.collect::<Vec<_>>())?;
        }
    }
    if built.samples.iter().any(|sample| sample.cpu.is_some()) {
        let micros = |cpu: Duration| nanos(cpu) as f64 / 1e3;
        let deltas = built.samples.iter().map(|sample| sample.cpu.map(micros));
        samples.set("threadCPUDelta", &deltas.collect::<Vec<_>>())?;
    } else {
        // Zeros would say that the thread never ran.
        samples.remove("threadCPUDelta");
    }
    thread.set("samples", &samples)
}

/// A titled list in the profile's information.
#[derive(Serialize)]
struct Section<'a> {
    label: &'a str,
    entries: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    label: String,
    format: &'a str,
    value: String,
}

fn complete_meta(profile: &Profile, end: Duration, object: &mut Object) -> serde_json::Result<()> {
    let meta = profile.meta();
    object.set("importedFrom", &"wasmscope")?;
    object.set("stackwalk", &1)?;
    object.set("profilingStartTime", &0.0)?;
    object.set("profilingEndTime", &millis(end))?;
    let entry = |label: &str, value: String| Entry {
        label: label.to_owned(),
        format: "string",
        value,
    };
    let mut entries = vec![
        entry("Clock", meta.clock.name().to_owned()),
        entry("Mechanism", meta.mechanism.clone()),
        entry(
            "Interval asked for",
            format!("{} ms", millis(meta.interval)),
        ),
        entry("Duration", format!("{} ms", millis(meta.duration))),
        entry("Samples", profile.total().count.to_string()),
    ];
    let accounting = |samples: Accounting| {
        format!(
            "{} due, {} kept, {} lost, in {} ms sampled",
            samples.due,
            samples.kept,
            samples.lost,
            millis(samples.sampled),
        )
    };
    if let Some(all) = profile.accounting() {
        entries.push(entry("All threads", accounting(all)));
    }
    for (_, thread) in profile.threads() {
        if let Some(samples) = thread.accounting {
            let label = format!("Thread {} {}", thread.id, thread.name);
            entries.push(entry(&label, accounting(samples)));
        }
    }
    let comments = meta.comments.iter().cloned();
    entries.extend(comments.map(|comment| entry("Comment", comment)));
    let sampling = Section {
        label: "Sampling",
        entries,
    };
    object.set("extra", &[sampling])
}

fn library(mapping: &Mapping) -> LibraryInfo {
    let path = mapping.file.as_ref().unwrap_or(&mapping.name);
    let build_id = mapping.build_id.as_deref();
    LibraryInfo {
        name: mapping.name.clone(),
        debug_name: mapping.name.clone(),
        path: path.clone(),
        debug_path: path.clone(),
        debug_id: build_id
            .and_then(|id| DebugId::from_guid_age(id.get(..16)?, 0).ok())
            .unwrap_or_default(),
        code_id: build_id.map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect()),
        arch: None,
        symbol_table: None,
    }
}
