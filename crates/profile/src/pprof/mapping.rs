//! How a mapping's file name in pprof also carries the category of its code.
//!
//! pprof knows no categories. Tools do show mappings, and by convention a name in
//! brackets is not a file (`[vdso]`). So code without a mapping is in a mapping
//! `[wasi]`, and code of a mapping whose file does not tell the category is in
//! a second entry of it, `libhost.so [engine]`.

use crate::category::Category;
use crate::mapping::MappingKind;

/// Returns the tag of a category, as it stands between brackets.
fn tag(category: Category) -> &'static str {
    match category {
        Category::Guest => "guest",
        Category::Wasi => "wasi",
        Category::Host => "host",
        Category::Engine => "engine",
        Category::Opaque => "opaque",
        Category::Lost => "lost",
    }
}

/// Returns what a file's name alone says about the code in it.
pub(super) fn kind_of_file(file: &str) -> MappingKind {
    if file.ends_with(".wasm") || file.ends_with(".wat") {
        MappingKind::Guest
    } else {
        MappingKind::Host
    }
}

/// Returns the file name to write for code of a category.
pub(super) fn tagged(file: Option<&str>, category: Category) -> String {
    match file {
        None => format!("[{}]", tag(category)),
        Some(file) if kind_of_file(file).category() == category && untagged(file).1.is_none() => {
            file.to_owned()
        }
        Some(file) => format!("{file} [{}]", tag(category)),
    }
}

/// Takes a file name apart into the file, where there is one, and the category
/// that it was tagged with.
pub(super) fn untagged(name: &str) -> (Option<&str>, Option<Category>) {
    for category in Category::ALL {
        let rest = name
            .strip_suffix(']')
            .and_then(|name| name.strip_suffix(tag(category)))
            .and_then(|name| name.strip_suffix('['));
        match rest {
            Some("") => return (None, Some(category)),
            Some(file) => {
                if let Some(file) = file.strip_suffix(' ') {
                    return (Some(file), Some(category));
                }
            }
            None => {}
        }
    }
    (Some(name), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_taken_off_again() {
        for file in [
            "a.wasm",
            "host",
            "",
            "host [engine]",
            "[wasi]",
            "[vdso]",
            "x [",
        ] {
            for category in Category::ALL {
                let name = tagged(Some(file), category);
                let (found, tag) = untagged(&name);
                assert_eq!(found, Some(file), "{name}");
                let natural = kind_of_file(file).category();
                assert_eq!(tag.unwrap_or(natural), category, "{name}");
            }
        }
        for category in Category::ALL {
            assert_eq!(untagged(&tagged(None, category)), (None, Some(category)));
        }
    }
}
