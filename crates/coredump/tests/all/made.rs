//! Dumps with everything that a dump can have, made from a seed.

use std::borrow::Cow;

use wasmscope_address::FuncIndex;
use wasmscope_coredump::{
    CodeOffset, Constant, CoreDump, Frame, Global, HeapType, Instance, Memory, MemoryType,
    ReferenceType, Segment, Thread, Value, ValueType,
};

/// Xorshift: the same dumps in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn small(&mut self, limit: u32) -> u32 {
        self.below(limit as usize) as u32
    }

    fn name(&mut self) -> Cow<'static, str> {
        const NAMES: [&str; 5] = [
            "",
            "main",
            "dir/guest.wasm",
            "größer",
            "https://example/a.wasm#1",
        ];
        NAMES[self.below(NAMES.len())].into()
    }

    /// A number of any size: small ones as likely as large ones.
    fn number(&mut self) -> u64 {
        let bits = self.below(65) as u32;
        self.next() & u64::MAX.checked_shr(bits).unwrap_or(0)
    }

    fn value(&mut self) -> Value {
        match self.below(5) {
            0 => Value::Missing,
            1 => Value::I32(self.number() as i32),
            2 => Value::I64(self.number() as i64),
            3 => Value::F32(self.next() as u32),
            _ => Value::F64(self.next()),
        }
    }

    fn global(&mut self) -> Global {
        let reference = |random: &mut Self| ReferenceType {
            nullable: random.below(2) == 0,
            shared: random.below(4) == 0,
            heap: [
                HeapType::Func,
                HeapType::Extern,
                HeapType::Any,
                HeapType::Exn,
                HeapType::NoCont,
            ][random.below(5)],
        };
        let (ty, value) = match self.below(6) {
            0 => (ValueType::I32, Constant::I32(self.number() as i32)),
            1 => (ValueType::I64, Constant::I64(self.number() as i64)),
            2 => (ValueType::F32, Constant::F32(self.next() as u32)),
            3 => (ValueType::F64, Constant::F64(self.next())),
            4 => {
                let high = u128::from(self.next()) << 64;
                (
                    ValueType::V128,
                    Constant::V128(high | u128::from(self.next())),
                )
            }
            _ => (ValueType::Reference(reference(self)), Constant::Reference),
        };
        Global {
            ty,
            mutable: self.below(2) == 0,
            shared: self.below(8) == 0,
            value,
        }
    }

    fn memory(&mut self) -> Memory<'static> {
        let memory64 = self.below(3) == 0;
        let page_size_log2 = [16, 0][self.below(2)];
        let pages = self.next() % if page_size_log2 == 0 { 300_000 } else { 5 };
        let ty = MemoryType {
            pages,
            maximum: (self.below(2) == 0).then(|| pages + self.next() % 9),
            memory64,
            shared: self.below(4) == 0,
            page_size_log2,
        };
        let mut memory = Memory::new(ty);
        let size = ty.size().expect("it is small");
        for _ in 0..self.below(6) {
            let offset = self.next() % (size + 1);
            let len = self.below(300).min((size - offset) as usize);
            let bytes: Vec<u8> = (0..len).map(|_| self.next() as u8).collect();
            memory.push(Segment {
                offset,
                bytes: bytes.into(),
            });
        }
        memory
    }

    pub(crate) fn dump(&mut self) -> CoreDump<'static> {
        let modules: Vec<_> = (0..=self.below(4)).map(|_| self.name()).collect();
        let memories: Vec<_> = (0..self.below(4)).map(|_| self.memory()).collect();
        let globals: Vec<_> = (0..self.below(9)).map(|_| self.global()).collect();
        let index = |random: &mut Self, len: usize| {
            let known = len > 0 && random.below(6) > 0;
            known.then(|| random.below(len) as u32)
        };
        let instances = (0..=self.below(4)).map(|_| Instance {
            module: self.small(modules.len() as u32),
            memories: (0..self.below(3))
                .map(|_| index(self, memories.len()))
                .collect(),
            globals: (0..self.below(5))
                .map(|_| index(self, globals.len()))
                .collect(),
        });
        let instances: Vec<_> = instances.collect();
        let threads: Vec<_> = (0..self.below(4))
            .map(|_| Thread {
                name: self.name(),
                frames: (0..self.below(7))
                    .map(|_| Frame {
                        instance: index(self, instances.len()),
                        function: FuncIndex(self.number() as u32),
                        code_offset: CodeOffset(self.number() as u32),
                        locals: (0..self.below(5)).map(|_| self.value()).collect(),
                        stack: (0..self.below(5)).map(|_| self.value()).collect(),
                    })
                    .collect(),
                cut: self.below(3) == 0,
            })
            .collect();
        CoreDump {
            name: self.name(),
            modules,
            threads,
            instances,
            memories,
            globals,
        }
    }
}

/// Returns a dump as a file.
pub(crate) fn bytes(dump: &CoreDump<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    dump.write(&mut bytes).expect("a vector takes all bytes");
    bytes
}
