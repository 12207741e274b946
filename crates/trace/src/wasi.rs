//! What calls of WASI say: `fd_write(1, 0x1000, 1, 0x2000)` as
//! `fd_write(1, ["hello\n"])`, as `strace` does it for system calls.
//!
//! One table lists the functions and what each parameter means; decoding knows
//! nothing else of them. What a function takes is read before the call, what it
//! gives after. A pointer that leads nowhere is shown as the number that it is.
//!
//! The table follows the documents in the WASI repository,
//! `wasi_snapshot_preview1.witx` and the one before it, `wasi_unstable.witx`.

mod shape;
mod shapes;
mod table;

pub use shape::{Field, Shape};
pub use table::Parameter;

use crate::datum::Datum;
use crate::memory::Memory;
use shape::word;
use shapes::{DIRENT, ERRNO, IOVEC, SIZE, U8};

/// How much is shown of what a guest reads or writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most bytes of one text or buffer.
    pub bytes: usize,
    /// The most entries of one list.
    pub items: usize,
}

impl Default for Limits {
    /// 32 bytes and 16 entries.
    fn default() -> Self {
        let (bytes, items) = (32, 16);
        Self { bytes, items }
    }
}

/// What was decoded, with names.
pub type Decoded = Vec<Named>;

/// A decoded argument or result.
pub type Named = (&'static str, Datum);

/// What a call came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The name of the error number, or the number where it has none; none for a
    /// function that returns nothing.
    pub errno: Option<Datum>,
    /// What the call left in memory; nothing unless it succeeded.
    pub outputs: Decoded,
}

/// A function of WASI.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    name: &'static str,
    parameters: &'static [Parameter],
}

/// The modules that guests import WASI from.
const MODULES: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

/// Tells whether a module's name is one of WASI preview 1.
pub fn is_wasi(module: &str) -> bool {
    MODULES.contains(&module)
}

impl Function {
    /// Finds the function that a guest imports under these names; none where it is
    /// not WASI's.
    pub fn find(module: &str, name: &str) -> Option<Self> {
        let row = match module {
            "wasi_snapshot_preview1" => table::PREVIEW1.iter().find(|(row, _)| *row == name),
            "wasi_unstable" => {
                let both = table::UNSTABLE.iter().chain(table::PREVIEW1);
                both.filter(|(row, _)| !table::NEW.contains(row))
                    .find(|(row, _)| *row == name)
            }
            _ => None,
        };
        row.map(|(name, parameters)| Self { name, parameters })
    }

    /// Lists all functions of a module.
    pub fn all(module: &str) -> impl Iterator<Item = Self> {
        let names = table::PREVIEW1.iter().map(|(name, _)| *name);
        names.filter_map(move |name| Self::find(module, name))
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Returns what it takes.
    pub fn parameters(self) -> &'static [Parameter] {
        self.parameters
    }

    /// Returns how many parameters it has in Wasm.
    pub fn width(self) -> usize {
        self.parameters.iter().map(|one| one.width()).sum()
    }

    /// Decodes what a call was given, before it is made. `words` are its
    /// parameters, those of 32 bits with zeros above; missing ones are zeros.
    pub fn arguments(self, words: &[u64], memory: &dyn Memory, limits: &Limits) -> Decoded {
        let reader = Reader {
            words,
            memory,
            limits,
        };
        let arguments = self.places().filter_map(|(parameter, at)| {
            let (first, second) = (reader.word(at), reader.word(at + 1));
            Some(match parameter {
                Parameter::In(name, shape) => (name, shape.value(first)),
                Parameter::Path(name) => (name, reader.bytes(first, second)),
                Parameter::Gather(name) => (name, reader.gather(first, second, u64::MAX)),
                Parameter::Scatter(name) => (name, reader.sizes(first, second)),
                // What will be in it is not known yet; how much fits is.
                Parameter::Buffer(name) | Parameter::Dirents(name) => (name, SIZE.value(second)),
                Parameter::Some(name, shape, count) => {
                    let count = self.place(count).map_or(0, |at| reader.word(at));
                    (name, reader.list(first, count, shape))
                }
                Parameter::Written(..) | Parameter::Argv(_) | Parameter::Out(..) => return None,
            })
        });
        arguments.collect()
    }

    /// Decodes what a call came to, once it has returned. `words` are the parameters
    /// that it was given, `results` its results.
    pub fn outcome(
        self,
        words: &[u64],
        results: &[u64],
        memory: &dyn Memory,
        limits: &Limits,
    ) -> Outcome {
        let Some(&errno) = results.first() else {
            return Outcome {
                errno: None,
                outputs: Vec::new(),
            };
        };
        let reader = Reader {
            words,
            memory,
            limits,
        };
        let outputs = self.places().filter_map(|(parameter, at)| {
            let (first, second) = (reader.word(at), reader.word(at + 1));
            // What the call says that it wrote; never more than there was room for.
            let written = |room: u64| match self.first_out() {
                Some(at) => {
                    let count = memory.read(reader.word(at), SIZE.size());
                    count.map_or(0, |count| word(&count, SIZE.size())).min(room)
                }
                None => room,
            };
            Some(match parameter {
                Parameter::Scatter(name) => (name, reader.gather(first, second, written(u64::MAX))),
                Parameter::Buffer(name) => (name, reader.bytes(first, written(second))),
                Parameter::Dirents(name) => (name, reader.dirents(first, written(second))),
                Parameter::Written(name, shape) => {
                    (name, reader.list(first, written(u64::MAX), shape))
                }
                Parameter::Argv(name) => (name, reader.strings(first, second)),
                Parameter::Out(name, shape) => (name, reader.one(first, shape)),
                Parameter::In(..)
                | Parameter::Path(_)
                | Parameter::Gather(_)
                | Parameter::Some(..) => return None,
            })
        });
        Outcome {
            outputs: match errno {
                0 => outputs.collect(),
                _ => Vec::new(),
            },
            errno: Some(ERRNO.value(errno)),
        }
    }

    /// Lists the parameters with the places of their first words.
    fn places(self) -> impl Iterator<Item = (Parameter, usize)> {
        self.parameters.iter().scan(0, |next, parameter| {
            let at = *next;
            *next += parameter.width();
            Some((*parameter, at))
        })
    }

    /// Returns the place of a plain value.
    fn place(self, wanted: &str) -> Option<usize> {
        self.places().find_map(|(parameter, at)| match parameter {
            Parameter::In(name, _) if name == wanted => Some(at),
            _ => None,
        })
    }

    /// Returns the place of the first result in memory.
    fn first_out(self) -> Option<usize> {
        self.places().find_map(|(parameter, at)| match parameter {
            Parameter::Out(..) => Some(at),
            _ => None,
        })
    }
}

/// Reads what parameters point to.
struct Reader<'a> {
    words: &'a [u64],
    memory: &'a dyn Memory,
    limits: &'a Limits,
}

impl Reader<'_> {
    fn word(&self, at: usize) -> u64 {
        self.words.get(at).copied().unwrap_or(0)
    }

    /// Reads one thing.
    fn one(&self, address: u64, shape: Shape) -> Datum {
        match self.memory.read(address, shape.size()) {
            Some(bytes) => shape.read(&bytes),
            None => Datum::Address(address),
        }
    }

    /// Reads bytes, the first of them.
    fn bytes(&self, address: u64, total: u64) -> Datum {
        let shown = usize::try_from(total).unwrap_or(usize::MAX);
        let Some(bytes) = self
            .memory
            .read(address, shown.min(self.limits.bytes))
            .filter(|_| self.is_there(address, total))
        else {
            return Datum::Address(address);
        };
        let mut bytes = bytes.into_owned();
        if (bytes.len() as u64) < total {
            // Not in the middle of a character.
            if let Err(error) = std::str::from_utf8(&bytes)
                && error.error_len().is_none()
            {
                bytes.truncate(error.valid_up_to());
            }
        }
        Datum::Bytes { bytes, total }
    }

    /// Tells whether memory goes as far as that, without reading it.
    fn is_there(&self, address: u64, total: u64) -> bool {
        let last = total.checked_sub(1).map(|last| address.checked_add(last));
        match last {
            Some(Some(last)) => self.memory.read(last, U8.size()).is_some(),
            Some(None) => false,
            None => true,
        }
    }

    /// Reads a list, the first entries of it.
    fn list(&self, address: u64, total: u64, shape: Shape) -> Datum {
        let item = |at: u64, address: u64| {
            let offset = at.checked_mul(shape.size() as u64)?;
            let bytes = self
                .memory
                .read(address.checked_add(offset)?, shape.size())?;
            Some(shape.read(&bytes))
        };
        let shown = total.min(self.limits.items as u64);
        let items: Option<Vec<Datum>> = (0..shown).map(|at| item(at, address)).collect();
        match items {
            Some(items) => Datum::List {
                items,
                total: Some(total),
            },
            None => Datum::Address(address),
        }
    }

    /// Lists the buffers of a list, each as its address and length.
    fn buffers(&self, address: u64, total: u64) -> Option<Vec<(u64, u64)>> {
        let shown = total.min(self.limits.items as u64);
        let buffer = |at: u64| {
            let offset = at.checked_mul(IOVEC.size() as u64)?;
            let bytes = self
                .memory
                .read(address.checked_add(offset)?, IOVEC.size())?;
            Some((word(&bytes, 4), word(bytes.get(4..)?, 4)))
        };
        (0..shown).map(buffer).collect()
    }

    /// Reads what is in a list of buffers, `filled` bytes of it.
    fn gather(&self, address: u64, total: u64, filled: u64) -> Datum {
        let Some(buffers) = self.buffers(address, total) else {
            return Datum::Address(address);
        };
        let (mut left, mut items) = (filled, Vec::new());
        for (address, length) in buffers {
            let length = length.min(left);
            left -= length;
            items.push(self.bytes(address, length));
        }
        let total = Some(total);
        Datum::List { items, total }
    }

    /// Reads how large the buffers of a list are.
    fn sizes(&self, address: u64, total: u64) -> Datum {
        match self.buffers(address, total) {
            Some(buffers) => {
                let items = buffers.iter().map(|(_, length)| SIZE.value(*length));
                Datum::List {
                    items: items.collect(),
                    total: Some(total),
                }
            }
            None => Datum::Address(address),
        }
    }

    /// Reads directory entries, each followed by its name, from a buffer; the last
    /// one may be cut.
    fn dirents(&self, address: u64, used: u64) -> Datum {
        let mut items = Vec::new();
        let mut offset = 0_u64;
        while used - offset >= DIRENT.size() as u64 {
            let place = address.saturating_add(offset);
            let Some(bytes) = self.memory.read(place, DIRENT.size()) else {
                return Datum::Address(address);
            };
            if items.len() == self.limits.items {
                return Datum::List { items, total: None };
            }
            let Datum::Record(mut fields) = DIRENT.read(&bytes) else {
                break;
            };
            let length = word(bytes.get(16..).unwrap_or_default(), 4);
            offset += DIRENT.size() as u64;
            let rest = (used - offset).min(length);
            let name = match self.bytes(address.saturating_add(offset), rest) {
                Datum::Bytes { bytes, .. } => Datum::Bytes {
                    bytes,
                    total: length,
                },
                other => other,
            };
            fields.push(("name", name));
            items.push(Datum::Record(fields));
            offset += rest;
        }
        let total = Some(items.len() as u64);
        Datum::List { items, total }
    }

    /// Reads the text that a list of addresses points to.
    ///
    /// How many there are is not said by the call, but each text begins where the
    /// one before it ended, and the first where the buffer begins: the list ends
    /// where that does not hold.
    fn strings(&self, list: u64, buffer: u64) -> Datum {
        let mut items = Vec::new();
        let mut expected = buffer;
        let mut place = list;
        loop {
            let found = self.memory.read(place, 4).map(|bytes| word(&bytes, 4));
            if found.is_none() && items.is_empty() {
                return Datum::Address(list);
            }
            if found != Some(expected) {
                break;
            }
            let Some(length) = self.terminated(expected) else {
                break;
            };
            if items.len() == self.limits.items {
                return Datum::List { items, total: None };
            }
            items.push(self.bytes(expected, length));
            expected = expected.saturating_add(length + 1);
            place = place.saturating_add(4);
        }
        let total = Some(items.len() as u64);
        Datum::List { items, total }
    }

    /// Returns the length of the text at an address that ends with a zero.
    fn terminated(&self, address: u64) -> Option<u64> {
        /// Longer than any argument that a host gives.
        const LONGEST: u64 = 1 << 17;
        (0..LONGEST).find_map(|length| {
            let byte = self.memory.read(address.checked_add(length)?, 1);
            match byte.as_deref() {
                Some([0]) => Some(Some(length)),
                Some(_) => None,
                None => Some(None),
            }
        })?
    }
}
