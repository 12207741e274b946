//! The functions that a core module imports, and which of them a call calls.

use std::ops::Range;
use std::sync::Arc;

use wasmparser::{BinaryReader, ImportSectionReader, TypeRef};

use crate::Error;

/// An imported function, by the two names that it is imported under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Import {
    /// The name of the module that it is imported from, such as
    /// `wasi_snapshot_preview1`.
    pub module: Arc<str>,
    /// Its name there, such as `fd_write`.
    pub name: Arc<str>,
}

/// All imported functions of a module: function `i` is `functions[i]`.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    pub(crate) functions: Vec<Import>,
    pub(crate) problem: Option<Error>,
}

impl Imports {
    /// Reads the import section in `range` of the file.
    pub(crate) fn read(bytes: &[u8], range: &Range<usize>) -> Self {
        let mut imports = Self::default();
        let section = bytes.get(range.clone()).unwrap_or_default();
        if let Err(error) = imports.fill(section, range.start) {
            imports.problem = Some(Error::malformed("import section", &error));
        }
        imports
    }

    fn fill(&mut self, section: &[u8], offset: usize) -> wasmparser::Result<()> {
        let reader = ImportSectionReader::new(BinaryReader::new(section, offset))?;
        // Imports come in runs from one module: its name is kept once.
        let mut module: Arc<str> = Arc::from("");
        for import in reader.into_imports() {
            let import = import?;
            if !matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                continue;
            }
            if *module != *import.module {
                module = Arc::from(import.module);
            }
            self.functions.push(Import {
                module: Arc::clone(&module),
                name: Arc::from(import.name),
            });
        }
        Ok(())
    }
}

/// Decodes the instruction at the start of `code` and returns the function that
/// it calls directly; `None` for any other instruction.
pub(crate) fn direct_callee(code: &[u8]) -> Option<u32> {
    const CALL: u8 = 0x10;
    const RETURN_CALL: u8 = 0x12;
    let mut reader = BinaryReader::new(code, 0);
    match reader.read_u8().ok()? {
        CALL | RETURN_CALL => reader.read_var_u32().ok(),
        _ => None,
    }
}
