//! Finds and reads source files by the paths that compilers recorded.
//!
//! A guest says which files those are, so only regular files of a sane size are read.

use crate::exit;
use anyhow::Result;
use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Larger files are not source.
const MOST_BYTES: u64 = 64 << 20;

/// Where to look for source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SourceDir {
    /// What it stands for in recorded paths, if not for any beginning.
    from: Option<PathBuf>,
    directory: PathBuf,
}

impl SourceDir {
    /// Reads `DIR` or `FROM=DIR`.
    ///
    /// # Errors
    ///
    /// A usage error, when there is no such directory.
    pub(crate) fn new(text: &str) -> Result<Self> {
        let (from, directory) = match text.split_once('=') {
            // A directory may have that sign in its name.
            Some((from, directory)) if !Path::new(text).is_dir() => (Some(from), directory),
            _ => (None, text),
        };
        if !Path::new(directory).is_dir() {
            return Err(exit::usage(format!(
                "--source-dir {text}: there is no directory {directory}"
            )));
        }
        Ok(Self {
            from: from.map(PathBuf::from),
            directory: PathBuf::from(directory),
        })
    }

    /// Returns where a recorded path may be found.
    fn candidates(&self, path: &Path) -> Vec<PathBuf> {
        if let Some(from) = &self.from {
            let rest = path.strip_prefix(from);
            return rest
                .map(|rest| self.directory.join(rest))
                .into_iter()
                .collect();
        }
        let parts: Vec<_> = path
            .components()
            .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
            .collect();
        let suffixes = (0..parts.len()).map(|first| parts.iter().skip(first));
        suffixes
            .map(|suffix| self.directory.join(suffix.collect::<PathBuf>()))
            .collect()
    }
}

/// Source files that were looked for.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    dirs: &'a [SourceDir],
    known: HashMap<Arc<str>, Option<Arc<Vec<String>>>>,
    missing: Vec<Arc<str>>,
    /// Files that are shorter than the code says.
    short: Vec<Arc<str>>,
}

impl<'a> Sources<'a> {
    pub(super) fn new(dirs: &'a [SourceDir]) -> Self {
        Self {
            dirs,
            known: HashMap::new(),
            missing: Vec::new(),
            short: Vec::new(),
        }
    }

    /// Returns the lines of a file that has this line, if it is found.
    pub(super) fn lines(&mut self, path: &Arc<str>, line: u32) -> Option<Arc<Vec<String>>> {
        if !self.known.contains_key(path) {
            let lines = find(self.dirs, path).map(Arc::new);
            if lines.is_none() {
                self.missing.push(Arc::clone(path));
            }
            self.known.insert(Arc::clone(path), lines);
        }
        let lines = self.known.get(path)?.as_ref()?;
        if line as usize > lines.len() {
            if !self.short.contains(path) {
                self.short.push(Arc::clone(path));
            }
            return None;
        }
        Some(Arc::clone(lines))
    }

    /// Returns the files that were not found, each once.
    pub(super) fn missing(&self) -> &[Arc<str>] {
        &self.missing
    }

    /// Returns the files that have fewer lines than the code says, each once.
    pub(super) fn short(&self) -> &[Arc<str>] {
        &self.short
    }
}

fn find(dirs: &[SourceDir], path: &str) -> Option<Vec<String>> {
    let path = Path::new(path);
    let elsewhere = dirs.iter().flat_map(|dir| dir.candidates(path));
    elsewhere
        .chain([path.to_owned()])
        .find_map(|candidate| read(&candidate))
}

fn read(path: &Path) -> Option<Vec<String>> {
    let found = fs::metadata(path).ok()?;
    // Not a pipe, which would wait, nor a device, which would not end.
    if !found.is_file() || found.len() > MOST_BYTES {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(dirs: &[SourceDir], path: &str) -> Option<String> {
        Some(find(dirs, path)?.join("\n"))
    }

    #[test]
    fn paths_are_looked_for_from_their_end() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("lib/src/a.c");
        fs::create_dir_all(source.parent().unwrap()).unwrap();
        fs::write(&source, "one\ntwo\n").unwrap();
        let dir = |text: &str| vec![SourceDir::new(text).unwrap()];
        let plain = dir(root.path().to_str().unwrap());
        for path in ["lib/src/a.c", "/build/7/lib/src/a.c", "../lib/./src/a.c"] {
            assert_eq!(at(&plain, path).as_deref(), Some("one\ntwo"), "{path}");
        }
        assert_eq!(at(&plain, "/build/src/a.c"), None);
        assert_eq!(at(&plain, "/build/lib/src"), None, "a directory");

        let mapped = dir(&format!("/build={}", root.path().display()));
        assert!(at(&mapped, "/build/lib/src/a.c").is_some());
        assert_eq!(at(&mapped, "/builder/lib/src/a.c"), None);
        assert!(at(&[], source.to_str().unwrap()).is_some());
        assert!(SourceDir::new("/no/such/directory").is_err());
        assert_eq!(at(&[], "/dev/zero"), None, "a device has no end");
    }

    #[test]
    fn what_is_not_there_is_said_once() {
        let mut sources = Sources::new(&[]);
        let path: Arc<str> = Arc::from("/no/such/file.c");
        for line in 1..5 {
            assert_eq!(sources.lines(&path, line), None);
        }
        assert_eq!(sources.missing(), [path]);
    }
}
