//! The objects that are mapped, and what is known of their code.

use super::coverage::Coverage;
use super::program_headers::{Mapped, Section, mapped_objects};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use framehop::x86_64::UnwinderX86_64;
use framehop::{ExplicitModuleSectionInfo, Module, MustNotAllocateDuringUnwind, Unwinder as _};
use wasmscope_address::HostPc;

pub(super) type Unwinder = UnwinderX86_64<Arc<[u8]>, MustNotAllocateDuringUnwind>;

/// The objects that were mapped when this was made: the program, its libraries, and
/// what the kernel maps into every process.
///
/// Cheap to share by reference; nothing in it changes.
pub struct HostObjects {
    objects: Vec<HostObject>,
    /// Sorted; each with the index of its object.
    executable: Vec<(Range<u64>, usize)>,
    pub(super) coverage: Coverage,
    pub(super) unwinder: Unwinder,
}

/// One mapped object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostObject {
    /// The object's path; for the program itself where it was started from.
    pub path: String,
    /// What to subtract from an address in this process to get the object's own.
    pub bias: u64,
}

impl HostObjects {
    /// Reads which objects are mapped now, and copies their unwind tables.
    ///
    /// Objects that are mapped later are not in it: their code ends a walk with
    /// [`Cut::UnknownCode`](crate::Cut::UnknownCode) until this is called again.
    ///
    /// # Signal safety
    ///
    /// Not for handlers: allocates, and takes the dynamic linker's lock.
    #[must_use]
    pub fn load() -> Self {
        let mut unwinder = Unwinder::new();
        let mut objects = Vec::new();
        let mut executable = Vec::new();
        let mut coverage = Coverage::default();
        for mapped in mapped_objects() {
            let index = objects.len();
            executable.extend(mapped.executable.iter().map(|range| (range.clone(), index)));
            coverage.add(&mapped);
            objects.push(HostObject {
                path: path_of(&mapped),
                bias: mapped.bias,
            });
            if let Some(module) = module(mapped) {
                unwinder.add_module(module);
            }
        }
        executable.sort_unstable_by_key(|(range, _)| range.start);
        Self {
            objects,
            executable,
            coverage: coverage.finish(),
            unwinder,
        }
    }

    /// Returns the object that has `pc` in its code.
    ///
    /// # Signal safety
    ///
    /// Safe in a signal handler: it only reads.
    #[must_use]
    pub fn object_of(&self, pc: HostPc) -> Option<&HostObject> {
        let after = self
            .executable
            .partition_point(|(range, _)| range.start <= pc.0);
        let (range, index) = self.executable.get(after.checked_sub(1)?)?;
        if range.contains(&pc.0) {
            self.objects.get(*index)
        } else {
            None
        }
    }
}

impl core::fmt::Debug for HostObjects {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HostObjects")
            .field("objects", &self.objects)
            .finish_non_exhaustive()
    }
}

fn path_of(mapped: &Mapped) -> String {
    if mapped.name.is_empty() {
        let program = std::fs::read_link("/proc/self/exe");
        return program.map_or_else(|_| String::new(), |path| path.to_string_lossy().into());
    }
    mapped.name.clone()
}

fn module(mapped: Mapped) -> Option<Module<Arc<[u8]>>> {
    let start = mapped.executable.iter().map(|range| range.start).min()?;
    let end = mapped.executable.iter().map(|range| range.end).max()?;
    let end_of = |section: &Section| section.address.wrapping_add(section.bytes.len() as u64);
    let eh_frame_hdr = mapped.eh_frame_hdr?;
    let eh_frame = mapped.eh_frame?;
    Some(Module::new(
        mapped.name,
        start..end,
        mapped.bias,
        ExplicitModuleSectionInfo {
            base_svma: 0,
            eh_frame_svma: Some(eh_frame.address..end_of(&eh_frame)),
            eh_frame: Some(Arc::from(eh_frame.bytes)),
            eh_frame_hdr_svma: Some(eh_frame_hdr.address..end_of(&eh_frame_hdr)),
            eh_frame_hdr: Some(Arc::from(eh_frame_hdr.bytes)),
            ..Default::default()
        },
    ))
}

/// Reads from an `.eh_frame_hdr` where the `.eh_frame` starts.
pub(super) fn eh_frame_address(hdr: &Section) -> Option<u64> {
    // Linux Standard Base, core, "eh_frame_hdr": a version of 1, three encodings,
    // the encoded pointer. Linkers encode it relative to itself, signed, four bytes.
    const PCREL_SDATA4: u8 = 0x1b;
    let bytes: [u8; 8] = hdr.bytes.get(..8)?.try_into().ok()?;
    let [1, PCREL_SDATA4, _, _, a, b, c, d] = bytes else {
        return None;
    };
    let relative = i64::from(i32::from_le_bytes([a, b, c, d]));
    Some(hdr.address.wrapping_add(4).wrapping_add_signed(relative))
}
