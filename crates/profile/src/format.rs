//! The formats, by the ending of a file's name and by their own names.

use std::ffi::OsStr;
use std::path::Path;

use crate::error::{Error, Result};

/// A format that a profile can be written in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Format {
    /// The Firefox Profiler's processed profile: JSON.
    Firefox,
    /// pprof: a compressed protocol buffer.
    Pprof,
    /// Folded stacks: a line of text for each stack.
    Folded,
    /// A flame graph as one SVG image.
    Svg,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Firefox, Self::Pprof, Self::Folded, Self::Svg];

    /// The endings that [`Format::from_path`] knows, for messages.
    pub const ENDINGS: &'static str =
        ".json, .json.gz (firefox), .pb.gz, .pb, .pprof (pprof), .folded (folded), .svg (svg)";

    /// The names that [`Format::from_name`] knows, for messages.
    pub const NAMES: &'static str = "firefox, pprof, folded, svg";

    /// Returns the format's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firefox => "firefox",
            Self::Pprof => "pprof",
            Self::Folded => "folded",
            Self::Svg => "svg",
        }
    }

    /// Finds the format with this name.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownFormat`], which lists the names.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| Error::UnknownFormat {
                name: name.to_owned(),
            })
    }

    /// Finds the format by a file's ending, in either case. Each may also end in
    /// `.gz`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownEnding`], which lists the endings.
    pub fn from_path(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_ascii_lowercase();
        let name = Path::new(&name);
        let name = match name.extension() {
            Some(gz) if gz == "gz" => Path::new(name.file_stem().unwrap_or_default()),
            _ => name,
        };
        match name.extension().and_then(OsStr::to_str) {
            Some("json") => Ok(Self::Firefox),
            Some("pb" | "pprof") => Ok(Self::Pprof),
            Some("folded") => Ok(Self::Folded),
            Some("svg") => Ok(Self::Svg),
            _ => Err(Error::UnknownEnding {
                path: path.to_owned(),
            }),
        }
    }

    /// Tells whether the format is written compressed to this file: always when
    /// its name ends in `.gz`, and pprof also otherwise, unless it ends in `.pb`.
    #[must_use]
    pub fn is_compressed_at(self, path: &Path) -> bool {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        extension == "gz" || (self == Self::Pprof && extension != "pb")
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_choose_format_and_compression() {
        for (path, format, compressed) in [
            ("a.json", Format::Firefox, false),
            ("a.json.gz", Format::Firefox, true),
            ("dir.svg/a.JSON.GZ", Format::Firefox, true),
            ("a.pb.gz", Format::Pprof, true),
            ("a.pb", Format::Pprof, false),
            ("a.pprof", Format::Pprof, true),
            ("a.folded", Format::Folded, false),
            ("a.folded.gz", Format::Folded, true),
            ("a.b.svg", Format::Svg, false),
        ] {
            let path = Path::new(path);
            assert_eq!(Format::from_path(path).unwrap(), format, "{path:?}");
            assert_eq!(format.is_compressed_at(path), compressed, "{path:?}");
        }
    }

    #[test]
    fn an_unknown_ending_lists_the_known_ones() {
        for path in ["a.txt", "json", "a.gz", "", "..", ".json"] {
            let path = Path::new(path);
            let error = Format::from_path(path).unwrap_err().to_string();
            assert!(
                error.contains(".json.gz") && error.contains(".folded"),
                "{error}"
            );
        }
    }

    #[test]
    fn every_format_is_found_by_its_name_and_listed() {
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()).unwrap(), format);
            assert!(Format::NAMES.contains(format.name()));
            assert!(Format::ENDINGS.contains(format.name()));
        }
        let error = Format::from_name("jpeg").unwrap_err().to_string();
        assert!(error.contains("firefox, pprof, folded, svg"), "{error}");
    }
}
