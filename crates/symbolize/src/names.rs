//! The name section of one core module.
//!
//! Keeps where each name is, and decodes text only when asked for it.

use std::ops::Range;

use wasmparser::BinaryReader;

use crate::Error;

/// The module's and its functions' names, as ranges of the file.
#[derive(Debug, Default)]
pub(crate) struct Names {
    module: Option<Range<usize>>,
    /// Sorted by function.
    functions: Vec<FunctionEntry>,
    pub(crate) problem: Option<Error>,
}

/// Where one function's name is. Offsets fit: a file has at most 4 GiB.
#[derive(Debug)]
struct FunctionEntry {
    func: u32,
    start: u32,
    len: u32,
}

impl Names {
    /// Reads the name section in `range` of the file.
    pub(crate) fn read(bytes: &[u8], range: &Range<usize>) -> Self {
        let mut names = Self::default();
        let section = bytes.get(range.clone()).unwrap_or_default();
        if let Err(error) = names.fill(section, range.start) {
            names.problem = Some(Error::malformed("name section", &error));
        }
        // Names are in order where the producer kept to the specification. A
        // stable sort keeps the last of equals last.
        if !names.functions.is_sorted_by_key(|entry| entry.func) {
            names.functions.sort_by_key(|entry| entry.func);
        }
        names
    }

    fn fill(&mut self, section: &[u8], offset: usize) -> wasmparser::Result<()> {
        let mut reader = BinaryReader::new(section, offset);
        while !reader.eof() {
            let id = reader.read_u8()?;
            let mut part = reader.read_reader()?;
            match id {
                0 => self.module = Some(name(&mut part)?),
                1 => {
                    for _ in 0..part.read_var_u32()? {
                        let func = part.read_var_u32()?;
                        let at = name(&mut part)?;
                        let (Ok(start), Ok(len)) =
                            (u32::try_from(at.start), u32::try_from(at.len()))
                        else {
                            break;
                        };
                        self.functions.push(FunctionEntry { func, start, len });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the module's name.
    pub(crate) fn module<'a>(&self, bytes: &'a [u8]) -> Option<&'a str> {
        text(bytes, self.module.clone()?)
    }

    /// Returns a function's name, exactly as it is written there.
    pub(crate) fn function<'a>(&self, bytes: &'a [u8], func: u32) -> Option<&'a str> {
        let past = self.functions.partition_point(|entry| entry.func <= func);
        let entry = self.functions.get(past.checked_sub(1)?)?;
        if entry.func != func {
            return None;
        }
        let start = entry.start as usize;
        text(bytes, start..start + entry.len as usize)
    }
}

/// Skips a name and returns where it is.
fn name(reader: &mut BinaryReader<'_>) -> wasmparser::Result<Range<usize>> {
    let len = reader.read_var_u32()? as usize;
    let start = reader.original_position();
    reader.read_bytes(len)?;
    Ok(start..start + len)
}

fn text(bytes: &[u8], range: Range<usize>) -> Option<&str> {
    std::str::from_utf8(bytes.get(range)?).ok()
}
