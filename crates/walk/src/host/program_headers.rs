//! The mapped objects, as the dynamic linker lists them.
//!
//! Copies what is wanted out of the mappings while the linker's lock is held, so
//! that nothing refers to an object that may be unmapped later.

#![expect(
    unsafe_code,
    reason = "dl_iterate_phdr hands out pointers into the mapped objects"
)]

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use std::ffi::CStr;

/// One mapped object.
#[derive(Debug)]
pub(super) struct Mapped {
    /// The path as the linker knows it; empty for the program itself.
    pub(super) name: String,
    /// What to add to the object's own addresses to get addresses in this process.
    pub(super) bias: u64,
    /// Where its executable segments are, in this process.
    pub(super) executable: Vec<Range<u64>>,
    /// Code that looks like a stub of a procedure linkage table, in this process. Some
    /// of it is in the middle of functions.
    pub(super) stubs: Vec<Range<u64>>,
    /// Code that looks like the first of a stack-switching continuation, in this process,
    /// from where its first call returns to.
    pub(super) continuations: Vec<Range<u64>>,
    /// Its `.eh_frame_hdr`, by the object's own addresses.
    pub(super) eh_frame_hdr: Option<Section>,
    /// What follows from the start of its `.eh_frame` to the end of the segment.
    pub(super) eh_frame: Option<Section>,
}

/// A copy of a part of a mapped object.
#[derive(Debug)]
pub(super) struct Section {
    /// The address of the first byte, as the object has it.
    pub(super) address: u64,
    pub(super) bytes: Vec<u8>,
}

/// Lists the mapped objects.
pub(super) fn mapped_objects() -> Vec<Mapped> {
    let mut objects: Vec<Mapped> = Vec::new();
    // SAFETY: `visit` matches the signature that `dl_iterate_phdr` asks for, and
    // `objects` is live and not otherwise used during the call.
    unsafe {
        libc::dl_iterate_phdr(Some(visit), (&raw mut objects).cast());
    }
    objects
}

unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    objects: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: `mapped_objects` passed a `Vec<Mapped>`, which nobody else uses now.
    let objects = unsafe { &mut *objects.cast::<Vec<Mapped>>() };
    // SAFETY: the linker passes a valid description, whose name is null or a C string
    // and whose program headers are mapped, all for the length of this call.
    let (info, headers) = unsafe {
        let info = &*info;
        let headers: &[libc::Elf64_Phdr] = if info.dlpi_phdr.is_null() {
            &[]
        } else {
            core::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum))
        };
        (info, headers)
    };
    let name = if info.dlpi_name.is_null() {
        String::new()
    } else {
        // SAFETY: as above.
        let name = unsafe { CStr::from_ptr(info.dlpi_name) };
        name.to_string_lossy().into_owned()
    };
    let bias = info.dlpi_addr;
    let loads = || {
        headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD)
    };
    let in_process = |header: &libc::Elf64_Phdr| {
        let start = bias.wrapping_add(header.p_vaddr);
        start..start.wrapping_add(header.p_memsz)
    };
    let executable = loads()
        .filter(|header| header.p_flags & libc::PF_X != 0)
        .map(in_process)
        .collect();

    // Copies `len` bytes from an address of the object's, or up to the end of the
    // segment that holds it, when that segment is readable.
    let copy = |address: u64, len: Option<u64>| -> Option<Section> {
        let header = loads().find(|header| {
            header.p_flags & libc::PF_R != 0
                && address
                    .checked_sub(header.p_vaddr)
                    .is_some_and(|offset| offset < header.p_filesz)
        })?;
        let to_end = header
            .p_filesz
            .wrapping_sub(address.wrapping_sub(header.p_vaddr));
        let len = usize::try_from(len.unwrap_or(to_end).min(to_end)).ok()?;
        let start = bias.wrapping_add(address) as *const u8;
        // SAFETY: the bytes lie in a readable segment of an object that the linker
        // keeps mapped during this call; read-only segments are not written to.
        let bytes = unsafe { core::slice::from_raw_parts(start, len) };
        Some(Section {
            address,
            bytes: bytes.to_vec(),
        })
    };
    let mut stubs = Vec::new();
    let mut continuations = Vec::new();
    let readable_code = |header: &&libc::Elf64_Phdr| {
        header.p_flags & (libc::PF_R | libc::PF_X) == libc::PF_R | libc::PF_X
    };
    for header in loads().filter(readable_code) {
        let start = bias.wrapping_add(header.p_vaddr);
        let len = usize::try_from(header.p_filesz).unwrap_or(0);
        // SAFETY: a readable segment of an object that the linker keeps mapped during
        // this call; code is not written to.
        let code = unsafe { core::slice::from_raw_parts(start as *const u8, len) };
        find_stubs(start, code, &mut stubs);
        find_continuations(start, code, &mut continuations);
    }
    let eh_frame_hdr = headers
        .iter()
        .find(|header| header.p_type == libc::PT_GNU_EH_FRAME)
        .and_then(|header| copy(header.p_vaddr, Some(header.p_memsz)));
    let eh_frame = eh_frame_hdr
        .as_ref()
        .and_then(super::objects::eh_frame_address)
        .and_then(|address| copy(address, None));
    objects.push(Mapped {
        name,
        bias,
        executable,
        stubs,
        continuations,
        eh_frame_hdr,
        eh_frame,
    });
    0
}

/// Finds what looks like stubs through which one object calls another's functions:
/// `jmp *address(%rip)`, alone or after `endbr64` or with a `bnd` prefix. Linkers align
/// them to eight bytes, and give most of them no unwind table.
fn find_stubs(start: u64, code: &[u8], stubs: &mut Vec<Range<u64>>) {
    const FORMS: [&[u8]; 4] = [
        &[0xff, 0x25],
        &[0xf2, 0xff, 0x25],
        &[0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25],
        &[0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25],
    ];
    const DISPLACEMENT: usize = 4;
    const ALIGNMENT: usize = 8;
    for (index, bytes) in code.chunks(ALIGNMENT).enumerate() {
        if let Some(form) = FORMS.iter().find(|form| bytes.starts_with(form)) {
            let at = start.wrapping_add(index.wrapping_mul(ALIGNMENT) as u64);
            let len = form.len().wrapping_add(DISPLACEMENT) as u64;
            stubs.push(at..at.wrapping_add(len));
        }
    }
}

/// Finds what looks like the end of `wasmtime_continuation_start`, which has no unwind table:
/// from the test of what its only call returned to the jump to the stack that resumed it.
fn find_continuations(start: u64, code: &[u8], continuations: &mut Vec<Range<u64>>) {
    /// `mov rsi,[rbp+8]; mov rsp,[rbp-8]; mov rbp,[rbp]; jmp rsi`
    const RETURN: [u8; 14] = [
        0x48, 0x8b, 0x75, 0x08, 0x48, 0x8b, 0x65, 0xf8, 0x48, 0x8b, 0x6d, 0x00, 0xff, 0xe6,
    ];
    /// `test al,al`
    const TEST: [u8; 2] = [0x84, 0xc0];
    /// Between the two are two jumps and two moves.
    const MOST: usize = 32;
    let Some((last, _)) = RETURN.split_last() else {
        return;
    };
    let mut from = 0_usize;
    while let Some(found) = code
        .get(from..)
        .and_then(|rest| rest.iter().position(|byte| byte == last))
    {
        let end = from.wrapping_add(found).wrapping_add(1);
        from = end;
        let Some(begin) = end.checked_sub(RETURN.len()) else {
            continue;
        };
        if code.get(begin..end) != Some(&RETURN[..]) {
            continue;
        }
        let before = begin.saturating_sub(MOST);
        let tests = code.get(before..begin).unwrap_or_default();
        let Some(test) = tests.windows(TEST.len()).position(|bytes| bytes == TEST) else {
            continue;
        };
        // The call itself is in front: a return address is looked up one byte before.
        let at = |offset: usize| start.wrapping_add(offset as u64);
        let first = before.wrapping_add(test).saturating_sub(5);
        continuations.push(at(first)..at(end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stubs_of_every_linker_are_found() {
        let mut code = alloc::vec![0x90; 64];
        code[0..2].copy_from_slice(&[0xff, 0x25]);
        code[16..22].copy_from_slice(&[0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25]);
        code[33..35].copy_from_slice(&[0xff, 0x25]);
        let mut stubs = Vec::new();
        find_stubs(0x1000, &code, &mut stubs);
        assert_eq!(stubs, [0x1000..0x1006, 0x1010..0x101a]);
    }
}
