//! Reads a dump, whole or as far as it goes.
//!
//! Sections may come in any order, so they are listed first and read in the order in which
//! they refer to each other. What is broken ends the section that it is in; the first such
//! error is kept.

use std::borrow::Cow;

use wasmparser::BinaryReader;
use wasmscope_address::FuncIndex;

use crate::global::{Constant, Global, ValueType};
use crate::memory::{Memory, MemoryType, Segment};
use crate::{CodeOffset, CoreDump, Error, Frame, Instance, Thread, Value, constant};

/// The custom section that lists the threads whose stacks are cut.
pub(crate) const CUT_SECTION: &str = "wasmscope.cut";

/// An index that the writer did not know.
pub(crate) const UNKNOWN: u32 = u32::MAX;

const HEADER: &[u8] = b"\0asm\x01\0\0\0";

/// What could be read of a dump.
#[derive(Clone, Debug)]
pub struct Recovered<'a> {
    /// All that is readable. Indices may lead nowhere.
    pub dump: CoreDump<'a>,
    /// The first thing that is broken, if anything is.
    pub problem: Option<Error>,
}

impl<'a> CoreDump<'a> {
    /// Tells whether bytes are a module that says that it is a core dump, broken or not.
    #[must_use]
    pub fn is_core_dump(bytes: &[u8]) -> bool {
        Sections::list(bytes).is_ok_and(|sections| sections.is_dump())
    }

    /// Reads a dump. Names and contents of memories are borrowed from `bytes`.
    ///
    /// # Errors
    ///
    /// Anything that is broken, be it in one section only.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let recovered = Self::recover(bytes)?;
        recovered.problem.map_or(Ok(recovered.dump), Err)
    }

    /// Reads as much of a dump as can be read. A thread whose frames could not all be read
    /// is marked as [cut](Thread::cut).
    ///
    /// # Errors
    ///
    /// [`Error::NotWasm`] and [`Error::NotADump`]: then there is nothing to recover.
    pub fn recover(bytes: &'a [u8]) -> Result<Recovered<'a>, Error> {
        let sections = Sections::list(bytes)?;
        if !sections.is_dump() {
            return Err(sections.problem.unwrap_or(Error::NotADump));
        }
        let mut reader = Reader {
            dump: CoreDump::default(),
            problem: sections.problem.clone(),
            has_instances: sections.instances.is_some(),
        };
        reader.read(sections);
        Ok(Recovered {
            dump: reader.dump,
            problem: reader.problem,
        })
    }
}

/// Where the sections of a dump are. Custom sections without their names.
#[derive(Default)]
struct Sections<'a> {
    core: Option<BinaryReader<'a>>,
    modules: Option<BinaryReader<'a>>,
    instances: Option<BinaryReader<'a>>,
    stacks: Vec<BinaryReader<'a>>,
    cut: Option<BinaryReader<'a>>,
    memories: Option<BinaryReader<'a>>,
    globals: Option<BinaryReader<'a>>,
    data: Option<BinaryReader<'a>>,
    problem: Option<Error>,
}

impl<'a> Sections<'a> {
    fn is_dump(&self) -> bool {
        self.core.is_some() || !self.stacks.is_empty()
    }

    fn list(bytes: &'a [u8]) -> Result<Self, Error> {
        let Some(body) = bytes.strip_prefix(HEADER) else {
            return Err(Error::NotWasm);
        };
        let mut sections = Self::default();
        let mut reader = BinaryReader::new(body, HEADER.len());
        while !reader.eof() {
            if let Err(error) = sections.section(&mut reader) {
                sections.problem.get_or_insert(error);
                break;
            }
        }
        Ok(sections)
    }

    fn section(&mut self, reader: &mut BinaryReader<'a>) -> Result<(), Error> {
        let malformed = |error| Error::malformed("section header", &error);
        let id = reader.read_u8().map_err(malformed)?;
        let claimed = reader.read_var_u32().map_err(malformed)? as usize;
        let offset = reader.original_position();
        let available = reader.bytes_remaining();
        if claimed > available {
            self.problem.get_or_insert(Error::Truncated {
                offset,
                claimed,
                available,
            });
        }
        let body = reader
            .read_bytes(claimed.min(available))
            .map_err(malformed)?;
        let mut body = BinaryReader::new(body, offset);
        let (what, place) = match id {
            0 => {
                let name = match body.read_unlimited_string() {
                    Ok(name) => name,
                    Err(error) => {
                        let error = Error::malformed("custom section's name", &error);
                        self.problem.get_or_insert(error);
                        return Ok(());
                    }
                };
                match name {
                    "corestack" => {
                        self.stacks.push(body);
                        return Ok(());
                    }
                    "core" => ("core section", &mut self.core),
                    "coremodules" => ("coremodules section", &mut self.modules),
                    "coreinstances" => ("coreinstances section", &mut self.instances),
                    CUT_SECTION => ("wasmscope.cut section", &mut self.cut),
                    _ => return Ok(()),
                }
            }
            5 => ("memory section", &mut self.memories),
            6 => ("global section", &mut self.globals),
            11 => ("data section", &mut self.data),
            _ => return Ok(()),
        };
        if place.is_some() {
            self.problem.get_or_insert(Error::Repeated { what, offset });
        } else {
            *place = Some(body);
        }
        Ok(())
    }
}

/// A dump that is being read.
struct Reader<'a> {
    dump: CoreDump<'a>,
    problem: Option<Error>,
    has_instances: bool,
}

impl<'a> Reader<'a> {
    fn read(&mut self, sections: Sections<'a>) {
        if let Some(section) = sections.core {
            self.part(section, Self::core);
        }
        if let Some(section) = sections.modules {
            self.part(section, Self::modules);
        }
        if let Some(section) = sections.memories {
            self.part(section, Self::memories);
        }
        if let Some(section) = sections.globals {
            self.part(section, Self::globals);
        }
        if let Some(section) = sections.data {
            self.part(section, Self::data);
        }
        if let Some(section) = sections.instances {
            self.part(section, Self::instances);
        }
        for section in sections.stacks {
            self.part(section, Self::stack);
        }
        if let Some(section) = sections.cut {
            self.part(section, Self::cut);
        }
    }

    fn note(&mut self, error: Error) {
        self.problem.get_or_insert(error);
    }

    /// Reads one section with `read`, which must use it up.
    fn part(
        &mut self,
        mut section: BinaryReader<'a>,
        read: impl FnOnce(&mut Self, &mut BinaryReader<'a>) -> Result<(), Error>,
    ) {
        let read = read(self, &mut section);
        let whole = read.and_then(|()| ended(&section));
        if let Err(error) = whole {
            self.note(error);
        }
    }

    /// Notes an index that leads nowhere.
    fn check(&mut self, what: &'static str, index: u32, len: usize, offset: usize) -> bool {
        let leads = (index as usize) < len;
        if !leads {
            self.note(Error::Dangling {
                what,
                index,
                len,
                offset,
            });
        }
        leads
    }

    fn core(&mut self, reader: &mut BinaryReader<'a>) -> Result<(), Error> {
        version(reader, "core section")?;
        self.dump.name = name(reader, "core section")?;
        Ok(())
    }

    fn modules(&mut self, reader: &mut BinaryReader<'a>) -> Result<(), Error> {
        const WHAT: &str = "coremodules section";
        for _ in 0..number(reader, WHAT)? {
            version(reader, WHAT)?;
            let name = name(reader, WHAT)?;
            self.dump.modules.push(name);
        }
        Ok(())
    }

    fn memories(&mut self, reader: &mut BinaryReader<'a>) -> Result<(), Error> {
        const WHAT: &str = "memory section";
        for _ in 0..number(reader, WHAT)? {
            let offset = reader.original_position();
            let ty: wasmparser::MemoryType = reader
                .read()
                .map_err(|error| Error::malformed(WHAT, &error))?;
            let ty = MemoryType {
                pages: ty.initial,
                maximum: ty.maximum,
                memory64: ty.memory64,
                shared: ty.shared,
                page_size_log2: ty.page_size_log2.unwrap_or(16),
            };
            let most = if ty.memory64 { u64::MAX } else { 1 << 32 };
            if ty.size().is_none_or(|size| size > most) {
                self.note(Error::Malformed {
                    what: WHAT,
                    offset,
                    reason: "the memory is larger than its addresses reach".to_owned(),
                });
            }
            self.dump.memories.push(Memory::new(ty));
        }
        Ok(())
    }

    fn globals(&mut self, reader: &mut BinaryReader<'a>) -> Result<(), Error> {
        const WHAT: &str = "global section";
        for _ in 0..number(reader, WHAT)? {
            let offset = reader.original_position();
            let malformed = |reason: &str| Error::Malformed {
                what: WHAT,
                offset,
                reason: reason.to_owned(),
            };
            let ty: wasmparser::GlobalType = reader
                .read()
                .map_err(|error| Error::malformed(WHAT, &error))?;
            let content: ValueType = constant::value_type(ty.content_type)
                .ok_or_else(|| malformed("its type refers to a type, and dumps have none"))?;
            let value = constant::read(reader, WHAT)?;
            if !value.is(content) {
                return Err(malformed("its value is not of its type"));
            }
            self.dump.globals.push(Global {
                ty: content,
                mutable: ty.mutable,
                shared: ty.shared,
                value,
            });
        }
        Ok(())
    }

    fn data(&mut self, reader: &mut BinaryReader<'a>) -> Result<(), Error> {
        const WHAT: &str = "data section";
        for _ in 0..number(reader, WHAT)? {
            let offset = reader.original_position();
            let malformed = |reason: &str| Error::Malformed {
                what: WHAT,
                offset,
                reason: reason.to_owned(),
            };
            let memory = match number(reader, WHAT)? {
                0 => 0,
                2 => number(reader, WHAT)?,
                1 => return Err(malformed("the segment is passive: it lies in no memory")),
                _ => return Err(malformed("it is no segment")),
            };
            let at = constant::read(reader, WHAT)?;
            let bytes = {
                let len = number(reader, WHAT)? as usize;
                reader
                    .read_bytes(len)
                    .map_err(|error| Error::malformed(WHAT, &error))?
            };
            if !self.check("memory", memory, self.dump.memories.len(), offset) {
                continue;
            }
            let Some(memory) = self.dump.memories.get_mut(memory as usize) else {
                continue;
            };
            let at = match (at, memory.ty().memory64) {
                (Constant::I32(at), false) => u64::from(at.cast_unsigned()),
                (Constant::I64(at), true) => at.cast_unsigned(),
                _ => return Err(malformed("its address is not of the memory's type")),
            };
            let size = memory.ty().size().unwrap_or(u64::MAX);
            if at
                .checked_add(bytes.len() as u64)
                .is_none_or(|end| end > size)
            {
                self.note(malformed("the segment ends past its memory"));
                continue;
            }
            memory.push(Segment {
                offset: at,
                bytes: Cow::Borrowed(bytes),
            });
        }
        Ok(())
    }

    fn instances(&mut self, reader: &mut BinaryReader<'a>) -> Result<(), Error> {
        const WHAT: &str = "coreinstances section";
        for _ in 0..number(reader, WHAT)? {
            version(reader, WHAT)?;
            let offset = reader.original_position();
            let module = number(reader, WHAT)?;
            self.check("module", module, self.dump.modules.len(), offset);
            let (memories, globals) = (self.dump.memories.len(), self.dump.globals.len());
            let memories = self.indices(reader, "memory", memories)?;
            let globals = self.indices(reader, "global", globals)?;
            self.dump.instances.push(Instance {
                module,
                memories,
                globals,
            });
        }
        Ok(())
    }

    fn indices(
        &mut self,
        reader: &mut BinaryReader<'a>,
        what: &'static str,
        len: usize,
    ) -> Result<Vec<Option<u32>>, Error> {
        const WHAT: &str = "coreinstances section";
        let mut indices = Vec::new();
        for _ in 0..number(reader, WHAT)? {
            let offset = reader.original_position();
            let index = number(reader, WHAT)?;
            let known = index != UNKNOWN && self.check(what, index, len, offset);
            indices.push(known.then_some(index));
        }
        Ok(indices)
    }

    fn stack(&mut self, reader: &mut BinaryReader<'a>) -> Result<(), Error> {
        const WHAT: &str = "corestack section";
        version(reader, WHAT)?;
        let mut thread = Thread {
            name: name(reader, WHAT)?,
            ..Thread::default()
        };
        // Files from before there were instances have shorter frames.
        let old = !self.has_instances && {
            let (mut new, mut old) = (reader.clone(), reader.clone());
            frames(&mut new, true, |_, _| ()).is_err() && frames(&mut old, false, |_, _| ()).is_ok()
        };
        let mut frames_read = Vec::new();
        let read = frames(reader, !old, |frame, offset| {
            if self.has_instances
                && let Some(instance) = frame.instance
            {
                let len = self.dump.instances.len();
                self.check("instance", instance, len, offset);
            }
            frames_read.push(frame);
        });
        thread.frames = frames_read;
        thread.cut = read.is_err();
        self.dump.threads.push(thread);
        read
    }

    fn cut(&mut self, reader: &mut BinaryReader<'a>) -> Result<(), Error> {
        const WHAT: &str = "wasmscope.cut section";
        for _ in 0..number(reader, WHAT)? {
            let offset = reader.original_position();
            let index = number(reader, WHAT)?;
            self.check("thread", index, self.dump.threads.len(), offset);
            if let Some(thread) = self.dump.threads.get_mut(index as usize) {
                thread.cut = true;
            }
        }
        Ok(())
    }
}

/// Reads the frames of a thread, which are all that is left of its section, and gives each to
/// `take` with its offset. `instances` says whether frames name their instance.
fn frames(
    reader: &mut BinaryReader<'_>,
    instances: bool,
    mut take: impl FnMut(Frame, usize),
) -> Result<(), Error> {
    const WHAT: &str = "corestack section";
    for _ in 0..number(reader, WHAT)? {
        let offset = reader.original_position();
        version(reader, WHAT)?;
        let instance = if instances {
            number(reader, WHAT)?
        } else {
            UNKNOWN
        };
        let frame = Frame {
            instance: (instance != UNKNOWN).then_some(instance),
            function: FuncIndex(number(reader, WHAT)?),
            code_offset: CodeOffset(number(reader, WHAT)?),
            locals: values(reader)?,
            stack: values(reader)?,
        };
        take(frame, offset);
    }
    ended(reader)
}

fn values(reader: &mut BinaryReader<'_>) -> Result<Vec<Value>, Error> {
    const WHAT: &str = "corestack section";
    let mut values = Vec::new();
    for _ in 0..number(reader, WHAT)? {
        let offset = reader.original_position();
        let value = (|| {
            Ok(Some(match reader.read_u8()? {
                0x01 => Value::Missing,
                0x7f => Value::I32(reader.read_var_i32()?),
                0x7e => Value::I64(reader.read_var_i64()?),
                0x7d => Value::F32(reader.read_f32()?.bits()),
                0x7c => Value::F64(reader.read_f64()?.bits()),
                _ => return Ok(None),
            }))
        })()
        .map_err(|error| Error::malformed(WHAT, &error))?;
        values.push(value.ok_or_else(|| Error::Malformed {
            what: WHAT,
            offset,
            reason: "the value is of no type that dumps have".to_owned(),
        })?);
    }
    Ok(values)
}

/// Reads the byte that says in which version of the format what follows is.
fn version(reader: &mut BinaryReader<'_>, what: &'static str) -> Result<(), Error> {
    let offset = reader.original_position();
    match reader.read_u8() {
        Ok(0) => Ok(()),
        Ok(byte) => Err(Error::Malformed {
            what,
            offset,
            reason: format!("it is of version {byte}, and only version 0 is known"),
        }),
        Err(error) => Err(Error::malformed(what, &error)),
    }
}

fn number(reader: &mut BinaryReader<'_>, what: &'static str) -> Result<u32, Error> {
    reader
        .read_var_u32()
        .map_err(|error| Error::malformed(what, &error))
}

fn name<'a>(reader: &mut BinaryReader<'a>, what: &'static str) -> Result<Cow<'a, str>, Error> {
    let name = reader
        .read_unlimited_string()
        .map_err(|error| Error::malformed(what, &error))?;
    Ok(Cow::Borrowed(name))
}

fn ended(reader: &BinaryReader<'_>) -> Result<(), Error> {
    if reader.eof() {
        return Ok(());
    }
    Err(Error::Malformed {
        what: "section",
        offset: reader.original_position(),
        reason: "there is more in it than it should have".to_owned(),
    })
}
