//! A frame that is a name and nothing else: `(host)`, an import, a trampoline.

use wasmscope_profile::{Category, Function, Line, Location, LocationHandle, Profile};

/// Adds a location that is a name and nothing else.
pub(crate) fn plain(profile: &mut Profile, name: &str, category: Category) -> LocationHandle {
    let function = profile.add_function(Function {
        name: name.to_owned(),
        category,
        ..Function::default()
    });
    profile.add_location(Location {
        mapping: None,
        address: None,
        lines: vec![Line {
            function,
            line: None,
            column: None,
        }],
    })
}
