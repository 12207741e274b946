//! Reads a guest's file: binary as it is, text as the binary that it stands for.

use anyhow::{Context, Result, anyhow, bail};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// A guest as it was read.
#[derive(Clone, Debug)]
pub(crate) struct GuestFile {
    /// The file's name without its directory, as the profile calls the guest.
    pub(crate) name: String,
    /// The binary: what is compiled, and what offsets are looked up in.
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) kind: Kind,
    /// A second binary, with the DWARF. Read once, at the start: it may be a pipe.
    pub(crate) debug: Option<Arc<[u8]>>,
}

/// What a binary holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Module,
    Component,
}

/// How a binary begins.
const MAGIC: &[u8] = b"\0asm";

impl GuestFile {
    /// Reads a `.wasm` or `.wat` file.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the file and what would be right.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::from_bytes(path, read(path)?)
    }

    /// Takes what was read from a `.wasm` or `.wat` file.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        let bytes = match bytes.starts_with(MAGIC) {
            true => bytes,
            false => from_text(path, bytes)?,
        };
        let kind = match bytes.get(4..8) {
            Some([1, 0, 0, 0]) => Kind::Module,
            Some([_, _, 1, 0]) => Kind::Component,
            Some(version) => bail!(
                "{}: unknown version {version:02x?} of WebAssembly, at byte 4",
                path.display()
            ),
            None => bail!(
                "{}: the file ends within its header, at byte {}; is the copy complete?",
                path.display(),
                bytes.len()
            ),
        };
        let name = path.file_name().unwrap_or(path.as_os_str());
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            bytes: bytes.into(),
            kind,
            debug: None,
        })
    }

    /// Reads a second binary, with the DWARF, if one is given.
    ///
    /// # Errors
    ///
    /// Names it, when it cannot be read.
    pub(crate) fn with_debug_file(mut self, path: Option<&Path>) -> Result<Self> {
        if let Some(path) = path {
            self.debug = Some(read(path).context("--debug-file")?.into());
        }
        Ok(self)
    }
}

/// Reads a file that must be one.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    if path.is_dir() {
        bail!(
            "{}: this is a directory; give a .wasm or .wat file",
            path.display()
        );
    }
    fs::read(path).with_context(|| format!("failed to read {}", path.display()))
}

fn from_text(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let display = path.display();
    if bytes.is_empty() {
        bail!("{display}: the file is empty; is the copy complete?");
    }
    if bytes.starts_with(b"\x7fELF") {
        bail!(
            "{display}: this is native or precompiled code; give the .wasm file that it was made \
             from"
        );
    }
    let is_text = path.extension().is_some_and(|extension| extension == "wat");
    let begins = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if !is_text && !matches!(begins, Some(b'(' | b';')) {
        bail!(
            "{display}: this is not WebAssembly: a module or component begins with the bytes \
             00 61 73 6d, its text with a parenthesis, and this with {:02x?}, at byte 0",
            &bytes[..bytes.len().min(4)]
        );
    }
    // With lines, so that what is said of it can be shown in it.
    let mut parser = wat::Parser::new();
    parser.generate_dwarf(wat::GenerateDwarf::Full);
    let binary = parser
        .parse_bytes(Some(path), &bytes)
        .map_err(|mut error| {
            error.set_path(path);
            anyhow!("{display}: this is not well-formed text of WebAssembly: {error}")
        })?;
    Ok(binary.into_owned())
}
