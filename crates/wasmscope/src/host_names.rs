//! Names of host frames, from the process's own symbols and DWARF.
//!
//! For profiles that stay with whoever runs the host; guest-safe ones never ask.

use crate::plain::plain;
use std::collections::HashMap;
use wasmscope_address::HostPc;
use wasmscope_profile::{Category, Function, Line, Location, LocationHandle, Profile};

/// Names that were looked up for one profile.
#[derive(Debug, Default)]
pub(crate) struct HostNames {
    known: HashMap<u64, LocationHandle>,
}

impl HostNames {
    /// Adds the location of a host frame, inlined functions included.
    pub(crate) fn location(
        &mut self,
        profile: &mut Profile,
        pc: HostPc,
        is_return_address: bool,
    ) -> LocationHandle {
        let lookup = pc.0.wrapping_sub(u64::from(is_return_address));
        *self
            .known
            .entry(lookup)
            .or_insert_with(|| name(profile, lookup))
    }
}

fn name(profile: &mut Profile, address: u64) -> LocationHandle {
    let mut lines = Vec::new();
    backtrace::resolve(address as *mut std::ffi::c_void, |symbol| {
        let Some(name) = symbol.name() else { return };
        let function = profile.add_function(Function {
            // The alternate form leaves out Rust's hash.
            name: format!("{name:#}"),
            system_name: name.as_str().map(str::to_owned),
            file: symbol.filename().map(|file| file.display().to_string()),
            start_line: None,
            category: Category::Host,
            mapping: None,
        });
        lines.push(Line {
            function,
            line: symbol.lineno(),
            column: symbol.colno(),
        });
    });
    if lines.is_empty() {
        return plain(profile, &format!("{address:#x}"), Category::Host);
    }
    profile.add_location(Location {
        mapping: None,
        address: Some(address),
        lines,
    })
}
