//! Writes a dump: a section at a time, memories straight from where they are.

use std::io::{self, Write};

use wasm_encoder::{
    ConstExpr, CoreDumpInstancesSection, CoreDumpModulesSection, CoreDumpSection,
    CoreDumpStackSection, CoreDumpValue, CustomSection, Encode, GlobalSection, GlobalType, Ieee32,
    Ieee64, MemorySection, RefType, Section, ValType,
};

use crate::global::{Constant, ReferenceType, ValueType};
use crate::read::{CUT_SECTION, UNKNOWN};
use crate::{CoreDump, Frame, Global, Memory, MemoryType, Segment, Value};

impl CoreDump<'_> {
    /// Writes the dump.
    ///
    /// Contents of memories are written from where they are; all else is put together first,
    /// section by section. Many small writes are made: give it a buffer.
    ///
    /// # Errors
    ///
    /// What `out` says; [`io::ErrorKind::InvalidData`] when a section would be larger than
    /// 4 GiB, which the Wasm binary format has no way to say. That is known before anything
    /// is written.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let data_size = self.data_size()?;
        out.write_all(&wasm_encoder::Module::HEADER)?;
        section(out, &CoreDumpSection::new(&*self.name))?;
        if !self.memories.is_empty() {
            let mut memories = MemorySection::new();
            for memory in &self.memories {
                memories.memory(memory_type(memory.ty()));
            }
            section(out, &memories)?;
        }
        if !self.globals.is_empty() {
            let mut globals = GlobalSection::new();
            for global in &self.globals {
                globals.global(global_type(global), &constant(global));
            }
            section(out, &globals)?;
        }
        if let Some(size) = data_size {
            self.write_data(out, size)?;
        }
        let mut modules = CoreDumpModulesSection::new();
        for module in &self.modules {
            modules.module(module);
        }
        section(out, &modules)?;
        let mut instances = CoreDumpInstancesSection::new();
        for instance in &self.instances {
            let known = |index: &Option<u32>| index.unwrap_or(UNKNOWN);
            instances.instance(
                instance.module,
                instance.memories.iter().map(known),
                instance.globals.iter().map(known),
            );
        }
        section(out, &instances)?;
        for thread in &self.threads {
            let mut stack = CoreDumpStackSection::new(&*thread.name);
            for frame in &thread.frames {
                push_frame(&mut stack, frame);
            }
            section(out, &stack)?;
        }
        self.write_cut(out)
    }

    /// Writes which threads are cut, if any is.
    fn write_cut(&self, out: &mut impl Write) -> io::Result<()> {
        let cut = (0_u32..).zip(&self.threads).filter(|(_, it)| it.cut);
        let cut: Vec<u32> = cut.map(|(index, _)| index).collect();
        if cut.is_empty() {
            return Ok(());
        }
        let mut data = Vec::new();
        cut.as_slice().encode(&mut data);
        let section_ = CustomSection {
            name: CUT_SECTION.into(),
            data: data.into(),
        };
        section(out, &section_)
    }

    /// Returns each segment with its memory.
    fn segments(&self) -> impl Iterator<Item = (u32, &Memory<'_>, &Segment<'_>)> {
        let memories = (0_u32..).zip(&self.memories);
        memories.flat_map(|(index, memory)| {
            let segments = memory.segments().iter();
            segments.map(move |segment| (index, memory, segment))
        })
    }

    /// Returns the size of the data section's contents, `None` if there is no segment.
    fn data_size(&self) -> io::Result<Option<u32>> {
        let mut head = Vec::new();
        let (mut size, mut count) = (0_u64, 0_u64);
        for (index, memory, segment) in self.segments() {
            head.clear();
            push_head(&mut head, index, memory, segment)?;
            size = size
                .saturating_add(head.len() as u64)
                .saturating_add(segment.bytes.len() as u64);
            count += 1;
        }
        if count == 0 {
            return Ok(None);
        }
        head.clear();
        let count = u32::try_from(count).map_err(|_| too_large())?;
        count.encode(&mut head);
        let size = size.saturating_add(head.len() as u64);
        u32::try_from(size).map(Some).map_err(|_| too_large())
    }

    fn write_data(&self, out: &mut impl Write, size: u32) -> io::Result<()> {
        const DATA: u8 = 11;
        let mut head = vec![DATA];
        size.encode(&mut head);
        u32::try_from(self.segments().count())
            .map_err(|_| too_large())?
            .encode(&mut head);
        out.write_all(&head)?;
        for (index, memory, segment) in self.segments() {
            head.clear();
            push_head(&mut head, index, memory, segment)?;
            out.write_all(&head)?;
            out.write_all(&segment.bytes)?;
        }
        Ok(())
    }
}

/// Appends what comes before the bytes of an active segment.
fn push_head(
    head: &mut Vec<u8>,
    index: u32,
    memory: &Memory<'_>,
    segment: &Segment<'_>,
) -> io::Result<()> {
    if index == 0 {
        head.push(0);
    } else {
        head.push(2);
        index.encode(head);
    }
    let offset = if memory.ty().memory64 {
        ConstExpr::i64_const(segment.offset.cast_signed())
    } else {
        let offset = u32::try_from(segment.offset).map_err(|_| {
            let problem = "a segment begins past the end of a memory with 32-bit addresses";
            io::Error::new(io::ErrorKind::InvalidData, problem)
        })?;
        ConstExpr::i32_const(offset.cast_signed())
    };
    offset.encode(head);
    u32::try_from(segment.bytes.len())
        .map_err(|_| too_large())?
        .encode(head);
    Ok(())
}

fn too_large() -> io::Error {
    let problem = "the memories hold more than the 4 GiB that a section of a core dump can hold";
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

fn section(out: &mut impl Write, section: &impl Section) -> io::Result<()> {
    let mut bytes = Vec::new();
    section.append_to(&mut bytes);
    out.write_all(&bytes)
}

fn push_frame(stack: &mut CoreDumpStackSection, frame: &Frame) {
    let value = |value: &Value| match *value {
        Value::Missing => CoreDumpValue::Missing,
        Value::I32(value) => CoreDumpValue::I32(value),
        Value::I64(value) => CoreDumpValue::I64(value),
        Value::F32(bits) => CoreDumpValue::F32(Ieee32::new(bits)),
        Value::F64(bits) => CoreDumpValue::F64(Ieee64::new(bits)),
    };
    stack.frame(
        frame.instance.unwrap_or(UNKNOWN),
        frame.function.0,
        frame.code_offset.0,
        frame.locals.iter().map(value),
        frame.stack.iter().map(value),
    );
}

fn memory_type(ty: &MemoryType) -> wasm_encoder::MemoryType {
    wasm_encoder::MemoryType {
        minimum: ty.pages,
        maximum: ty.maximum,
        memory64: ty.memory64,
        shared: ty.shared,
        page_size_log2: (ty.page_size_log2 != 16).then_some(ty.page_size_log2),
    }
}

fn global_type(global: &Global) -> GlobalType {
    GlobalType {
        val_type: match global.ty {
            ValueType::I32 => ValType::I32,
            ValueType::I64 => ValType::I64,
            ValueType::F32 => ValType::F32,
            ValueType::F64 => ValType::F64,
            ValueType::V128 => ValType::V128,
            ValueType::Reference(ty) => ValType::Ref(RefType {
                nullable: ty.nullable,
                heap_type: heap_type(ty),
            }),
        },
        mutable: global.mutable,
        shared: global.shared,
    }
}

fn heap_type(ty: ReferenceType) -> wasm_encoder::HeapType {
    wasm_encoder::HeapType::Abstract {
        shared: ty.shared,
        ty: ty.heap.to_encoder(),
    }
}

fn constant(global: &Global) -> ConstExpr {
    match (global.value, global.ty) {
        (Constant::I32(value), _) => ConstExpr::i32_const(value),
        (Constant::I64(value), _) => ConstExpr::i64_const(value),
        (Constant::F32(bits), _) => ConstExpr::f32_const(Ieee32::new(bits)),
        (Constant::F64(bits), _) => ConstExpr::f64_const(Ieee64::new(bits)),
        (Constant::V128(value), _) => ConstExpr::v128_const(value.cast_signed()),
        (Constant::Reference, ValueType::Reference(ty)) => ConstExpr::ref_null(heap_type(ty)),
        // A value of another type than the global's: the reader will say so.
        (Constant::Reference, _) => ConstExpr::ref_null(wasm_encoder::HeapType::ANY),
    }
}
